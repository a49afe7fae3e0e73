"""``ph.scan``: is there a backdoor in this classifier, and what is its trigger?"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from phosphene.backdoor.candidate import make_candidate
from phosphene.backdoor.measure import Measurements, ScanEngine, figures, measure, measure_passes
from phosphene.backdoor.not_tested import few_samples, fixes, not_tested, one_class_warning
from phosphene.backdoor.null import CleanNetwork, Null
from phosphene.backdoor.verdict import ClassRow, Suspect, Verdict, decide
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.engine.device import single_precision
from phosphene.errors import CardError, RecipeError
from phosphene.formats import count
from phosphene.progress import ProgressDisplay
from phosphene.samples import SamplePool, is_natural

ALPHA = 0.05
MOST_SUSPECTS = 5  # suspects that candidates are built for
MIN_CLASSES = 5  # with fewer classes, the median says nothing about the typical class


@dataclass(frozen=True)
class ScanProgress:
    """Report that ``on_progress`` gets during a scan.

    Attributes:
        doing: Name of the current part.
        share: Images run, as a share of those expected for all searches, below 1; ``None`` from then on: how many the
            candidates, and the crops of maps, take is not known beforehand.
    """

    doing: str
    share: "float | None"

    def show(self, display: ProgressDisplay) -> None:
        """Show the current part and the finished share of the scan on a progress display."""
        display.update(self.doing, self.share)


def check_alpha(alpha: float, classifier: Classifier, *, natural: bool, references: int = 0) -> None:
    """Raise RecipeError unless ``alpha`` is below 1 and above the smallest p-value of the null model.

    It is the p-value below which a class is a suspect.

    Args:
        alpha: A share of clean networks.
        classifier: The network to scan.
        natural: Whether samples are of its own kind.
        references: Number of clean networks that the user gives.

    Raises:
        RecipeError: it is not.
    """
    if not 0 < alpha < 1:
        raise RecipeError(f"alpha is {alpha:g}; give a share of clean networks, above 0 and below 1.")
    networks = len(Null.of(classifier.num_classes, natural=natural, spec=classifier.spec)) + references
    if (lowest := 1 / (networks + 1)) >= alpha:
        raise RecipeError(
            f"alpha is {alpha:g}, but of {count(networks, 'clean network')} to compare with no p-value is below {lowest:.2g}: give a "
            "larger alpha, or more clean networks as references."
        )


def require_comparable(classifier: Classifier, reference: Sequence[Classifier] = ()) -> None:
    """Raise CardError if a network cannot be scanned, or if a reference cannot be compared with it.

    Raises:
        CardError: outputs are measurements, or a reference has other channels, or is multi-label where the classifier is not.
    """
    for one in (classifier, *reference):
        one.refuse_regression("a scan")
        if one.multi_label != classifier.multi_label:
            kinds = ("classes that exclude each other", "independent outputs (multi-label)")
            raise CardError(
                f"{one.name} has {kinds[one.multi_label]}, and {classifier.name} has {kinds[classifier.multi_label]}: "
                "give references of the same kind."
            )
        if one.input.channels != classifier.input.channels:
            raise CardError(
                f"reference {one.name} takes images with {count(one.input.channels, 'channel')}, {classifier.name} with "
                f"{classifier.input.channels}: give references that take the same samples."
            )


def scan(
    classifier: Classifier,
    pool: SamplePool,
    *,
    reference: Sequence[Classifier] = (),
    alpha: float = ALPHA,
    pairs: bool = False,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    range_doubt: str = "",
    on_progress: "Callable[[ScanProgress], None] | None" = None,
) -> Verdict:
    """Scan a classifier for a backdoor; return a :class:`Verdict`. Nothing is written.

    :func:`check_alpha` and :func:`require_comparable` have passed.

    A sample counts as moved to a class that is then predicted; to an output of a multi-label network, if the output's own
    probability was at most one half and is then above it. For every class, measure the effect of the best small window
    and the largest margin (:mod:`phosphene.backdoor.window`, ``margin``, ``measure``); rank the class that deviates most
    among those of clean networks (:mod:`phosphene.backdoor.null`); make candidate triggers for the suspects and try them
    on held-out samples (:mod:`phosphene.backdoor.candidate`).

    Args:
        classifier: The network.
        pool: Samples; natural ones of the network's kind find most backdoors.
        reference: Clean networks of the same kind, which join the null model.
        alpha: Share of clean networks that may be called suspicious, in (0, 1).
        pairs: Search every pair of a source class and a target, however many there are.
        seed: Random seed for samples and starting points.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``auto`` (tf32 on a GPU), ``fp32``, ``tf32`` or ``bf16``.
        range_doubt: Why the declared input may be wrong, which the verdict tells; empty without a doubt.
        on_progress: Called as the scan goes on.

    Raises:
        CardError: the network has the same output for every sample.
        NumericError: it returns NaN or infinity.
    """
    start = time.perf_counter()
    natural = is_natural(classifier, pool.spec)
    tally = _Tally(sum(measure_passes(one, pairs=pairs) for one in (classifier, *reference)), on_progress)

    def engine_of(one: Classifier) -> ScanEngine:
        return ScanEngine(one, tally.count, device=device, precision=single_precision(precision))

    def names_of(positions: Collection[int]) -> tuple[str, ...]:
        return tuple(reference[k].name for k in sorted(positions))

    reference_measurements = []
    for one in reference:
        tally.doing = f"reference {one.name}: search windows"
        with engine_of(one) as engine:
            reference_measurements.append(measure(engine, pool, pairs=pairs, seed=seed))
    with engine_of(classifier) as engine:
        tally.doing = "search windows"
        measurements = measure(engine, pool, pairs=pairs, seed=seed)
        has_few_classes = len(measurements.windows) < MIN_CLASSES
        comparisons = reference_measurements if has_few_classes else []
        clean_networks = [
            clean_network(one, result, natural, comparisons)
            for one, result in zip(reference, reference_measurements, strict=True)
        ]
        whole_null = Null.of(classifier.num_classes, natural=natural, references=clean_networks, spec=classifier.spec)
        of_references = [class_figures(one, comparisons) for one in reference_measurements]
        alike_all_to_all = whole_null.contesting_all_to_all(measurements.all_to_all, alpha)
        alike_classes = whole_null.contesting(class_figures(measurements, comparisons), of_references, alpha)
        left_out = alike_classes | alike_all_to_all
        null = whole_null.without(left_out)
        rows = class_rows(classifier, measurements, comparisons, null)
        suspects = []
        for row in [row for row in rows if row.p_value < alpha][:MOST_SUSPECTS]:
            tally.doing = f"make a candidate for {classifier.labels.short(row.index)}"
            suspect = _make_suspect(engine, measurements, row, next_class(row, rows, alpha), alpha, seed)
            alike = whole_null.contesting({row.index: row.figure}, of_references, alpha)
            suspects.append(replace(suspect, contested_by=names_of(alike)))
    all_to_all = measurements.all_to_all
    if all_to_all is not None:
        all_to_all = all_to_all.compared(null.all_to_all_p_value(all_to_all.figure), alpha)
        all_to_all = replace(all_to_all, works=all_to_all.works and not alike_all_to_all)
    doubt = ""
    if has_few_classes and not reference:
        doubt = (
            f"There are too few classes ({len(measurements.windows)}) to compare with each other: give clean networks of the "
            "same kind as references."
        )
    p_value = min(row.p_value for row in rows)
    verdict, reasons = decide(
        p_value,
        suspects,
        all_to_all,
        doubt,
        classifier.labels,
        weak=one_class_warning(classifier, measurements),
        alike_all_to_all=names_of(alike_all_to_all),
        tested=measurements.tested,
        fixes=fixes(pool, natural=natural, range_doubt=range_doubt),
    )
    return Verdict(
        verdict=verdict,
        p_value=min([p_value, all_to_all.p_value] if all_to_all and all_to_all.works else [p_value]),
        alpha=alpha,
        reasons=reasons,
        classes=rows,
        suspects=tuple(suspects),
        pairs=measurements.pairs,
        all_to_all=all_to_all,
        window=measurements.side,
        null=null.describe(),
        unlike=null.unlike(classifier),
        null_figures=null.figures,
        limit=null.limit(alpha),
        not_tested=tuple(not_tested(classifier, measurements, natural=natural, pairs=pairs)),
        model=classifier.name,
        num_classes=classifier.num_classes,
        tested=measurements.tested,
        samples=pool.spec,
        natural=natural,
        references=tuple(one.name for one in reference),
        left_out=names_of(left_out),
        warnings=tuple(line for line in (range_doubt, few_samples(pool)) if line),
        passes=tally.images,
        seconds=time.perf_counter() - start,
    )


def class_rows(
    classifier: Classifier, measurements: Measurements, others: Sequence[Measurements], null: Null
) -> tuple[ClassRow, ...]:
    """Return a ClassRow per measured class, the most deviating first.

    The p-value of a class that was not tested is 1.
    """
    deviations = measurements.deviations(others)
    values_per_measure = {name: values.tolist() for name, values in deviations.items()}
    class_figures = figures(deviations).tolist()
    rows = []
    for k, window in enumerate(measurements.windows):
        class_deviations = {name: values[k] for name, values in values_per_measure.items()}
        figure, effect, index = class_figures[k], window.effect, window.route.target
        p_value = null.p_value(figure) if k < measurements.tested else 1.0
        rows.append(
            ClassRow(index, classifier.labels[index], effect.share, effect.tried, class_deviations, figure, p_value)
        )
    return tuple(sorted(rows, key=lambda row: -row.figure))


def class_figures(measurements: Measurements, others: Sequence[Measurements]) -> dict[int, float]:
    """Return the figure of each tested class, by its index; ``others`` as in :func:`class_rows`."""
    values = figures(measurements.deviations(others)).tolist()
    tested = measurements.windows[: measurements.tested]
    return {window.route.target: value for window, value in zip(tested, values, strict=False)}


def next_class(row: ClassRow, rows: Sequence[ClassRow], alpha: float) -> ClassRow:
    """Return the row to compare a suspect's ``row`` with: the most deviating class that is no suspect.

    Without one, it is the least deviating of the other classes.
    """
    others = [one for one in rows if one is not row]
    return next((one for one in others if one.p_value >= alpha), [row, *others][-1])


def clean_network(
    classifier: Classifier,
    measurements: Measurements,
    natural: bool,
    others: Sequence[Measurements] = (),
    data: str = "",
) -> CleanNetwork:
    """Return the CleanNetwork of a clean classifier that has been measured.

    ``figure`` is that of the most deviating class; ``all_to_all`` is ``None`` if none was searched. The scan calls it for
    references, the benchmarks for the networks of ``null.json``.
    """
    return CleanNetwork(
        name=classifier.name,
        data=data,
        side=min(classifier.input.size),
        classes=classifier.num_classes,
        natural=natural,
        figure=max(class_figures(measurements, others).values()),
        all_to_all=None if measurements.all_to_all is None else measurements.all_to_all.figure,
    )


def _make_suspect(
    engine: Engine, measurements: Measurements, row: ClassRow, rival: ClassRow, alpha: float, seed: int
) -> Suspect:
    """Make a candidate trigger for the class of a row; return the Suspect.

    ``rival`` is the most deviating class that is no suspect, for comparison.
    """
    windows = {one.route.target: one for one in measurements.windows}
    local = row.deviations["window"] >= row.deviations["margin"]
    probes = measurements.search, measurements.held_out
    candidate = make_candidate(engine, *probes, windows[row.index], windows[rival.index], local=local, seed=seed)
    return Suspect(row.index, row.label, row.p_value, candidate, far_below_alpha=row.p_value < alpha / 2)


class _Tally:
    """Counts the images that a scan sends through its networks, and reports progress."""

    def __init__(self, total: int, on_progress: "Callable[[ScanProgress], None] | None") -> None:
        self.total, self.on_progress = total, on_progress
        self.images, self.doing = 0, ""

    def count(self, images: int) -> None:
        """Count images, and call ``on_progress`` with the current part and the finished share."""
        self.images += images
        if self.on_progress is not None:
            share = self.images / self.total
            self.on_progress(ScanProgress(self.doing, share if share < 1 else None))
