"""Exported networks: programs of ``torch.export``, ONNX and TorchScript, with a card of the same name beside them.

A format is one module with ``load(path)``, which returns the network, and the shape of each of its inputs, or
``None`` if the file does not state them. It is entered in ``FORMATS``.
"""

import importlib
import json
import shlex
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from phosphene.errors import CardError, TrustError
from phosphene.sources.libraries import ChangedInput
from phosphene.textfile import is_file, missing, refuse_no_model

Shape = tuple["int | None", ...]  # (n, c, h, w); None if any size is accepted


class Format(NamedTuple):
    """A file format of exported networks.

    Attributes:
        module: The module that loads it.
        risk: What code loading may run, for the message that asks for trust; empty if it runs none.
        notes: What the user should know of every network in this format.
    """

    module: str
    risk: str = ""
    notes: tuple[str, ...] = ()


TORCHSCRIPT = Format("phosphene.sources.torchscript", "would run the TorchScript that it holds")
# suffix -> format
FORMATS = {
    ".pt2": Format("phosphene.sources.pt2", "can run code that it holds (torch.export stores pickles)"),
    ".onnx": Format(
        "phosphene.sources.onnx", notes=("ONNX support is experimental: the network is a conversion to torch",)
    ),
    **dict.fromkeys((".pt", ".pth", ".ts", ".torchscript"), TORCHSCRIPT),
}
GENERAL_RECIPE = "export the network as ONNX or TorchScript, or save its state dict with safetensors.torch.save_file"
KERAS = (
    "import keras; m = keras.saving.load_model({name}); m(keras.ops.zeros((1, *m.input_shape[1:]))); "
    'm.export({onnx}, format="onnx")'
)
TENSORFLOW = "python -m tf2onnx.convert {given} --output {onnx} (pip install tensorflow tf2onnx)"
# suffix of a file of another library -> what converts it: {name} is its name, {onnx} that of the file to write
CONVERSIONS = {
    **dict.fromkeys(
        (".keras", ".h5", ".hdf5"), "KERAS_BACKEND=torch python -c {keras} (pip install keras h5py onnxscript)"
    ),
    ".tflite": TENSORFLOW.replace("{given}", "--tflite {name}"),
    ".pb": TENSORFLOW.replace("{given}", "--saved-model ."),
    ".pdmodel": "paddle2onnx --model_dir . --model_filename {name} --save_file {onnx} (pip install paddle2onnx)",
}


def format_of(path: Path) -> "Format | None":
    """Return the format of an exported network by its suffix, or TorchScript by its content; ``None`` if it is no such file."""
    return FORMATS.get(path.suffix.lower()) or (TORCHSCRIPT if "/code/" in names_in(path) else None)


def names_in(path: Path) -> str:
    """Return the names of the files in a zip archive, which torch writes, one per line; empty for any other file, or a damaged one."""
    if is_file(path):
        with suppress(Exception), zipfile.ZipFile(path) as archive:  # damaged ones fail in many ways
            return "\n".join(archive.namelist())
    return ""


def conversion(path: Path) -> str:
    """Return a sentence on how to convert the file at ``path``, of another library, to one that loads, by its suffix if that is known."""
    names = {"name": path.name, "onnx": f"{path.stem}.onnx"}
    code = KERAS.format(**{key: json.dumps(name, ensure_ascii=False) for key, name in names.items()})
    words = {key: shlex.quote(word) for key, word in {**names, "keras": code}.items()}
    recipe = CONVERSIONS.get(path.suffix.lower(), GENERAL_RECIPE).format(**words)
    kind = f"{path.suffix} file" if path.suffix else "file like this"
    return f" A {kind} has to be converted first: {recipe}; then `phosphene card` drafts its card."


def open_exported(
    path: Path, shape: tuple[int, int, int], *, trust: bool
) -> tuple[nn.Module, "int | None", tuple[str, ...]]:
    """Load an exported network (.pt2, .onnx, TorchScript) for inputs of ``shape``.

    Args:
        path: The file, of a format that :func:`format_of` knows.
        shape: (c, h, w) of the images that its card declares.
        trust: Whether loading may run code that the file holds.

    Returns:
        The network, how many images it takes at once (``None``: any number), and notes for the user.

    Raises:
        CardError: the file is missing or damaged, or the network takes images of another shape.
        ExtraError: the library that loads it is missing or broken.
        TrustError: loading needs ``trust``.
    """
    if not path.is_file():
        raise CardError(missing("exported network", path))
    network, shapes, notes = load_file(path, trust=trust)
    if shapes is None:
        return network, None, notes
    if len(shapes) != 1:
        raise CardError(f"{path} takes {len(shapes)} tensors; a classifier takes one: the images.")
    batch, *sides = shapes[0]
    fixed = FixedBatch(network, batch) if batch else network
    batch = batch or getattr(network, "batch", None)
    if _fits(sides, (*shape[1:], shape[0])) and not _fits(sides, shape):  # as TensorFlow and Keras have them
        return ChangedInput(fixed, partial(torch.permute, dims=(0, 2, 3, 1))), batch, notes
    if not _fits(sides, shape):
        listed = ", ".join("any" if side is None else str(side) for side in sides)
        raise CardError(f"{path} takes images of shape ({listed}), but its card declares {shape}: correct [input].")
    return fixed, batch, notes


def load_file(path: Path, *, trust: bool) -> tuple[nn.Module, "list[Shape] | None", tuple[str, ...]]:
    """Load the exported network at ``path``; return it, the shapes of its inputs, if known, and notes for the user.

    Raises:
        CardError: the file is damaged.
        ExtraError: the library that loads it is missing or broken.
        TrustError: loading may run code, and ``trust`` is false.
    """
    kind = FORMATS.get(path.suffix.lower(), TORCHSCRIPT)  # which may have any other suffix
    if kind.risk and not trust:
        raise TrustError(
            f"loading {path} {kind.risk}: add --trust (trust=True in Python) if you know who made it, or save the network's "
            "state dict as .safetensors and write a card with arch or factory."
        )
    refuse_no_model(path, CardError)
    source: Any = importlib.import_module(kind.module)
    network, shapes = source.load(path)
    return network, shapes, kind.notes


def _fits(sides: "list[int | None]", shape: tuple[int, ...]) -> bool:
    """Return whether images of ``shape`` fit an input whose sides are given, with ``None`` for a side of any length."""
    return len(sides) == len(shape) and all(side in (None, own) for side, own in zip(sides, shape, strict=True))


class FixedBatch(nn.Module):
    """Sends any number of images through a network that takes exactly ``batch`` at once; the last batch is padded.

    Args:
        network: The network.
        batch: How many images it takes.

    Example:
        >>> FixedBatch(nn.Linear(3, 2), 4)(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, network: nn.Module, batch: int) -> None:
        super().__init__()
        self.network, self.batch = network, batch

    def forward(self, pixels: Tensor) -> Any:
        """Return outputs (n, ...), one or the network's own tuple of them, for pixels (n, c, h, w), run in batches of the fixed size."""
        padding = pixels[-1:].expand(-len(pixels) % self.batch, *pixels.shape[1:])
        batches = torch.split(torch.cat([pixels, padding]), self.batch)
        return tree_map(lambda *parts: torch.cat(parts)[: len(pixels)], *map(self.network, batches))
