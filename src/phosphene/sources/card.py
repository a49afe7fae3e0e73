"""Model cards: a TOML file that says what a network is and where its weights and labels lie.

Fields: ``name``, ``factory`` (``file.py:function`` beside the card, or ``package.module:function``),
``weights`` (safetensors, or a state dict), ``labels``, ``description`` and a table ``[input]`` with
``size``, ``mean``, ``std``, ``channels``. Paths are relative to the card.
"""

import hashlib
import importlib
import importlib.util
import inspect
import sys
import tomllib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.errors import CardError, TrustError, WeightsError, first_line, nearest
from phosphene.labels import Labels

FIELDS = {"name": str, "description": str, "factory": str, "weights": str, "labels": str, "input": dict}
INPUT_FIELDS = {"size": list, "mean": list, "std": list, "channels": int}
WORDS = {str: "a string", list: "a list", dict: "a table", int: "a whole number"}


def list_specs() -> list[tuple[str, str]]:
    """Cards are the user's own files: none is listed."""
    return []


def load(rest: str, *, trust: bool) -> Classifier:
    """Load the classifier that the card at ``rest`` describes.

    Raises:
        CardError: the card is missing, malformed, or contradicts its network.
        TrustError: the factory is a ``.py`` file and ``trust`` was not given.
        WeightsError: the weights are missing, unreadable, or do not fit.
    """
    path = Path(rest)
    card = read(path)
    module = build(card["factory"], path, trust=trust)
    if "weights" in card:
        load_weights(module, path.parent / card["weights"], network=card["name"])
    space = card["input"]
    channels = space.get("channels", len(space.get("mean", (0, 0, 0))))
    labels = Labels.read(path.parent / card["labels"]) if "labels" in card else None
    return Classifier(
        module.float().eval(),
        size=tuple(space["size"]),
        mean=space.get("mean", [0.0] * channels),
        std=space.get("std", [1.0] * channels),
        labels=labels,
        name=card["name"],
        spec=rest,
    )


def describe(path: Path) -> str:
    """Return the card's one-line description."""
    return str(read(path).get("description", ""))


def read(path: Path) -> dict[str, Any]:
    """Parse a card and check its fields.

    Raises:
        CardError: the file is missing or not TOML, or a field is unknown, missing or of the wrong type.
    """
    try:
        card = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CardError(f"model card {path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise CardError(f"model card {path} cannot be read: {error}.") from None
    card.setdefault("name", path.stem)
    _check(card, FIELDS, f"model card {path}")
    for field in ("factory", "input"):
        if field not in card:
            raise CardError(f"model card {path} lacks {'the table [input]' if field == 'input' else repr(field)}.")
    space = card["input"]
    _check(space, INPUT_FIELDS, f"model card {path}, [input]")
    if "size" not in space or len(space["size"]) != 2 or not all(type(side) is int for side in space["size"]):
        raise CardError(f"model card {path}: [input] needs size = [height, width].")
    if space.get("channels", 1) < 1:
        raise CardError(f"model card {path}: [input] channels is {space['channels']}; it must be 1 or more.")
    for field in ("mean", "std"):
        if not all(type(value) in (int, float) for value in space.get(field, [])):
            raise CardError(f"model card {path}: [input] {field} must be a list of numbers.")
        if len(space.get(field, [])) not in (0, space.get("channels", len(space.get(field, [])))):
            raise CardError(f"model card {path}: [input] {field} needs one number a channel.")
    return card


def _check(fields: Mapping[str, Any], known: Mapping[str, type], where: str) -> None:
    for key, value in fields.items():
        if key not in known:
            raise CardError(f"{where} has an unknown field {key!r}.{nearest(key, list(known))}")
        if type(value) is not known[key]:  # exactly: isinstance takes true for a whole number
            raise CardError(f"{where}: {key} is {value!r}; it must be {WORDS[known[key]]}.")


def build(factory: str, card: Path, *, trust: bool) -> nn.Module:
    """Call the factory ``file.py:function`` or ``package.module:function`` and return its network."""
    where, colon, function = factory.rpartition(":")
    if not colon or not where or not function:
        raise CardError(f"model card {card}: factory {factory!r} must be file.py:function or package.module:function.")
    if where.endswith(".py"):
        file = card.parent / where
        if not file.is_file():
            raise CardError(f"model card {card}: factory file {file} does not exist.")
        if not trust:
            raise TrustError(f"model card {card} would run the code in {file}: read it, then add --trust.")
        name = f"_phosphene_factory_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:16]}"
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise CardError(f"model card {card}: {file} is not a Python file.")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look for it there
        run: Callable[[], Any] = lambda: spec.loader.exec_module(module)  # type: ignore[union-attr]  # noqa: E731
        _guarded(run, f"factory file {file}")
    else:
        if not trust and _is_foreign(where.partition(".")[0], card):
            raise TrustError(
                f"model card {card} would run the module {where}, which lies in the working directory or beside the "
                "card: read it, then add --trust."
            )
        module = _guarded(lambda: importlib.import_module(where), f"factory module {where}")
    make = getattr(module, function, None)
    if not callable(make):
        names = [name for name, _ in inspect.getmembers(module, callable) if not name.startswith("_")]
        raise CardError(f"model card {card}: {where} has no function {function!r}.{nearest(function, names)}")
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers are not ours to draw
        torch.manual_seed(0)  # a card without weights means the same random network every time
        network = _guarded(make, f"factory {factory}")
    if not isinstance(network, nn.Module):
        raise CardError(f"model card {card}: factory {factory} gave a {type(network).__name__}, not a torch.nn.Module.")
    return network


def _is_foreign(package: str, card: Path) -> bool:
    """Say whether a module is found in the working directory or beside the card, and so may have come with it.

    `python -m` and notebooks search the working directory first. Finding a module does not run it.
    """
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or package == __name__.partition(".")[0]:  # this program itself runs already
        return False
    places = spec.submodule_search_locations or [spec.origin or ""]
    return any(Path(place).resolve().parent in (Path.cwd(), card.parent.resolve()) for place in places)


def _guarded(call: Callable[[], Any], what: str) -> Any:
    """Run foreign code; whatever it raises becomes one line."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        raise CardError(f"{what} failed: {type(error).__name__}: {error}") from error


def load_weights(module: nn.Module, path: Path, *, network: str) -> None:
    """Read a state dict from ``path`` into ``module``; half precision is widened to single.

    Raises:
        WeightsError: the file is missing or unreadable, or names or shapes do not fit; the first ones are named.
    """
    state = read_state_dict(path)
    own = module.state_dict()
    # Batch norm's step counter does not shape an answer; weights from old files lack it.
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    extra = [key for key in state if key not in own]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, the network wants {tuple(own[key].shape)}"
        for key in own
        if key in state and own[key].shape != state[key].shape
    ]
    wrong = [
        *([f"missing: {_first(missing)}"] if missing else []),
        *([f"not in the network: {_first(extra)}"] if extra else []),
        *([_first(shapes)] if shapes else []),
    ]
    if wrong:
        raise WeightsError(f"weights {path} do not fit network {network}: {'; '.join(wrong)}.")
    widened = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    module.load_state_dict({**own, **widened})


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read safetensors, or a ``.pt``/``.pth`` state dict without running anything that it holds."""
    if not path.is_file():
        raise WeightsError(f"weights {path} do not exist.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415  (only one of the two readers is needed)

            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # about TorchScript, which is refused below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        line = first_line(error)
        if path.suffix != ".safetensors" and not isinstance(error, OSError):
            # torch's own words advise to switch the guard off.
            line = "damaged, or more than a state dict, which would run code: save the state dict as .safetensors."
        raise WeightsError(f"weights {path} cannot be read as plain tensors: {line}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not (isinstance(state, dict) and state and all(isinstance(value, Tensor) for value in state.values())):
        raise WeightsError(f"weights {path} hold no state dict (names to tensors).")
    return state


def _first(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
