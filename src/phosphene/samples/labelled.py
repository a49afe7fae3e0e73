"""Pictures with what their names or columns say that they show."""

import io
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from phosphene.errors import SamplesError
from phosphene.labels import Labels
from phosphene.samples import SamplePool, load_samples
from phosphene.samples.arrays import read
from phosphene.samples.folder import listed
from phosphene.samples.pool import chosen, decode, stack

COLUMNS = ("label", "labels", "fine_label", "class")
# Fewer than this share of pictures whose label is a class: the labels are of something else.
SHARE = 0.5
# Rows of a table that are looked at for an example of each class, spread evenly.
MOST_ROWS = 5000


def load_labelled(
    spec: str, shape: tuple[int, int, int], labels: Labels, most: int, pool: "SamplePool | None" = None
) -> tuple[Tensor, "list[int] | None"]:
    """Load at most ``most`` samples, spread evenly, and the class of each; -1 where it is not known.

    A file may be named ``wnid_label.jpg`` or ``label.jpg``, or lie in a folder called by its label; a parquet file may
    have a column ``label``, and an ``.npz`` file an array ``labels``, of names, or of indices where there are as many
    as the network has classes.

    Args:
        spec: The sample spec.
        shape: Channels, height and width of the samples.
        labels: The network's.
        most: How many samples at most.
        pool: The samples of the spec, where they are loaded already; taken if none has a label.

    Returns:
        uint8 (n, c, h, w), and the classes, or ``None`` if they are not known for half of the pictures.

    Raises:
        SamplesError: as :func:`phosphene.samples.load_samples` does.
    """
    path = Path(spec)
    found: list[tuple[np.ndarray, int]] = []
    if path.is_dir():
        files = listed(path)[0]
        for place in _spread(len(files), most):
            picture = decode(files[place], shape)
            if picture is not None:
                found.append((picture, _named(files[place], path, labels)))
    elif path.suffix == ".parquet" and path.is_file():
        found = _rows(path, shape, labels, most)
    elif path.suffix == ".npz" and path.is_file():
        found = _arrays(path, shape, labels, most)
    if len(found) < 2:  # no such place, or nothing in it: refused there in one line
        return (pool or load_samples(spec, shape)).pixels[:most].cpu(), None
    truth = [index for _, index in found]
    known = sum(index >= 0 for index in truth) >= SHARE * len(truth)
    return stack([picture for picture, _ in found], shape), truth if known else None


def examples_of(
    spec: str, shape: tuple[int, int, int], labels: Labels, wanted: Collection[int]
) -> dict[int, np.ndarray]:
    """Return the first picture, uint8 (c, h, w), of each of the ``wanted`` classes that the pictures show.

    Names and columns are read as :func:`load_labelled` does; of a folder, no other pictures are decoded.

    Raises:
        SamplesError: the pictures cannot be read.
    """
    path = Path(spec)
    found: dict[int, np.ndarray] = {}
    if path.is_dir():
        for file in listed(path)[0]:
            index = _named(file, path, labels)
            if index in wanted and index not in found:
                picture = decode(file, shape)
                if picture is not None:
                    found[index] = picture
            if len(found) == len(wanted):
                break
    elif path.suffix == ".parquet" and path.is_file():
        for picture, index in _rows(path, shape, labels, MOST_ROWS):
            if index in wanted:
                found.setdefault(index, picture)
    else:
        raise SamplesError(f"{spec} is neither a folder nor a .parquet file: pictures with labels are one of these.")
    return found


def _spread(count: int, most: int) -> list[int]:
    return [place * count // most for place in range(most)] if count > most else list(range(count))


def _named(file: Path, folder: Path, labels: Labels) -> int:
    stem = re.sub(r"^n[0-9]{8}_", "", file.stem)
    names = [stem, re.sub(r"_?[0-9]+$", "", stem), *([file.parent.name] if file.parent != folder else [])]
    return next((index for name in names if (index := _index(name, labels)) >= 0), -1)


def _index(name: str, labels: Labels) -> int:
    """Return the one class that a name fits best, or -1."""
    closest = labels.closest(name.replace("_", " "))
    return closest[0] if len(closest) == 1 else -1


def _rows(path: Path, shape: tuple[int, int, int], labels: Labels, most: int) -> "list[tuple[np.ndarray, int]]":
    try:
        import pyarrow.parquet as pq  # noqa: PLC0415  (an optional extra)

        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        image = next(name for name in ("image", "img") if name in names)
        label = next((name for name in COLUMNS if name in names), None)
        table = file.read(columns=[image, *([label] if label else [])])
        notes: list[Any] = table.column(label).to_pylist() if label else [None] * len(table)
        classes = _classes(file.schema_arrow.metadata, label)
    except Exception:  # noqa: BLE001  (the loader of samples says in one line what is wrong)
        return []
    by_number = _are_indices(notes, labels)
    cells, found = table.column(image), []
    for row in _spread(len(notes), most):
        cell: Any = cells[row].as_py()
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        picture = decode(io.BytesIO(data), shape) if isinstance(data, bytes) else None
        if picture is None:
            continue
        note = notes[row]
        if type(note) is int and classes and 0 <= note < len(classes):
            note = classes[note]
        found.append((picture, _class_of(note, labels, by_number=by_number)))
    return found


def _arrays(path: Path, shape: tuple[int, int, int], labels: Labels, most: int) -> "list[tuple[np.ndarray, int]]":
    try:
        with np.load(path, allow_pickle=False) as file:
            notes: list[Any] = next(file[name] for name in COLUMNS if name in file.files).tolist()
        rows = chosen(len(notes))
        pixels = read(str(path), shape)[0].numpy()
    except Exception:  # noqa: BLE001  (the loader of samples says in one line what is wrong)
        return []
    if len(pixels) != len(rows):
        return []
    by_number = _are_indices(notes, labels)
    return [
        (pixels[place], _class_of(notes[rows[place]], labels, by_number=by_number))
        for place in _spread(len(rows), most)
    ]


def _are_indices(notes: list[Any], labels: Labels) -> bool:
    """Return whether whole numbers among a column's entries are the network's own class indices."""
    whole = [note for note in notes if type(note) is int]
    return bool(whole) and min(whole) == 0 and max(whole) + 1 == len(labels)


def _class_of(note: object, labels: Labels, *, by_number: bool) -> int:
    """Return the class that an entry of a column names, or -1."""
    if type(note) is int:
        return note if by_number else -1
    return _index(note, labels) if isinstance(note, str) else -1


def _classes(metadata: "dict[bytes, bytes] | None", column: "str | None") -> list[str]:
    """Return the names of a column's classes where the Hugging Face hub's metadata tell them."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
        return [str(name) for name in names]
    except (KeyError, TypeError, ValueError):
        return []
