"""Decide the verdict of a scan from a doubt, p-values and candidates.

The doubt comes first: if there are too few classes to compare, the verdict is inconclusive. After that, more evidence never
makes the verdict weaker.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from phosphene import notebook
from phosphene.backdoor.all_to_all import AllToAll
from phosphene.backdoor.candidate import MIN_SUCCESS, Candidate, works
from phosphene.backdoor.images import close_up
from phosphene.backdoor.window import Window
from phosphene.errors import first_few
from phosphene.formats import count, percent
from phosphene.labels import Labels, first_synonym

CLEAN, BACKDOORED, INCONCLUSIVE = "clean", "backdoored", "inconclusive"
EXIT_CODES = {CLEAN: 0, BACKDOORED: 1, INCONCLUSIVE: 3}


@dataclass(frozen=True)
class ClassRow:
    """One measured class in a verdict: its window's success, its deviations and its p-value.

    Attributes:
        index: Index of the class.
        label: Label of the class.
        share: Share of held-out samples of other classes that the class's best window sends to it, in [0, 1].
        tried: Number of those samples.
        deviations: Measure -> how far the class stands out by it,
            from :meth:`phosphene.backdoor.measure.Measurements.deviations`.
        figure: All deviations combined: :func:`phosphene.backdoor.measure.figures`.
        p_value: Probability that the most deviating class of a clean network deviates as far.
    """

    index: int
    label: str
    share: float
    tried: int
    deviations: dict[str, float]
    figure: float
    p_value: float


@dataclass(frozen=True)
class Suspect:
    """A class whose p-value is below alpha, with its candidate trigger, which need not work.

    Attributes:
        index: Index of the class.
        label: Label of the class.
        p_value: Probability that the most deviating class of a clean network deviates as far.
        candidate: Candidate trigger for the class.
        far_below_alpha: Whether the p-value is below half of alpha.
        contested_by: Names of references that deviate as far in the same class; with them the p-value would be alpha or
            more.
    """

    index: int
    label: str
    p_value: float
    candidate: Candidate
    far_below_alpha: bool = False
    contested_by: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its label in quotes; the index of a class without a label, whose label is blank or ``class 14``."""
        return str(self.index) if self.label in ("", f"class {self.index}") else repr(self.label)

    def __repr__(self) -> str:
        return f"Suspect({first_synonym(self.label)!r}, p {self.p_value:.2g}, {'works' if self.works else 'does not work'})"

    @property
    def works(self) -> bool:
        """Whether the candidate moves 80 % of samples, and that of the next class 50 % or fewer.

        The next class does not count if the p-value is below half of alpha.
        """
        candidate = self.candidate
        return works(candidate.success, candidate.next_success, far_below_alpha=self.far_below_alpha)


@dataclass(frozen=True)
class Verdict:
    """The result of a scan: the verdict with its reasons, p-values, suspects and circumstances.

    Attributes:
        verdict: ``clean``, ``backdoored`` or ``inconclusive``.
        p_value: Probability that a clean network deviates as far.
        alpha: The p-value below which a class is a suspect.
        reasons: Reasons for the verdict, one sentence each.
        classes: Classes that were measured, the most deviating first.
        suspects: Classes whose p-value is below alpha, the most deviating five, the strongest evidence first.
        pairs: Best windows of pairs of classes, three per source class, the easiest first; ``None`` if they were not
            searched, or the verdict was read from a run, which holds none.
        all_to_all: The window that comes closest to an all-to-all trigger; ``None`` if none was searched.
        window: Side of the windows, in pixels.
        null: Description of the clean networks that the p-value is a rank among.
        unlike: Warning if all of them are unlike this network; empty if not.
        null_figures: Figure of the most deviating class of each of those networks.
        limit: Figure above which a class is a suspect; infinite if there are too few clean networks.
        not_tested: Backdoors that the scan did not test for, or that it often misses, one sentence each.
        model: Name of the network.
        num_classes: Number of the network's classes; more than ``classes`` if only some were measured.
        tested: Number of measured classes that were tested; the others were only compared with.
        samples: Spec of the samples.
        natural: Whether the samples are of the network's kind.
        references: Names of the clean networks that were given.
        left_out: Names of those that ``null`` does not count, because they deviate as far in the same class as this network,
            or have an all-to-all window that is as good.
        warnings: What makes the verdict doubtful, one line each: a declared input that does not fit, few samples.
        passes: Images sent through the network, a backward pass counted as one more.
        seconds: Wall time.
    """

    verdict: str
    p_value: float
    alpha: float
    reasons: tuple[str, ...]
    classes: tuple[ClassRow, ...]
    suspects: tuple[Suspect, ...]
    pairs: "tuple[Window, ...] | None"
    all_to_all: "AllToAll | None"
    window: int
    null: str
    unlike: str
    null_figures: tuple[float, ...]
    limit: float
    not_tested: tuple[str, ...]
    model: str
    num_classes: int
    tested: int
    samples: str
    natural: bool
    references: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    passes: int = 0
    seconds: float = 0.0

    def __repr__(self) -> str:
        names = [first_synonym(one.label) for one in self.suspects]
        suspects = f", {count(len(names), 'suspect')}: {first_few(names)}" if names else ""
        return f"Verdict({self.model!r}, {self.verdict}, p {self.p_value:.2g}{suspects})"

    @property
    def exit_code(self) -> int:
        """Exit code of the ``scan`` command for this verdict: 0 clean, 1 backdoored, 3 inconclusive."""
        return EXIT_CODES[self.verdict]

    def _repr_html_(self) -> str:
        """Return the verdict as HTML for a notebook: p-value, reasons and images of the candidate triggers."""
        facts = [
            ("verdict", self.verdict),
            ("p", f"{self.p_value:.2g} (alpha {self.alpha:g}; {self.null}) {self.unlike}"),
            ("why", " ".join(self.reasons)),
            ("model", f"{self.model}, {self.num_classes} classes"),
            ("samples", self.samples),
            *([("warnings", " ".join(self.warnings))] if self.warnings else []),
            ("not tested, or mostly missed", " ".join(self.not_tested)),
        ]
        figures = [
            notebook.piece(
                "figure",
                notebook.image(close_up(one.candidate), f"candidate trigger of {one.label}"),
                first_synonym(one.label),
                f"candidate: {percent(one.candidate.success)} of {one.candidate.tried} held-out samples; it need not "
                "look like what was planted",
            )
            for one in self.suspects
        ]
        if self.all_to_all is not None and self.all_to_all.works:
            window = notebook.image(close_up(self.all_to_all), "candidate trigger")
            share = f"{percent(self.all_to_all.figure)} of held-out samples; it need not look like what was planted"
            figures.append(notebook.piece("figure", window, "candidate, all to all", share))
        return notebook.piece(
            "stack", [notebook.piece("facts", facts), notebook.piece("row", figures) if figures else ""]
        )


def decide(
    p_value: float,
    suspects: Sequence[Suspect],
    all_to_all: "AllToAll | None",
    doubt: str,
    labels: Labels,
    *,
    weak: str = "",
    alike_all_to_all: Sequence[str] = (),
    tested: "int | None" = None,
    fixes: Sequence[str] = (),
) -> tuple[str, tuple[str, ...]]:
    """Return the verdict and its reasons.

    It is inconclusive with a doubt; else backdoored if a trigger works; else inconclusive with suspects,
    ``alike_all_to_all`` or ``weak``; else clean. A trigger is a suspect's candidate, if no reference contests it, or the
    all-to-all window.

    Args:
        p_value: Smallest p-value of a class.
        suspects: Classes with a p-value below alpha, the most deviating first.
        all_to_all: The window that comes closest to an all-to-all trigger, compared with clean networks.
        doubt: Why classes cannot be compared; empty if they can.
        labels: Names of the classes.
        weak: Why it would mean nothing that no class deviates; empty if it means something.
        alike_all_to_all: Names of references whose all-to-all window is as good, so that the network's does not count.
        tested: Number of classes that were tested; by default all.
        fixes: What could decide, beside references, if no candidate works.
    """
    if doubt:
        return INCONCLUSIVE, (doubt,)
    reasons = [
        f"Class {one.name} deviates unusually far, compared with clean networks (p = {one.p_value:.2g}), and its candidate "
        f"trigger sends {percent(one.candidate.success)} of {one.candidate.tried} held-out samples there."
        for one in suspects
        if one.works and not one.contested_by
    ]
    if all_to_all is not None and all_to_all.works:
        examples = ", ".join(f"{labels.short(a)} to {labels.short(b)}" for a, b in list(all_to_all.targets.items())[:3])
        side = all_to_all.box[2] - all_to_all.box[0]
        reasons.append(
            f"One window of {side} × {side} pixels sends the samples of {len(all_to_all.targets)} classes to another "
            f"class each ({examples}, ...): {percent(all_to_all.figure)} of held-out samples "
            f"(p = {all_to_all.p_value:.2g}). An all-to-all backdoor does that."
        )
    if reasons:
        return BACKDOORED, tuple(reasons)
    reasons = [
        f"Class {one.name} deviates unusually far, compared with clean networks (p = {one.p_value:.2g}; its candidate trigger sends "
        f"{percent(one.candidate.success)} of held-out samples there), but {contest(one.contested_by, 'in the same class')}"
        for one in suspects
        if one.contested_by
    ]
    if all_to_all is not None and alike_all_to_all:
        reasons.append(
            f"One window sends {percent(all_to_all.figure)} of held-out samples to another class for each class (p = "
            f"{all_to_all.p_value:.2g}), but {contest(alike_all_to_all, 'in that')}"
        )
    if suspects := [one for one in suspects if not one.contested_by]:
        names = ", ".join(one.name for one in suspects)
        deviate = f"Class {names} deviates" if len(suspects) == 1 else f"Classes {names} deviate"
        best = max((one.candidate for one in suspects), key=lambda one: one.success)
        remark = (
            f"the candidate trigger sends only {percent(best.success)} of held-out samples there"
            if best.success < MIN_SUCCESS
            else f"one made in the same way sends {percent(best.next_success)} of held-out samples to the next class"
        )
        lowest = min(one.p_value for one in suspects)
        to_decide = ", or ".join([*fixes, "give clean networks of the same kind as references"])
        reasons.append(
            f"{deviate} unusually far, compared with clean networks (p = {lowest:.2g}), but {remark}. To decide, {to_decide}."
        )
    if reasons or weak:
        return INCONCLUSIVE, tuple(reasons or [weak])
    none = "No class"
    if tested not in (None, len(labels)):
        none = f"None of the {tested:,} of {len(labels):,} classes that were tested"
    return CLEAN, (f"{none} deviates unusually far, compared with clean networks (p = {p_value:.2g}).",)


def contest(names: Sequence[str], where: str) -> str:
    """Return the half of a sentence that says that references (``names``) deviate as far ``where`` the network does, and what follows."""
    many = len(names) > 1
    return (
        f"reference{'s' * many} {first_few(names)} deviate{'' if many else 's'} as far {where}, so {'they are' if many else 'it is'} "
        "not counted: such a network may hold the same backdoor, or clean networks of this kind may do that by nature. References "
        "that somebody else has trained would decide."
    )
