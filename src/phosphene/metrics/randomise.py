"""Networks that have forgotten: weights drawn anew, from the last block to the first or all at once.

Cascading randomisation of Adebayo et al. 2018 (arXiv 1810.03292, section 3.1): what a map shows must go with what the
network has learned.
"""

import copy
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.engine.modules import forward_hooks
from phosphene.errors import WeightsError, first_line

# Pictures on which running statistics are measured again.
PICTURES = 32
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
ROOT = "(root)"


def blocks(classifier: Classifier) -> list[tuple[str, list[str]]]:
    """Return the network's blocks and the names of their modules that hold parameters, last executed first.

    Modules belong together by name: ``features.17.*``, ``layer4.1.*``, ``encoder_layer_11.*``. What holds no matrix of
    its own (a normalisation on the same level) goes with the block before it. What is never executed comes last, and
    what cannot be watched stands as it was written down.
    """
    module = classifier.module
    names = {part: name for name, part in module.named_modules()}
    holders = [name for part, name in names.items() if any(True for _ in part.parameters(recurse=False))]
    turns = _turns(classifier, names)
    found: dict[str, list[str]] = {}
    for name in sorted(holders, key=lambda name: _turn(name, turns)):
        found.setdefault(_block(name), []).append(name)
    ordered = sorted(found.items(), key=lambda row: max(_turn(name, turns) for name in row[1]))
    merged: list[tuple[str, list[str]]] = []
    for name, members in ordered:
        matrices = [p for member in members for p in _own(module, member) if p.ndim > 1]
        if matrices or not merged:
            merged.append((name, members))
        else:
            merged[-1][1].extend(members)
    return merged[::-1]


def few_depths(count: int) -> list[int]:
    """Choose depths out of 1 to ``count`` blocks: the head, the last block too, a quarter, a half, all."""
    return sorted({depth for depth in (1, 2, math.ceil(count / 4), math.ceil(count / 2), count) if 0 < depth <= count})


def cascade(
    classifier: Classifier,
    *,
    seed: int = 0,
    pictures: "Tensor | None" = None,
    depths: "Sequence[int] | None" = None,
) -> Iterator[tuple[str, Classifier]]:
    """Yield copies of a classifier whose last block, last two blocks, ... all blocks are drawn anew.

    A new weight comes from a normal distribution with the mean and deviation of the trained tensor. What is new at one
    depth stays the same at the next. The classifier itself is untouched.

    Args:
        classifier: The trained one.
        seed: Of the new weights.
        pictures: (n, c, h, w) in [0, 1], n at least 2: running statistics of the new blocks are measured on them
            again, so that activations stay in a sane range; without them they stay as trained.
        depths: How many blocks, each from 1 to their number; all of 1, 2, ... by default. See :func:`few_depths`.

    Yields:
        Name of the first block that is still new, and the classifier.

    Raises:
        ValueError: a depth is out of range.
        WeightsError: the network cannot be copied.
    """
    found = blocks(classifier)
    wanted = range(1, len(found) + 1) if depths is None else depths
    for depth in wanted:
        if not 1 <= depth <= len(found):
            raise ValueError(f"depth {depth} is out of range: the network has {len(found)} blocks.")
        yield found[depth - 1][0], _drawn_anew(classifier, found[:depth], seed, pictures)


def randomised(classifier: Classifier, seed: int = 0, *, pictures: "Tensor | None" = None) -> Classifier:
    """Return a copy of a classifier with all weights drawn anew; the last of :func:`cascade`.

    Raises:
        WeightsError: the network cannot be copied.
    """
    return _drawn_anew(classifier, blocks(classifier), seed, pictures)


def _drawn_anew(
    classifier: Classifier, chosen: "list[tuple[str, list[str]]]", seed: int, pictures: "Tensor | None"
) -> Classifier:
    made = copy.copy(classifier)
    try:
        with torch.no_grad():
            made.module = copy.deepcopy(classifier.module)
    except Exception as error:  # the network may be anything, a graph that refuses to be copied too
        raise WeightsError(
            f"network {classifier.name} cannot be copied, and so not drawn anew ({first_line(error)}): "
            "load it from a card with factory or arch."
        ) from error
    made.name = f"{classifier.name} with {len(chosen)} blocks drawn anew"
    made.__dict__.pop("sha256", None)  # kept from the trained weights
    norms: list[Any] = []
    for number, (_, members) in enumerate(chosen):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        for member in members:
            for parameter in _own(made.module, member):
                _draw(parameter, generator)
            part = made.module.get_submodule(member)
            if isinstance(part, NORMS) and part.running_mean is not None:
                norms.append(part)
    if norms and pictures is not None:
        _measure(made, norms, pictures[:PICTURES])
    return made


@torch.no_grad()
def _draw(parameter: Tensor, generator: torch.Generator) -> None:
    """Replace values by draws from a normal distribution with their own mean and deviation."""
    trained = parameter.double()
    fresh = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(trained.device)
    parameter.copy_(trained.mean() + trained.std(correction=0) * fresh)


def _measure(classifier: Classifier, norms: list[Any], pictures: Tensor) -> None:
    """Measure the running statistics of some normalisations on one batch, each on what the ones before it give."""
    momenta = [part.momentum for part in norms]
    with Engine(classifier, device="cpu", micro_batch=len(pictures)) as engine:
        for part in norms:
            part.train()
            part.momentum = 1.0
        engine.logits(pictures)
        measured = [(part.running_mean.clone(), part.running_var.clone()) for part in norms]
    for part, momentum, (mean, variance) in zip(norms, momenta, measured, strict=True):
        part.momentum = momentum
        part.running_mean.copy_(mean)
        part.running_var.copy_(variance)


def _turns(classifier: Classifier, names: "dict[nn.Module, str]") -> dict[str, int]:
    """Say at which turn each module answered last while a grey picture went through."""
    turns: dict[str, int] = {}
    count = itertools.count()

    def note(part: nn.Module, *_: object) -> None:
        turns[names[part]] = next(count)

    seen = [part for part in names if not isinstance(part, torch.jit.ScriptModule)]  # a script lets nobody watch
    with Engine(classifier, device="cpu") as engine, forward_hooks(seen, note):
        engine.logits(torch.full((1, *classifier.input.shape), 0.5))
    return turns


def _turn(name: str, turns: dict[str, int]) -> int:
    """Say when a module's own parameters are used; -1 if that cannot be seen."""
    inside = [turn for other, turn in turns.items() if other != name and other.startswith(f"{name}." if name else "")]
    if inside:  # a container: what it holds itself goes in before what its parts do
        return min(inside)
    while name not in turns and "." in name:  # a part that its container reads without calling it
        name = name.rpartition(".")[0]
    return turns.get(name, -1)


def _block(name: str) -> str:
    """Return a module's name up to the first part that ends in a number, or in a number of its own after that."""
    parts = name.split(".")
    for place, part in enumerate(parts):
        if part.isdecimal():
            return ".".join(parts[: place + 1])
        if re.search(r"[0-9]$", part):
            more = place + 1 < len(parts) and parts[place + 1].isdecimal()
            return ".".join(parts[: place + 1 + more])
    return name or ROOT


def _own(module: nn.Module, name: str) -> list[nn.Parameter]:
    """Return the parameters that a module holds itself."""
    return list(module.get_submodule(name).parameters(recurse=False))
