"""The range check for every command: cheap, silent where it cannot tell, and never an error.

It warns only of what nobody would argue about: a convention under which the network's first batch normalisation sees
something else entirely than in its training, or under which its answers to natural pictures hold much less than under
another one. ``phosphene doctor`` looks closer.
"""

import math
import time

import torch
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.metrics.conventions import Convention, usual
from phosphene.metrics.norm_statistics import NormStatistics, natural_noise
from phosphene.metrics.range_check import (
    ERRORS,
    FIT_GAP_NOISE,
    GOOD_FIT,
    INFORMATION_GAP,
    PEAK_CONTRAST,
    SENSE,
    blurred,
    information,
    probabilities,
)
from phosphene.samples import SamplePool

PICTURES = 32
FIRST = 4  # pictures by which the time is estimated
FEWER = 24  # where each goes through the whole network, under up to nine conventions
SECONDS = 1.0  # of all cores together, the most that these may take under one of them
ENOUGH = 0.75  # of the information that answers could hold: nothing to doubt
WARN_GAP = 5 * INFORMATION_GAP
WARN_FIT_GAP = 0.4  # on natural pictures; noise warns from FIT_GAP_NOISE on


def range_doubt(classifier: Classifier, pool: "SamplePool | None" = None, *, device: str = "auto") -> "str | None":
    """Return one line if the declared input convention clearly does not fit, and ``None`` otherwise.

    Args:
        classifier: The network.
        pool: The samples at hand; synthetic ones are replaced by noise with natural moments.
        device: Where to run.
    """
    try:
        with Engine(classifier, device=device) as engine:
            better = _better(engine, pool)
    except Exception:  # noqa: BLE001  (whatever is wrong with the network, the command itself will say it)
        return None
    if better is None:
        return None
    natural = pool is not None and is_natural(classifier, pool.spec)
    judged = "" if natural else ", judged by noise like photographs"
    return (
        f"{classifier.name} makes little sense of its declared input ({usual(classifier.input)[0]}); {better} fits "
        f"clearly better{judged}: see `phosphene doctor {classifier.spec}`."
    )


def is_natural(classifier: Classifier, spec: str) -> bool:
    """Say whether samples of this spec are of the kind that a network may have been trained on."""
    if spec.startswith("demo:"):
        return classifier.spec.startswith("demo:")
    return not spec.startswith("synthetic:")


def _better(engine: Engine, pool: "SamplePool | None") -> "Convention | None":
    classifier = engine.classifier
    natural = pool is not None and is_natural(classifier, pool.spec)
    if pool is not None and natural:
        pictures = pool.pixels[:PICTURES].cpu().float() / 255
    else:
        pictures = natural_noise(PICTURES, classifier.input.shape)
    candidates = usual(classifier.input)
    norm = NormStatistics(engine)
    if norm.module is not None:
        return _by_norm(norm, pictures, candidates, WARN_FIT_GAP if natural else FIT_GAP_NOISE)
    return _by_information(engine, pictures, candidates) if natural else None


def _by_norm(
    norm: NormStatistics, pictures: Tensor, candidates: "list[Convention]", floor: float
) -> "Convention | None":
    space = norm.engine.classifier.input
    moments = torch.stack([norm.moments(one.show(pictures, space)).mean(1) for one in candidates])
    divergence = norm.divergence(moments)
    best = int(divergence.argmin())
    fine = float(divergence[best]) < GOOD_FIT and float(divergence[0] - divergence[best]) > floor
    return candidates[best] if fine else None


def _by_information(engine: Engine, pictures: Tensor, candidates: "list[Convention]") -> "Convention | None":
    """Try one order of channels alone: this is about ranges. Two views only where there is something to warn of."""
    space = engine.classifier.input
    pictures = pictures[:FEWER]
    most = math.log(min(len(pictures), engine.classifier.num_classes))
    blurry = blurred(pictures)

    def told(one: Convention, *, twice: bool = False) -> Tensor:
        views = [pictures, blurry] if twice else [pictures]
        return information(torch.stack([probabilities(engine.logits(one.show(view, space))) for view in views]))

    began = time.process_time()
    engine.logits(pictures[:FIRST])
    if time.process_time() - began > SECONDS * FIRST / len(pictures):
        return None
    if float(told(candidates[0]).mean()) > ENOUGH * most:
        return None
    others = {one: float(told(one).mean()) for one in candidates[1:] if one.order != "BGR"}
    best = max(others, key=lambda one: others[one])
    if others[best] < SENSE * most:
        return None
    declared, found, beyond = (told(one, twice=True) for one in (candidates[0], best, best.steeper(PEAK_CONTRAST)))
    sense = float(found.mean()) > SENSE * most
    return best if sense and _above(found, declared, WARN_GAP) and _above(found, beyond, INFORMATION_GAP) else None


def _above(one: Tensor, other: Tensor, floor: float) -> bool:
    gap = one - other
    return float(gap.mean()) > max(floor, ERRORS * float(gap.std()) / math.sqrt(len(gap)))
