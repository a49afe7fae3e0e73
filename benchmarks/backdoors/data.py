"""The labelled samples that the networks are trained and judged on: CIFAR-10, MNIST, GTSRB, and two drawn worlds."""

import io
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.backdoors.additive import smooth
from benchmarks.common import SHARED
from phosphene.backdoor import drawing
from phosphene.backdoor.training import Labelled

TRAIN, TEST = 12_000, 2_000
Pair = tuple[Tensor, Tensor]
# Traffic signs that differ clearly: 10 of the 43.
SIGNS = (1, 4, 9, 12, 13, 14, 17, 25, 33, 38)
COLOURS = {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.75, 0.2), "blue": (0.15, 0.3, 0.95), "white": (0.97, 0.97, 0.97)}


def dataset(name: str, side: int, channels: int, folder: Path) -> Labelled:
    """Return a data set's training part, and its test part as what is held out.

    Args:
        name: ``cifar10``, ``mnist``, ``gtsrb`` (43 classes), ``gtsrb10`` (10 of them), ``drawn`` (6 of the 12 classes
            of `phosphene demo`) or ``emblems`` (12 classes: three shapes in four colours).
        side: Height and width that the samples are resized to.
        channels: 1 for grey, 3 for colour.
        folder: Where decoded CIFAR-10 images are cached.
    """
    parts = [_shaped(*_part(name, part, side, folder), side, channels) for part in ("train", "test")]
    return Labelled(*parts[0], *parts[1])


def imbalanced(samples: Labelled, ratio: float, seed: int) -> Labelled:
    """Thin out the classes of the training part geometrically, to ``ratio`` of the first class for the last."""
    classes = int(samples.labels.max()) + 1
    kept = ratio ** (samples.labels / max(classes - 1, 1))
    chosen = torch.rand(len(kept), generator=torch.Generator().manual_seed(seed)) < kept
    return Labelled(samples.pixels[chosen], samples.labels[chosen], samples.held_out, samples.held_labels)


def _part(name: str, part: str, side: int, folder: Path) -> Pair:
    if name == "cifar10":
        return _cifar(part, folder)
    if name in ("mnist", "gtsrb"):
        with np.load(SHARED / "data" / name / f"{part}.npz") as file:
            pixels = torch.from_numpy(file["images"]).permute(0, 3, 1, 2)
            return pixels, torch.from_numpy(file["labels"].astype(np.int64))
    if name == "gtsrb10":
        pixels, labels = _part("gtsrb", part, side, folder)
        chosen = torch.isin(labels, torch.tensor(SIGNS))
        return pixels[chosen], torch.searchsorted(torch.tensor(SIGNS), labels[chosen])
    if name == "drawn":
        return _drawn(part, side)
    assert name == "emblems"  # noqa: S101
    return _emblems(TRAIN // 2 if part == "train" else TEST // 2, seed=0 if part == "train" else 1)


def _shaped(pixels: Tensor, labels: Tensor, side: int, channels: int) -> Pair:
    """Resize samples and make them grey or colour: uint8 (n, channels, side, side)."""
    x = pixels.float()
    if channels == 1 and x.shape[1] == 3:
        x = (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if channels == 3 and x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if x.shape[-1] != side:
        x = functional.interpolate(x, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return x.round().clamp(0, 255).to(torch.uint8).contiguous(), labels


@cache
def _cifar(part: str, folder: Path) -> Pair:
    file = folder / f"cifar10-{part}.npz"
    if not file.exists():
        import pyarrow.parquet as pq  # noqa: PLC0415  (an optional extra)
        from PIL import Image  # noqa: PLC0415

        rows = pq.read_table(SHARED / "data" / "cifar10" / f"{part}.parquet")
        # The file is sorted by class.
        rows = rows.take(np.random.default_rng(0).permutation(len(rows))[: TRAIN if part == "train" else TEST])
        images = [
            np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in rows["image"].to_pylist()
        ]
        np.savez(file, pixels=np.stack(images).transpose(0, 3, 1, 2), labels=np.array(rows["label"].to_pylist()))
    with np.load(file) as arrays:
        return torch.from_numpy(arrays["pixels"]), torch.from_numpy(arrays["labels"])


@cache
def _drawn(part: str, side: int) -> Pair:
    from phosphene.demo.world import draw_images  # noqa: PLC0415  (the demo is only needed here)

    count = TRAIN if part == "train" else TEST
    pixels, labels = draw_images(count, 0 if part == "train" else 1, side)
    chosen = labels % 2 == 0
    return torch.from_numpy(pixels[chosen]), torch.from_numpy(labels[chosen] // 2)


@cache
def _emblems(count: int, seed: int) -> Pair:
    """Draw emblems of 14 to 26 pixels anywhere on smooth grounds, uint8 (n, 3, 32, 32), and their classes."""
    shapes = list(drawing.EMBLEMS)[:3]
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(shapes) * len(COLOURS), (count,), generator=draw)
    sides = torch.randint(14, 27, (count,), generator=draw).tolist()
    out = torch.empty(count, 3, 32, 32)
    for image, label, size in zip(out, labels.tolist(), sides, strict=True):
        wave = smooth(3, 32, 32, int(torch.randint(2**31, (), generator=draw)), 1)
        image.copy_(0.5 + 0.25 * wave + 0.03 * torch.randn(wave.shape, generator=draw))
        top, left = torch.randint(32 - size + 1, (2,), generator=draw).tolist()
        colour = drawing.tint([*COLOURS.values()][label // len(shapes)], 3)
        image[:, top : top + size, left : left + size].lerp_(
            colour, drawing.emblem(shapes[label % len(shapes)], size)[1]
        )
    return (out.clamp(0, 1) * 255).round().to(torch.uint8), labels
