"""Loads weights from files into networks: plain tensors only; names and shapes are checked before values are read.

A checkpoint may hold them anywhere: nested under any keys, beside an optimizer, an average (EMA) or other networks, with
any prefix, or inside a pickled network, of which the tensors are read and nothing is run.
"""

import collections
import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from phosphene.errors import WeightsError, first_few, first_line, one_line
from phosphene.textfile import missing, refuse_no_model

# Heads that only training uses, and the counter of an average; weights may come with them or without.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.", "n_averaged")
# What a file may hold beside a network: weights of a loss, and what thop leaves in every layer.
LOSS_PREFIXES, COUNTER_NAMES = ("loss.", "loss_fn.", "criterion."), ("total_ops", "total_params")
# Where trainers keep tensors of their own, beside {"module": ...}.
TRAINER_STATE = re.compile(
    r"(opt|optim|optimizers?|optimizer_states?|(lr_)?schedulers?|epochs?|(global_)?steps?|\w*rng_states?)(\.|$)"
)
# What wrappers add inside names: torch.compile, and DataParallel around a part of the network.
WRAPPER_NAMES = re.compile(r"(^|\.)(?:(?:_orig_mod|module)\.)+")
# A running average of the weights, which its trainer would use.
AVERAGE = re.compile(r"(?:^|[._])ema(?:[._]|$)", re.IGNORECASE)
MODULE_TABLES = ("_parameters", "_buffers", "_modules")  # where a pickled network has them; no part of their names
# Names of layers in the published weights of torchvision's DenseNets, which are older than its code.
OLD_DENSENET = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
)
INDEX = ".index.json"
DAMAGED = "the file is cut off or damaged: download it again, or save it anew."
UNREADABLE = "cannot be read as plain tensors"
MOST_NAMES = 3  # tensors that do not fit, in a message
Shapes = Mapping[str, tuple[int, ...]]


def load_weights(module: nn.Module, path: Path, *, network: str) -> tuple[str, ...]:
    """Read the weights file ``path`` into ``module``, in place.

    Returns:
        A note for the user that names the weights that were chosen, if the file holds several that fit; else nothing.

    Args:
        module: The network.
        path: ``.safetensors``; a state dict as ``.pt``, ``.pth`` or ``.bin``; the ``.index.json`` of one in shards.
        network: What to call the network in messages.

    Raises:
        WeightsError: the file is missing or unreadable, or names or shapes do not fit; the first ones are named.
    """
    files = _files(path)
    if all(file.suffix == ".safetensors" for file in files):  # their headers tell before any tensor takes memory
        match_names({key: shape for file in files for key, shape in _read_shapes(file).items()}, module, path, network)
    state = read_state_dict(path)
    put_tensors(state, module, path, network)
    _, chosen = _pair(_shapes(state), _shapes(module.state_dict()))
    return () if chosen is None else (f"of several weights in {path.name}, those named {chosen}* are used",)


def put_tensors(state: Mapping[str, Tensor], module: nn.Module, path: "Path | str", network: str) -> None:
    """Copy a state dict's tensors into ``module``, in place, as :func:`match_names` pairs names; or WeightsError."""
    names = match_names(_shapes(state), module, path, network)
    tensors = {name: state[key] for name, key in names.items()}
    module_state = module.state_dict()
    problems = {
        key: str(one.dtype)
        for key, one in tensors.items()
        if module_state[key].is_floating_point() > one.is_floating_point()
    }
    problems |= {key: str(one.layout) for key, one in tensors.items() if one.layout != torch.strided}
    problems |= {key: "without values" for key, one in tensors.items() if one.is_meta}
    if problems:  # the whole numbers of a quantised network are not weights
        kinds = first_few([f"{key} is {what.removeprefix('torch.')}" for key, what in problems.items()], MOST_NAMES)
        raise WeightsError(
            f"weights {path} do not fit network {network}: {kinds}; it takes plain floating-point numbers."
        )
    values = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    module.load_state_dict({**module_state, **values})


def match_names(state: Shapes, module: nn.Module, path: "Path | str", network: str) -> dict[str, str]:
    """Return the names of ``module``'s tensors -> those in the file, whose names and shapes are ``state``.

    Of the prefixes in the file (``module.``, ``state_dict.model.``, ...) it is the one under which most of the network's
    own names are, of equal ones that of an average (``ema``); names outside it belong to something else.

    Raises:
        WeightsError: names or shapes do not fit.
    """
    module_shapes = _shapes(module.state_dict())
    names, _ = _pair(state, module_shapes)
    starts = {key.removesuffix(name) for name, key in names.items() if name in module_shapes}
    if len(starts) == 1:  # what a wrapper's name stands before alone: {"module": ..., "optimizer": ...}
        start = starts.pop()
        names = {name: key for name, key in names.items() if key.startswith(start) or not TRAINER_STATE.match(name)}
    # Batch norm's step counter has no effect on outputs; old files lack it.
    missing = [key for key in module_shapes if key not in names and not key.endswith("num_batches_tracked")]
    missing = [key for key in missing if not key.startswith(AUXILIARY)]
    extra = [key for name, key in names.items() if name not in module_shapes and not _may_be_extra(name)]
    shapes = [
        f"{key} is {state[names[key]]}, the network has {shape}"
        for key, shape in module_shapes.items()
        if key in names and state[names[key]] != shape
    ]
    problems = (("missing: ", missing), ("not in the network: ", extra), ("", shapes))
    complaints = [what + first_few(names, MOST_NAMES) for what, names in problems if names]
    if complaints:
        raise WeightsError(f"weights {path} do not fit network {network}: {'; '.join(complaints)}.")
    return {name: key for name, key in names.items() if name in module_shapes}


def count_rows(module: nn.Module, path: Path, classes: int) -> int:
    """Return how many rows a weights file has for the tensor with ``classes`` rows; ``classes`` if it lacks that."""
    shapes, module_shapes = _shapes(read_state_dict(path)), _shapes(module.state_dict())
    names, _ = _pair(shapes, module_shapes)
    for name, shape in module_shapes.items():
        file_shape = shapes[names[name]] if name in names else ()
        if shape and file_shape and shape[0] == classes != file_shape[0] and shape[1:] == file_shape[1:]:
            return file_shape[0]
    return classes


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def _may_be_extra(name: str) -> bool:
    """Return whether a tensor of a file, by its name, may be there although the network has none like it."""
    return name.startswith(AUXILIARY + LOSS_PREFIXES) or name.rpartition(".")[2] in COUNTER_NAMES


def _pair(state: Shapes, module_shapes: Shapes) -> tuple[dict[str, str], "str | None"]:
    """Return the names below the best prefix in a file -> their keys there, and that prefix if others are as good, else ``None``.

    The best prefix (``module.``, ``state_dict.model.``, ...) is the one under which most of the network's own names and
    shapes are, of equal ones that of an average (``ema``); what is outside it belongs to something else. Names are without
    what wrappers and old torchvision add.
    """
    # If the network itself has a part of such a name, no wrapper has added it.
    has_wrapper_names = any(WRAPPER_NAMES.search(name) for name in module_shapes)
    keys = {key if has_wrapper_names or key in module_shapes else WRAPPER_NAMES.sub(r"\1", key): key for key in state}
    keys = {name if name in module_shapes else OLD_DENSENET.sub(r"\1\2", name): key for name, key in keys.items()}
    counts: collections.Counter[str] = collections.Counter()
    for name, key in keys.items():
        parts = name.split(".")
        ends = (".".join(parts[place:]) for place in range(len(parts)))
        counts.update(name.removesuffix(end) for end in ends if module_shapes.get(end) == state[key])
    most = max(counts.values(), default=0)
    ties = [prefix for prefix, count in counts.items() if count == most]
    best = max(ties, key=lambda prefix: bool(AVERAGE.search(prefix)), default="")
    names = {name.removeprefix(best): key for name, key in keys.items() if name.startswith(best)}
    return names, best if len(ties) > 1 else None


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file or its shards by name, running no code; WeightsError if there are none."""
    return {key: value for file in _files(path) for key, value in _read_file(file).items()}


def _files(path: Path) -> list[Path]:
    """Return the files that hold the tensors of ``path``, itself or its shards; WeightsError if one is missing."""
    shard = re.match(r"(.+)-\d{5}-of-(?!00001)\d{5}\.", path.name)
    if shard:
        name = f"{shard[1]}{path.suffix}{INDEX}"
        raise WeightsError(f"weights {path} are a part of several: give the index of all, {path.with_name(name)}.")
    files = _shards(path) if path.is_file() and path.name.endswith(INDEX) else [path]
    for file in files:
        if not file.is_file():
            raise WeightsError(missing("weights file", file))
        refuse_no_model(file, WeightsError)
    return files


def _read_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one weights file by name, running no code in it; WeightsError if there are none."""
    if path.suffix == ".safetensors":
        with one_line(WeightsError, f"weights {path} {UNREADABLE}", DAMAGED):
            return load_file(path)
    try:
        _refuse_compression(path)
        # The warnings are about TorchScript, which is refused below.
        with warnings.catch_warnings(action="ignore"), _inert_classes(path):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"weights {path} {UNREADABLE}: {first_line(error)}") from error
    except Exception as error:  # torch's own message advises to switch this protection off
        raise WeightsError(f"weights {path} {UNREADABLE}: {_cause(path, error)}") from error
    tensors: dict[str, Tensor] = {}
    _collect(state, "", tensors, set())
    if not tensors:
        raise WeightsError(f"weights {path} hold no state dict (names to tensors).")
    return tensors


def _cause(path: Path, error: Exception) -> str:
    """Return why torch raised ``error`` instead of reading the tensors of ``path``, and what to do."""
    if zipfile.is_zipfile(path) and ("Unsupported operand" in str(error) or "pickle protocol" in str(error)):
        return "it was saved with a pickle_protocol other than 2: save the state dict without that argument."
    return "it is damaged, or holds more than tensors, which would run code: save the state dict as .safetensors."


class _Inert:
    """Takes the place of any class or function that a pickle names: it runs nothing, and stores its state."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _InertDictionary:
    """Takes the place of any kind of dictionary that a pickle names, as a plain one that torch fills."""

    def __new__(cls, *_: Any) -> Any:
        return {}


def _inert_classes(path: Path) -> AbstractContextManager[Any]:
    """Return a context in which torch reads what a checkpoint names besides tensors as inert objects."""
    if not zipfile.is_zipfile(path):
        return nullcontext()
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    replacements: list[Any] = [(_InertDictionary if name.lower().endswith("dict") else _Inert, name) for name in names]
    return torch.serialization.safe_globals(replacements)


def _collect(value: Any, name: str, tensors: dict[str, Tensor], visited: set[int]) -> None:
    """Add the tensors in nested dictionaries and inert objects to ``tensors``, but for ids in ``visited``."""
    if isinstance(value, Tensor) and name:
        tensors[name] = value
    value = value.state if isinstance(value, _Inert) else value
    if isinstance(value, dict) and id(value) not in visited:
        visited.add(id(value))
        for key, part in value.items():
            _collect(part, name if key in MODULE_TABLES else f"{name}.{key}".lstrip("."), tensors, visited)


def _refuse_compression(path: Path) -> None:
    """Raise ValueError for an archive that unpacks to more than its size; torch does not compress tensors."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("it unpacks to more than its own size")


def _read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor by name, from the header of a safetensors file."""
    with one_line(WeightsError, f"weights {path} {UNREADABLE}", DAMAGED), safe_open(path, framework="pt") as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118


def _shards(index: Path) -> list[Path]:
    """Return the files that an index of shards (``.index.json``) names, which must lie beside it.

    Raises:
        WeightsError: the index is damaged, or names a file elsewhere.
    """
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(weight_map.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise WeightsError(
            f"weights {index} are not an index of shards: it needs weight_map, from tensors to files."
        ) from None
    for name in names:
        if not isinstance(name, str) or not name or Path(name).name != name or name.endswith(INDEX):
            raise WeightsError(f"weights {index} name the shard {name!r}; it must be a file beside the index.")
    return [index.parent / name for name in names]
