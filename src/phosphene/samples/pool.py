"""A pool of samples, decoded once, with a held-out part that maps are never computed from."""

import hashlib
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from phosphene.errors import SamplesError
from phosphene.formats import count

# More samples than this add nothing that a map could show, and take memory: 2,048 at 224 pixels are 310 MB.
MAX_SAMPLES = 2048
# Every tenth sample is held out, between these bounds.
HELD_OUT = (1, 64)
# Of fewer held-out samples, a share says little: with all of 9, it may be 70 %.
FEW_HELD_OUT = 10
RGB, CORRELATION = 3, 0.9  # the channels of a photograph, and roughly how they correlate
# Spec of samples that were given as objects, which no spec loads; run.json tells them apart by their hash.
MEMORY = "memory"
Label = int | str | None


@dataclass(frozen=True, eq=False)
class SamplePool:
    """Samples loaded from a spec, or given: ``pixels`` to compute maps from, and ``held_out`` to measure them on.

    Attributes:
        pixels: uint8 (n, c, h, w): what maps are computed from.
        held_out: uint8 (m, c, h, w): what the targeting rate is measured on.
        spec: Sample spec that the pool was loaded from; ``memory`` if it was given as a tensor, an array or a data set.
        skipped: Names of files that could not be decoded, and of run directories.
        labels: What a data set in memory calls the class of each sample, the held-out ones last; else empty.
    """

    pixels: Tensor
    held_out: Tensor
    spec: str
    skipped: tuple[str, ...] = field(default=())
    labels: tuple[Label, ...] = field(default=())

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.pixels.shape[1:]))
        return f"SamplePool({self.spec!r}, {count(len(self), 'sample')}, {len(self.held_out)} held out, {shape})"

    def __len__(self) -> int:
        return len(self.pixels) + len(self.held_out)

    @cached_property
    def sha256(self) -> str:
        """Hash, as hex, of all pixels and of which samples are held out; cached."""
        digest = hashlib.sha256()
        for part in (self.pixels, self.held_out):
            digest.update(repr(tuple(part.shape)).encode())
            digest.update(part.cpu().numpy().tobytes())
        return digest.hexdigest()

    @property
    def synthetic(self) -> bool:
        """Whether the samples are drawn patterns that show nothing, whose colours and features are not natural."""
        return self.spec.startswith("synthetic:")

    @cached_property
    def colour_covariance(self) -> Tensor:
        """Covariance (c, c), float64, of the channels, for values in [0, 1], over the pixels not held out.

        The channels of synthetic samples are drawn independently and are not informative; for them it is that of
        correlated channels, as photographs roughly have.
        """
        channels = self.pixels.shape[1]
        if self.synthetic:
            correlation = CORRELATION if channels == RGB else 0.0  # nothing is known about other channels
            ones, identity = torch.ones(channels, channels).double(), torch.eye(channels).double()
            return correlation * ones + (1 - correlation) * identity
        sums, products, count = torch.zeros(channels).double(), torch.zeros(channels, channels).double(), 0
        for part in torch.split(self.pixels, 16):
            values = part.cpu().transpose(0, 1).flatten(1).double() / 255
            sums, products, count = sums + values.sum(1), products + values @ values.T, count + values.shape[1]
        mean = sums / count
        return products / count - torch.outer(mean, mean)

    def to(self, device: "torch.device | str") -> "SamplePool":
        """Return a copy of the pool whose pixels, held-out ones too, are on a torch device."""
        moved = copy(self)  # with the hash and the covariance, if they are known
        vars(moved).update(pixels=self.pixels.to(device), held_out=self.held_out.to(device))
        return moved

    def draw_rows(self, count: int, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw ``count`` samples per map from the map's own generator; return their positions in ``pixels``.

        The positions are int64 (maps, count). Without replacement if the pool has ``count`` samples (Alg. 1, line 3: a
        subset of size b).
        """
        total = len(self.pixels)
        rows = [
            torch.randperm(total, generator=generator)[:count]
            if total >= count
            else torch.randint(total, (count,), generator=generator)
            for generator in generators
        ]
        return torch.stack(rows)


def make_pool(samples: Tensor, spec: str, skipped: Sequence[str] = (), labels: Sequence[Label] = ()) -> SamplePool:
    """Return a pool of samples, uint8 (n, c, h, w), of which a tenth (1 to 64) is held out by a fixed shuffle.

    ``labels``, if there are any, are those of the samples, in the same order.

    Raises:
        SamplesError: there are fewer than two samples.
    """
    count = len(samples)
    if count < 2:
        raise SamplesError(
            f"samples {spec} contain {count} readable image{'s' * (count != 1)}; "
            "at least 2 are needed, because one is held out."
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    held_out = min(max(count // 10, HELD_OUT[0]), HELD_OUT[1])
    rows = [order[held_out:], order[:held_out]]
    pixels, held = (samples[part].contiguous() for part in rows)
    return SamplePool(
        pixels, held, spec, tuple(skipped), tuple(labels[row] for row in torch.cat(rows).tolist()) if labels else ()
    )


def random_subset(count: int) -> list[int]:
    """Return at most 2,048 of the positions 0 to ``count`` - 1, in order; the choice is always the same."""
    if count <= MAX_SAMPLES:
        return list(range(count))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))[:MAX_SAMPLES]
    return sorted(order.tolist())
