"""How well finished maps do on their own network."""

from typing import NamedTuple

from torch import Tensor

from phosphene.concept_map import render
from phosphene.engine import Engine
from phosphene.errors import NumericError


class Measured(NamedTuple):
    """What the source network says of one map; see :class:`~phosphene.concept_map.ConceptMap`."""

    p_class: float
    targeting_rate: "float | None"


def measure(engine: Engine, held_out: Tensor, nu: Tensor, classes: Tensor, contrast: float) -> list[Measured]:
    """Measure maps (m, c, h, w) of ``classes`` (m,) on held-out samples (n, c, h, w), uint8.

    Raises:
        NumericError: the network answers with NaN or infinity to a map's picture.
    """
    probabilities = engine.logits(render(nu, contrast)).softmax(1)
    if not probabilities.isfinite().all():
        raise NumericError(f"network {engine.classifier.name} answered with NaN or infinity to the finished picture.")
    rates = targeting_rates(engine, held_out, nu, classes)
    return [Measured(float(row[index]), rate) for row, index, rate in zip(probabilities, classes, rates, strict=True)]


def targeting_rates(engine: Engine, held_out: Tensor, nu: Tensor, classes: Tensor) -> "list[float | None]":
    """Share of held-out samples that each map moves to its class, of those not there already; None if none is left."""
    before = engine.classes_of(held_out)
    rates: list[float | None] = []
    for shift, index in zip(nu, classes, strict=True):
        others = held_out[before != index]
        if len(others):
            after = engine.logits((others.to(engine.dtype) / 255 - shift).clamp(0, 1)).argmax(1)
            rates.append(float((after == index).double().mean()))
        else:
            rates.append(None)
    return rates
