"""Parquet and arrow files, or a folder of them, with a column ``image``: encoded bytes, or a struct with ``bytes`` (as on the HF hub)."""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from phosphene.errors import SamplesError, one_line
from phosphene.extras import require
from phosphene.samples.folder import walk
from phosphene.samples.images import decode, read_some
from phosphene.textfile import is_file

SUFFIXES = (".parquet", ".arrow")
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class")


class ImageTable:
    """The images and labels of a parquet or arrow file, or of a folder of them.

    Attributes:
        labels: Per row, what the label column holds; ``None`` if there is no such column. Whole numbers are replaced
            by class names if the file's Hugging Face metadata list them.

    Raises:
        ExtraError: pyarrow is not installed.
        SamplesError: the file cannot be read, or has no image column.
    """

    def __init__(self, path: str) -> None:
        arrow = require("pyarrow", "parquet")
        with one_line(SamplesError, f"sample file {path} is not readable {Path(path).suffix[1:] or SUFFIXES}"):
            tables = [_read_columns(file) for file in data_files(Path(path))]
            table = arrow.concat_tables(tables, promote_options="default")
        image, label = _columns(table.column_names)
        if image is None:
            raise SamplesError(f"sample file {path} has no column 'image', only {', '.join(table.column_names)}.")
        self._images = table.column(image)
        self.labels: list[Any] = table.column(label).to_pylist() if label else [None] * len(table)
        classes = _class_names(table.schema.metadata, label)
        if classes:
            indices = range(len(classes))
            self.labels = [classes[one] if type(one) is int and one in indices else one for one in self.labels]

    def __len__(self) -> int:
        return len(self._images)

    def image(self, row: int, shape: tuple[int, int, int]) -> "np.ndarray | None":
        """Return the image in a row, fitted to ``shape``, uint8 (c, h, w); ``None`` if it is not readable."""
        cell: Any = self._images[row].as_py()
        data: Any = cell.get("bytes") if isinstance(cell, dict) else cell
        return decode(io.BytesIO(data), shape) if isinstance(data, bytes) else None


def read(where: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Return up to 2,048 images of a parquet file or dataset, uint8 (n, c, h, w), and names of bad rows.

    The images are fitted to ``shape``.

    Raises:
        ExtraError: pyarrow is not installed.
        SamplesError: the file, its column or all of its images are unreadable.
    """
    table = ImageTable(where)
    images, skipped = read_some(len(table), lambda row: table.image(row, shape), lambda row: f"row {row}", shape)
    if not len(images):
        raise SamplesError(f"sample file {where}: none of {len(skipped)} rows holds a readable image.")
    return images, skipped


def is_dataset(path: Path) -> bool:
    """Return whether a folder is a dataset of Hugging Face: saved by save_to_disk, or with tables in it.

    The tables are parquet or arrow files in the folder or in its ``data``.
    """
    has_info_file = any(is_file(path / name) for name in ("dataset_info.json", "dataset_dict.json"))
    return has_info_file or any(_tables_in(path.glob("*"))) or any(_tables_in(path.glob("data/*")))


def data_files(path: Path) -> list[Path]:
    """Return the parquet and arrow files of a dataset in order: ``path`` itself, or those below a folder.

    Raises:
        SamplesError: there are none.
    """
    files = [path] if path.is_file() else _tables_in(here / name for here, _, names in walk(path) for name in names)
    if not files:
        raise SamplesError(f"sample folder {path} holds no files {' or '.join(SUFFIXES)}.")
    return files


def _tables_in(files: Iterable[Path]) -> list[Path]:
    """Return those of ``files`` that hold tables, sorted, without caches and metadata."""
    return sorted(
        one for one in files if one.suffix.lower() in SUFFIXES and not one.name.startswith(("cache-", "metadata"))
    )


def _read_columns(file: Path) -> Any:
    """Return the image and label columns of a parquet or arrow file as a table.

    Without an image column, the table has others, for an error message.
    """
    if file.suffix.lower() == ".arrow":  # datasets' save_to_disk writes streams
        arrow = require("pyarrow", "parquet")
        table = arrow.ipc.open_stream(arrow.memory_map(str(file))).read_all()
        return table.select([name for name in _columns(table.column_names) if name] or table.column_names)
    parquet_file = require("pyarrow.parquet", "parquet").ParquetFile(file)
    image, label = _columns(parquet_file.schema_arrow.names)
    return parquet_file.read(columns=[name for name in (image, label) if name] if image else None)


def _columns(names: list[str]) -> tuple["str | None", "str | None"]:
    """Return which of a table's column names are those of images and of labels, ``None`` for one not there."""
    image, label = (
        next((name for name in candidates if name in names), None) for candidates in (IMAGE_COLUMNS, LABEL_COLUMNS)
    )
    return image, label


def _class_names(metadata: "dict[bytes, bytes] | None", column: "str | None") -> list[str]:
    """Return the class names that a table's Hugging Face metadata list for a label column; perhaps none."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, TypeError, ValueError):
        return []
