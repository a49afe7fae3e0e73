"""The range check for every command: cheap, silent if it cannot tell, and never an error.

It warns only if the evidence is clear. ``phosphene doctor`` (:mod:`phosphene.metrics.range_check`) looks closer.
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
    makes_sense,
    predict,
    with_labels,
)
from phosphene.samples import SamplePool
from phosphene.samples.labelled import load_labelled

SAMPLES = 32
LABELLED = 64  # labelled samples that confirm a doubt, or remove it
FEWER = 24  # if each goes through the whole network, under up to nine conventions
TIMED = 4  # samples by which the time is estimated
SECONDS = 1.0  # longest time, over all cores, for a pass under one convention
ENOUGH = 0.75  # share of the possible information in predictions from which there is no doubt
ACCURACY_GAP, INFORMATION_GAP, FIT_GAP = 0.1, 0.25, 0.4  # on noise FIT_GAP_NOISE


def range_doubt(classifier: Classifier, pool: "SamplePool | None" = None, *, device: str = "auto") -> "str | None":
    """Return one line with what to do if the declared input convention clearly does not fit, and ``None`` otherwise.

    A warning, never an error: silent if it cannot tell, or if the network classifies labelled samples about as
    well as under the better convention.

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
    candidates, shape = common_conventions(engine.classifier.input), engine.classifier.input.shape
    samples = natural_noise(SAMPLES, shape) if pool is None else pool.pixels[:SAMPLES].cpu().float() / 255
    fit = divergences(engine, samples, candidates)
    if fit is not None:
        clear = float(fit.min()) < GOOD_FIT and float(fit[0] - fit.min()) > (FIT_GAP_NOISE if pool is None else FIT_GAP)
        better = candidates[int(fit.argmin())] if clear else None
    elif pool is not None and _affordable(engine, samples[:FEWER]):
        # The order of channels is left to `phosphene doctor`.
        better = _more_informative(engine, samples[:FEWER], [one for one in candidates if one.order != "BGR"])
    else:
        better = None
    if better is None or pool is None or not _as_accurate(engine, pool, [candidates[0], better]):
        return better
    return None


def _as_accurate(engine: Engine, pool: SamplePool, both: Sequence[Convention]) -> bool:
    """Return whether the pool has labels, and the network is not clearly less accurate under the first convention."""
    pixels, truth = load_labelled(pool.spec, engine.classifier.input.shape, engine.classifier.labels, LABELLED, pool)
    known, wanted = with_labels(truth)
    if len(wanted) < FEWEST_LABELS:
        return False
    labelled = [pixels.float()[known] / 255]
    correct = torch.stack([predict(engine, one, labelled)[0].argmax(1) == wanted for one in both]).double()
    return not bool(clearly_worse(correct, None, ACCURACY_GAP)[0])


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
    engine.logits(samples[:TIMED])
    return time.process_time() - began <= SECONDS * TIMED / len(samples)
