"""Measure every class of a network: its best window and its largest margin."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from phosphene.backdoor.all_to_all import EFFORT as ALL_TO_ALL_EFFORT
from phosphene.backdoor.all_to_all import PASSES as ALL_TO_ALL_PASSES
from phosphene.backdoor.all_to_all import AllToAll, search_all_to_all
from phosphene.backdoor.margin import MARGIN_STEPS, maximise_margins, outlyingness
from phosphene.backdoor.pairs import PAIR_EFFORT, search_pairs
from phosphene.backdoor.probes import Probes, probes_of
from phosphene.backdoor.routes import Route
from phosphene.backdoor.screen import BY_MARGIN, BY_MARKS, OTHERS, choose_classes, screen_passes
from phosphene.backdoor.window import DEFAULT_EFFORT, PLAIN, Window, WindowSearch, window_contents, window_side
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.engine.gradients import Gradients
from phosphene.errors import CardError, NumericError, SamplesError
from phosphene.samples import MEMORY, SamplePool, is_natural, load_samples

# Up to so many classes, each has two inputs that maximise its margin, and all pairs of classes are searched.
MAX_CLASSES_FOR_PAIRS = 20
MAX_UNSCREENED_CLASSES = 64  # if there are more classes than this, only some are measured
MEASURES = ("window", "margin")  # of each class: log-odds of its window's share, and its largest margin
# The least log-odds, 12 % of the samples, that the median class counts with: a window that sends a third of the samples to
# its class is no trigger, however few the windows of the other classes send.
MIN_MEDIAN_LOG_ODDS = -2.0


class ScanEngine(Engine):
    """The engine of a scan, which counts the images that it runs; a backward pass counts as one more.

    It raises NumericError if logits, losses or gradients are not finite: a search would go on with them in silence.

    Args:
        classifier: The network.
        on_images: Called after :meth:`logits` and :meth:`gradients` with the number of images.
        **options: Other arguments of :class:`phosphene.engine.Engine`.
    """

    def __init__(
        self, classifier: Classifier, on_images: "Callable[[int], None] | None" = None, **options: Any
    ) -> None:
        super().__init__(classifier, **options)
        self.on_images = on_images or (lambda _: None)

    def logits(self, images: Tensor) -> Tensor:
        """Return logits (n, classes) for images (n, c, h, w) in [0, 1]; NumericError if one is not finite."""
        logits = super().logits(images)
        self.on_images(len(images))
        self._require_finite(logits, "NaN or infinity", "check its weights")
        return logits

    def gradients(self, images: Tensor, classes: Tensor, loss: str = "cross-entropy") -> Gradients:
        """Return the Gradients of each image, as the base class does; NumericError if a value is not finite."""
        found = super().gradients(images, classes, loss)
        self.on_images(2 * len(images))
        self._require_finite(found.loss, "NaN or infinity", "check its weights")
        fix = "where its forward takes roots, powers or logarithms, keep them away from 0"
        self._require_finite(found.gradient, "gradients that are NaN or infinity", fix)
        return found

    def _require_finite(self, values: Tensor, what: str, fix: str) -> None:
        """Raise NumericError, in the words ``what`` and ``fix``, if a value is not finite."""
        if not bool(values.isfinite().all()):
            raise NumericError(f"network {self.classifier.name} returns {what}: it cannot be scanned; {fix}.")


@dataclass(frozen=True, eq=False)
class Measurements:
    """What :func:`measure` finds in a network: the best window and largest margin of each class, and more.

    Attributes:
        search: Samples that windows and patterns were made from.
        held_out: Samples that success was counted on.
        windows: Best window of each of the m classes that were measured, without those of ``unmovable``.
        values: Measure -> value of each class, (m,), float64: see :data:`MEASURES`.
        side: Side of the windows, in pixels.
        pairs: Best windows of pairs of classes, three per source class, the easiest first; ``None`` if they were not searched.
        all_to_all: The window that comes closest to an all-to-all trigger; ``None`` if none was searched.
        tested: Number of classes that are tested, those of the first windows; the others are only compared with.
        unmovable: Classes that the network predicts for every held-out sample, so that no sample could be moved to them.
    """

    search: Probes
    held_out: Probes
    windows: tuple[Window, ...]
    values: dict[str, Tensor]
    side: int
    pairs: "tuple[Window, ...] | None"
    all_to_all: "AllToAll | None"
    tested: int
    unmovable: tuple[int, ...] = ()

    def deviations(self, others: "Sequence[Measurements]" = ()) -> dict[str, Tensor]:
        """Return how far each class stands out, (m,), by each measure: ``window`` and ``margin``.

        For ``window`` it is the log-odds less those of the median class, which count as -2 at least; for ``margin``
        -log10 of a p-value (:func:`phosphene.backdoor.margin.outlyingness`).

        Args:
            others: Clean networks whose classes are compared with instead, if the network has too few classes.
        """
        windows, margins = (
            torch.cat([one.values[name] for one in others]) if others else None for name in ("window", "margin")
        )
        log_odds = self.values["window"]
        return {
            "window": log_odds - (log_odds if windows is None else windows).median().clamp_min(MIN_MEDIAN_LOG_ODDS),
            "margin": outlyingness(self.values["margin"], margins),
        }


def figures(deviations: Mapping[str, Tensor]) -> Tensor:
    """Return one figure of suspicion per class, (m,): the sum of its deviations over all measures.

    ``deviations`` are those of :meth:`Measurements.deviations`.
    """
    return torch.stack(list(deviations.values())).sum(0)


def measure(engine: Engine, pool: SamplePool, *, pairs: bool = False, seed: int = 0) -> Measurements:
    """Measure the best window and the largest margin of every class of a network.

    Of more than 64 classes, only 20 are measured. Pairs are searched with ``pairs`` or up to 20 classes, all-to-all
    with ``pairs`` or up to 64, and neither if outputs are independent: a sample is then not moved from one class to
    another.

    Args:
        engine: An open engine.
        pool: Samples; for a network of another size they are loaded again.
        pairs: Search all pairs of a source class and a target, however many classes there are.
        seed: Random seed for samples and starting points.

    Raises:
        CardError: the network has the same output for every sample, or predicts all of its outputs for every one.
        NumericError: it returns NaN or infinity, if the engine is a :class:`ScanEngine`.
        SamplesError: the network has another size, and the samples are in memory.
    """
    classifier = engine.classifier
    if tuple(pool.pixels.shape[1:]) != classifier.input.shape:
        if pool.spec == MEMORY:
            raise SamplesError(
                f"{classifier.name} takes images of another size, {classifier.input.shape}, and samples in memory are fitted "
                "to one: save them as a .npy file and give its path."
            )
        pool = load_samples(pool.spec, classifier.input.shape)
    search, held_out = probes_of(engine, pool, natural=is_natural(classifier, pool.spec), seed=seed)
    classes, tested = list(range(classifier.num_classes)), classifier.num_classes
    if len(classes) > MAX_UNSCREENED_CLASSES:
        classes, tested = choose_classes(engine, search, seed=seed)
    routes = [Route(one) for one in classes]
    side = window_side(classifier.input.shape, many=classifier.num_classes > MAX_UNSCREENED_CLASSES)
    starts = 2 if len(classes) <= MAX_CLASSES_FOR_PAIRS else 1
    margins = maximise_margins(engine, torch.tensor(classes, device=engine.device), starts=starts, seed=seed)
    windows = WindowSearch(engine, search, window_contents(margins.inputs), side, seed=seed)
    class_windows = windows.best(routes, held_out)
    movable_rows = [k for k, one in enumerate(class_windows) if one.effect.tried]
    if not movable_rows:
        raise CardError(f"{classifier.name} predicts all of its outputs for every sample: give other samples.")
    values = {
        "window": torch.tensor([class_windows[k].effect.log_odds for k in movable_rows], dtype=torch.double),
        "margin": margins.margin.double().cpu()[movable_rows],
    }
    pair_windows = all_to_all = None
    if searches_all_to_all(classifier, pairs=pairs):
        all_pairs = searches_pairs(classifier, pairs=pairs)
        # For pairs, the first round sees a sample of each class.
        effort = replace(PAIR_EFFORT, first=len(set(search.predicted.tolist()))) if all_pairs else ALL_TO_ALL_EFFORT
        contents = window_contents(margins.inputs[: None if all_pairs else MAX_CLASSES_FOR_PAIRS, :1])
        first_round = WindowSearch(engine, search, contents, side, effort, seed=seed)
        pair_windows = search_pairs(held_out, classes, first_round) if all_pairs else None
        all_to_all = search_all_to_all(held_out, first_round)
    return Measurements(
        search,
        held_out,
        windows=tuple(class_windows[k] for k in movable_rows),
        values=values,
        side=side,
        pairs=pair_windows,
        all_to_all=all_to_all,
        tested=sum(k < tested for k in movable_rows),
        unmovable=tuple(classes[k] for k, one in enumerate(class_windows) if not one.effect.tried),
    )


def searches_pairs(classifier: Classifier, *, pairs: bool) -> bool:
    """Return whether :func:`measure` searches pairs of classes: see there."""
    return not classifier.multi_label and (pairs or classifier.num_classes <= MAX_CLASSES_FOR_PAIRS)


def searches_all_to_all(classifier: Classifier, *, pairs: bool) -> bool:
    """Return whether :func:`measure` searches a window that moves every class to another: see there."""
    return not classifier.multi_label and (pairs or classifier.num_classes <= MAX_UNSCREENED_CLASSES)


def measure_passes(classifier: Classifier, *, pairs: bool = False) -> int:
    """Estimate how many images :func:`measure` runs; a backward pass counts as one more."""
    classes = classifier.num_classes
    is_screened = classes > MAX_UNSCREENED_CLASSES
    m = BY_MARKS + BY_MARGIN + OTHERS if is_screened else classes  # classes that are measured
    starts = 2 if m <= MAX_CLASSES_FOR_PAIRS else 1
    contents = starts * m + len(PLAIN)
    total = screen_passes(classes) if is_screened else 0
    total += m * (2 * MARGIN_STEPS * starts + DEFAULT_EFFORT.passes + DEFAULT_EFFORT.refined_passes)
    total += contents * DEFAULT_EFFORT.places**2 * DEFAULT_EFFORT.first
    if searches_pairs(classifier, pairs=pairs):
        refined_pairs = min(PAIR_EFFORT.per_source or m, m - 1) * m
        total += m * (m - 1) * PAIR_EFFORT.passes + refined_pairs * PAIR_EFFORT.refined_passes
        total += (m + len(PLAIN)) * PAIR_EFFORT.places**2 * m + ALL_TO_ALL_PASSES
    elif searches_all_to_all(classifier, pairs=pairs):
        contents = MAX_CLASSES_FOR_PAIRS + len(PLAIN)
        total += contents * ALL_TO_ALL_EFFORT.places**2 * ALL_TO_ALL_EFFORT.first + ALL_TO_ALL_PASSES
    return total
