"""A parquet file with a column ``image``: encoded bytes, or a struct with ``bytes`` (as the HF hub stores them)."""

import io
import json
from typing import Any

import numpy as np
from torch import Tensor

from phosphene.errors import SamplesError, one_line
from phosphene.extras import require
from phosphene.samples.images import decode, stack
from phosphene.samples.pool import random_subset

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class")


class ImageTable:
    """The images and label column of a parquet file, opened by path; images are decoded row by row when asked for.

    Attributes:
        labels: Per row, what the label column holds; ``None`` if there is no such column. Whole numbers are replaced
            by class names if the file's Hugging Face metadata list them.

    Raises:
        ExtraError: pyarrow is not installed.
        SamplesError: the file cannot be read, or has no image column.
    """

    def __init__(self, path: str) -> None:
        parquet = require("pyarrow.parquet", "parquet")
        with one_line(SamplesError, f"sample file {path} is not readable parquet"):
            file = parquet.ParquetFile(path)
            names = file.schema_arrow.names
            image, label = (next((name for name in c if name in names), None) for c in (IMAGE_COLUMNS, LABEL_COLUMNS))
            table = file.read(columns=[name for name in (image, label) if name]) if image else None
        if table is None:
            raise SamplesError(f"sample file {path} has no column 'image', only {', '.join(names)}.")
        self._images = table.column(image)
        self.labels: list[Any] = table.column(label).to_pylist() if label else [None] * len(table)
        classes = _class_names(file.schema_arrow.metadata, label)
        if classes:
            indices = range(len(classes))
            self.labels = [classes[one] if type(one) is int and one in indices else one for one in self.labels]

    def __len__(self) -> int:
        return len(self._images)

    def image(self, row: int, shape: tuple[int, int, int]) -> "np.ndarray | None":
        """Return the image in a row, resized and cropped to ``shape``, uint8 (c, h, w); ``None`` if the row holds no readable image."""
        cell: Any = self._images[row].as_py()
        data: Any = cell.get("bytes") if isinstance(cell, dict) else cell
        return decode(io.BytesIO(data), shape) if isinstance(data, bytes) else None


def read(where: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Return at most 2,048 images of a parquet file, uint8 (n, c, h, w) fitted to ``shape``, and rows skipped; SamplesError if none.

    Raises:
        ExtraError: pyarrow is not installed.
        SamplesError: the file, its column or all of its images are unreadable.
    """
    table = ImageTable(where)
    images = {row: table.image(row, shape) for row in random_subset(len(table))}
    skipped = [f"row {row}" for row, image in images.items() if image is None]
    if len(skipped) == len(images):
        raise SamplesError(f"sample file {where}: none of {len(skipped)} rows holds a readable image.")
    return stack([image for image in images.values() if image is not None], shape), skipped


def _class_names(metadata: "dict[bytes, bytes] | None", column: "str | None") -> list[str]:
    """Return the class names that a parquet file's Hugging Face metadata lists for a label column; empty if there are none."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, TypeError, ValueError):
        return []
