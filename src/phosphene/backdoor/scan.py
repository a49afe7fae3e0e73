"""``ph.scan``: is there a backdoor in this classifier, and what is its trigger?"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from phosphene.backdoor.candidate import make_candidate
from phosphene.backdoor.measure import Measured, ScanEngine, figures, measure, measure_passes
from phosphene.backdoor.not_tested import not_tested, one_predicted
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
FEWEST_CLASSES = 5  # with fewer classes, the median says nothing about the typical class

TOO_FEW = (
    "There are too few classes ({}) to compare with each other: give clean networks of the same kind with --reference."
)


@dataclass(frozen=True)
class ScanProgress:
    """Report that ``on_progress`` gets: the current part's name and the finished share of the scan, ``None`` once only candidates are left.

    Attributes:
        doing: Name of the current part.
        share: Images run, as a share of those expected for all searches, below 1; ``None`` from then on: how many the
            candidates take is not known beforehand.
    """

    doing: str
    share: "float | None"

    def show(self, display: ProgressDisplay) -> None:
        """Show this report on a progress display: the current part and the finished share of the scan."""
        display.update(self.doing, self.share)


def check_alpha(alpha: float, classifier: Classifier, *, natural: bool, references: int = 0) -> None:
    """Raise RecipeError unless ``alpha``, the p-value below which a class is a suspect, is above what the null model can show, and below 1.

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
            "larger alpha, or more clean networks with --reference."
        )


def require_classes(classifier: Classifier, reference: Sequence[Classifier] = ()) -> None:
    """Raise PhospheneError if a network's outputs are measurements, or if a reference is of another kind or has the same weights.

    Raises:
        CardError: outputs are measurements, or a reference has other channels, or is multi-label where the classifier is not.
        RecipeError: a reference has the classifier's own weights.
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
    own = classifier.sha256 if reference else ""
    for one in reference:
        if one.sha256 == own:
            raise RecipeError(
                f"reference {one.name} has the same weights as the scanned network: give other clean networks."
            )


def passes_of(networks: Iterable[Classifier], *, pairs: bool) -> int:
    """Return about how many images measuring these networks takes, a backward pass as one more, with ``pairs`` searched or not."""
    return sum(measure_passes(one.num_classes, pairs=pairs, multi_label=one.multi_label) for one in networks)


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
    on_progress: "Callable[[ScanProgress], None] | None" = None,
) -> Verdict:
    """Scan a classifier for a backdoor; return a :class:`Verdict` with p-values, suspects and their candidate triggers; writes nothing.

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
        on_progress: Called as the scan goes on.

    Raises:
        CardError: the network has the same output for every sample.
        NumericError: it returns NaN or infinity.
        PhospheneError: an argument does not fit; the message names the fix.
    """
    began = time.perf_counter()
    natural = is_natural(classifier, pool.spec)
    check_alpha(alpha, classifier, natural=natural, references=len(reference))
    require_classes(classifier, reference)
    tally = _Tally(passes_of((classifier, *reference), pairs=pairs), on_progress)

    def engine_of(one: Classifier) -> ScanEngine:
        """Return a new engine for a classifier, not opened, whose images count towards this scan's progress."""
        return ScanEngine(one, device=device, precision=single_precision(precision), on_images=tally.count)

    measured = []
    for one in reference:
        tally.doing = f"reference {one.name}: search windows"
        with engine_of(one) as engine:
            measured.append(measure(engine, pool, pairs=pairs, seed=seed))
    with engine_of(classifier) as engine:
        tally.doing = "search windows"
        own = measure(engine, pool, pairs=pairs, seed=seed)
        few = len(own.classes) < FEWEST_CLASSES
        others = measured if few else []
        given = [clean_network(one, found, natural, others) for one, found in zip(reference, measured, strict=True)]
        null = Null.of(classifier.num_classes, natural=natural, references=given, spec=classifier.spec)
        rows = class_rows(classifier, own, others, null)
        chosen = [row for row in rows if row.p_value < alpha][:MOST_SUSPECTS]
        suspects = []
        for row in chosen:
            tally.doing = f"make a candidate for {classifier.labels.short(row.index)}"
            suspects.append(_make_suspect(engine, own, row, next_class(row, rows, alpha), alpha, seed))
    all_to_all = own.all_to_all and own.all_to_all.compared(null.all_to_all_p_value(own.all_to_all.figure), alpha)
    doubts = [TOO_FEW.format(len(own.classes))] if few and not measured else []
    p_value = min(row.p_value for row in rows)
    verdict, reasons = decide(
        p_value, suspects, all_to_all, doubts, classifier.labels, weak=one_predicted(classifier, own)
    )
    return Verdict(
        verdict=verdict,
        p_value=min([p_value, all_to_all.p_value] if all_to_all and all_to_all.works else [p_value]),
        alpha=alpha,
        reasons=reasons,
        classes=rows,
        suspects=tuple(suspects),
        pairs=own.pairs,
        all_to_all=all_to_all,
        window=own.side,
        null=null.describe(),
        unlike=null.unlike(classifier),
        null_figures=null.figures,
        limit=null.limit(alpha),
        not_tested=tuple(not_tested(classifier, own, natural=natural, pairs=pairs)),
        model=classifier.name,
        num_classes=classifier.num_classes,
        tested=own.tested,
        samples=pool.spec,
        natural=natural,
        references=tuple(one.name for one in reference),
        passes=tally.images,
        seconds=time.perf_counter() - began,
    )


def class_rows(classifier: Classifier, found: Measured, others: Sequence[Measured], null: Null) -> tuple[ClassRow, ...]:
    """Return a ClassRow per class in ``found``, most deviating first: deviation by each measure, figure, p-value (1 if not tested)."""
    deviations = found.deviations(others)
    each, whole = {name: values.tolist() for name, values in deviations.items()}, figures(deviations).tolist()
    rows = []
    for k, (index, window) in enumerate(zip(found.classes, found.windows, strict=True)):
        own = {name: values[k] for name, values in each.items()}
        figure, effect = whole[k], window.measured
        p_value = null.p_value(figure) if k < found.tested else 1.0
        rows.append(ClassRow(index, classifier.labels[index], effect.share, effect.tried, own, figure, p_value))
    return tuple(sorted(rows, key=lambda row: -row.figure))


def next_class(row: ClassRow, rows: Sequence[ClassRow], alpha: float) -> ClassRow:
    """Return the row to compare a suspect's ``row`` with: the most deviating that is no suspect; without one, the least of the others."""
    others = [one for one in rows if one is not row]
    return next((one for one in others if one.p_value >= alpha), [row, *others][-1])


def clean_network(
    classifier: Classifier, found: Measured, natural: bool, others: Sequence[Measured] = (), data: str = ""
) -> CleanNetwork:
    """Return the CleanNetwork of a clean classifier measured already (``found``): side, number of classes, figures for the null model.

    ``figure`` is that of the most deviating class; ``all_to_all`` is ``None`` if none was searched. The scan calls it for
    references, the benchmarks for the networks of ``null.json``.
    """
    return CleanNetwork(
        name=classifier.name,
        data=data,
        side=min(classifier.input.size),
        classes=classifier.num_classes,
        natural=natural,
        figure=float(figures(found.deviations(others))[: found.tested].max()),
        all_to_all=None if found.all_to_all is None else found.all_to_all.figure,
    )


def _make_suspect(engine: Engine, found: Measured, row: ClassRow, rival: ClassRow, alpha: float, seed: int) -> Suspect:
    """Make a candidate for a row's class and return the Suspect; ``rival``, the most deviating class not suspected, is for comparison."""
    windows = {one.route.target: one for one in found.windows}
    local = row.deviations["window"] >= row.deviations["margin"]
    probes = found.search, found.held_out
    candidate = make_candidate(engine, *probes, windows[row.index], windows[rival.index], local=local, seed=seed)
    return Suspect(row.index, row.label, row.p_value, candidate, far_below_alpha=row.p_value < alpha / 2)


class _Tally:
    """Adds up the images that a scan sends through its networks; calls ``on_progress`` with a ScanProgress: the part and finished share."""

    def __init__(self, total: int, on_progress: "Callable[[ScanProgress], None] | None") -> None:
        self.total, self.on_progress = total, on_progress
        self.images, self.doing = 0, ""

    def count(self, images: int) -> None:
        """Add a number of images to the scan's tally; give ``on_progress`` a ScanProgress: the current part and the finished share."""
        self.images += images
        if self.on_progress is not None:
            share = self.images / self.total
            self.on_progress(ScanProgress(self.doing, share if share < 1 else None))
