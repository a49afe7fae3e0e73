"""What several sources share: random weights, downloads, messages, and networks that take images in another form."""

import importlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from phosphene.errors import SpecError, WeightsError, first_few, nearest, one_line
from phosphene.extras import require
from phosphene.input_space import InputSpace
from phosphene.textfile import exists, nearby, read_text

# NAME@random: the architecture without its weights.
RANDOM = "random"
RANDOM_WEIGHTS_NOTE = "its weights are random"
MAX_RUN_BYTES = 100_000_000
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@contextmanager
def fixed_seed(seed: int = 0) -> Iterator[None]:
    """For a ``with`` block: let torch's random numbers begin at ``seed``.

    A network built without weights is then the same random one every time.
    """
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it is
        torch.manual_seed(seed)
        yield


def check_name(library: str, name: str, known: list[str]) -> None:
    """Raise SpecError if ``name`` is not one of the networks ``known`` to a library.

    Raises:
        SpecError: it has none of this name; the nearest names are suggested.
    """
    if name not in known:
        fix = nearest(name, known) or f" `phosphene models {library}` lists its networks."
        raise SpecError(f"{library} has no classifier {name!r}.{fix}")


def build_arch(arch: str, classes: int, space: InputSpace) -> nn.Module:
    """Return the network that a card's ``arch`` names, ``LIBRARY:NAME``, with the same random weights every time.

    Raises:
        PhospheneError: as ``build`` of the library's module says.
    """
    library, _, name = arch.partition(":")
    source: Any = importlib.import_module(f"phosphene.sources.{library}")
    network: nn.Module = source.build(name, classes=classes, size=space.size, channels=space.channels)
    return network


def fetching(spec: str, weights: object = "") -> AbstractContextManager[None]:
    """Return a context for downloading the weights of ``spec``, in which a failure becomes a WeightsError.

    The message names what to do instead.
    """
    fix = f'take {spec}@{RANDOM}, or a card with arch = "{spec}" and weights that lie on this machine.'
    return one_line(WeightsError, f"weights {weights or f'of {spec}'} cannot be fetched", fix)


def what_to_give(folder: Path) -> str:
    """Return a sentence on what to give in place of a folder that is no model of save_pretrained, by what it holds."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        model = json.loads(read_text(folder / "run.json", MAX_RUN_BYTES))["model"]["spec"]
        return f"{folder} is a run, of the maps of a model: give the model, {model}."
    if exists(folder / "adapter_config.json"):
        return f"{folder} holds a PEFT adapter alone: give a folder written by `model.merge_and_unload().save_pretrained(FOLDER)`."
    inner = sorted(str(file.parent) for file in folder.glob("*/config.json"))  # such as checkpoint-100
    if inner:
        return f"{folder} holds folders of models: give one, {first_few(inner)}."
    cards = nearby(folder / "card.toml", lambda one: one.suffix == ".toml")
    given = f"give one of its cards, {cards}" if cards else "give a file in it, or a folder written by save_pretrained"
    return f"{folder} has no config.json: {given}."


class ChangedInput(nn.Module):
    """Wraps a network that takes images in another form, such as channels last, BGR or 0 to 255, so that it takes pixels.

    Args:
        network: The network.
        change: Function, which can be pickled, that makes the network's input from pixels (n, c, h, w).
    """

    def __init__(self, network: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.change = network, change

    def forward(self, pixels: Tensor) -> Any:
        """Return the network's output, or outputs, for pixels (n, c, h, w)."""
        return self.network(self.change(pixels))


@contextmanager
def offline_if_unreachable(extra: str) -> Iterator[None]:
    """For a ``with`` block: let the Hugging Face client use its cache alone, if the hub cannot be reached.

    Args:
        extra: The extra of this package that installs the client.

    Raises:
        ExtraError: the client is missing or broken.
    """
    constants: Any = require("huggingface_hub.constants", extra)
    was_offline = constants.HF_HUB_OFFLINE
    if not was_offline and not any(map(os.environ.get, PROXIES)):
        try:
            socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
        except OSError:
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = was_offline
