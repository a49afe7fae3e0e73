"""Measurements of finished maps with the source classifier: its confidence, and their targeting rate."""

import torch
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
    before, count = engine.logits_of_samples(held_out), len(held_out)
    rates: list[float | None] = []
    together = max(1, engine.micro_batch // count)
    for maps, targets in zip(torch.split(nu, together), torch.split(classes, together), strict=True):
        # All samples, though some do not count: a GPU prepares anew for every number of images.
        moved = (held_out.to(engine.dtype) / 255 - maps[:, None]).clamp(0, 1)
        logits = engine.logits(moved.flatten(0, 1)).view(len(maps), count, -1)
        for target, after in zip(targets, logits, strict=True):
            own = target.expand(count, *target.shape)
            found = hits(after, own)[~hits(before, own)]
            rates.append(float(found.double().mean()) if len(found) else None)
    return rates
