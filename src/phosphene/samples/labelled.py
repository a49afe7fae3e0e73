"""Samples together with their classes, as file names, folders, columns or arrays name them."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from phosphene.errors import SamplesError
from phosphene.labels import Labels
from phosphene.samples import MEMORY, SamplePool, arrays, folder, kind_of, load_samples, parquet, tar
from phosphene.samples.images import decode, stack
from phosphene.samples.pool import random_subset
from phosphene.textfile import at_home

# If fewer than this share of samples has a label that is a class, the labels are of something else.
MIN_LABELLED = 0.5


@dataclass(frozen=True)
class LabelledImages:
    """Images and their classes, by position.

    Attributes:
        count: Number of images.
        image_at: Function of a position that returns uint8 (c, h, w), or ``None`` if the image cannot be decoded.
        class_at: Function of a position that returns the class, or -1 if it is unknown.
    """

    count: int
    image_at: Callable[[int], "np.ndarray | None"]
    class_at: Callable[[int], int]


def load_labelled(
    samples: "str | SamplePool", shape: tuple[int, int, int], labels: Labels, most: int
) -> tuple[Tensor, "list[int] | None"]:
    """Return up to ``most`` samples, and their classes.

    A file may be in a folder named after its label, or else be named ``wnid_label.jpg`` or ``label.jpg``; a parquet file may
    have a column ``label``, a tar file ``.cls`` files, an ``.npz`` file an array ``labels``, and a data set in memory gives
    pairs. Labels are names, or indices if there are as many as the network has classes.

    Args:
        samples: The sample spec, or the pool of samples that was loaded from it or given.
        shape: Channels, height and width of the samples.
        labels: The network's.
        most: How many samples at most.

    Returns:
        uint8 (n, c, h, w), and the classes, -1 if unknown, or ``None`` if over half are.

    Raises:
        SamplesError: as :func:`phosphene.samples.load_samples` does.
    """
    source = _labelled_images(samples, shape, labels)
    positions = _spread(source.count, most)
    labelled = [(image, source.class_at(place)) for place in positions if (image := source.image_at(place)) is not None]
    if len(labelled) < 2:  # the loader says in one line what is wrong, if anything is
        pool = samples if isinstance(samples, SamplePool) else load_samples(samples, shape)
        return pool.pixels[:most].cpu(), None
    classes = [index for _, index in labelled]
    enough = sum(index >= 0 for index in classes) >= MIN_LABELLED * len(classes)
    return stack([image for image, _ in labelled], shape), classes if enough else None


def examples_of(
    samples: "str | SamplePool", shape: tuple[int, int, int], labels: Labels, indices: Collection[int]
) -> dict[int, np.ndarray]:
    """Return class index -> first image, uint8 of ``shape``, of classes ``indices`` by ``labels``.

    The images of a pool that is in memory have its own shape.

    Raises:
        SamplesError: the samples cannot be read, or have no labels.
    """
    source = _labelled_images(samples, shape, labels)
    if not source.count:
        pool = samples if isinstance(samples, SamplePool) else load_samples(samples, shape)  # or it is refused
        raise SamplesError(
            f"{pool.spec} has no labels: give a folder, a .parquet, .tar or .npz file, or a data set with labels."
        )
    examples: dict[int, np.ndarray] = {}
    for position in range(source.count):
        index = source.class_at(position)
        if index in indices and index not in examples and (image := source.image_at(position)) is not None:
            examples[index] = image
        if len(examples) == len(indices):
            break
    return examples


def _labelled_images(samples: "str | SamplePool", shape: tuple[int, int, int], labels: Labels) -> LabelledImages:
    """Return the images of a spec or a pool as ``shape``, and classes by ``labels``; empty if it is no source of labels."""
    if isinstance(samples, SamplePool) and samples.spec == MEMORY:
        images = torch.cat([samples.pixels, samples.held_out]).cpu().numpy()
        classes = _classes_of_column(list(samples.labels), labels)
        return LabelledImages(len(classes), images.__getitem__, classes.__getitem__)
    spec = samples.spec if isinstance(samples, SamplePool) else at_home(samples)
    kind, where = kind_of(spec) or (None, "")
    path = Path(where)
    if kind is folder:
        files = folder.image_files(path)[0]
        return LabelledImages(
            len(files),
            lambda position: decode(files[position], shape),
            lambda position: _class_of_file(files[position], path, labels),
        )
    if kind in (parquet, tar):
        table = tar.ImageArchive(where) if kind is tar else parquet.ImageTable(where)
        classes = _classes_of_column(table.labels, labels)
        return LabelledImages(len(table), lambda row: table.image(row, shape), classes.__getitem__)
    if kind is arrays and path.suffix.lower() == ".npz":
        pixels = arrays.read(where, shape)[0].numpy()
        rows = random_subset(len(column := _label_array(path)))
        if len(rows) == len(pixels):
            classes = _classes_of_column(column, labels)
            return LabelledImages(len(rows), pixels.__getitem__, lambda position: classes[rows[position]])
    return LabelledImages(0, lambda _: None, lambda _: -1)


def _label_array(path: Path) -> list[Any]:
    """Return as a list the array ``label``, ``labels``, ``fine_label`` or ``class`` of an ``.npz`` file, of any length; empty if none."""
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):  # an .npy file by another name
        return []
    with loaded as file:
        try:
            return next(list(file[name].tolist()) for name in parquet.LABEL_COLUMNS if name in file.files)
        except (StopIteration, TypeError, ValueError):  # none, a single one, or pickled objects
            return []


def _spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` of the positions 0 to ``count`` - 1, spread evenly and in order."""
    return [position * count // most for position in range(most)] if count > most else list(range(count))


def _class_of_file(file: Path, root: Path, labels: Labels) -> int:
    """Return the class that the name of an image's folder, if below ``root``, or else its own gives; -1 if neither does."""
    stem = re.sub(r"^n[0-9]{8}_", "", file.stem)
    # The folder first: the files of a class are often numbered, and numbers may be labels, too.
    names = [*([file.parent.name] if file.parent != root else []), stem, re.sub(r"_?[0-9]+$", "", stem)]
    return next((index for name in names if (index := _class_named(name, labels)) >= 0), -1)


def _class_named(name: str, labels: Labels) -> int:
    """Return the index of the class whose label fits a name best; -1 if no class or several fit."""
    closest = labels.closest(name.replace("_", " "))
    return closest[0] if len(closest) == 1 else -1


def _classes_of_column(entries: list[Any], labels: Labels) -> list[int]:
    """Return each label entry's class: a name's by label; a number itself, if the lowest is 0 and the highest the last class's; else -1."""
    numbers = [entry for entry in entries if type(entry) is int]
    are_indices = bool(numbers) and min(numbers) == 0 and max(numbers) + 1 == len(labels)
    by_name = {name: _class_named(name, labels) for name in {entry for entry in entries if isinstance(entry, str)}}
    return [
        by_name[one] if isinstance(one, str) else one if type(one) is int and are_indices else -1 for one in entries
    ]
