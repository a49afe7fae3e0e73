"""Measurements of finished maps with the source classifier: its confidence, and their targeting rate."""

from torch import Tensor

from phosphene.concept_map import render
from phosphene.engine import Engine
from phosphene.engine.targets import hits, target_probabilities
from phosphene.engine.units import UnitClassifier
from phosphene.errors import NumericError


def confidences(engine: Engine, nu: Tensor, classes: Tensor, contrast: float) -> list[float]:
    """Run the engine on images of maps ``nu``; return each's probability of its class, or of a unit the share of samples below it.

    Raises:
        NumericError: the network gives NaN or infinity for the image of a map.
    """
    logits = engine.logits(render(nu, contrast))
    network = engine.classifier
    if isinstance(network, UnitClassifier):
        probabilities = network.confidences(logits, classes)
    else:
        probabilities = target_probabilities(logits, classes)
    if not probabilities.isfinite().all():
        raise NumericError(f"network {engine.classifier.name} gives NaN or infinity for the image of a finished map.")
    return [float(one) for one in probabilities]


def targeting_rates(engine: Engine, held_out: Tensor, nu: Tensor, classes: Tensor) -> "list[float | None]":
    """Subtract each map from held-out samples not predicted as its class; return the share that then is, per map; ``None`` without any.

    A sample is moved to a unit that it then activates above the 99th percentile of samples. Samples that are classified
    as the class anyway are left out; ``None`` if no other samples exist.
    """
    before = engine.logits_of_samples(held_out)
    rates: list[float | None] = []
    for row, shift in enumerate(nu):
        own = classes[row : row + 1].expand(len(held_out), *classes.shape[1:])
        others = ~hits(before, own)
        moved = (held_out.to(engine.dtype) / 255 - shift).clamp(0, 1)  # all: a GPU prepares for every number of images
        after = hits(engine.logits(moved), own)[others]
        rates.append(float(after.double().mean()) if len(after) else None)
    return rates
