"""Images of the report: each is encoded once, as WebP inside a data URL."""

import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from phosphene.arguments import to_pool_of_shape
from phosphene.concept_map import to_image
from phosphene.concepts import is_class
from phosphene.errors import SamplesError
from phosphene.image_files import encode, to_data_url
from phosphene.labels import Labels
from phosphene.samples import InMemory, SamplePool
from phosphene.samples.labelled import examples_of
from phosphene.textfile import at_home, exists

# All maps of a page together have at most this many pixels per kind of image: 120 maps at 224 pixels in full.
MOST_PIXELS = 120 * 224 * 224
LEAST_SIDE = 48
# The same for natural images: a page of a thousand classes shows them smaller.
MOST_NATURAL_PIXELS = 150 * 224 * 224
# Strengths at the ends of the colour scale: one pixel in two hundred lies beyond them.
QUANTILE = 0.995
# Blue to orange, and dark blue to yellow: both can be told apart with any kind of colour blindness.
DIVERGING = ((22, 72, 138), (104, 160, 212), (247, 247, 245), (240, 163, 94), (160, 72, 10))
SEQUENTIAL = ((0, 34, 78), (62, 76, 108), (124, 123, 120), (188, 175, 111), (254, 232, 56))
LUMINANCE_WEIGHTS = (0.2126, 0.7152, 0.0722)
MAPS_IN_MEMORY = 32
MAX_THREADS = 4  # each starts threads of torch's own

Item = TypeVar("Item")
Result = TypeVar("Result")


def scale_for(maps: int, size: tuple[int, int]) -> float:
    """Return the factor in (0, 1] that reduces ``maps`` images of ``size`` (height, width) to a page's pixels.

    The shorter side keeps at least ``LEAST_SIDE`` pixels, if it has as many.
    """
    min_scale = min(1.0, LEAST_SIDE / min(size))
    return max(min_scale, min(1.0, math.sqrt(MOST_PIXELS / (maps * size[0] * size[1]))))


def data_url(image: Image.Image, scale: float = 1.0, quality: int = 85) -> str:
    """Return an image as a data URL: WebP of this quality, reduced by the factor ``scale``."""
    if scale < 1:
        sides = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(sides, Image.Resampling.LANCZOS, reducing_gap=2.0)
    # Higher methods take twice the time for 2 % of the bytes.
    return to_data_url(encode(image, "WEBP", quality=quality, method=2), "webp")


def in_threads(make: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[tuple[Item, Result]]:
    """Yield each item with what ``make`` returns for it, in order, made by up to 4 threads from 32 items at a time."""
    with ThreadPoolExecutor(min(MAX_THREADS, torch.get_num_threads())) as threads:
        while block := list(itertools.islice(items, MAPS_IN_MEMORY)):
            yield from zip(block, threads.map(make, block), strict=True)
            del block  # before the next items are read


def brightness_image(nu: Tensor) -> Image.Image:
    """Return an image of how subtracting a map changes brightness: orange is brighter, blue darker.

    The colours are scaled to the map's own extremes. The channels of ``nu`` (c, h, w) are summed with the weights of
    Rec. 709, or averaged if there are not three.
    """
    weights = torch.tensor(LUMINANCE_WEIGHTS if len(nu) == 3 else [1 / len(nu)] * len(nu), dtype=torch.float32)
    brightness = -(nu.float().cpu() * weights[:, None, None]).sum(0).numpy()
    limit = max(float(np.quantile(np.abs(brightness), QUANTILE)), 1e-12)
    return _colour(0.5 + 0.5 * (brightness / limit).clip(-1, 1), DIVERGING)


def weight_image(xi: Tensor) -> Image.Image:
    """Return an image of Xi, (1, h, w) in [0, 1]: yellow is 1, dark blue is 0.

    Xi says where the network responds to a map.
    """
    return _colour(xi.float().cpu()[0].clamp(0, 1).numpy(), SEQUENTIAL)


def _colour(values: np.ndarray, anchors: tuple[tuple[int, int, int], ...]) -> Image.Image:
    """Return an RGB image of values (h, w) in [0, 1], whose 256 colours are interpolated between ``anchors``."""
    anchor_levels, levels = np.linspace(0, 1, len(anchors)), np.linspace(0, 1, 256)
    palette = np.stack([np.interp(levels, anchor_levels, [anchor[k] for anchor in anchors]) for k in range(3)], -1)
    image = Image.fromarray((255 * values).round().astype(np.uint8))
    image.putpalette(palette.round().astype(np.uint8).tobytes())
    return image.convert("RGB")


def natural_images(
    reference: "str | Path | SamplePool | InMemory", facts: dict[str, Any]
) -> tuple[str, dict[int, str]]:
    """Return the spec of samples, and the data URL of the first labelled one of each of a run's classes, by class index.

    Classes without an image among the samples are left out.

    Args:
        reference: Samples with labels: a folder or a parquet file, say, or a data set in memory.
        facts: The run's run.json.

    Raises:
        SamplesError: the images cannot be read, or none of them shows one of the classes.
    """
    height, width = facts["model"]["input"]["size"]
    samples: str | SamplePool = at_home(str(reference))
    if not isinstance(reference, str | Path):
        channels = len(facts["model"]["input"]["mean"])
        samples = to_pool_of_shape(reference, (channels, height, width))
    spec = samples.spec if isinstance(samples, SamplePool) else samples
    fix = "Name files after their class (lion.jpg, lion/1.jpg), or take a parquet file with a column `label`."
    if isinstance(samples, str) and ":" not in samples and not exists(samples):
        raise SamplesError(f"reference images {samples} do not exist. {fix}")
    run_labels = {row["index"]: row["label"] for row in facts["jobs"] if is_class(row["index"])}
    # The run knows the labels of its own classes alone; the others keep their places under labels that nothing has.
    classes = max(facts["model"]["classes"], max(run_labels, default=0) + 1)
    labels = Labels([run_labels.get(index, f"\0{index}") for index in range(classes)])
    examples = examples_of(samples, (3, height, width), labels, run_labels)
    if not examples:
        raise SamplesError(
            f"reference images {spec}: no image there has the label of one of this run's {len(run_labels)} classes. {fix}"
        )
    scale = min(1.0, (MOST_NATURAL_PIXELS / (len(examples) * height * width)) ** 0.5)
    images = {one: data_url(to_image(torch.from_numpy(examples[one]) / 255), scale, 82) for one in sorted(examples)}
    return spec, images
