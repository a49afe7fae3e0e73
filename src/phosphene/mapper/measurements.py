"""Measurements of finished maps with the source classifier: its confidence, and their targeting rate."""

from torch import Tensor

from phosphene.concept_map import render
from phosphene.engine import Engine
from phosphene.errors import NumericError


def confidences(engine: Engine, nu: Tensor, classes: Tensor, contrast: float) -> list[float]:
    """Return the source's probability, in [0, 1], of each map's class for its rendered image; maps (m, c, h, w), classes (m,).

    Raises:
        NumericError: the network gives NaN or infinity for the image of a map.
    """
    probabilities = engine.logits(render(nu, contrast)).softmax(1)
    if not probabilities.isfinite().all():
        raise NumericError(f"network {engine.classifier.name} gives NaN or infinity for the image of a finished map.")
    return [float(row[index]) for row, index in zip(probabilities, classes, strict=True)]


def targeting_rates(engine: Engine, held_out: Tensor, nu: Tensor, classes: Tensor) -> "list[float | None]":
    """Return, per map, the share of held-out samples, uint8 (n, c, h, w), that subtracting the map moves to its class.

    Samples that are classified as the class anyway are left out; ``None`` if no other samples exist.
    """
    before = engine.predicted_classes(held_out)
    rates: list[float | None] = []
    for shift, index in zip(nu, classes, strict=True):
        others = held_out[before != index]
        if len(others):
            after = engine.logits((others.to(engine.dtype) / 255 - shift).clamp(0, 1)).argmax(1)
            rates.append(float((after == index).double().mean()))
        else:
            rates.append(None)
    return rates
