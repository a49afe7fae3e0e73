"""Measurements of finished maps with the source classifier: its confidence, and their targeting rate."""

import torch
from torch import Tensor

from phosphene.concept_map import render
from phosphene.engine import Engine
from phosphene.engine.targets import hits, target_probabilities
from phosphene.engine.units import UnitClassifier
from phosphene.errors import NumericError


def confidences(engine: Engine, nu: Tensor, classes: Tensor, contrast: float) -> list[float]:
    """Return the source's confidence in its class for the image of each map (m, c, h, w) in ``nu``.

    For a map of a unit, it is the share of samples that activate the unit less than the image does.

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
    """Return the targeting rate of each map: the share of held-out samples that it moves to its class.

    Each map is subtracted from the samples, and the result clipped to [0, 1].

    A sample is moved to a unit that it then activates above the 99th percentile of samples. Samples that are classified
    as the class anyway are left out; ``None`` if no other samples exist.
    """
    logits_before, count = engine.logits_of_samples(held_out), len(held_out)
    rates: list[float | None] = []
    maps_per_batch = max(1, engine.micro_batch // count)
    for maps, targets in zip(torch.split(nu, maps_per_batch), torch.split(classes, maps_per_batch), strict=True):
        # All samples, though some do not count: a GPU prepares anew for every number of images.
        images = (held_out.to(engine.dtype) / 255 - maps[:, None]).clamp(0, 1)
        logits = engine.logits(images.flatten(0, 1)).view(len(maps), count, -1)
        for target, logits_after in zip(targets, logits, strict=True):
            sample_targets = target.expand(count, *target.shape)
            moved = hits(logits_after, sample_targets)[~hits(logits_before, sample_targets)]
            rates.append(float(moved.double().mean()) if len(moved) else None)
    return rates
