"""The text of cards: of the draft for a bare file, an exported network or weights, and of the examples in messages."""

import contextlib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phosphene.errors import CardError
from phosphene.input_space import InputSpace
from phosphene.sources.exported import FORMATS, TORCHSCRIPT, format_of, load_file, names_in
from phosphene.sources.libraries import build_arch
from phosphene.sources.weights import INDEX, count_rows
from phosphene.textfile import at_home, read_toml

WEIGHTS = {".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".tar"}
CLASSES = 1000  # the number with which networks are built to be compared
OLD_CHECKPOINT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # begins what torch wrote before 1.6
CHANNELS = (1, 3, 4)  # of images, to tell them from heights and widths
IMAGENET = InputSpace((224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def is_bare(path: Path) -> bool:
    """Return whether ``path`` is an exported network or weights without a card of the same name beside it that describes it.

    That is by its suffix, or by its content, as torch writes it under any name.
    """
    if not path.is_file() or _has_card(path):
        return False
    if path.suffix.lower() in {*FORMATS, *WEIGHTS} or path.name.endswith(INDEX) or "data.pkl" in names_in(path):
        return True
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(len(OLD_CHECKPOINT)) == OLD_CHECKPOINT
    return False


def _has_card(path: Path) -> bool:
    """Return whether the card of the same name as the file at ``path`` is there and names no other file; a damaged one counts."""
    card = path.with_suffix(".toml")
    with contextlib.suppress(CardError):
        fields = read_toml(card, "model card", CardError, "")
        named = fields.get("exported", fields.get("weights", path.name))
        return not isinstance(named, str) or Path(named).name == path.name
    return card.exists()


def card_command(path: Path) -> str:
    """Return the command that drafts the card of a bare file, in backticks, with the flags that it cannot do without."""
    command = f"phosphene card {shlex.quote(str(path))}"
    if _is_exported(path):
        return f"`{command}`"
    return f"`{command} --arch torchvision:NAME --size 224` (or --factory FILE.py:FUNCTION)"


def draft_card(path: Path, card: Path, given: Mapping[str, Any], *, trust: bool) -> bytes:
    """Return the TOML text, as bytes, of a card for a model file.

    Args:
        path: An exported network (.onnx, .pt2, TorchScript), or weights.
        card: Where the card will lie: paths in it are relative to its folder.
        given: ``size``, ``mean``, ``std``, ``labels``, ``arch``, ``factory`` and ``output``, ``None`` where not given. Without
            ``mean`` and ``std``, the network is taken to see pixels in [0, 1].
        trust: Whether loading may run code that the file holds; needed for .pt2 and TorchScript.

    Raises:
        CardError: what is needed is not given, or the file is damaged.
        TrustError: ``trust`` is needed.
        WeightsError: the weights cannot be read.
    """
    fields = {key: given[key] for key in ("arch", "factory", "output") if given.get(key) is not None}
    size, channels = given.get("size"), None
    if _is_exported(path) and not {"arch", "factory"} & fields.keys():
        fields["exported"] = os.path.relpath(path, card.parent)
        found, channels = _image_shape(path, trust=trust)
        size = found if size is None else size
    else:
        fields["weights"] = os.path.relpath(path, card.parent)
        if not {"arch", "factory"} & fields.keys():
            raise CardError(f"{path} holds weights alone, and a network has to be named: {card_command(path)}.")
    if size is None:
        raise CardError(
            f"{path} does not say what size its images have: give it (--size 224 or HEIGHTxWIDTH, or size= in Python)."
        )
    if "factory" in fields and fields["factory"].rpartition(":")[0].endswith(".py"):
        fields["factory"] = os.path.relpath(at_home(fields["factory"]), card.parent)
    if given.get("labels") is not None:
        fields["labels"] = os.path.relpath(at_home(str(given["labels"])), card.parent)
    mean, std = (list(given[key]) if given.get(key) is not None else [] for key in ("mean", "std"))
    count = channels or len(mean or std or (0, 0, 0))
    space = InputSpace.of(size, mean or (0.0,) * count, std or (1.0,) * count)
    if fields.get("arch", "").startswith(("torchvision:", "timm:")) and given.get("labels") is None:
        # As many as the last layer in the file has rows, or 1,000 if it is not found.
        fields["classes"] = count_rows(build_arch(fields["arch"], CLASSES, space), path, CLASSES)
    return card_text(fields, space)


def _is_exported(path: Path) -> bool:
    """Return whether a file holds an exported network rather than weights; TorchScript is told from a state dict by the code in it."""
    return format_of(path) not in (None, TORCHSCRIPT) or "/code/" in names_in(path)


def _image_shape(path: Path, *, trust: bool) -> tuple["tuple[int, int] | None", "int | None"]:
    """Load an exported network; return (height, width) and channels of its images, each ``None`` if open; TrustError if it needs trust."""
    _, shapes, _ = load_file(path, trust=trust)
    sides = list(shapes[0][1:]) if shapes and len(shapes[0]) == 4 else [None] * 3
    if sides[2] in CHANNELS and sides[0] not in CHANNELS:  # channels last
        sides = [sides[2], *sides[:2]]
    channels, height, width = sides
    return (height, width) if height and width else None, channels


def input_lines(space: InputSpace) -> list[str]:
    """Return the lines of a card's table [input], below its header: size, mean and std."""
    return [f"{key} = {list(getattr(space, key))}" for key in ("size", "mean", "std")]


def card_text(fields: Mapping[str, Any], space: InputSpace) -> bytes:
    """Return the TOML of a card, as bytes: its fields, and below them the table [input]."""
    import tomli_w  # noqa: PLC0415  (writing is rare)

    return (tomli_w.dumps(fields) + "\n[input]\n" + "".join(f"{line}\n" for line in input_lines(space))).encode()


def input_line(space: InputSpace = IMAGENET) -> str:
    """Return a card's table [input] in one line; by default, as an example, that of most ImageNet networks."""
    return f"input = {{ {', '.join(input_lines(space))} }}"


def card_lines(space: InputSpace = IMAGENET, **fields: str) -> str:
    """Return lines of a card for an error message, joined by " and ": ``fields`` as text, then the input."""
    return " and ".join(
        f"`{line}`" for line in [*(f'{key} = "{text}"' for key, text in fields.items()), input_line(space)]
    )
