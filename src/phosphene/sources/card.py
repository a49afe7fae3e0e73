"""Model cards: a TOML file that names a network and where its weights and labels lie. Cards are read and written here.

Fields: ``name``; one of ``factory`` (``file.py:function`` beside the card, or ``package.module:function``), ``arch``
(``torchvision:NAME``, ``timm:NAME``, ``hf:FILE.json``) and ``exported`` (``.pt2``, ``.onnx``, TorchScript); ``weights``
(safetensors, or a state dict, or the index of one in shards), ``labels``, ``templates`` (of a two-tower model, for its
labels), ``output``, ``description``, a table ``[input]`` with ``size``, ``mean``, ``std``, ``channels`` and a table
``[groups]`` of lists of labels. Paths are relative to the card.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

from phosphene.classifier import Classifier
from phosphene.errors import CardError, TrustError, first_line, nearest
from phosphene.input_space import InputSpace
from phosphene.labels import Labels
from phosphene.sources.draft import card_command, card_lines, card_text, input_line
from phosphene.sources.exported import FORMATS, conversion, format_of, open_exported
from phosphene.sources.factory import build as call_factory
from phosphene.sources.factory import has_random_weights
from phosphene.sources.libraries import RANDOM_WEIGHTS_NOTE, build_arch
from phosphene.sources.weights import load_weights
from phosphene.textfile import at_home, missing, read_toml
from phosphene.two_tower import TwoTower

# Field -> the types that it may have.
FIELDS = {
    **dict.fromkeys(("name", "description", "factory", "arch", "exported", "weights"), (str,)),
    "labels": (str, list),
    "output": (str, int),
    "classes": (int,),
    "templates": (list,),
    "input": (dict,),
    "groups": (dict,),
}
INPUT_FIELDS = {"size": (list,), "mean": (list,), "std": (list,), "channels": (int,)}
TYPE_NAMES = {str: "a string", list: "a list", dict: "a table", int: "a whole number"}
PATH_FIELDS = ("factory", "exported", "weights", "labels")
# Fields that name the network; a card has exactly one of them.
NETWORK_FIELDS = ("factory", "arch", "exported")
# Prefixes of ``arch``: sources with ``build(name, classes=, size=, channels=)``.
ARCHITECTURES = ("torchvision", "timm", "hf")
DEFAULT_CLASSES = 1000
MOST_CLASSES = MOST_CHANNELS = 1_000_000


def load(rest: str, *, trust: bool) -> Classifier:
    """Load the classifier of the card at ``rest``, or of the card beside an exported network.

    ``trust`` permits code that came with the card, and files outside its folder.

    Raises:
        CardError: the card is missing, malformed, or contradicts its network.
        ExtraError: its architecture comes from a library that is missing or broken.
        SpecError: its architecture does not exist.
        TrustError: loading would run code that came with it, and ``trust`` was not given.
        WeightsError: the weights are missing, unreadable, or do not fit.
    """
    path = Path(rest)
    card = _read_beside(path) if path.suffix.lower() in FORMATS else read(path)
    _check_paths(card, path, trust=trust)
    space = _input_space(card, path)
    labels = card.get("labels")
    if isinstance(labels, str):
        labels = Labels.read(path.parent / labels)
    batch: int | None = None
    notes: tuple[str, ...] = ()
    if "exported" in card:
        file = path.parent / card["exported"]
        module, batch, notes = open_exported(file, space.shape, trust=trust)
        origin = {"exported": str(file.resolve())}
    elif "arch" in card:
        module, origin = _build(card, path, space, None if labels is None else len(labels)), {"arch": card["arch"]}
        if card["arch"].startswith("hf:"):
            origin = {"config": (path.parent / card["arch"].removeprefix("hf:")).read_text(encoding="utf-8")}
    else:
        module, origin = call_factory(card["factory"], path, trust=trust), {"factory": card["factory"]}
        if card["factory"].rpartition(":")[0].endswith(".py"):
            origin = {"factory": str((path.parent / card["factory"]).absolute())}
    if "weights" in card:
        notes += load_weights(module, path.parent / card["weights"], network=card["name"])
    elif "arch" in card or ("factory" in card and has_random_weights(module, card["factory"], path, trust=trust)):
        notes = (f"{RANDOM_WEIGHTS_NOTE}: the card names no weights file",)
    if "templates" in card:
        _set_templates(module, card["templates"], path)
    return Classifier(
        module.float().eval(),
        size=space.size,
        mean=space.mean,
        std=space.std,
        labels=labels,
        groups=card.get("groups"),
        name=card["name"],
        spec=rest,
        output=card.get("output", "auto"),
        batch=batch,
        notes=notes,
        origin=origin,
    )


def _set_templates(module: nn.Module, templates: list[Any], path: Path) -> None:
    """Give a two-tower model the templates of its card; CardError if they or the network do not fit."""
    if not isinstance(module, TwoTower):
        raise CardError(f"model card {path}: templates are for two-tower models (phosphene.TwoTower): leave them out.")
    problems = [one for one in templates if not isinstance(one, str) or "{}" not in one]
    if problems:
        raise CardError(f"model card {path}: templates must be texts such as 'a photo of a {{}}', not {problems}.")
    module.templates = tuple(templates)


def _check_paths(card: Mapping[str, Any], path: Path, *, trust: bool) -> None:
    """Raise an error if a path in the card at ``path`` is impossible, or untrusted outside its folder.

    A path may be missing. A file outside did not come with the card. A factory is left out here: its code needs trust
    wherever it lies.

    Raises:
        CardError: a name is not possible.
        TrustError: a file lies outside.
    """
    folder = path.parent.resolve()
    file_names = {field: card[field] for field in PATH_FIELDS if isinstance(card.get(field), str)}
    if card.get("arch", "").startswith("hf:"):
        file_names["arch"] = card["arch"].removeprefix("hf:")
    for field, name in file_names.items():
        try:
            file = (folder / name).resolve()
            file.exists()
        except (OSError, ValueError) as error:  # a missing file is refused later, by name
            raise CardError(f"model card {path}: {field} is not a possible file name: {first_line(error)}.") from None
        if not trust and field != "factory" and not file.is_relative_to(folder):
            raise TrustError(
                f"model card {path}: {field} {name!r} lies outside the card's folder: move it there, or add --trust "
                "(trust=True in Python)."
            )


def _input_space(card: Mapping[str, Any], path: Path) -> InputSpace:
    """Return the InputSpace that a card's table [input] declares; CardError if it is missing or impossible."""
    if "input" not in card:
        raise CardError(
            f"model card {path} lacks the table [input]: add, with your network's values, the line `{input_line()}`."
        )
    space, where = card["input"], f"model card {path}: [input]"
    _check(space, INPUT_FIELDS, where)
    size = space.get("size", [])
    if len(size) != 2 or not all(type(side) is int for side in size):
        raise CardError(f"{where} needs size = [height, width].")
    channels = space.get("channels", len(space.get("mean", (0, 0, 0))))
    if not 1 <= channels <= MOST_CHANNELS:
        raise CardError(f"{where} channels is {channels}; it must be 1 to {MOST_CHANNELS:,}.")
    mean, std = space.get("mean", [0.0] * channels), space.get("std", [1.0] * channels)
    for field, values in (("mean", mean), ("std", std)):
        if not all(type(value) in (int, float) for value in values) or len(values) != channels:
            raise CardError(f"{where} {field} must be a list of numbers, one per channel ({channels}).")
    return InputSpace.of(size, mean, std)


def _build(card: Mapping[str, Any], path: Path, space: InputSpace, labels: "int | None") -> nn.Module:
    """Return the untrained network of a card's ``arch`` for its ``classes``, else for ``labels`` or 1,000.

    ``labels`` is a number.
    """
    prefix, colon, name = card["arch"].partition(":")
    if not colon or prefix not in ARCHITECTURES:
        which = "NAME" if colon else card["arch"]
        raise CardError(
            f"model card {path}: arch {card['arch']!r} must be torchvision:{which}, timm:{which} or hf:FILE.json."
        )
    if prefix == "hf":
        name = str(path.parent / name)
    return build_arch(f"{prefix}:{name}", card.get("classes", labels or DEFAULT_CLASSES), space)


def _read_beside(path: Path) -> dict[str, Any]:
    """Return the fields of the card beside an exported network, which has the same name and ``.toml``.

    Raises:
        CardError: a file is missing, or the card is of another network.
    """
    card = path.with_suffix(".toml")
    if not path.is_file():
        raise CardError(missing("exported network", path, "Give the path of a model card."))
    if not card.is_file():
        raise CardError(f"{path} needs a card that declares its input: {card_command(path)} drafts it.")
    fields = read(card, exported=path.name)
    if fields.get("exported") != path.name:
        raise CardError(f"{card} describes another network than {path.name}: give the path of the card itself.")
    return fields


def read(path: Path, *, exported: str = "") -> dict[str, Any]:
    """Return the fields of a card, checked but for what is in ``[input]``.

    Args:
        path: The card.
        exported: File of the exported network that it describes if it names no network itself.

    Raises:
        CardError: the file is missing or not TOML, or a field is unknown, missing or of the wrong type.
    """
    card = read_toml(path, "model card", CardError, "`phosphene models` lists what needs no card.")
    card.setdefault("name", path.stem)
    _check(card, FIELDS, f"model card {path}")
    card |= {field: at_home(card[field]) for field in (*PATH_FIELDS, "arch") if isinstance(card.get(field), str)}
    if exported and not any(field in card for field in NETWORK_FIELDS):
        card["exported"] = exported
    _check_network(card, path)
    return card


def _check_network(card: Mapping[str, Any], path: Path) -> None:
    """Raise CardError unless a card names one network, as NETWORK_FIELDS do, and a possible number of classes."""
    networks = [field for field in NETWORK_FIELDS if field in card]
    if not networks:
        raise CardError(f"model card {path} lacks 'factory', 'arch' or 'exported': one of them must name the network.")
    if len(networks) > 1:
        raise CardError(f"model card {path} has {' and '.join(networks)}; only one of them may name the network.")
    if "exported" in card and format_of(path.parent / card["exported"]) is None:
        raise CardError(
            f"model card {path}: exported {card['exported']!r} must be a file {', '.join(FORMATS)}.{conversion(Path(card['exported']))}"
        )
    if "exported" in card and "weights" in card:
        raise CardError(f"model card {path}: an exported network holds its weights: leave weights out.")
    if not 2 <= card.get("classes", 2) <= MOST_CLASSES:
        raise CardError(f"model card {path}: classes is {card['classes']}; it must be 2 to {MOST_CLASSES:,}.")


def _check(fields: Mapping[str, Any], types: Mapping[str, tuple[type, ...]], where: str) -> None:
    """Raise CardError for a field that is not in ``types`` (name to types), or of another type; ``where`` begins the message."""
    for key, value in fields.items():
        if key not in types:
            raise CardError(
                f"{where} has an unknown field {key!r}.{nearest(key, list(types)) or ' Fields: ' + ', '.join(types)}"
            )
        if type(value) not in types[key]:  # isinstance would accept true as a whole number
            valid = " or ".join(TYPE_NAMES[kind] for kind in types[key])
            raise CardError(f"{where}: {key} is {value!r}; it must be {valid}.")


def card_files(classifier: Classifier, card: Path, weights: Path) -> dict[Path, bytes]:
    """Return the files of a classifier's card as path -> bytes: card, weights, labels and config.

    Args:
        classifier: A classifier from :func:`phosphene.load`.
        card: Path of the card.
        weights: Path of the weights, ``.safetensors``; an exported network holds its own.

    Raises:
        CardError: it is not known how to build the network again.
    """
    origin, folder = dict(classifier.origin), card.parent
    if not origin:
        lines = card_lines(classifier.input, factory="FILE.py:FUNCTION", weights=weights.name)
        raise CardError(f"how {classifier.spec} is built is not known: write {card.name} with the lines {lines}.")
    if weights.suffix != ".safetensors":
        raise CardError(f"weights are written as .safetensors, not {weights.name}.")
    files: dict[Path, bytes] = {}
    if "config" in origin:
        config = card.with_suffix(".config.json")
        files[config] = origin.pop("config").encode()
        origin["arch"] = f"hf:{config.name}"
    fields: dict[str, Any] = {"name": classifier.name, **{key: _relative(text, folder) for key, text in origin.items()}}
    if "exported" not in fields:
        fields["weights"] = os.path.relpath(weights, folder)
        state = {key: value.detach().cpu().clone() for key, value in classifier.module.state_dict().items()}
        files[weights] = save({key: value.contiguous() for key, value in state.items()})
    if not classifier.labels.numbers_only:
        names = card.with_suffix(".labels.json")
        fields["labels"] = names.name
        files[names] = (json.dumps(list(classifier.labels), indent=0, ensure_ascii=False) + "\n").encode()
    elif "arch" in fields:
        fields["classes"] = classifier.num_classes
    if classifier.card_output != "logits":
        fields["output"] = classifier.card_output
    if classifier.groups:
        fields["groups"] = classifier.groups
    files[card] = card_text(fields, classifier.input)  # last, so that the files a card names exist before the card
    return files


def _relative(text: str, folder: Path) -> str:
    """Return an absolute path (also ``file.py:function``) relative to ``folder``; other text as it is."""
    where, colon, function = text.rpartition(":") if ":" in text else (text, "", "")
    return f"{os.path.relpath(where, folder)}{colon}{function}" if Path(where).is_absolute() else text
