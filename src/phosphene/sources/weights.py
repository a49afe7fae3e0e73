"""Loads weights from files into networks: plain tensors only; names and shapes are checked before values are read."""

import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from phosphene.errors import WeightsError, first_few, first_line, one_line
from phosphene.textfile import missing

# Heads that only training uses; weights may come with them or without.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# Where training scripts put the state dict.
WRAPPERS = ("state_dict", "model_state_dict", "model")
# Names of layers in the published weights of torchvision's DenseNets, which are older than its code.
OLD_DENSENET = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
)
INDEX = ".index.json"
UNREADABLE = "cannot be read as plain tensors"
MOST_NAMED = 3  # tensors that do not fit, in a message
Shapes = Mapping[str, tuple[int, ...]]


def load_weights(module: nn.Module, path: Path, *, network: str) -> None:
    """Read the weights file ``path`` into ``module``, in place, half precision widened to single; WeightsError if it does not fit.

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
    put_tensors(read_state_dict(path), module, path, network)


def put_tensors(state: Mapping[str, Tensor], module: nn.Module, path: "Path | str", network: str) -> None:
    """Copy the tensors of a state dict into ``module``, in place; WeightsError if names or shapes do not fit."""
    names = match_names({key: tuple(value.shape) for key, value in state.items()}, module, path, network)
    fitting = {own: state[key] for own, key in names.items()}
    own = module.state_dict()
    other = [key for key, value in fitting.items() if own[key].is_floating_point() and not value.is_floating_point()]
    if other:  # the whole numbers of a quantised network are not weights
        kinds = first_few([f"{key} is {str(fitting[key].dtype).removeprefix('torch.')}" for key in other], MOST_NAMED)
        raise WeightsError(f"weights {path} do not fit network {network}: {kinds}; it takes floating-point numbers.")
    widened = {key: value.float() if value.is_floating_point() else value for key, value in fitting.items()}
    module.load_state_dict({**own, **widened})


def match_names(state: Shapes, module: nn.Module, path: "Path | str", network: str) -> dict[str, str]:
    """Return, for each tensor name of the network, the name of that tensor in the file; WeightsError if names or shapes do not fit.

    A prefix that all names share is dropped (``module.`` of DataParallel, ``_orig_mod.`` of torch.compile, ...).

    Raises:
        WeightsError: names or shapes do not fit.
    """
    own = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    names = _without_prefix({OLD_DENSENET.sub(r"\1\2", key) if key not in own else key: key for key in state}, own)
    # Batch norm's step counter has no effect on outputs; old files lack it.
    missing = [key for key in own if key not in names and not key.endswith("num_batches_tracked")]
    missing = [key for key in missing if not key.startswith(AUXILIARY)]
    extra = [key for name, key in names.items() if name not in own and not name.startswith(AUXILIARY)]
    shapes = [
        f"{key} is {state[names[key]]}, the network has {shape}"
        for key, shape in own.items()
        if key in names and state[names[key]] != shape
    ]
    problems = (("missing: ", missing), ("not in the network: ", extra), ("", shapes))
    wrong = [what + first_few(names, MOST_NAMED) for what, names in problems if names]
    if wrong:
        raise WeightsError(f"weights {path} do not fit network {network}: {'; '.join(wrong)}.")
    return {name: key for name, key in names.items() if name in own}


def _without_prefix(names: dict[str, str], own: Shapes) -> dict[str, str]:
    """Return ``names`` (name -> name in the file) less prefixes that all have, if that gives all names of the network; else unchanged."""
    needed = {key for key in own if not key.endswith("num_batches_tracked") and not key.startswith(AUXILIARY)}
    shorter = names
    while shorter and not needed <= shorter.keys():
        first = {name.partition(".")[0] for name in shorter}
        if len(first) > 1 or not all("." in name for name in shorter):
            return names
        shorter = {name.partition(".")[2]: key for name, key in shorter.items()}
    return shorter or names


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file, or of its shards, by name; no code in the file is run; WeightsError if it is no state dict."""
    return {key: value for file in _files(path) for key, value in _read_file(file).items()}


def _files(path: Path) -> list[Path]:
    """Return the files that hold the tensors of ``path``: the shards of an index, or the file itself; WeightsError if one is missing."""
    files = _shards(path) if path.is_file() and path.name.endswith(INDEX) else [path]
    for file in files:
        if not file.is_file():
            raise WeightsError(missing("weights file", file, "Correct the card, or put the file there."))
    return files


def _read_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one weights file by name; WeightsError if it holds anything else."""
    if path.suffix == ".safetensors":
        with one_line(WeightsError, f"weights {path} {UNREADABLE}"):
            return load_file(path)
    state: Any
    try:
        _refuse_compression(path)
        with warnings.catch_warnings(action="ignore"):  # about TorchScript, which is refused below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"weights {path} {UNREADABLE}: {first_line(error)}") from error
    except Exception as error:  # torch's own message advises to switch this protection off
        why = "it is damaged, or holds more than tensors, which would run code: save the state dict as .safetensors."
        raise WeightsError(f"weights {path} {UNREADABLE}: {why}") from error
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
            break
    if not (isinstance(state, dict) and state and all(isinstance(value, Tensor) for value in state.values())):
        raise WeightsError(f"weights {path} hold no state dict (names to tensors).")
    return state


def _refuse_compression(path: Path) -> None:
    """Raise ValueError for an archive that unpacks to more than its size; torch does not compress tensors."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("it unpacks to more than its own size")


def _read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor by name, from the header of a safetensors file."""
    with one_line(WeightsError, f"weights {path} {UNREADABLE}"), safe_open(path, framework="pt") as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118


def _shards(index: Path) -> list[Path]:
    """Return the files that an index of shards (``.index.json``) names; they must lie beside it.

    Raises:
        WeightsError: the index is damaged, or names a file elsewhere.
    """
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(named.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise WeightsError(
            f"weights {index} are not an index of shards: it needs weight_map, from tensors to files."
        ) from None
    for name in names:
        if not isinstance(name, str) or not name or Path(name).name != name or name.endswith(INDEX):
            raise WeightsError(f"weights {index} name the shard {name!r}; it must be a file beside the index.")
    return [index.parent / name for name in names]
