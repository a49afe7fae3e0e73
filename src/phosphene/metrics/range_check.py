"""Whether a network makes sense of the range, means and channel order that its card declares.

Every usual convention (:mod:`phosphene.metrics.conventions`) is tried on the same pictures, and three things tell:
labels, where there are any; what the first batch normalisation remembers of its training pictures; and how much the
answers say about which picture was shown. docs/range-check.md explains them and says where they were tuned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.engine import Engine
from phosphene.metrics.conventions import Convention, usual
from phosphene.metrics.norm_statistics import NormStatistics

ERRORS = 3  # standard errors by which a convention must be worse, to be clearly worse
PROBABILITY_GAP = 0.05  # and by how much in the mean probability of the true class,
INFORMATION_GAP = 0.05  # in information (nats),
FIT_GAP, FIT_GAP_NOISE = 0.25, 0.75  # and in divergence (nats a channel), on natural pictures and on noise
SENSE = 0.5  # a network makes sense of pictures if its answers hold half of the information that they could
PEAK_CONTRAST = 4  # and less of it at four times the contrast: networks with random weights only gain
GOOD_FIT = 0.3  # divergence above which the pictures are too unlike those of the training to tell anything
FEWEST_LABELS = 16
RESAMPLES = 200


@dataclass(frozen=True)
class Reading:
    """What a network makes of the pictures under one convention.

    Attributes:
        convention: Which.
        confidence: Mean probability of the most probable class.
        entropy: Mean entropy of an answer, in nats.
        information: About which picture was shown, in nats; see :func:`information`.
        classes: How many different classes it reads.
        accuracy: Share of labelled pictures that it reads right; ``None`` without labels.
        divergence: See :class:`~phosphene.metrics.norm_statistics.NormStatistics`; ``None`` without a batch norm.
    """

    convention: Convention
    confidence: float
    entropy: float
    information: float
    classes: int
    accuracy: "float | None"
    divergence: "float | None"


@dataclass(frozen=True)
class RangeCheck:
    """The verdict.

    Attributes:
        verdict: ``fits``; ``another fits`` (clearly better than the declared one); ``cannot tell``.
        best: The convention that fits best; ``None`` where nothing tells.
        rivals: Those that cannot be told from it.
        evidence: What told: of ``labels``, ``batch norm``, ``information``.
        readings: All of them, the declared one first.
    """

    verdict: str
    best: "Convention | None"
    rivals: tuple[Convention, ...]
    evidence: tuple[str, ...]
    readings: tuple[Reading, ...]

    @property
    def line(self) -> str:
        """The verdict in words."""
        declared = self.readings[0].convention
        if self.best is None or self.verdict == "cannot tell":
            return "cannot tell: give natural pictures of the network's own kind with --samples"
        others = [str(one) for one in (self.best, *self.rivals) if not one.declared]
        if self.verdict == "fits":
            also = f"; {' or '.join(others)} cannot be told from it" if others else ", clearly better than all others"
            return f"{declared} fits{also} (by {', '.join(self.evidence)})"
        also = f" (or {' or '.join(others[1:])})" if others[1:] else ""
        return f"{others[0]}{also} fits clearly better than {declared} (by {', '.join(self.evidence)})"


def check_range(
    engine: Engine, pictures: Tensor, truth: "Sequence[int] | None" = None, *, natural: bool = True
) -> RangeCheck:
    """Try every usual convention.

    Args:
        engine: Of the classifier in question, entered.
        pictures: (n, c, h, w) in [0, 1].
        truth: The class of each; -1 where it is not known.
        natural: Whether they are pictures of the kind that the network was trained on, or noise: that tells less.
    """
    candidates = usual(engine.classifier.input)
    space = engine.classifier.input
    norm = NormStatistics(engine)
    views = [pictures, blurred(pictures)]
    answers = [_answers(engine, [one.show(view, space) for view in views]) for one in candidates]
    told = torch.stack([information(both) for both in answers])
    known = torch.tensor([index >= 0 for index in truth] if truth else [False] * len(pictures))
    wanted = torch.tensor(list(truth or [0] * len(pictures)))[known]
    plain = torch.stack([both[0] for both in answers])
    moments = None
    if norm.module is not None:
        moments = torch.stack([norm.moments(one.show(pictures, space)) for one in candidates])
    divergence = None if moments is None else norm.divergence(moments.mean(2))
    right = (plain[:, known].argmax(2) == wanted).double()
    readings = tuple(
        Reading(
            one,
            confidence=float(plain[k].amax(1).mean()),
            entropy=float(-torch.special.xlogy(plain[k], plain[k]).sum(1).mean()),
            information=float(told[k].mean()),
            classes=len(set(plain[k].argmax(1).tolist())),
            accuracy=float(right[k].mean()) if len(wanted) else None,
            divergence=None if divergence is None else float(divergence[k]),
        )
        for k, one in enumerate(candidates)
    )

    left = torch.ones(len(candidates), dtype=torch.bool)
    ranking: Tensor | None = None
    evidence = []
    if len(wanted) >= FEWEST_LABELS and _sees(right, wanted):
        chance = plain[:, known].gather(2, wanted.view(1, -1, 1).expand(len(plain), -1, 1))[..., 0]
        left &= ~_worse(chance, left, PROBABILITY_GAP)
        ranking, evidence = chance.mean(1), ["labels"]
    if divergence is not None and moments is not None and float(divergence.min()) < GOOD_FIT:
        left &= ~_worse_fit(norm, moments, left, FIT_GAP if natural else FIT_GAP_NOISE)
        ranking = -divergence if ranking is None else ranking
        evidence.append("batch norm")
    if natural and _makes_sense(engine, views, candidates[int(told.mean(1).argmax())], told):
        left &= ~_worse(told, left, INFORMATION_GAP)
        ranking = told.mean(1) if ranking is None else ranking
        evidence.append("information")
    if ranking is None or bool(left.all()):
        best = None if ranking is None else candidates[int(ranking.argmax())]
        return RangeCheck("cannot tell", best, (), tuple(evidence), readings)
    order = ranking.masked_fill(~left, -math.inf).argsort(descending=True).tolist()
    alike = tuple(candidates[k] for k in order if left[k])
    verdict = "fits" if any(one.declared for one in alike) else "another fits"
    return RangeCheck(verdict, alike[0], alike[1:], tuple(evidence), readings)


def information(answers: Tensor) -> Tensor:
    """How much the answer to a random view of a picture says about which picture it was, in nats.

    The mutual information ``H(mean p) - mean H(p)`` of picture and class, with ``p`` the mean answer over the views of
    a picture. It is high for a network that is sure, reads different pictures as different classes, and stays with its
    answer when the view changes; 0 for one that does not look. At most log min(pictures, classes).

    Args:
        answers: Probabilities (views, n, classes).

    Returns:
        (n,): what each picture adds; their mean is the information.
    """
    each = answers.mean(0)
    whole = each.mean(0)
    told: Tensor = (torch.special.xlogy(each, each) - torch.special.xlogy(each, whole)).sum(1)
    return told


def probabilities(logits: Tensor) -> Tensor:
    """Probabilities in double precision on the CPU; an answer that is not finite says nothing."""
    chances = logits.cpu().double().softmax(1)
    finite = chances.isfinite().all(1, keepdim=True)
    return chances.where(finite, torch.full_like(chances, 1 / logits.shape[1]))


def blurred(pictures: Tensor) -> Tensor:
    """Pictures (n, c, h, w) after a binomial filter of 3 x 3."""
    row = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = (row[:, None] * row).expand(pictures.shape[1], 1, 3, 3)
    wider = functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    answer: Tensor = functional.conv2d(wider, kernel, groups=pictures.shape[1])
    return answer


def try_sizes(engine: Engine, pictures: Tensor) -> "dict[tuple[int, int], float | None]":
    """Information at half, the declared and double the size; ``None`` where the network does not take it."""
    height, width = engine.classifier.input.size
    found: dict[tuple[int, int], float | None] = {}
    for size in ((height // 2, width // 2), (height, width), (2 * height, 2 * width)):
        if min(size) < 1:
            continue
        resized = functional.interpolate(pictures, size, mode="bilinear", antialias=True)
        try:
            both = [
                probabilities(torch.cat([engine.logits(one[None]) for one in view]))
                for view in (resized, blurred(resized))
            ]
            found[size] = float(information(torch.stack(both)).mean())
        except Exception:  # noqa: BLE001  (the network is the user's: it may raise anything)
            found[size] = None
    return found


def _answers(engine: Engine, views: "list[Tensor]") -> Tensor:
    return torch.stack([probabilities(engine.logits(view)) for view in views])


def _sees(right: Tensor, wanted: Tensor) -> bool:
    """Say whether the best convention reads clearly more than always the same class would."""
    often = float(wanted.bincount().max()) / len(wanted)
    error = math.sqrt(often * (1 - often) / len(wanted))
    return float(right.mean(1).max()) > often + max(0.1, ERRORS * error)


def _makes_sense(engine: Engine, views: "list[Tensor]", best: Convention, told: Tensor) -> bool:
    """Say whether the most informative convention tells enough, and is a peak: more contrast must tell less."""
    classes = engine.classifier.num_classes
    top = told[int(told.mean(1).argmax())]
    if float(top.mean()) < SENSE * math.log(min(len(top), classes)):
        return False
    space = engine.classifier.input
    beyond = information(_answers(engine, [best.steeper(PEAK_CONTRAST).show(view, space) for view in views]))
    return bool(_worse(torch.stack([top, beyond]), torch.ones(2, dtype=torch.bool), INFORMATION_GAP)[1])


def _worse(values: Tensor, among: Tensor, floor: float) -> Tensor:
    """Say which rows of ``values`` (k, n) are clearly lower than the best row ``among`` some; paired by picture."""
    best = int(values.mean(1).masked_fill(~among, -math.inf).argmax())
    gap = values[best] - values
    error = gap.std(1) / math.sqrt(gap.shape[1])
    return gap.mean(1) > (ERRORS * error).clamp_min(floor)


def _worse_fit(norm: NormStatistics, moments: Tensor, among: Tensor, floor: float) -> Tensor:
    """Do the same by divergence; the error of a gap is found by resampling pictures.

    Args:
        norm: Whose divergence.
        moments: (k, 2, n, channels).
        among: (k,).
        floor: The smallest gap that counts.
    """
    count = moments.shape[2]
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(count, (RESAMPLES, count), generator=generator)
    weights = functional.one_hot(draws, count).double().mean(1)
    resampled = norm.divergence(torch.einsum("rn,ksnc->rksc", weights, moments))
    whole = norm.divergence(moments.mean(2))
    best = int(whole.masked_fill(~among, math.inf).argmin())
    error = (resampled - resampled[:, best : best + 1]).std(0)
    return whole - whole[best] > (ERRORS * error).clamp_min(floor)
