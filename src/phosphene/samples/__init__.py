"""Sample specs, or samples in memory: a :class:`SamplePool` comes out.

A kind of samples is one module with ``read(where, shape) -> (samples, skipped)``, entered below by what its spec starts
or ends with. ``where`` is a path, or what follows the prefix; ``samples`` are uint8 (n, c, h, w) of the shape (c, h, w), and
``skipped`` names what could not be read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from phosphene.checked import checked, wanted
from phosphene.classifier import Classifier
from phosphene.errors import SamplesError, nearest
from phosphene.samples import arrays, drawn, folder, memory, parquet, synthetic, tar
from phosphene.samples.pool import MEMORY, SamplePool, make_pool
from phosphene.textfile import at_home, exists, is_dir, is_file, is_utf8, missing, nearby

__all__ = ["MEMORY", "InMemory", "SamplePool", "default_samples", "is_natural", "load_samples"]

InMemory = np.ndarray | Tensor | Dataset[Any] | Sequence[Any]

# what a spec starts with (prefix) or ends with (suffix) -> module
PREFIXES = {"synthetic": synthetic, "demo": drawn}
SUFFIXES = {suffix: module for module in (parquet, tar, arrays) for suffix in module.SUFFIXES}


@checked
def load_samples(samples: "str | Path | InMemory", shape: "tuple[int, int, int] | Classifier") -> SamplePool:
    """Return samples, resized and cropped to ``shape``, as a pool of which a part is held out.

    Args:
        samples: A folder of images or of a Hugging Face dataset, a ``.parquet``, ``.arrow``, ``.tar``, ``.tar.gz``, ``.npz``
            or ``.npy`` file, ``synthetic:KIND`` or ``demo:shapes``; or images in memory. These are a tensor or an array
            (n, h, w, c) or (n, c, h, w), uint8 or floats in [0, 1] that are not normalised; or a ``Dataset`` of torch, or a
            list, of Pillow's images, tensors or arrays of one image each, alone or as pairs with a label.
        shape: Channels, height and width of the classifier's input, or the classifier.

    Raises:
        SamplesError: there are no such samples, fewer than two that can be read, or arrays of another layout or range.
    """
    if isinstance(shape, Classifier):
        shape = shape.input.shape
    sides = list(shape) if isinstance(shape, tuple | list) else []
    if len(sides) != 3 or any(wanted(int, one) or one < 1 for one in sides):
        raise SamplesError(
            f"samples have the shape of a network's input: give the classifier, not {str(shape)[:40]!r}."
        )
    shape = (int(sides[0]), int(sides[1]), int(sides[2]))
    if not isinstance(samples, str | Path):
        images, labels = memory.read(samples, shape)
        return make_pool(images, MEMORY, labels=labels)
    text = at_home(str(samples)) if str(samples) != MEMORY else f"./{MEMORY}"
    if not is_utf8(text):
        raise SamplesError(f"samples {text!r}: runs cannot hold a name that is not UTF-8: rename it.")
    kind = kind_of(text)
    if kind is None:
        raise SamplesError(_why_none(text))
    module, where = kind
    images, skipped = module.read(where, shape)
    return make_pool(images, text, skipped)


def kind_of(spec: str) -> "tuple[Any, str] | None":
    """Return the module that reads the samples of a spec, and what its ``read`` takes: a path, or what follows the prefix.

    It is ``None`` if there are no such samples.
    """
    prefix, _, rest = spec.partition(":")
    if rest and prefix in PREFIXES:
        return PREFIXES[prefix], rest
    if is_dir(spec):
        return (parquet if parquet.is_dataset(Path(spec)) else folder), spec
    suffix = next((one for one in SUFFIXES if spec.lower().endswith(one)), "")
    return (SUFFIXES[suffix], spec) if suffix and exists(spec) else None


def _why_none(spec: str) -> str:
    """Return the message that there are no samples of a spec, with what to give instead."""
    path = Path(spec)
    if spec.lower().endswith(tuple(SUFFIXES)):
        return missing("sample file", path, "Give a folder of images, or synthetic:mixed.")
    if is_file(spec):
        return f"sample file {spec} is not one of {', '.join(SUFFIXES)}: give the folder that holds it."
    names = [*(f"synthetic:{kind}" for kind in synthetic.KINDS), "demo:shapes"]
    folders = nearby(path, lambda one: one.is_dir() and bool(nearest(path.name, [one.name])))
    beside = f" The folders beside it: {folders}." if folders else ""
    fix = nearest(spec, names) or f"{beside} Give a folder of images, a .parquet or .npz file, or {', '.join(names)}."
    return f"samples {spec} do not exist.{fix}"


def default_samples(model: str) -> str:
    """Return the sample spec for a model spec if the user names none."""
    return "demo:shapes" if model.startswith("demo:") else "synthetic:mixed"


def is_natural(classifier: Classifier, spec: str) -> bool:
    """Return whether a spec's images pass as a Classifier's training data: all but ``synthetic:``; ``demo:`` for demo networks only."""
    if spec.startswith("demo:"):
        return classifier.spec.startswith("demo:")
    return not spec.startswith("synthetic:")
