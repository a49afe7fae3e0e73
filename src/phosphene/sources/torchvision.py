"""``torchvision:NAME``, ``@WEIGHTS`` or ``@random``: labels and preprocessing come from the weights."""

from typing import Any

from torch import nn

from phosphene.classifier import Classifier
from phosphene.errors import CardError, SpecError, one_line
from phosphene.extras import require
from phosphene.sources.libraries import RANDOM, RANDOM_WEIGHTS_NOTE, check_name, fetching, fixed_seed
from phosphene.sources.weights import put_tensors

# What torchvision sets on top of its defaults when it loads its own weights of these networks.
INCEPTIONS = ("googlenet", "inception_v3")
INCEPTION = {"transform_input": True, "aux_logits": False, "init_weights": True}


def list_specs() -> list[tuple[str, str]]:
    """Return (spec, text on its default weights and input size) for every classifier of torchvision."""
    models = require("torchvision.models", "torchvision")
    rows = []
    for name in models.list_models(module=models):
        weights = models.get_model_weights(name).DEFAULT
        rows.append((f"torchvision:{name}", f"{weights.name}, {_size(weights)} pixels"))
    return rows


def load(rest: str, *, trust: bool) -> Classifier:
    """Load a classifier of torchvision as ``NAME``, ``NAME@WEIGHTS`` or ``NAME@random``.

    It needs no trust, because its weights are plain tensors.

    Raises:
        ExtraError: torchvision is missing or broken.
        SpecError: there is no model or no weights of this name.
        WeightsError: the weights cannot be fetched.
    """
    name, at, which = rest.partition("@")
    weights = _models_with(name).get_model_weights(name)
    is_random = which == RANDOM
    names = [one.name for one in weights]
    if at and not is_random and which not in names:
        raise SpecError(f"torchvision's {name} has no weights {which!r}. Known: {', '.join([*names, RANDOM])}.")
    entry = weights[which] if at and not is_random else weights.DEFAULT
    transforms, labels, size = entry.transforms(), entry.meta["categories"], _size(entry)
    module = build(name, classes=len(labels), size=(size, size))
    if not is_random:
        with fetching(f"torchvision:{name}", entry):
            state = entry.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
        put_tensors(state, module, str(entry), name)
    return Classifier(
        module.eval(),
        size=size,
        mean=transforms.mean,
        std=transforms.std,
        labels=labels,
        name=f"{name}-{which.lower()}" if at else name,
        notes=[RANDOM_WEIGHTS_NOTE] if is_random else [],
        origin={"arch": f"torchvision:{name}"},
    )


def build(name: str, *, classes: int, size: tuple[int, int], channels: int = 3) -> nn.Module:
    """Return torchvision's network ``name`` for a card's ``arch``, with the same random weights every time.

    Raises:
        SpecError: torchvision has no architecture of this name, or not for so many channels.
    """
    models = _models_with(name)
    if channels != 3:
        raise SpecError(f"torchvision's networks take 3 channels, not {channels}: use timm:NAME, or a factory.")
    settings: dict[str, Any] = dict(INCEPTION) if name in INCEPTIONS else {}
    if name.startswith("vit_"):
        settings["image_size"] = size[0]
    if name.startswith("maxvit"):
        settings["input_size"] = size
    with one_line(CardError, f"torchvision's {name} failed"), fixed_seed():
        network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **settings)
    return network


def _models_with(name: str) -> Any:
    """Return ``torchvision.models``, after a check that it has a classifier of this name; SpecError if not."""
    models = require("torchvision.models", "torchvision")
    check_name("torchvision", name, models.list_models(module=models))
    return models


def _size(weights: Any) -> int:
    """Return the side, in pixels, of the square image that the preprocessing of these weights cuts out."""
    return int(weights.transforms().crop_size[0])
