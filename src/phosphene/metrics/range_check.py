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
from phosphene.metrics.label_check import MIN_LABELS, has_learned, order_doubt, with_labels
from phosphene.metrics.norm_statistics import divergence, first_norm, natural_noise
from phosphene.samples import SamplePool, is_natural
from phosphene.samples.labelled import load_labelled

STANDARD_ERRORS = 3  # standard errors by which a convention must be worse, to be clearly worse
ACCURACY_GAP = 0.05  # and by how much in accuracy,
INFORMATION_GAP = 0.05  # in information (nats),
FIT_GAP, FIT_GAP_NOISE = 0.25, 0.75  # and in divergence (nats per channel), on natural samples and on noise
MIN_INFORMATION_SHARE = 0.5  # of what predictions could reveal: from there on, a network makes sense of samples
PEAK_CONTRAST = 4  # and less of it at four times the contrast: networks with random weights only gain
MAX_DIVERGENCE = 0.3  # a divergence above which the samples are too unlike the training samples to compare conventions

# Of range_doubt:
DOUBT_SAMPLES = 32
DOUBT_PASSES = 24  # samples if each goes through the whole network, under up to nine conventions
DOUBT_LABELLED = 64  # labelled samples that confirm a doubt, or remove it
TIMING_SAMPLES = 4  # samples by which the time is estimated
MAX_SECONDS = 1.0  # longest time, over all cores, for a pass under one convention
NO_DOUBT_SHARE = 0.75  # share of the possible information in predictions from which there is no doubt
DOUBT_ACCURACY_GAP, DOUBT_INFORMATION_GAP, DOUBT_FIT_GAP = 0.1, 0.25, 0.4  # on noise FIT_GAP_NOISE


@dataclass(frozen=True)
class RangeCheck:
    """Result of :func:`check_range`: the verdict on the declared convention, and figures for each.

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
        class_order: A line that the order of the classes does not fit the labels of the samples; empty if there is no doubt.
    """

    verdict: str
    best: "Convention | None"
    rivals: tuple[Convention, ...]
    evidence: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    class_order: str = ""

    @property
    def line(self) -> str:
        """The verdict as one line of text: which conventions fit, and by which evidence."""
        declared = self.rows[0]["convention"]
        if self.best is None or self.verdict == "cannot tell":
            return "cannot tell: give natural samples of the network's own kind"
        others = [str(one) for one in (self.best, *self.rivals) if not one.declared]
        if self.verdict == "fits":
            also = f"; {' or '.join(others)} cannot be told from it" if others else ", clearly better than all others"
            return f"{declared} fits{also} (by {', '.join(self.evidence)})"
        also = f" (or {' or '.join(others[1:])})" if others[1:] else ""
        return f"{others[0]}{also} fits clearly better than {declared} (by {', '.join(self.evidence)})"


def check_range(
    engine: Engine, samples: Tensor, truth: "Sequence[int] | None" = None, *, natural: bool = True
) -> RangeCheck:
    """Judge which input conventions suit a network, by labels, or else by batch norm and information.

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
    nats = torch.stack([information(one) for one in predictions])
    fit = divergences(engine, samples, candidates)
    positions, labels = with_labels(truth)
    correct = (predictions[:, 0, positions].argmax(2) == labels).double()
    rows = tuple(
        {
            "convention": str(one),
            "declared": one.declared,
            "accuracy": round(float(correct[k].mean()), 3) if len(labels) else None,
            "divergence": None if fit is None else round(float(fit[k]), 3),
            "information": round(float(nats[k].mean()), 3),
            "confidence": round(float(p.amax(1).mean()), 3),
            "entropy": round(float(-torch.special.xlogy(p, p).sum(1).mean()), 3),
            "classes": len(p.argmax(1).unique()),
        }
        for k, (one, p) in enumerate(zip(candidates, predictions[:, 0], strict=True))
    )

    is_sure = _reveals_enough(nats[0], engine.classifier)
    predicted = predictions[0, 0, positions].argmax(1)
    class_order = order_doubt(predicted, labels, engine.classifier.labels, is_sure=is_sure)

    mask = torch.ones(len(candidates), dtype=torch.bool)
    ranking: Tensor | None = None
    evidence = []
    if has_learned(correct, labels):
        mask = ~clearly_worse(correct, ACCURACY_GAP)
        ranking, evidence = correct.mean(1) + 1e-3 * nats.mean(1), ["labels"]  # information orders equal accuracies
    else:
        if fit is not None and float(fit.min()) < MAX_DIVERGENCE:
            mask &= fit - fit.min() <= (FIT_GAP if natural else FIT_GAP_NOISE)
            ranking, evidence = -fit, ["batch norm"]
        if natural and makes_sense(engine, views, candidates, nats):
            mask &= ~clearly_worse(nats, INFORMATION_GAP, among=mask)
            ranking = nats.mean(1) if ranking is None else ranking
            evidence.append("information")
    if ranking is None or (bool(mask.all()) and evidence != ["labels"]):
        best = None if ranking is None else candidates[int(ranking.argmax())]
        return RangeCheck("cannot tell", best, (), tuple(evidence), rows, class_order)
    order = ranking.masked_fill(~mask, -math.inf).argsort(descending=True).tolist()
    winners = tuple(candidates[k] for k in order if mask[k])
    verdict = "fits" if any(one.declared for one in winners) else "another fits"
    return RangeCheck(verdict, winners[0], winners[1:], tuple(evidence), rows, class_order)


def range_doubt(classifier: Classifier, pool: "SamplePool | None" = None, *, device: str = "auto") -> "str | None":
    """Return a warning if another input convention clearly fits better than the declared one; else ``None``.

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
            convention = _better_convention(engine, pool if natural else None)
    except Exception:  # noqa: BLE001  (whatever is wrong with the network, the command itself reports it)
        return None
    if convention is None:
        return None
    basis = "" if natural else ", judged by noise with the colours of photographs"
    made_in_python = classifier.spec == classifier.name  # no spec loads it
    doctor = "phosphene.doctor(classifier)" if made_in_python else f"phosphene doctor {shlex.quote(classifier.spec)}"
    return (
        f"{classifier.name} makes little sense of its declared input ({common_conventions(classifier.input)[0]}); "
        f"{convention} fits clearly better{basis}. Compare them with `{doctor}`, and correct "
        "mean and std if they are wrong."
    )


def divergences(engine: Engine, samples: Tensor, candidates: Sequence[Convention]) -> "Tensor | None":
    """Return the divergence of the first batch norm's input under each convention, (k,) in nats.

    It is ``None`` if the network has no such batch norm.
    """
    results = [first_norm(engine, one.apply(samples, engine.classifier.input)) for one in candidates]
    norm_inputs = [one for one in results if one is not None]
    return torch.stack([divergence(norm, moments.mean(1)) for norm, moments in norm_inputs]) if norm_inputs else None


def predict(engine: Engine, convention: Convention, views: Sequence[Tensor]) -> Tensor:
    """Return class probabilities (views, n, classes) under an input convention.

    Each of ``views`` is n samples in [0, 1].
    """
    space = engine.classifier.input
    return torch.stack([probabilities(engine.logits(convention.apply(view, space))) for view in views])


def makes_sense(engine: Engine, views: Sequence[Tensor], candidates: Sequence[Convention], nats: Tensor) -> bool:
    """Return whether the network makes sense of the samples, so that information is evidence.

    The best convention's predictions must reveal enough of the samples, and more than at fourfold contrast. ``nats``,
    (k, n), is how much they reveal under each of the ``candidates``.
    """
    best = int(nats.mean(1).argmax())
    best_nats = nats[best]
    if not _reveals_enough(best_nats, engine.classifier):
        return False
    contrast_nats = information(predict(engine, candidates[best].with_contrast(PEAK_CONTRAST), views))
    return bool(clearly_worse(torch.stack([best_nats, contrast_nats]), INFORMATION_GAP)[1])


def _reveals_enough(nats: Tensor, classifier: Classifier) -> bool:
    """Return whether predictions reveal at least half of what they could of the samples; ``nats``, (n,), is how much."""
    return float(nats.mean()) >= MIN_INFORMATION_SHARE * math.log(min(len(nats), classifier.num_classes))


def clearly_worse(values: Tensor, floor: float, among: "Tensor | None" = None) -> Tensor:
    """Return, bool (k,), which rows of ``values`` (k, n) lie clearly below the best of all, or of those in the mask ``among``.

    That is by more than ``floor`` and 3 standard errors.
    """
    means = values.mean(1) if among is None else values.mean(1).masked_fill(~among, -math.inf)
    gap = values[int(means.argmax())] - values
    spread = gap.std(1) if gap.shape[1] > 1 else gap[:, 0] + math.inf  # one sample shows nothing
    error = spread / math.sqrt(gap.shape[1])
    return gap.mean(1) > (STANDARD_ERRORS * error).clamp_min(floor)


def _better_convention(engine: Engine, pool: "SamplePool | None") -> "Convention | None":
    """Return a convention that fits samples (or noise) clearly better than the declared one; else ``None``."""
    candidates, shape = common_conventions(engine.classifier.input), engine.classifier.input.shape
    samples = natural_noise(DOUBT_SAMPLES, shape) if pool is None else pool.pixels[:DOUBT_SAMPLES].cpu().float() / 255
    fit = divergences(engine, samples, candidates)
    if fit is not None:
        gap = FIT_GAP_NOISE if pool is None else DOUBT_FIT_GAP
        is_clear = float(fit.min()) < MAX_DIVERGENCE and float(fit[0] - fit.min()) > gap
        convention = candidates[int(fit.argmin())] if is_clear else None
    elif pool is not None and not engine.classifier.multi_label and _affordable(engine, samples[:DOUBT_PASSES]):
        # The order of channels is left to `phosphene doctor`.
        convention = _more_informative(
            engine, samples[:DOUBT_PASSES], [one for one in candidates if one.order != "BGR"]
        )
    else:
        convention = None
    has_doubt = convention is None or pool is None or not _as_accurate(engine, pool, [candidates[0], convention])
    return convention if has_doubt else None


def _as_accurate(engine: Engine, pool: SamplePool, both: Sequence[Convention]) -> bool:
    """Return whether the first of two conventions classifies a pool's labelled samples about as well.

    Under 16 labels, it is false.
    """
    network = engine.classifier
    pixels, truth = load_labelled(pool, network.input.shape, network.labels, DOUBT_LABELLED)
    positions, labels = with_labels(truth)
    if len(labels) < MIN_LABELS:
        return False
    views = [pixels.float()[positions] / 255]
    correct = torch.stack([predict(engine, one, views)[0].argmax(1) == labels for one in both]).double()
    return not bool(clearly_worse(correct, DOUBT_ACCURACY_GAP)[0])


def _more_informative(engine: Engine, samples: Tensor, ranges: Sequence[Convention]) -> "Convention | None":
    """Return one of ``ranges`` whose predictions reveal clearly more than under the first; else ``None``."""
    views = [samples, blurred(samples)]
    declared_nats = information(predict(engine, ranges[0], views))
    if float(declared_nats.mean()) > NO_DOUBT_SHARE * math.log(min(len(samples), engine.classifier.num_classes)):
        return None
    nats = torch.stack([declared_nats, *(information(predict(engine, one, views)) for one in ranges[1:])])
    is_clear = bool(clearly_worse(nats, DOUBT_INFORMATION_GAP)[0])
    return ranges[int(nats.mean(1).argmax())] if is_clear and makes_sense(engine, views, ranges, nats) else None


def _affordable(engine: Engine, samples: Tensor) -> bool:
    """Return whether the network needs at most one second of processor time for all samples.

    That is judged by timing four of them.
    """
    start = time.process_time()
    engine.logits(samples[:TIMING_SAMPLES])
    return time.process_time() - start <= MAX_SECONDS * TIMING_SAMPLES / len(samples)
