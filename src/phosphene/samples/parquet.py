"""A parquet file with a column ``image``: encoded bytes, or a struct with ``bytes`` (as the HF hub stores them)."""

import io
from typing import Any

import numpy as np
from torch import Tensor

from phosphene.errors import SamplesError, first_line
from phosphene.extras import require
from phosphene.samples.pool import chosen, decode, stack

COLUMNS = ("image", "img")


def read(where: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Decode the pictures of file ``where``: uint8 (n, c, h, w), and the rows that hold none.

    Raises:
        ExtraError: pyarrow is not installed.
        SamplesError: the file, its column or all of its pictures are unreadable.
    """
    pq = require("pyarrow.parquet", "parquet")
    try:
        names = pq.ParquetFile(where).schema_arrow.names
        column = next((name for name in COLUMNS if name in names), None)
        table = None if column is None else pq.read_table(where, columns=[column])
    except FileNotFoundError:
        raise SamplesError(f"sample file {where} does not exist.") from None
    except Exception as error:  # noqa: BLE001  (pyarrow has a family of its own, not all of it ValueErrors)
        raise SamplesError(f"sample file {where} is not readable parquet: {first_line(error)}") from None
    if table is None:
        raise SamplesError(f"sample file {where} has no column 'image', only {', '.join(names)}.")
    pictures: list[np.ndarray] = []
    skipped: list[str] = []
    cells = table.column(column)
    for row in chosen(len(cells)):
        cell: Any = cells[row].as_py()
        data: Any = cell.get("bytes") if isinstance(cell, dict) else cell
        picture = decode(io.BytesIO(data), shape) if isinstance(data, bytes) else None
        if picture is None:
            skipped.append(f"row {row}")
        else:
            pictures.append(picture)
    if not pictures:
        raise SamplesError(f"sample file {where}: none of {len(skipped)} rows holds a readable image.")
    return stack(pictures, shape), skipped
