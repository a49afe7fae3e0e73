"""What the sources that load from model libraries and from the Hugging Face hub share."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from phosphene.errors import SpecError, WeightsError, first_line, nearest
from phosphene.extras import require

# NAME@random: the architecture without its weights.
RANDOM = "random"
RANDOM_NOTE = "its weights are random"
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def check_name(library: str, name: str, known: list[str]) -> None:
    """Check that a library has a network.

    Raises:
        SpecError: it has none of this name; the nearest names are suggested.
    """
    if name not in known:
        fix = nearest(name, known) or f" `phosphene models {library}` lists its networks."
        raise SpecError(f"{library} has no classifier {name!r}.{fix}")


def not_fetched(spec: str, error: BaseException, weights: object = "") -> WeightsError:
    """Return the error for weights that could not be fetched, with two ways to do without the network."""
    return WeightsError(
        f"weights {weights or f'of {spec}'} cannot be fetched ({first_line(error)}): take {spec}@{RANDOM}, or a card "
        f'with arch = "{spec}" and weights that lie on this machine.'
    )


def per_channel(values: Sequence[float], channels: int) -> list[float]:
    """Return one value per channel, where a single one stands for all."""
    return [float(value) for value in values] * (channels if len(values) == 1 else 1)


@contextmanager
def offline_if_unreachable(extra: str) -> Iterator[None]:
    """Switch the hub's client to its cache while the hub's host has no address; it would retry for half a minute.

    Args:
        extra: The extra of this package that installs the client.

    Raises:
        ExtraError: the client is missing or broken.
    """
    constants: Any = require("huggingface_hub.constants", extra)
    before = constants.HF_HUB_OFFLINE
    if not before and not any(map(os.environ.get, PROXIES)):
        try:
            socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
        except OSError:
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
