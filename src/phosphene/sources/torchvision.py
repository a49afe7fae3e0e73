"""``torchvision:NAME``, ``@WEIGHTS`` or ``@random``: labels and preprocessing come from the weights."""

from typing import Any

from torch import nn

from phosphene.classifier import Classifier
from phosphene.errors import SpecError, WeightsError, first_line, nearest
from phosphene.extras import require
from phosphene.sources.factory import same_every_time
from phosphene.sources.weights import put

RANDOM = "random"
# What torchvision sets on top of its defaults when it loads its own weights.
SETTINGS: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "aux_logits": False, "init_weights": True},
    "inception_v3": {"transform_input": True, "aux_logits": False, "init_weights": True},
}


def list_specs() -> list[tuple[str, str]]:
    """Return every classifier of torchvision with the size of its input."""
    models = require("torchvision.models", "torchvision")
    rows = []
    for name in models.list_models(module=models):
        weights = models.get_model_weights(name).DEFAULT
        rows.append((f"torchvision:{name}", f"{weights.name}, {_size(weights)} pixels"))
    return rows


def load(rest: str, *, trust: bool) -> Classifier:
    """Load a classifier of torchvision by name; nothing of it needs trust.

    Raises:
        ExtraError: torchvision is missing or broken.
        SpecError: no model or weights are called so.
        WeightsError: the weights cannot be fetched.
    """
    name, at, which = rest.partition("@")
    models = require("torchvision.models", "torchvision")
    _check_name(models, name)
    there = models.get_model_weights(name)
    chosen = there.DEFAULT
    if which != RANDOM and at:
        known = [weights.name for weights in there]
        if which not in known:
            raise SpecError(f"torchvision's {name} has no weights {which!r}. Known: {', '.join([*known, RANDOM])}.")
        chosen = there[which]
    transforms, labels, size = chosen.transforms(), chosen.meta["categories"], _size(chosen)
    module = build(name, classes=len(labels), size=(size, size))
    if which != RANDOM:
        try:
            state = chosen.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
        except Exception as error:  # the network's and the file system's own troubles are many
            raise WeightsError(
                f"weights {chosen} cannot be fetched ({first_line(error)}): take torchvision:{name}@{RANDOM}, or a "
                f'card with arch = "torchvision:{name}" and weights that lie on this machine.'
            ) from error
        put(state, module, str(chosen), name)
    return Classifier(
        module.eval(),
        size=size,
        mean=transforms.mean,
        std=transforms.std,
        labels=labels,
        name=f"{name}-{which.lower()}" if at else name,
        notes=["its weights are random"] if which == RANDOM else [],
        origin={"arch": f"torchvision:{name}"},
    )


def build(name: str, *, classes: int, size: tuple[int, int], channels: int = 3) -> nn.Module:
    """Build an architecture with random weights, the same ones every time.

    Raises:
        SpecError: torchvision has none of this name, or not for so many channels.
    """
    models = require("torchvision.models", "torchvision")
    _check_name(models, name)
    if channels != 3:
        raise SpecError(f"torchvision's networks take 3 channels, not {channels}: use timm:NAME, or a factory.")
    settings = dict(SETTINGS.get(name, {}))
    if name.startswith("vit_"):
        settings["image_size"] = size[0]
    if name.startswith("maxvit"):
        settings["input_size"] = size
    network: nn.Module = same_every_time(
        lambda: models.get_model(name, weights=None, num_classes=classes, **settings), f"torchvision's {name}"
    )
    return network


def _check_name(models: Any, name: str) -> None:
    known = models.list_models(module=models)
    if name not in known:
        fix = nearest(name, known) or " `phosphene models torchvision` lists what it has."
        raise SpecError(f"torchvision has no classifier {name!r}.{fix}")


def _size(weights: Any) -> int:
    """Side of the square that the weights' own preprocessing cuts out."""
    return int(weights.transforms().crop_size[0])
