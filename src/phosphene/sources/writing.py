"""A card for a classifier that was loaded: what it takes to load the same one again, without its source."""

import json
import os
from pathlib import Path
from typing import Any

import tomli_w
from safetensors.torch import save

from phosphene.classifier import Classifier
from phosphene.errors import CardError
from phosphene.outputs import ONE


def card_files(classifier: Classifier, card: Path, weights: Path) -> dict[Path, bytes]:
    """Return the files that describe a classifier: its card, and beside it weights, labels and, of ``hf:``, the config.

    Args:
        classifier: From :func:`phosphene.load`.
        card: Where the card will lie.
        weights: Where the weights will lie, ``.safetensors``; an exported network keeps them itself.

    Raises:
        CardError: nothing says how to build the network again.
    """
    origin, folder = dict(classifier.origin), card.parent
    if not origin:
        raise CardError(f"{classifier.spec} cannot be built from a card: write one yourself, with factory or arch.")
    if weights.suffix != ".safetensors":
        raise CardError(f"weights are written as .safetensors, not {weights.name}.")
    files: dict[Path, bytes] = {}
    if "config" in origin:
        config = card.with_suffix(".config.json")
        files[config] = origin.pop("config").encode()
        origin["arch"] = f"hf:{config.name}"
    fields: dict[str, Any] = {"name": classifier.name, **{key: _near(text, folder) for key, text in origin.items()}}
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
    if classifier.output != "logits":
        fields["output"] = classifier.output
    if classifier.output in ONE and "arch" in fields:
        fields["classes"] = 1
    space = classifier.input
    fields["input"] = {"size": list(space.size), "mean": list(space.mean), "std": list(space.std)}
    files[card] = tomli_w.dumps(fields).encode()  # last: a card that is there has all that it names
    return files


def _near(text: str, folder: Path) -> str:
    """Write an absolute path as the card will read it, from its own folder."""
    where, colon, function = text.rpartition(":") if ":" in text else (text, "", "")
    return f"{os.path.relpath(where, folder)}{colon}{function}" if Path(where).is_absolute() else text
