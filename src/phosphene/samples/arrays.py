"""Samples as arrays: ``.npy``, or of an ``.npz`` the one array that has the shape of images, or of several the one of that name."""

import math
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from phosphene.errors import SamplesError, one_line
from phosphene.samples.images import to_bytes
from phosphene.samples.pool import RGB, random_subset

SUFFIXES = (".npz", ".npy")
MAX_BYTES = 4_000_000_000
IMAGE_NAMES = ("image", "images", "x")  # of the array to take if several have the shape of images, as masks have, too


def read(where: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Return up to 2,048 images of a ``.npy`` or ``.npz`` file, uint8 (n, c, h, w) fitted to ``shape``, and an empty list.

    Raises:
        SamplesError: the file is unreadable, or holds no array of images with the right number of channels, or several
            of which not one alone is called as :data:`IMAGE_NAMES` are.
    """
    # Damaged archives fail in zipfile, zlib, numpy or the parser of headers; given a name, numpy leaves them open.
    with one_line(SamplesError, f"sample file {where} holds no readable arrays"), Path(where).open("rb") as file:
        if zipfile.is_zipfile(file):
            _check_size(file)
        file.seek(0)
        loaded = np.load(file, allow_pickle=False)
        members = {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
        arrays = {name: array for name, array in members.items() if isinstance(array, np.ndarray)}
    called = f"sample file {where}"
    fitting: dict[str, np.ndarray] = {}
    for images_in in (channels_first, grey_images):
        found = {name: images_in(array, shape[0], called) for name, array in arrays.items()}
        fitting = {name: images for name, images in found.items() if images is not None}
        if fitting:
            break
    if len(fitting) > 1:
        named = [name for name in fitting if name.lower() in IMAGE_NAMES]
        if len(named) != 1:
            raise SamplesError(
                f"{called} holds several arrays that may be images ({', '.join(fitting)}): call the one to take 'images', and "
                "its labels, if there are any, 'labels', or save it in a file of its own."
            )
        fitting = {named[0]: fitting[named[0]]}
    if not fitting:
        listed = ", ".join(f"{name} {array.dtype}{array.shape}" for name, array in arrays.items())
        fix = (
            " Save bools as bytes: array.astype(np.uint8) * 255."
            if bool in [one.dtype for one in arrays.values()]
            else ""
        )
        raise SamplesError(
            f"{called} holds no numeric array of images (n, h, w, c) with {shape[0]} channels: {listed}.{fix}"
        )
    (images,) = fitting.values()
    return fitted(images, shape, called), []


def fitted(images: np.ndarray, shape: tuple[int, int, int], called: str) -> Tensor:
    """Return images (n, c, h, w) of integers in [0, 255] or floats in [0, 1], as uint8 fitted to ``shape``: up to 2,048, a random choice.

    Raises:
        SamplesError: a value is out of range; ``called`` is what the message says of which images.
    """
    images = images[random_subset(len(images))]
    if not len(images):
        return torch.empty((0, *shape), dtype=torch.uint8)
    # torch has no foreign byte orders and no long doubles
    pixels = torch.from_numpy(np.ascontiguousarray(images, np.uint8 if images.dtype == np.uint8 else np.float32))
    if pixels.dtype != torch.uint8 and images.dtype == np.uint16:
        pixels = torch.from_numpy(to_bytes(images))
    elif pixels.dtype != torch.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        top = 255 if np.issubdtype(images.dtype, np.integer) else 1
        if math.isnan(low):
            raise SamplesError(
                f"{called} holds {images.dtype} with NaN: leave out such images, or put numbers in place of NaN."
            )
        if not (low >= 0 and high <= top):
            raise SamplesError(
                f"{called} holds {images.dtype} from {low:g} to {high:g}: give integers in [0, 255], or floats in [0, 1], "
                "which are not normalised."
            )
        pixels = (pixels * (255 / top)).round().byte()
    # Cropped to the proportions of the input, as image files are, but at whole pixels.
    height, width = pixels.shape[-2:]
    scale = min(height / shape[1], width / shape[2])
    tall, wide = max(round(scale * shape[1]), 1), max(round(scale * shape[2]), 1)
    upper, left = (height - tall) // 2, (width - wide) // 2
    pixels = pixels[..., upper : upper + tall, left : left + wide]
    if tuple(pixels.shape[-2:]) != shape[1:]:
        resized = functional.interpolate(pixels.float(), shape[1:], mode="bilinear", antialias=True)
        pixels = resized.round().clamp(0, 255).byte()
    return pixels


def _check_size(file: BinaryIO) -> None:
    """Raise ValueError if a zip archive would unpack to more than 4 GB."""
    with zipfile.ZipFile(file) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MAX_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes; give at most {MAX_BYTES:,}")


def channels_first(array: np.ndarray, channels: int, called: str) -> "np.ndarray | None":
    """Return an array (n, c, h, w) or (n, h, w, c) of ``channels`` channels, for 1 also (n, h, w), as (n, c, h, w); else ``None``.

    Raises:
        SamplesError: it may be of either layout; ``called`` is what the message says of which array.
    """
    if array.ndim == 3 and channels == 1:
        array = array[:, None]
    real = np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    if not real or array.ndim != 4 or 0 in array.shape[1:]:
        return None
    if array.shape[1] == channels == array.shape[3] and array.shape[2:] != (1, 1):
        raise SamplesError(
            f"{called}: {array.shape[1:]} may be channels, height, width or height, width, channels: resize the images so "
            "that only one of these fits."
        )
    if array.shape[1] == channels:
        return array
    return array.transpose(0, 3, 1, 2) if array.shape[3] == channels else None


def grey_images(array: np.ndarray, channels: int, called: str) -> "np.ndarray | None":
    """Return an array of grey images for a network of 3 ``channels``, which get the same values, as (n, 3, h, w); else ``None``.

    They are (n, 1, h, w), (n, h, w, 1) or (n, h, w); but (3, h, w) and (h, w, 3) are one image in colour, and not taken.

    Raises:
        SamplesError: as :func:`channels_first`.
    """
    if channels != RGB or (array.ndim == 3 and RGB in (array.shape[0], array.shape[2])):
        return None
    grey = channels_first(array, 1, called)
    return None if grey is None else np.broadcast_to(grey, (len(grey), RGB, *grey.shape[2:]))
