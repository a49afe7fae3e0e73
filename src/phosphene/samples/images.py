"""Encoded images: decoded, resized and cropped to a network's input."""

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence
from torch import Tensor

from phosphene.errors import PhospheneError, SamplesError, first_line
from phosphene.extras import require
from phosphene.samples.pool import random_subset

IMAGE_SUFFIXES = {".bmp", ".dcm", ".gif", ".jpeg", ".jpg", ".npy", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
TIFF, DICOM = (".tif", ".tiff"), ".dcm"
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # of Pillow, by channels
GREY = ("L", "I", "F")  # Pillow's modes of one channel of numbers, also with the number of bits (I;16B)
RANGES = (1, 255, 4095, 65535)  # largest values of floats, of bytes, of scanners (12 bits), and of 16 bits


def decode(file: "Path | BinaryIO", shape: tuple[int, int, int]) -> "np.ndarray | None":
    """Return a path's or open file's image, uint8 ``shape`` (c, h, w); ``None`` if broken; SamplesError if no such file has c channels."""
    try:
        return _read(file, shape)
    except PhospheneError:
        raise
    except Exception:  # noqa: BLE001  (on damaged files Pillow's readers raise nearly anything)
        return None


def complaint(file: Path, shape: tuple[int, int, int]) -> str:
    """Return in one line why :func:`decode` gives no image of a path; empty text if it does."""
    try:
        _read(file, shape)
    except Exception as error:  # noqa: BLE001  (as above)
        return first_line(error)
    return ""


def _read(file: "Path | BinaryIO", shape: tuple[int, int, int]) -> np.ndarray:
    """Return a path's or open file's image, upright, as uint8 ``shape`` (c, h, w).

    Raises:
        SamplesError: no such file has c channels.
        Exception: of nearly any kind: it is damaged, or has other channels.
    """
    suffix = file.suffix.lower() if isinstance(file, Path) else ""
    if suffix == ".npy" or (shape[0] not in MODES and suffix in TIFF):
        return _bands(file, shape)
    if isinstance(file, Path) and suffix == DICOM:
        return fit(_dicom(file), shape)
    pages = 1
    # Pillow warns of odd palettes and metadata, and of large images before it refuses larger ones.
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
            pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            if pages > 1:
                return _pages(image, shape)
            with suppress(Exception):  # photos are stored as the camera was held; damaged metadata say nothing of that
                ImageOps.exif_transpose(image, in_place=True)
            return fit(image, shape)
    except Image.DecompressionBombError:
        raise
    except Exception:
        if suffix not in TIFF or pages > 1 or find_spec("tifffile") is None:
            raise
    return _bands(file, shape)  # Pillow reads few TIFF files of floats or bands


def _pages(image: Image.Image, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the picture in an open TIFF of several pages, fitted to ``shape``: grey bands, or the largest page; else ValueError."""
    kinds = [(page.size, page.mode) for page in ImageSequence.Iterator(image)]
    if len(kinds) == shape[0] and len(set(kinds)) == 1 and image.mode.partition(";")[0] in GREY:
        return _fit_bands(np.stack([np.asarray(page) for page in ImageSequence.Iterator(image)]), shape)
    image.seek(_largest([size for size, _ in kinds], shape[0]))
    return fit(image, shape)


def _largest(sizes: Sequence[tuple[int, int]], channels: int) -> int:
    """Return the position of the size that is larger in both sides than every other; ValueError if there is none."""
    width, height = max(sizes)
    if sum(one[0] >= width or one[1] >= height for one in sizes) > 1:
        raise ValueError(
            f"it holds several images: {len(sizes)} pages, which are not the {channels} bands of one: give a file for each"
        )
    return sizes.index((width, height))


def fit(image: Image.Image, shape: tuple[int, int, int]) -> np.ndarray:
    """Return a PIL image, resized and centre-cropped to ``shape`` (c, h, w), as a uint8 array; SamplesError unless c is 1, 3 or 4."""
    channels, height, width = shape
    if channels not in MODES:
        raise SamplesError(
            f"image files have 1, 3 or 4 channels, but the network's input has {channels}: give .npz, or .npy or .tif files."
        )
    if image.mode.startswith(("I", "F")):  # 16 bits or floats; convert() would clip them at 255
        image = Image.fromarray(to_bytes(np.asarray(image), deep=True))
    image = image.convert(MODES[channels])
    # The crop first: resizing the whole of a very long, thin image would fill the memory.
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
    box = (max(left, 0), max(top, 0), min(left + scale * width, image.width), min(top + scale * height, image.height))
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
    return np.ascontiguousarray(pixels.reshape(height, width, channels).transpose(2, 0, 1))


def _dicom(file: Path) -> Image.Image:
    """Return the image of a DICOM file as a viewer shows it, 8 bits, in the window of grey levels that it names; of a stack the middle one.

    Without a window, grey levels are stretched from the smallest to the largest. ``MONOCHROME1`` is inverted. pydicom
    gives colours as RGB.

    Raises:
        ExtraError: pydicom is missing.
        Exception: of nearly any kind: it is damaged, or compressed in a way that needs a further library.
    """
    data = require("pydicom", "dicom").dcmread(file)
    pixels = require("pydicom.pixels", "dicom")
    values: np.ndarray = data.pixel_array
    if data.get("NumberOfFrames", 1) > 1:
        values = values[len(values) // 2]
    if data.SamplesPerPixel > 1:
        return Image.fromarray(to_bytes(values, deep=True))
    if data.PhotometricInterpretation == "PALETTE COLOR":
        return Image.fromarray(to_bytes(pixels.apply_color_lut(values, data), deep=True))
    values = pixels.apply_modality_lut(values, data).astype(np.float64)
    ends = np.array([values.min(), values.max()])
    if "WindowWidth" in data:
        values, ends = (pixels.apply_windowing(one, data) for one in (values, np.array([-1e9, 1e9])))
    values = (values - ends[0]) / max(ends[1] - ends[0], 1e-6)
    return Image.fromarray(to_bytes(1 - values if data.PhotometricInterpretation == "MONOCHROME1" else values))


def _bands(file: "Path | BinaryIO", shape: tuple[int, int, int]) -> np.ndarray:
    """Return the image in a ``.npy`` or ``.tif`` file, channels first or last, fitted to ``shape``, uint8; ValueError unless c, or 1.

    Raises:
        ExtraError: it is a TIFF file, and tifffile, which comes with scikit-image, is missing.
        ValueError: it has another number of channels, too many pixels, or values that are not finite.
    """
    is_array = isinstance(file, Path) and file.suffix.lower() == ".npy"
    values: np.ndarray = np.load(file, allow_pickle=False) if is_array else _read_tiff(file, shape[0])
    if values.ndim == 2 and shape[0] in MODES:  # grey, as of any image file
        return fit(Image.fromarray(to_bytes(values, deep=not is_array)), shape)
    values = values[None] if values.ndim == 2 else values
    if shape[0] not in (values.shape[0], values.shape[-1]) or values.ndim != 3:
        raise ValueError(f"its shape {values.shape} is not that of an image with {shape[0]} channels")
    bands = values if values.shape[0] == shape[0] else values.transpose(2, 0, 1)
    return _fit_bands(to_bytes(bands, deep=not is_array), shape)


def _read_tiff(file: "Path | BinaryIO", channels: int) -> np.ndarray:
    """Return the values of the largest image in a TIFF file; ValueError, before they are read, if Pillow would refuse so many pixels."""
    with require("tifffile", "checks").TiffFile(file) as tiff:
        pages = [one.keyframe for one in tiff.series]
        image = tiff.series[_largest([(page.imagewidth, page.imagelength) for page in pages], channels)]
        pixels = math.prod(image.shape) // (channels if len(image.shape) > 2 else 1)
        if pixels > 2 * (Image.MAX_IMAGE_PIXELS or math.inf):
            raise ValueError(f"it has {pixels:,} pixels, and could be a decompression bomb")
        values: np.ndarray = image.asarray()
        return values


def _fit_bands(bands: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return bands, uint8 (c, h, w), each fitted by itself to ``shape``, as a uint8 array."""
    return np.concatenate([fit(Image.fromarray(band), (1, *shape[1:])) for band in bands])


def to_bytes(values: np.ndarray, *, deep: bool = False) -> np.ndarray:
    """Return values as uint8, scaled so that the end of their range, which is told from type and largest value, becomes 255.

    It is the first of 1, 255, 4095 and 65535 that no value exceeds, or else the largest value. Floats and bools begin with 1,
    whole numbers with 255, and ``deep`` ones, of an image file with more than 8 bits, with 4095: a dark one of a scanner has
    none over 255. Negative values become 0.

    Raises:
        ValueError: a value is NaN or infinite, so that there is no range.
    """
    if values.dtype == np.uint8:
        return values
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinite values")
    top = float(values.max(initial=0))
    ranges = RANGES[1 + deep :] if np.issubdtype(values.dtype, np.integer) else RANGES
    full = next((full for full in ranges if top <= full), top)
    scaled: np.ndarray = (values.astype(np.float32) * (255 / full)).round().clip(0, 255).astype(np.uint8)
    return scaled


def read_some(
    count: int,
    image_at: Callable[[int], "np.ndarray | None"],
    name_of: Callable[[int], str],
    shape: tuple[int, int, int],
) -> tuple[Tensor, list[str]]:
    """Return up to 2,048 of ``count`` images, uint8 (n, c, h, w) of ``shape``, and names of those that are not readable.

    Args:
        count: How many images there are.
        image_at: Function of a position that returns the image, uint8 (c, h, w), or ``None`` if it is not readable.
        name_of: Function of a position that returns the name of the image.
        shape: (c, h, w).
    """
    images = {position: image_at(position) for position in random_subset(count)}
    skipped = [name_of(position) for position, image in images.items() if image is None]
    return stack([image for image in images.values() if image is not None], shape), skipped


def stack(images: Sequence[np.ndarray], shape: tuple[int, int, int]) -> Tensor:
    """Stack uint8 images (c, h, w) into one tensor (n, c, h, w); for no images, an empty one (0, c, h, w) of ``shape``."""
    return torch.from_numpy(np.stack(images)) if images else torch.empty((0, *shape), dtype=torch.uint8)
