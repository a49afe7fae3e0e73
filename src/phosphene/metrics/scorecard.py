"""A score as ``scores.json`` stores it: how a target classifies a source's maps."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Self, TypeVar, get_args, get_origin, get_type_hints

from phosphene import notebook
from phosphene.formats import count, rate_text
from phosphene.labels import first_synonym

Interval = tuple[float, float]


@dataclass(frozen=True)
class Confusion:
    """A wrong class that a target predicts for maps of a concept: its index and label at the target, and for how many maps."""

    index: int
    label: str
    count: int


@dataclass(frozen=True)
class ConceptScore:
    """How a target classifies the maps of one concept: how many are right, the mean probability, and what it predicts instead.

    Attributes:
        index: The source's class, or the number of the union or contrast.
        label: Label of the concept.
        target_index: The target's class of that name; of a union or contrast, of the first class that is pulled up.
        maps: Number of maps.
        right: How many of them the target classifies as the class.
        p_class: Mean probability of the class, in [0, 1].
        misread: Classes that the target predicts instead, the most frequent first; of a contrast, of its right side.
    """

    index: int
    label: str
    target_index: int
    maps: int
    right: int
    p_class: float
    misread: tuple[Confusion, ...]


@dataclass(frozen=True)
class ContrastScore:
    """The main figures of a :class:`Score` (M_score, top-1, probability) for the maps' images rendered at one contrast."""

    contrast: float
    m_score: float
    top1_concepts: float
    top1_all: float
    p_class: float


@dataclass(frozen=True)
class Score:
    """How one target classifies the maps of one source: M_score and top-1 with intervals, by concept and by contrast.

    Attributes:
        source: Name of the classifier that the maps come from.
        target: Name of the classifier that classifies them.
        m_score: ``M_score(target | source)``, in [1 / L, 1]; blind to labels.
        interval: 95 % bootstrap interval of ``m_score`` over the maps.
        top1_concepts: Share of maps that are classified as their class among the L concepts (what maps pull up).
        top1_concepts_interval: Wilson 95 % interval of ``top1_concepts``.
        top1_all: Share of maps that are classified as their class among all of the target's classes; as one of their
            classes if they are of a union, and among the classes of both sides if they are of a contrast.
        top1_all_interval: Wilson 95 % interval of ``top1_all``.
        p_class: Mean probability of the class among all classes.
        maps: Number of maps.
        concepts: L.
        classes: Number of the target's classes.
        per_concept: One entry per concept, in the order of the maps.
        contrast_sweep: The figures at other contrasts; the score itself is that at 0.2.
    """

    source: str
    target: str
    m_score: float
    interval: Interval
    top1_concepts: float
    top1_concepts_interval: Interval
    top1_all: float
    top1_all_interval: Interval
    p_class: float
    maps: int
    concepts: int
    classes: int
    per_concept: tuple[ConceptScore, ...]
    contrast_sweep: tuple[ContrastScore, ...]

    def __repr__(self) -> str:
        low, high = self.interval
        return (
            f"{type(self).__name__}({self.source} → {self.target}: M_score {self.m_score:.2f} [{low:.2f}, {high:.2f}], "
            f"top-1 {rate_text(self.top1_all, self.top1_all_interval)} of {count(self.maps, 'map')} "
            f"among {self.classes:,} classes)"
        )

    def _repr_html_(self) -> str:
        """Return the score as HTML that a notebook displays: a line of figures, and a table with a row per concept, 48 at most."""
        rows = [
            [
                first_synonym(one.label),
                notebook.Cell(f"{one.right} of {one.maps}", one.right / max(one.maps, 1)),
                notebook.Cell(f"{one.p_class:.2f}", one.p_class),
                ", ".join(first_synonym(other.label) for other in one.misread),
            ]
            for one in self.per_concept[: notebook.MOST_IMAGES]
        ]
        hidden = len(self.per_concept) - len(rows)
        head = ["concept", "classified correctly", "p of the class", "predicted instead"]
        more = f"and {hidden} concepts more" if hidden else ""
        return notebook.piece("stack", [Scores([self])._repr_html_(), notebook.piece("table", head, rows), more])

    def to_dict(self) -> dict[str, Any]:
        """Return the score as a dictionary of plain values, as ``scores.json`` holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the score that a dictionary from :meth:`to_dict` holds, with types checked; entries that are not fields are ignored.

        Raises:
            KeyError, TypeError, ValueError: an entry is missing, or is something else.
        """
        return cls(**_entries(cls, data))


ScoreT = TypeVar("ScoreT", bound=Score)


class Scores(list[ScoreT]):
    """A list of scores, as :func:`phosphene.score` returns it, that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        """Return the list as HTML that a notebook displays: a table with a line of figures per score."""
        rows = [
            [
                f"{one.source} → {one.target}",
                f"{one.maps:,}",
                notebook.Cell(f"{one.m_score:.2f} [{one.interval[0]:.2f}, {one.interval[1]:.2f}]", one.m_score),
                _rate_cell(one.top1_all, one.top1_all_interval, one.classes),
                _rate_cell(one.top1_concepts, one.top1_concepts_interval, one.concepts),
                notebook.Cell(f"{one.p_class:.2f}", one.p_class),
            ]
            for one in self
        ]
        head = ["source → target", "maps", "M_score", "top-1, all classes", "top-1, the concepts", "p of the class"]
        return notebook.piece("table", head, rows)


def _rate_cell(value: float, interval: Interval, classes: int) -> notebook.Cell:
    """Return a top-1 rate as a notebook.Cell: its text is the rate, the 95 % interval and the number of classes, its heat the rate."""
    return notebook.Cell(f"{rate_text(value, interval)} among {classes:,}", value)


def _entries(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments to rebuild the dataclass ``kind`` from plain values of JSON, each converted to its declared type."""
    return {name: _typed(hint, data[name]) for name, hint in get_type_hints(kind).items()}


def _typed(kind: Any, value: Any) -> Any:
    """Return a plain value of JSON as the declared type ``kind``: a dataclass, tuple, or simple type; TypeError if it does not fit."""
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(**_entries(kind, value))
    if get_origin(kind) is tuple:
        first, second = get_args(kind)  # a tuple of any length, or an interval
        kinds = [first] * len(value) if second is Ellipsis else [first, second]
        return tuple(_typed(one, part) for one, part in zip(kinds, value, strict=True))
    if not isinstance(value, (int, float) if kind is float else kind):
        raise TypeError(f"{value!r} is not a {kind.__name__}")
    return kind(value)
