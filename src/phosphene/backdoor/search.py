"""The search: for every class, the smallest pattern of a family that sends nearly every sample there."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.backdoor.adam import Adam
from phosphene.backdoor.families.family import Family, Pattern
from phosphene.engine import Engine
from phosphene.errors import NumericError

SMALL = 64 * 64  # pixels
MEMORY = 0.7  # of the running success: that of one batch is too coarse to steer by


@dataclass(frozen=True)
class Effort:
    """What a search may cost.

    Attributes:
        steps: Steps of the optimiser.
        batch: Samples that each pattern is tried on at a step.
        success: Share of samples that a pattern must send to its class.
        shrink: Rate, per step, at which a size shrinks while the pattern succeeds and grows while it does not: at the
            first step and at the last.
    """

    steps: int = 60
    batch: int = 8
    success: float = 0.9
    shrink: tuple[float, float] = (0.15, 0.03)

    @classmethod
    def usual(cls, shape: tuple[int, int, int]) -> "Effort":
        """Return the effort for pictures of ``shape`` (c, h, w): larger patterns take longer to shrink."""
        return cls() if shape[1] * shape[2] <= SMALL else cls(steps=100, shrink=(0.1, 0.02))

    @property
    def passes(self) -> int:
        """Images sent through the network for each class, a backward counted as one more."""
        return 2 * self.steps * self.batch


@dataclass(frozen=True)
class Found:
    """What was found for m classes.

    Attributes:
        size: (m,): smallest size at which the pattern still works, in the family's unit.
        success: (m,): share of the latest samples that it sends to its class.
        pattern: The patterns at the end.
    """

    size: Tensor
    success: Tensor
    pattern: Pattern


@dataclass(frozen=True)
class Samples:
    """Pictures, and what the network reads in them: a pattern is only tried on those of other classes.

    Attributes:
        pixels: uint8 (n, c, h, w), on the engine's device.
        read: int64 (n,): the class that the network reads in each.
    """

    pixels: Tensor
    read: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return (self.pixels.shape[1], self.pixels.shape[2], self.pixels.shape[3])

    @classmethod
    def of(cls, engine: Engine, pixels: Tensor) -> "Samples":
        """Have the network read some pictures, uint8 (n, c, h, w).

        Raises:
            NumericError: it answers with NaN or infinity.
        """
        pixels = pixels.to(engine.device)
        return cls(pixels, answers(engine, pixels).argmax(1))

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pictures (b, c, h, w), uint8, and what is read in them, (b,)."""
        chosen = torch.randperm(len(self.pixels), generator=generator)[:count].to(self.pixels.device)
        return self.pixels[chosen], self.read[chosen]


def answers(engine: Engine, pixels: Tensor) -> Tensor:
    """Return what the network answers to pictures, uint8 (n, c, h, w): logits (n, classes).

    Raises:
        NumericError: it answers with NaN or infinity.
    """
    parts = torch.split(pixels.to(engine.device), engine.micro_batch)
    logits = torch.cat([engine.logits(part.to(engine.dtype) / 255) for part in parts])
    if not bool(logits.isfinite().all()):
        raise NumericError(f"network {engine.classifier.name} answers with NaN or infinity: it cannot be scanned.")
    return logits


def smallest(
    engine: Engine,
    family: Family,
    samples: Samples,
    classes: Tensor,
    effort: Effort,
    *,
    seed: int = 0,
    window: "Tensor | None" = None,
    watch: "Callable[[int], None] | None" = None,
) -> Found:
    """Find the smallest pattern of a family for each class, all in one stream of work.

    Adam walks on the loss; after every step the patterns are projected on a ball, whose size shrinks while the pattern
    sends its share of the samples to the class, and grows while it does not. So it settles where the pattern just
    works: the mean of its logarithm over the last fifth of the steps is the size.

    Args:
        engine: An open engine.
        family: What kind of pattern.
        samples: Pictures; all classes see the same ones, so that they differ by nothing else.
        classes: int64 (m,); one that comes several times gets several starts.
        effort: Steps, samples a step, and what counts as success.
        seed: Of draws and starts.
        window: Bool (h, w), where pasted patterns may act; everywhere by default.
        watch: Called with the number of the step.

    Raises:
        NumericError: the network answers with NaN or infinity.
    """
    draw = torch.Generator().manual_seed(seed)
    generators = [torch.Generator().manual_seed(one) for one in _seeds(classes, seed)]
    shape = samples.shape
    pattern = tuple(part.to(engine.device, engine.dtype) for part in family.start(shape, generators))
    pattern = confine(pattern, window)
    largest = family.largest(shape) if window is None else float(window.sum())
    size = torch.full((len(classes),), largest, device=engine.device, dtype=engine.dtype)
    adam, success = Adam(pattern), torch.zeros_like(size)
    last, total = max(1, effort.steps // 5), torch.zeros_like(size)
    for k in range(1, effort.steps + 1):
        slopes, hits, loss = pull(engine, family, pattern, *samples.draw(effort.batch, draw), classes)
        if not bool(torch.isfinite(loss).all()):
            name = engine.classifier.name
            raise NumericError(f"network {name} answered with NaN or infinity at step {k}: it cannot be scanned.")
        success = hits if k == 1 else MEMORY * success + (1 - MEMORY) * hits
        rises = adam.rise(slopes)
        moved = (part - length * rise for part, length, rise in zip(pattern, family.steps, rises, strict=True))
        rate = effort.shrink[0] + (effort.shrink[1] - effort.shrink[0]) * k / effort.steps
        size = size * torch.where(success >= effort.success, math.exp(-rate), math.exp(rate))
        pattern = family.project(confine(tuple(moved), window), size)
        if k > effort.steps - last:
            total = total + size.log() / last
        if watch is not None:
            watch(k)
    return Found(total.exp(), success, pattern)


def confine(pattern: Pattern, window: "Tensor | None") -> Pattern:
    """Set the masks of pasted patterns, their first parameter (m, h, w), to 0 outside a window, bool (h, w)."""
    if window is None:
        return pattern
    mask, *rest = pattern
    return mask * window.to(mask), *rest


def pull(
    engine: Engine, family: Family, pattern: Pattern, pictures: Tensor, read: Tensor, classes: Tensor
) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """Try m patterns on pictures, uint8 (b, c, h, w), leaving out those that are read as a pattern's class already.

    Returns:
        The gradient at each parameter, the share of hits (m,) and the mean loss (m,).
    """
    batch = (pictures.to(engine.dtype) / 255).expand(len(classes), *pictures.shape)
    others = (read != classes[:, None]).to(engine.dtype)
    share = others / others.sum(1, keepdim=True).clamp_min(1)
    with torch.enable_grad():
        parts = tuple(part.detach().requires_grad_() for part in pattern)
        pasted = family.paste(parts, batch)
        owner = classes.repeat_interleave(len(pictures))
        slopes = engine.gradients(pasted.detach().flatten(0, 1), owner, "log-odds")
        gradients = torch.autograd.grad(pasted, parts, slopes.gradient.view_as(pasted) * share[..., None, None, None])
    hits, loss = (value.view_as(share).to(share) for value in (slopes.hits, slopes.loss))
    return gradients, (hits * share).sum(1), (loss * share).sum(1)


def _seeds(classes: Tensor, seed: int) -> list[int]:
    """Give every start of every class a seed of its own, whatever other classes there are."""
    seen: dict[int, int] = {}
    seeds = []
    for index in classes.tolist():
        seen[index] = seen.get(index, -1) + 1
        seeds.append((seed * 1_009 + seen[index]) * 1_000_003 + index)
    return seeds
