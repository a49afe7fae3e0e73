"""A pool of sample pictures, decoded once, with a part that maps never see."""

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from phosphene.errors import SamplesError

# More pictures than this add nothing that a map could show, and take memory: 2,048 at 224 pixels are 310 MB.
MOST = 2048
# Every tenth picture is held out, between these bounds.
HELD_OUT = (1, 64)
RGB, CORRELATION = 3, 0.9  # a photograph's channels, and how alike they are in the rough


@dataclass(frozen=True)
class SamplePool:
    """Pictures that stand for the data distribution.

    Attributes:
        pixels: uint8 (n, c, h, w): what maps are made from.
        held_out: uint8 (m, c, h, w): what maps never see; the targeting rate is measured here.
        spec: What the pool was made from.
        skipped: Names of files that could not be decoded.
    """

    pixels: Tensor
    held_out: Tensor
    spec: str
    skipped: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.pixels) + len(self.held_out)

    @cached_property
    def sha256(self) -> str:
        """Hash of all pixels, and of which are held out."""
        digest = hashlib.sha256()
        for part in (self.pixels, self.held_out):
            digest.update(repr(tuple(part.shape)).encode())
            digest.update(part.cpu().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def colour_covariance(self) -> Tensor:
        """Covariance of the channels over all pixels that maps are made from, (c, c), float64, of values in [0, 1].

        The channels of synthetic pictures are drawn apart and say nothing of this; for them it is that of pictures
        whose channels rise and fall together, as photographs' roughly do.
        """
        channels = self.pixels.shape[1]
        if self.spec.startswith("synthetic:"):
            alike = CORRELATION if channels == RGB else 0.0  # of other channels nothing is known
            return alike * torch.ones(channels, channels).double() + (1 - alike) * torch.eye(channels).double()
        total, products, count = torch.zeros(channels).double(), torch.zeros(channels, channels).double(), 0
        for part in torch.split(self.pixels, 16):
            values = part.cpu().transpose(0, 1).flatten(1).double() / 255
            total, products, count = total + values.sum(1), products + values @ values.T, count + values.shape[1]
        mean = total / count
        return products / count - torch.outer(mean, mean)

    def to(self, device: "torch.device | str") -> "SamplePool":
        """Return the pool with its pixels on ``device``."""
        return SamplePool(self.pixels.to(device), self.held_out.to(device), self.spec, self.skipped)

    def mini_batches(self, count: int, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a mini-batch for every map: uint8 (maps, count, c, h, w), each from its map's own generator.

        Without replacement where the pool is large enough (Alg. 1, line 3: a subset of size b).
        """
        total = len(self.pixels)
        rows = [
            torch.randperm(total, generator=own)[:count]
            if total >= count
            else torch.randint(total, (count,), generator=own)
            for own in generators
        ]
        return self.pixels[torch.stack(rows).to(self.pixels.device)]


def make_pool(pictures: Tensor, spec: str, skipped: Sequence[str] = ()) -> SamplePool:
    """Split pictures (n, c, h, w), uint8, into a pool and its held-out part, always the same way.

    Raises:
        SamplesError: fewer than two pictures.
    """
    count = len(pictures)
    if count < 2:
        raise SamplesError(
            f"samples {spec} hold {count} usable picture{'s' * (count != 1)}; at least 2 are needed, one is held out."
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    held = min(max(count // 10, HELD_OUT[0]), HELD_OUT[1])
    return SamplePool(pictures[order[held:]].contiguous(), pictures[order[:held]].contiguous(), spec, tuple(skipped))


def chosen(count: int, most: int = MOST) -> list[int]:
    """Return at most ``most`` of ``count`` positions, spread by a fixed shuffle, in rising order."""
    if count <= most:
        return list(range(count))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))[:most]
    return sorted(order.tolist())


def decode(file: "Path | BinaryIO", shape: tuple[int, int, int]) -> "np.ndarray | None":
    """Read an encoded picture and :func:`fit` it; ``None`` where it cannot be read."""
    try:
        # Pillow warns of odd palettes and metadata, and of large pictures before it refuses larger ones.
        with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
            return fit(image, shape)
    except SamplesError:
        raise
    except Exception:  # noqa: BLE001  (on damaged files Pillow's readers raise nearly anything)
        return None


def fit(image: Image.Image, shape: tuple[int, int, int]) -> np.ndarray:
    """Resize and centre-crop a picture to ``shape`` (c, h, w): uint8, channels first."""
    channels, height, width = shape
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if channels not in modes:
        raise SamplesError(f"image files have 1, 3 or 4 channels, the network wants {channels}: give samples as .npz.")
    if image.mode.startswith("I"):  # 16 bits; convert() would clip them at 255
        image = Image.fromarray((np.asarray(image, np.float32) / 257).round().clip(0, 255).astype(np.uint8))
    image = image.convert(modes[channels])
    # The crop first: resizing the whole of a picture like a thread would fill the memory.
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
    box = (max(left, 0), max(top, 0), min(left + scale * width, image.width), min(top + scale * height, image.height))
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
    return np.ascontiguousarray(pixels.reshape(height, width, channels).transpose(2, 0, 1))


def stack(pictures: Iterable[np.ndarray], shape: tuple[int, int, int]) -> Tensor:
    """Stack uint8 pictures (c, h, w) to one tensor (n, c, h, w), also when there are none."""
    listed = list(pictures)
    return torch.from_numpy(np.stack(listed)) if listed else torch.empty((0, *shape), dtype=torch.uint8)
