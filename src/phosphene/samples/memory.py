"""Samples in memory: a tensor or an array of images, or a data set of images, as of ``torch.utils.data``."""

from collections.abc import Iterator, Sequence, Sized
from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from phosphene.errors import SamplesError, describe, one_line
from phosphene.samples.arrays import channels_first, fitted, grey_images
from phosphene.samples.images import fit, stack
from phosphene.samples.pool import Label, random_subset


def read(samples: Any, shape: tuple[int, int, int]) -> tuple[Tensor, list[Label]]:
    """Return up to 2,048 images that are given as objects, uint8 (n, c, h, w) fitted to ``shape``, and the label of each.

    Args:
        samples: A tensor or an array (n, h, w, c) or (n, c, h, w), for one channel also (n, h, w), of bytes or of floats in
            [0, 1]; or a data set (``len(samples)``, ``samples[0]``) of Pillow's images or of such tensors or arrays of one
            image each, alone or as pairs with a label.
        shape: Channels, height and width of the network's input.

    Returns:
        uint8 (n, c, h, w), and the labels, if there are any: names or whole numbers, as the data set gives them, or names in
        place of numbers if it has a list of ``classes``; ``None`` for an image without one.

    Raises:
        SamplesError: they are neither, cannot be read, or hold no images with the right channels, layout and range.
    """
    if isinstance(samples, Tensor | np.ndarray):
        with one_line(SamplesError, "samples cannot be read"):
            return _fitted(samples, shape, "samples", one=False), []
    if isinstance(samples, torch.utils.data.DataLoader):
        raise SamplesError("samples are a DataLoader: give its data set, loader.dataset.")
    if isinstance(samples, Iterator):
        raise SamplesError(f"samples are {describe(samples)}: give a list of the images, list(samples).")
    if not isinstance(samples, Sized) or not hasattr(samples, "__getitem__"):
        raise SamplesError(
            "samples are a spec such as 'photos/' or 'synthetic:mixed', a pool of phosphene.load_samples, a tensor or an "
            f"array of images, or a data set of them with a length and an order, not {describe(samples)}."
        )
    names = _class_names(samples)
    images, labels = [], list[Label]()
    for position in random_subset(len(samples)):
        called = f"samples[{position}]"
        with one_line(SamplesError, f"{called} cannot be read"):
            item = samples[position]
            image, *more = item if isinstance(item, tuple | list) else (item,)
            images.append(_image(image, shape, called))
            labels.append(_label(more[0], names) if more else None)
    return stack(images, shape), labels if any(label is not None for label in labels) else []


def _image(image: Any, shape: tuple[int, int, int], called: str) -> np.ndarray:
    """Return an image of Pillow, a tensor or an array as uint8 of ``shape`` (c, h, w); SamplesError, about ``called``, if it is none."""
    if isinstance(image, Image.Image):
        return fit(image, shape)
    if isinstance(image, Tensor | np.ndarray):
        pixels: np.ndarray = _fitted(image, shape, called, one=True)[0].numpy()
        return pixels
    fix = "give images of Pillow, tensors or arrays, each alone or with a label"
    if isinstance(image, str | PathLike):
        fix = "give the folder of the images in place of their paths, or open each with PIL.Image.open"
    raise SamplesError(f"{called} is {describe(image)}: {fix}.")


def _fitted(values: "Tensor | np.ndarray", shape: tuple[int, int, int], called: str, *, one: bool) -> Tensor:
    """Return a tensor or an array of images, or of ``one``, as uint8 (n, c, h, w) fitted to ``shape``.

    SamplesError, about ``called``, if it holds none.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    if values.dtype == bool:
        raise SamplesError(
            f"{called} holds True and False: give {called}.astype(np.uint8) * 255, or .to(torch.uint8) * 255 of a tensor."
        )
    several = values[None] if one else values
    images = channels_first(several, shape[0], called)
    images = grey_images(several, shape[0], called) if images is None else images
    if images is None:
        layouts = "an image (h, w, c) or (c, h, w)" if one else "images (n, h, w, c) or (n, c, h, w)"
        raise SamplesError(
            f"{called}: {values.dtype}{values.shape} is no numeric array of {layouts} with {shape[0]} channels."
        )
    return fitted(images, shape, called)


def _label(value: Any, names: Sequence[str]) -> Label:
    """Return a label as text or as Python's whole number, which becomes one of ``names`` if there are any; ``None`` if it is neither."""
    value = value.tolist() if isinstance(value, Tensor | np.ndarray | np.generic) else value
    if type(value) is int and names:
        return names[value] if 0 <= value < len(names) else None
    return value if isinstance(value, str) or type(value) is int else None


def _class_names(samples: Any) -> list[str]:
    """Return the names of a data set's classes, its ``classes`` or those of what it is a part of; perhaps none."""
    while not hasattr(samples, "classes") and isinstance(samples, torch.utils.data.Subset):
        samples = samples.dataset
    classes = getattr(samples, "classes", None)
    names = classes if isinstance(classes, list | tuple) else ()
    # torchvision's ImageNet has a tuple of synonyms for each
    return [", ".join(name) if isinstance(name, tuple | list) else str(name) for name in names]
