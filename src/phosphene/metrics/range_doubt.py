"""The range check for every command: cheap, silent where it cannot tell, and never an error.

It warns only of what nobody would dispute. ``phosphene doctor`` (:mod:`phosphene.metrics.range_check`) looks closer.
"""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.metrics.conventions import Convention, common_conventions
from phosphene.metrics.information import blurred, information
from phosphene.metrics.norm_statistics import natural_noise
from phosphene.metrics.range_check import (
    FEWEST_LABELS,
    FIT_GAP_NOISE,
    GOOD_FIT,
    clearly_worse,
    divergences,
    has_learned,
    makes_sense,
    predict,
    with_labels,
)
from phosphene.samples import SamplePool
from phosphene.samples.labelled import load_labelled

SAMPLES = 32
FEWER = 24  # where each goes through the whole network, under up to nine conventions
TIMED = 4  # samples by which the time is estimated
SECONDS = 1.0  # of all cores together, the most that a pass under one convention may take
ENOUGH = 0.75  # of the information that predictions could hold: nothing to doubt
ACCURACY_GAP, INFORMATION_GAP, FIT_GAP = 0.1, 0.25, 0.4  # on noise FIT_GAP_NOISE


def range_doubt(classifier: Classifier, pool: "SamplePool | None" = None, *, device: str = "auto") -> "str | None":
    """Return one line with what to do if the declared input convention clearly does not fit, and ``None`` otherwise.

    A warning, never an error: silent where it cannot tell, and where the network classifies labelled samples about as
    well as under any other convention.

    Args:
        classifier: The network.
        pool: The samples at hand; synthetic ones are replaced by noise with the moments of natural images.
        device: Where to run.
    """
    natural = pool is not None and is_natural(classifier, pool.spec)
    try:
        with Engine(classifier, device=device) as engine:
            better = _better(engine, pool if natural else None)
    except Exception:  # noqa: BLE001  (whatever is wrong with the network, the command itself reports it)
        return None
    if better is None:
        return None
    judged = "" if natural else ", judged by noise with the colours of photographs"
    return (
        f"{classifier.name} makes little sense of its declared input ({common_conventions(classifier.input)[0]}); "
        f"{better} fits clearly better{judged}. Compare them with `phosphene doctor {classifier.spec}`, and correct "
        "mean and std if they are wrong."
    )


def is_natural(classifier: Classifier, spec: str) -> bool:
    """Return whether samples of this spec are of the kind that a network may have been trained on."""
    if spec.startswith("demo:"):
        return classifier.spec.startswith("demo:")
    return not spec.startswith("synthetic:")


def _better(engine: Engine, pool: "SamplePool | None") -> "Convention | None":
    """Return the convention that fits clearly better than the declared one, on natural samples or on noise."""
    classifier = engine.classifier
    candidates = common_conventions(classifier.input)
    if pool is None:
        fit = divergences(engine, natural_noise(SAMPLES, classifier.input.shape), candidates)
        return _better_fit(fit, candidates, FIT_GAP_NOISE)
    ranges = [one for one in candidates if one.order != "BGR"]  # the order of channels is left to `phosphene doctor`
    pixels, truth = load_labelled(pool.spec, classifier.input.shape, classifier.labels, SAMPLES, pool)
    known, wanted = with_labels(truth)
    if len(wanted) >= FEWEST_LABELS and _affordable(engine, pixels):
        labelled = pixels.float()[known] / 255
        correct = torch.stack([predict(engine, one, [labelled])[0].argmax(1) == wanted for one in ranges]).double()
        if has_learned(correct, wanted):
            return ranges[int(correct.mean(1).argmax())] if clearly_worse(correct, None, ACCURACY_GAP)[0] else None
    samples = pixels.float() / 255
    fit = divergences(engine, samples, candidates)
    if fit is not None:
        return _better_fit(fit, candidates, FIT_GAP)
    samples = samples[:FEWER]
    return _more_informative(engine, samples, ranges) if _affordable(engine, samples) else None


def _better_fit(fit: "Tensor | None", candidates: Sequence[Convention], gap: float) -> "Convention | None":
    if fit is None or float(fit.min()) >= GOOD_FIT or float(fit[0] - fit.min()) <= gap:
        return None
    return candidates[int(fit.argmin())]


def _more_informative(engine: Engine, samples: Tensor, ranges: Sequence[Convention]) -> "Convention | None":
    """Return the range that reveals clearly more than the declared one, ``ranges[0]``, if there is one."""
    views = [samples, blurred(samples)]
    declared = information(predict(engine, ranges[0], views))
    if float(declared.mean()) > ENOUGH * math.log(min(len(samples), engine.classifier.num_classes)):
        return None
    revealed = torch.stack([declared, *(information(predict(engine, one, views)) for one in ranges[1:])])
    best = ranges[int(revealed.mean(1).argmax())]
    sense = makes_sense(engine, views, best, revealed)
    return best if sense and bool(clearly_worse(revealed, None, INFORMATION_GAP)[0]) else None


def _affordable(engine: Engine, samples: Tensor) -> bool:
    """Return whether a pass over the samples takes little processor time, judged by a few of them."""
    began = time.process_time()
    engine.logits(samples[:TIMED].float())
    return time.process_time() - began <= SECONDS * TIMED / len(samples)
