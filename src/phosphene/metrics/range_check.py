"""Whether a network makes sense of the range, means and channel order that its card declares.

Every common convention (:mod:`phosphene.metrics.conventions`) is tried on the same samples. Where samples have labels,
accuracy decides. Where they have none, two things count: what the first batch normalisation remembers of its training
samples, and how much the predictions reveal about which sample was shown. docs/range-check.md explains them and
documents where the thresholds were tuned.

``phosphene doctor`` prints what :func:`check_range` returns. Every other command calls :func:`range_doubt`, which is
cheap, warns only if the evidence is clear, says nothing if it cannot tell, and never fails.
"""

import math
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.metrics.conventions import Convention, common_conventions
from phosphene.metrics.information import blurred, information, probabilities
from phosphene.metrics.norm_statistics import divergence, first_norm, natural_noise
from phosphene.samples import SamplePool, is_natural
from phosphene.samples.labelled import load_labelled

ERRORS = 3  # standard errors by which a convention must be worse, to be clearly worse
ACCURACY_GAP = 0.05  # and by how much in accuracy,
INFORMATION_GAP = 0.05  # in information (nats),
FIT_GAP, FIT_GAP_NOISE = 0.25, 0.75  # and in divergence (nats per channel), on natural samples and on noise
SENSE = 0.5  # a network makes sense of samples if its predictions hold half of the information that they could
PEAK_CONTRAST = 4  # and less of it at four times the contrast: networks with random weights only gain
GOOD_FIT = 0.3  # a divergence above which the samples are too unlike the training samples to compare conventions
FEWEST_LABELS = 16

# Of range_doubt:
DOUBT_SAMPLES = 32
DOUBT_FEWER = 24  # if each goes through the whole network, under up to nine conventions
DOUBT_LABELLED = 64  # labelled samples that confirm a doubt, or remove it
TIMED = 4  # samples by which the time is estimated
SECONDS = 1.0  # longest time, over all cores, for a pass under one convention
ENOUGH = 0.75  # share of the possible information in predictions from which there is no doubt
DOUBT_ACCURACY_GAP, DOUBT_INFORMATION_GAP, DOUBT_FIT_GAP = 0.1, 0.25, 0.4  # on noise FIT_GAP_NOISE


@dataclass(frozen=True)
class RangeCheck:
    """Result of :func:`check_range`: verdict on the declared convention (fits, another fits, cannot tell), best one, figures for each.

    Attributes:
        verdict: ``fits``; ``another fits`` (clearly better than the declared one); ``cannot tell``.
        best: The convention that fits best; ``None`` without any evidence.
        rivals: Conventions that fit as well as the best one.
        evidence: Names of the evidence that decided: ``labels`` alone, or ``batch norm`` and ``information``.
        rows: Predictions of the network under every convention, the declared one first: ``convention`` (its name),
            ``declared``, ``accuracy`` (share of labelled samples classified correctly; ``None`` without labels),
            ``divergence`` (see :func:`phosphene.metrics.norm_statistics.divergence`; ``None`` without a batch
            normalisation), ``information`` (see :func:`phosphene.metrics.information.information`), ``confidence``
            (mean probability of the most probable class), ``entropy`` (mean, in nats), ``classes`` (how many different
            ones).
    """

    verdict: str
    best: "Convention | None"
    rivals: tuple[Convention, ...]
    evidence: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]

    @property
    def line(self) -> str:
        """The verdict as one line of text: which convention fits, which others fit as well, and by which evidence."""
        declared = self.rows[0]["convention"]
        if self.best is None or self.verdict == "cannot tell":
            return "cannot tell: give natural samples of the network's own kind with --samples"
        others = [str(one) for one in (self.best, *self.rivals) if not one.declared]
        if self.verdict == "fits":
            also = f"; {' or '.join(others)} cannot be told from it" if others else ", clearly better than all others"
            return f"{declared} fits{also} (by {', '.join(self.evidence)})"
        also = f" (or {' or '.join(others[1:])})" if others[1:] else ""
        return f"{others[0]}{also} fits clearly better than {declared} (by {', '.join(self.evidence)})"


def check_range(
    engine: Engine, samples: Tensor, truth: "Sequence[int] | None" = None, *, natural: bool = True
) -> RangeCheck:
    """Judge by labels ``truth``, or if they tell too little by batch norm and information, which input conventions suit; return RangeCheck.

    Args:
        engine: An open engine of the classifier in question.
        samples: (n, c, h, w) in [0, 1].
        truth: The class of each; -1 if it is not known.
        natural: Whether they are samples of the kind that the network was trained on, or noise: that proves less.
    """
    space = engine.classifier.input
    candidates = common_conventions(space)
    views = [samples, blurred(samples)]
    predictions = torch.stack([predict(engine, one, views) for one in candidates])  # (k, views, n, classes)
    revealed = torch.stack([information(both) for both in predictions])
    fit = divergences(engine, samples, candidates)
    known, wanted = with_labels(truth)
    correct = (predictions[:, 0, known].argmax(2) == wanted).double()
    rows = tuple(
        {
            "convention": str(one),
            "declared": one.declared,
            "accuracy": round(float(correct[k].mean()), 3) if len(wanted) else None,
            "divergence": None if fit is None else round(float(fit[k]), 3),
            "information": round(float(revealed[k].mean()), 3),
            "confidence": round(float(plain.amax(1).mean()), 3),
            "entropy": round(float(-torch.special.xlogy(plain, plain).sum(1).mean()), 3),
            "classes": len(plain.argmax(1).unique()),
        }
        for k, (one, plain) in enumerate(zip(candidates, predictions[:, 0], strict=True))
    )

    possible = torch.ones(len(candidates), dtype=torch.bool)
    ranking: Tensor | None = None
    evidence = []
    if has_learned(correct, wanted):
        possible = ~clearly_worse(correct, possible, ACCURACY_GAP)
        ranking, evidence = correct.mean(1) + 1e-3 * revealed.mean(1), ["labels"]  # information orders equal accuracies
    else:
        if fit is not None and float(fit.min()) < GOOD_FIT:
            possible &= fit - fit.min() <= (FIT_GAP if natural else FIT_GAP_NOISE)
            ranking, evidence = -fit, ["batch norm"]
        if natural and makes_sense(engine, views, candidates[int(revealed.mean(1).argmax())], revealed):
            possible &= ~clearly_worse(revealed, possible, INFORMATION_GAP)
            ranking = revealed.mean(1) if ranking is None else ranking
            evidence.append("information")
    if ranking is None or (bool(possible.all()) and evidence != ["labels"]):
        best = None if ranking is None else candidates[int(ranking.argmax())]
        return RangeCheck("cannot tell", best, (), tuple(evidence), rows)
    order = ranking.masked_fill(~possible, -math.inf).argsort(descending=True).tolist()
    left = tuple(candidates[k] for k in order if possible[k])
    verdict = "fits" if any(one.declared for one in left) else "another fits"
    return RangeCheck(verdict, left[0], left[1:], tuple(evidence), rows)


def range_doubt(classifier: Classifier, pool: "SamplePool | None" = None, *, device: str = "auto") -> "str | None":
    """Return a one-line warning if another input convention clearly fits better than the declared one; ``None`` if not, or on any error.

    A warning, never an error: silent if it cannot tell, or if the network classifies labelled samples about as
    well as under the better convention.

    Args:
        classifier: The network.
        pool: The samples at hand; synthetic ones are replaced by noise with the moments of natural images.
        device: Where to run.
    """
    natural = pool is not None and is_natural(classifier, pool.spec)
    try:
        classifier.refuse_regression("the range check")
        with Engine(classifier, device=device) as engine:
            better = _better_convention(engine, pool if natural else None)
    except Exception:  # noqa: BLE001  (whatever is wrong with the network, the command itself reports it)
        return None
    if better is None:
        return None
    judged = "" if natural else ", judged by noise with the colours of photographs"
    spec = shlex.quote(classifier.spec)
    return (
        f"{classifier.name} makes little sense of its declared input ({common_conventions(classifier.input)[0]}); "
        f"{better} fits clearly better{judged}. Compare them with `phosphene doctor {spec}`, and correct "
        "mean and std if they are wrong."
    )


def divergences(engine: Engine, samples: Tensor, candidates: Sequence[Convention]) -> "Tensor | None":
    """Return per input convention how far the first batch norm's input is from its statistics: KL, (k,) nats; ``None`` if it has none."""
    reached = [first_norm(engine, one.apply(samples, engine.classifier.input)) for one in candidates]
    found = [one for one in reached if one is not None]
    return torch.stack([divergence(norm, moments.mean(1)) for norm, moments in found]) if found else None


def predict(engine: Engine, convention: Convention, views: Sequence[Tensor]) -> Tensor:
    """Return the network's class probabilities (views, n, classes) for ``views``, each n samples in [0, 1], under an input convention."""
    space = engine.classifier.input
    return torch.stack([probabilities(engine.logits(convention.apply(view, space))) for view in views])


def with_labels(truth: "Sequence[int] | None") -> tuple[Tensor, Tensor]:
    """From a class per sample (-1 if unknown), return the positions of the samples whose class is known, and their classes, int64."""
    classes = torch.tensor(list(truth or ()), dtype=torch.int64)
    known = (classes >= 0).nonzero()[:, 0]
    return known, classes[known]


def has_learned(correct: Tensor, wanted: Tensor) -> bool:
    """Return whether accuracy under the best convention, ``correct`` (k, n), clearly beats the commonest class; False under 16 labels."""
    if len(wanted) < FEWEST_LABELS:
        return False
    often = float(wanted.bincount().max()) / len(wanted)
    error = math.sqrt(often * (1 - often) / len(wanted))
    return float(correct.mean(1).max()) > often + max(0.1, ERRORS * error)


def makes_sense(engine: Engine, views: Sequence[Tensor], best: Convention, revealed: Tensor) -> bool:
    """Return whether samples are evidence: the best convention's predictions reveal enough of them, more than at fourfold contrast."""
    top = revealed[int(revealed.mean(1).argmax())]
    if float(top.mean()) < SENSE * math.log(min(len(top), engine.classifier.num_classes)):
        return False
    beyond = information(predict(engine, best.with_contrast(PEAK_CONTRAST), views))
    return bool(clearly_worse(torch.stack([top, beyond]), None, INFORMATION_GAP)[1])


def clearly_worse(values: Tensor, among: "Tensor | None", floor: float) -> Tensor:
    """Return, bool (k,), which rows of ``values`` (k, n) lie below the best of ``among`` by over max(``floor``, 3 standard errors)."""
    means = values.mean(1) if among is None else values.mean(1).masked_fill(~among, -math.inf)
    gap = values[int(means.argmax())] - values
    spread = gap.std(1) if gap.shape[1] > 1 else gap[:, 0] + math.inf  # one sample shows nothing
    error = spread / math.sqrt(gap.shape[1])
    return gap.mean(1) > (ERRORS * error).clamp_min(floor)


def _better_convention(engine: Engine, pool: "SamplePool | None") -> "Convention | None":
    """Measure how conventions fit samples (or noise); return one that fits clearly better than the declared one, ``None`` if none does."""
    candidates, shape = common_conventions(engine.classifier.input), engine.classifier.input.shape
    samples = natural_noise(DOUBT_SAMPLES, shape) if pool is None else pool.pixels[:DOUBT_SAMPLES].cpu().float() / 255
    fit = divergences(engine, samples, candidates)
    if fit is not None:
        gap = FIT_GAP_NOISE if pool is None else DOUBT_FIT_GAP
        clear = float(fit.min()) < GOOD_FIT and float(fit[0] - fit.min()) > gap
        better = candidates[int(fit.argmin())] if clear else None
    elif pool is not None and not engine.classifier.multi_label and _affordable(engine, samples[:DOUBT_FEWER]):
        # The order of channels is left to `phosphene doctor`.
        better = _more_informative(engine, samples[:DOUBT_FEWER], [one for one in candidates if one.order != "BGR"])
    else:
        better = None
    doubtful = better is None or pool is None or not _as_accurate(engine, pool, [candidates[0], better])
    return better if doubtful else None


def _as_accurate(engine: Engine, pool: SamplePool, both: Sequence[Convention]) -> bool:
    """Return whether a network classifies a pool's labelled samples about as well by the first of two conventions; False under 16."""
    network = engine.classifier
    pixels, truth = load_labelled(pool.spec, network.input.shape, network.labels, DOUBT_LABELLED, pool)
    known, wanted = with_labels(truth)
    if len(wanted) < FEWEST_LABELS:
        return False
    labelled = [pixels.float()[known] / 255]
    correct = torch.stack([predict(engine, one, labelled)[0].argmax(1) == wanted for one in both]).double()
    return not bool(clearly_worse(correct, None, DOUBT_ACCURACY_GAP)[0])


def _more_informative(engine: Engine, samples: Tensor, ranges: Sequence[Convention]) -> "Convention | None":
    """Classify samples under each of ``ranges``; return one whose predictions reveal clearly more than the first's; else ``None``."""
    views = [samples, blurred(samples)]
    declared = information(predict(engine, ranges[0], views))
    if float(declared.mean()) > ENOUGH * math.log(min(len(samples), engine.classifier.num_classes)):
        return None
    revealed = torch.stack([declared, *(information(predict(engine, one, views)) for one in ranges[1:])])
    best = ranges[int(revealed.mean(1).argmax())]
    clear = bool(clearly_worse(revealed, None, DOUBT_INFORMATION_GAP)[0])
    return best if clear and makes_sense(engine, views, best, revealed) else None


def _affordable(engine: Engine, samples: Tensor) -> bool:
    """Return whether the network would need at most one second of processor time for all samples, judged by timing four of them."""
    began = time.process_time()
    engine.logits(samples[:TIMED])
    return time.process_time() - began <= SECONDS * TIMED / len(samples)
