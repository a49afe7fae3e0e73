"""Copies of a network with random weights in its last blocks, or in all.

Cascading randomisation of Adebayo et al. 2018 (arXiv 1810.03292, section 3.1): what a map shows must depend on what the
network has learned.
"""

import copy
import itertools
import math
import re
from typing import Any

import torch
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.engine.modules import forward_hooks, hookable
from phosphene.errors import WeightsError, one_line
from phosphene.module_state import alone_with

# Samples on which running statistics are measured again.
SAMPLES = 32
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
ROOT_BLOCK = "(root)"


def blocks(classifier: Classifier) -> list[tuple[str, list[str]]]:
    """Return the network's blocks, the last executed first, from one run of it.

    A block is its name and the names of its modules that hold parameters.

    Modules belong together by name: ``features.17.*``, ``layer4.1.*``, ``encoder_layer_11.*``. What holds no matrix of
    its own (a normalisation on the same level) belongs to the block before it. What is never executed comes last, and
    modules that take no hooks stay in the order of their definition.
    """
    module = classifier.module
    names = {part: name for name, part in module.named_modules()}
    holders = [name for part, name in names.items() if any(True for _ in part.parameters(recurse=False))]
    order = _execution_order(classifier)
    members_of: dict[str, list[str]] = {}
    for name in sorted(holders, key=lambda name: _position(name, order)):
        members_of.setdefault(_block_name(name), []).append(name)
    groups = sorted(members_of.items(), key=lambda row: max(_position(name, order) for name in row[1]))
    block_list: list[tuple[str, list[str]]] = []
    for name, members in groups:
        matrices = [p for member in members for p in _parameters_of(module, member) if p.ndim > 1]
        if matrices or not block_list:
            block_list.append((name, members))
        else:
            block_list[-1][1].extend(members)
    return block_list[::-1]


def few_depths(count: int) -> list[int]:
    """Return up to five numbers of blocks to randomise, in rising order.

    They are 1, 2, a quarter, a half and all of ``count``.
    """
    return sorted({depth for depth in (1, 2, math.ceil(count / 4), math.ceil(count / 2), count) if 0 < depth <= count})


def randomised(classifier: Classifier, depth: int, *, seed: int = 0, samples: "Tensor | None" = None) -> Classifier:
    """Return a copy of a classifier with random weights in its last ``depth`` blocks.

    A random weight comes from a normal distribution with the mean and deviation of the trained tensor. A block has the
    same random weights at every depth.

    Args:
        classifier: The trained one.
        depth: How many blocks, from 1 to their number; see :func:`few_depths`.
        seed: Random seed for the weights.
        samples: (n, c, h, w) in [0, 1], n at least 2: running statistics of the randomised blocks are measured again on
            them, so that activations stay in a sane range; without them they stay as trained.

    Raises:
        ValueError: the depth is out of range.
        WeightsError: the network cannot be copied.
    """
    all_blocks = blocks(classifier)
    if not 1 <= depth <= len(all_blocks):
        raise ValueError(f"depth {depth} is out of range: the network has {len(all_blocks)} blocks.")
    copied = copy.copy(classifier)
    # The network may be anything, a graph that refuses to be copied too.
    problem = f"network {classifier.name} cannot be copied, and so not randomised"
    fix = "load it from a card with factory or arch."
    with one_line(WeightsError, problem, fix), torch.no_grad(), alone_with(classifier.module):
        copied.module = copy.deepcopy(classifier.module)
    copied.name = f"{classifier.name} with {depth} blocks randomised"
    norms: list[Any] = []
    for number, (_, members) in enumerate(all_blocks[:depth]):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        for member in members:
            for parameter in _parameters_of(copied.module, member):
                _randomise(parameter, generator)
            part = copied.module.get_submodule(member)
            if isinstance(part, NORMS) and part.running_mean is not None:
                norms.append(part)
    if norms and samples is not None:
        _measure(copied, norms, samples[:SAMPLES])
    return copied


@torch.no_grad()
def _randomise(parameter: Tensor, generator: torch.Generator) -> None:
    """Overwrite a parameter in place by normal random values of its mean and standard deviation."""
    trained = parameter.double()
    noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(trained.device)
    parameter.copy_(trained.mean() + trained.std(correction=0) * noise)


def _measure(classifier: Classifier, norms: list[Any], samples: Tensor) -> None:
    """Replace the running mean and variance of batch normalisations by those of a batch (n, c, h, w)."""
    momenta = [part.momentum for part in norms]
    with Engine(classifier, device="cpu", micro_batch=len(samples)) as engine:
        for part in norms:
            part.train()
            part.momentum = 1.0
        engine.logits(samples)
        statistics = [(part.running_mean.clone(), part.running_var.clone()) for part in norms]
    for part, momentum, (mean, variance) in zip(norms, momenta, statistics, strict=True):
        part.momentum = momentum
        part.running_mean.copy_(mean)
        part.running_var.copy_(variance)


def _execution_order(classifier: Classifier) -> dict[str, int]:
    """Return, by module name, the position at which each module was last executed, for a grey image."""
    names, order = hookable(classifier.module), dict[str, int]()
    count = itertools.count()

    def note(part: nn.Module, *_: object) -> None:
        order[names[part]] = next(count)

    with Engine(classifier, device="cpu") as engine, forward_hooks(list(names), note):
        engine.logits(torch.full((1, *classifier.input.shape), 0.5))
    return order


def _position(name: str, order: dict[str, int]) -> int:
    """Return the position at which a module's own parameters are used; -1 if they never are."""
    places = [place for part, place in order.items() if part != name and part.startswith(f"{name}." if name else "")]
    if places:  # a container: its own parameters are used before its parts are
        return min(places)
    while name not in order and "." in name:  # a part that its container uses without calling it
        name = name.rpartition(".")[0]
    return order.get(name, -1)


def _block_name(name: str) -> str:
    """Return the name of the block that a module belongs to: ``layer4.1`` for ``layer4.1.conv2``.

    It is the module's name up to the first part that ends in a number, and the next part if that is a number alone:
    ``features.17.conv.0`` is in ``features.17``, ``layer4.1.conv2`` in ``layer4.1``, ``fc`` in ``fc``. The nameless
    root module is its own block.
    """
    parts = name.split(".")
    for place, part in enumerate(parts):
        if part.isdecimal():
            return ".".join(parts[: place + 1])
        if re.search(r"[0-9]$", part):
            has_number = place + 1 < len(parts) and parts[place + 1].isdecimal()
            return ".".join(parts[: place + 1 + has_number])
    return name or ROOT_BLOCK


def _parameters_of(module: nn.Module, name: str) -> list[nn.Parameter]:
    """Return the parameters that a submodule itself holds, without those of the submodules inside it."""
    return list(module.get_submodule(name).parameters(recurse=False))
