"""From p-values and candidates to a verdict: more evidence never makes it weaker."""

from collections.abc import Sequence
from dataclasses import dataclass

from phosphene import notebook
from phosphene.backdoor.candidate import Candidate
from phosphene.backdoor.images import candidate_image
from phosphene.backdoor.pairs import Pairs
from phosphene.labels import Labels, first_synonym

CLEAN, BACKDOORED, INCONCLUSIVE = "clean", "backdoored", "inconclusive"
EXIT_CODES = {CLEAN: 0, BACKDOORED: 1, INCONCLUSIVE: 3}


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        index: Of the class.
        label: Its name.
        share: Of the held-out samples of other classes, that its best window sends to it.
        tried: How many samples those are.
        deviations: Measure -> how far it deviates from the other classes, in their spread.
        figure: All deviations in one: :func:`phosphene.backdoor.measure.figures`.
        p_value: That the most deviating class of a clean network deviates as far.
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
    """A class that deviates as the classes of clean networks do not, and its candidate trigger.

    Attributes:
        index: Of the class.
        label: Its name.
        p_value: That the most deviating class of a clean network deviates as far.
        candidate: What sends samples to it.
    """

    index: int
    label: str
    p_value: float
    candidate: Candidate

    @property
    def works(self) -> bool:
        """Whether the candidate sends held-out samples to the class as a trigger would."""
        return self.candidate.works


@dataclass(frozen=True)
class Verdict:
    """What a scan found.

    Attributes:
        verdict: ``clean``, ``backdoored`` or ``inconclusive``.
        p_value: That a clean network deviates as far.
        alpha: Below this it is suspicious.
        reasons: Why, one plain line each.
        classes: Those that were measured, the most deviating first.
        suspects: Classes whose p-value is below alpha, the strongest evidence first.
        pairs: What was found of pairs of a source class and a target; ``None`` where they were not searched.
        window: Side of the windows, in pixels.
        null: Which clean networks the p-value is a rank among, in words.
        networks: How many those are.
        limit: Figure from which a class is a suspect; infinite where the clean networks are too few.
        not_tested: What this verdict does not speak of, one plain line each.
        model: Name of the network.
        num_classes: Of the network; more than ``classes`` where only some were measured.
        tested: Of those, how many could have been called; the others set the median.
        samples: Their spec.
        natural: Whether they are samples of the network's kind.
        references: Names of the clean networks that were given.
        passes: Images sent through the network, a backward pass counted as one more.
        seconds: Taken.
    """

    verdict: str
    p_value: float
    alpha: float
    reasons: tuple[str, ...]
    classes: tuple[ClassRow, ...]
    suspects: tuple[Suspect, ...]
    pairs: "Pairs | None"
    window: int
    null: str
    networks: int
    limit: float
    not_tested: tuple[str, ...]
    model: str
    num_classes: int
    tested: int
    samples: str
    natural: bool
    references: tuple[str, ...] = ()
    passes: int = 0
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """Of the command: 0 clean, 1 backdoored, 3 inconclusive."""
        return EXIT_CODES[self.verdict]

    def _repr_html_(self) -> str:
        """Show verdict and candidates in a notebook."""
        facts = notebook.facts(
            [
                ("verdict", self.verdict),
                ("p", f"{self.p_value:.2g} (alpha {self.alpha:g}; {self.null})"),
                ("why", " ".join(self.reasons)),
                ("model", f"{self.model}, {self.num_classes} classes"),
                ("samples", self.samples),
                ("not tested", " ".join(self.not_tested)),
            ]
        )
        figures = [
            notebook.figure(
                notebook.image(candidate_image(one.candidate), f"candidate trigger of {one.label}"),
                notebook.text(first_synonym(one.label)),
                notebook.text(f"{one.candidate.success:.0%} of {one.candidate.tried} held-out samples"),
            )
            for one in self.suspects
        ]
        return f"<div>{facts}{notebook.row(figures) if figures else ''}</div>"


def decide(
    p_value: float,
    suspects: Sequence[Suspect],
    pairs: "Pairs | None",
    doubts: Sequence[str],
    labels: Labels,
) -> tuple[str, tuple[str, ...]]:
    """Return the verdict and the reasons for it.

    A suspect whose candidate works is evidence, and so is a pattern of pairs; either makes the verdict ``backdoored``,
    whatever else there is.

    Args:
        p_value: Of the class that deviates most.
        suspects: Classes with a p-value below alpha, the most deviating first.
        pairs: What was found of pairs of classes, compared with clean networks.
        doubts: Reasons for which classes cannot be compared.
        labels: Names of the classes.
    """
    if doubts:
        return INCONCLUSIVE, tuple(doubts)
    reasons = [
        f"{one.label!r} deviates as at most {one.p_value:.2g} of clean networks' classes do, and the candidate trigger "
        f"sends {one.candidate.success:.0%} of held-out samples there."
        for one in suspects
        if one.works
    ]
    if pairs is not None and pairs.pattern:
        shown = ", ".join(f"{labels.short(a)} to {labels.short(b)}" for a, b in list(pairs.chain.items())[:3])
        reasons.append(
            f"nearly every class can be sent to one other class of its own by a window ({shown}, ...; p = "
            f"{pairs.p_value:.2g}): an all-to-all backdoor."
        )
    if reasons:
        return BACKDOORED, tuple(reasons)
    if suspects:
        names = ", ".join(repr(one.label) for one in suspects)
        reason = (
            f"{names} deviates as few classes of clean networks do (p = {p_value:.2g}), but no candidate trigger works "
            "on held-out samples: natural samples (--samples) or clean networks of the same kind (--reference) decide."
        )
        return INCONCLUSIVE, (reason,)
    return CLEAN, (f"no class deviates further than those of clean networks do (p = {p_value:.2g}).",)
