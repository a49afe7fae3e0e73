"""A score as ``scores.json`` stores it: how a target classifies a source's maps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from types import UnionType
from typing import Any, Self, SupportsIndex, TypeVar, get_args, get_origin, get_type_hints, overload

from phosphene import notebook
from phosphene.concepts import is_class, is_unit
from phosphene.errors import as_share
from phosphene.formats import BEYOND, MULTI_LABEL_RATE, TOP1_OF_SIDES, count, exact, rate_text, told_apart
from phosphene.labels import first_synonym

Interval = tuple[float, float]


@dataclass(frozen=True)
class Confusion:
    """A wrong class that a target predicts for maps of a concept, and for how many of them."""

    index: int
    label: str
    count: int


@dataclass(frozen=True)
class ConceptScore:
    """How a target classifies the maps of one concept.

    Attributes:
        index: The source's class, or the number of the union, contrast or output.
        label: Label of the concept.
        target_index: The target's class or output of that name; of a union or contrast, of the first class that is
            pulled up.
        maps: Number of maps.
        right: How many of them the target classifies as the class, or measures beyond the 99th percentile.
        p_class: Mean probability of the class, in [0, 1]; of an output, mean percentile.
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
    """The main figures of a :class:`Score` for the maps' images rendered at one contrast."""

    contrast: float
    m_score: float | None
    top1_concepts: float | None
    top1_all: float
    p_class: float


@dataclass(frozen=True)
class Score:
    """How one target classifies the maps of one source.

    Of outputs of a regression network, a map is right where the target's own output of that name is above its 99th
    percentile over the samples, or for ``low:`` below its 1st.

    Attributes:
        source: Name of the classifier that the maps come from.
        target: Name of the classifier that classifies them.
        m_score: ``M_score(target | source)``, in [1 / L, 1]; blind to labels. ``None`` if there is none:
            ``m_score_note`` says why.
        interval: 95 % bootstrap interval of ``m_score`` over the maps; ``None`` like it.
        top1_concepts: Share of maps that are classified as their class among the L concepts (what maps pull up);
            ``None`` like ``m_score``.
        top1_concepts_interval: Wilson 95 % interval of ``top1_concepts``; ``None`` like it.
        top1_all: Share of maps that are classified as their class among all of the target's classes; as one of their
            classes if they are of a union. Maps of contrasts do not count, unless all are: then it is ``top1_contrasts``.
            Of outputs, the share of maps that are right.
        top1_all_interval: Wilson 95 % interval of ``top1_all``.
        p_class: Mean probability of the class among all classes, over the maps of ``top1_all``; of outputs, the mean
            percentile: the share of samples that the target measures less in, or for ``low:`` more.
        maps: Number of maps.
        concepts: L: a contrast counts as its left side, so that ``star`` and ``star vs heart`` are one. Of outputs, their
            number, high and low ones counted apart.
        classes: Number of the target's classes or outputs.
        per_concept: One entry per concept, in the order of the maps.
        contrast_sweep: The figures at other contrasts; the score itself is that at 0.2.
        multi_label: Whether the target's outputs are independent: ``top1_all`` is then the share of maps whose class (a
            union: one of its classes) has a probability of its own above one half.
        target_sha256: Hash of the target's weights and input space.
        contrasts: Number of maps that are of contrasts.
        top1_contrasts: Share of these whose top-1 of the two sides is the left one: half, by chance; ``None`` of none.
        top1_contrasts_interval: Wilson 95 % interval of ``top1_contrasts``; ``None`` like it.
    """

    source: str
    target: str
    m_score: float | None
    interval: Interval | None
    top1_concepts: float | None
    top1_concepts_interval: Interval | None
    top1_all: float
    top1_all_interval: Interval
    p_class: float
    maps: int
    concepts: int
    classes: int
    per_concept: tuple[ConceptScore, ...]
    contrast_sweep: tuple[ContrastScore, ...]
    multi_label: bool = False
    target_sha256: str = ""
    contrasts: int = 0
    top1_contrasts: float | None = None
    top1_contrasts_interval: Interval | None = None

    def __repr__(self) -> str:
        rate, of_classes = rate_text(self.top1_all, self.top1_all_interval), not (self.of_outputs or self.of_contrasts)
        name = (MULTI_LABEL_RATE if self.multi_label else "top-1") if of_classes else self.rate_name
        result = f"{name} {rate} of {self.rated_text}" + (f" among {self.classes:,} classes" if of_classes else "")
        return f"{type(self).__name__}({self.source} → {self.target}: M_score {self.m_score_text}, {result})"

    @property
    def of_outputs(self) -> bool:
        """Whether the maps are of outputs of a regression network, whose figures are percentiles."""
        return all(is_unit(one.index) for one in self.per_concept)

    @property
    def of_contrasts(self) -> bool:
        """Whether all maps are of contrasts."""
        return self.contrasts == self.maps

    @property
    def rated(self) -> int:
        """Number of maps that ``top1_all`` and ``p_class`` are of."""
        return self.maps if self.of_contrasts else self.maps - self.contrasts

    @property
    def rated_text(self) -> str:
        """``rated`` as text: ``3 maps``, or ``3 maps (without contrasts)`` if there are contrasts, too."""
        return count(self.rated, "map") + (" (without contrasts)" if self.rated < self.maps else "")

    @property
    def rate_name(self) -> str:
        """Name of ``top1_all`` in tables: ``correct`` unless it is a top-1 among classes; for outputs and contrasts others."""
        if self.of_outputs or self.of_contrasts:
            return BEYOND if self.of_outputs else TOP1_OF_SIDES
        unions = sum(one.maps for one in self.per_concept if not is_class(one.index)) - self.contrasts
        return "correct" if self.multi_label or unions else "top-1, all classes"

    @property
    def m_score_note(self) -> "str | None":
        """Why there is no ``m_score``, as a sentence; ``None`` if there is one."""
        if self.m_score is not None:
            return None
        if self.of_outputs:
            return "M_score compares probabilities of classes, and outputs of a regression network have none."
        return "M_score tells concepts apart, and all these maps are of one: map another."

    @property
    def m_score_text(self) -> str:
        """``m_score`` with its interval as text, ``0.75 [0.40, 0.90]``; ``-`` if there is none."""
        if self.m_score is None or self.interval is None:
            return "-"
        return f"{self.m_score:.2f} [{self.interval[0]:.2f}, {self.interval[1]:.2f}]"

    def _repr_html_(self) -> str:
        """Return the score as HTML for a notebook: a line of figures, and a table with a row per concept, 48 at most."""
        rows = [
            [
                first_synonym(one.label),
                notebook.Cell(f"{one.right} of {one.maps}", one.right / max(one.maps, 1)),
                notebook.Cell(f"{one.p_class:.2f}", one.p_class),
                ", ".join(first_synonym(other.label) for other in one.misread),
            ]
            for one in self.per_concept[: notebook.MOST_IMAGES]
        ]
        num_hidden = len(self.per_concept) - len(rows)
        head = ["concept", "classified correctly", "p of the class", "predicted instead"]
        if self.of_outputs:
            head, rows = ["output", BEYOND, "percentile"], [row[:3] for row in rows]
        more = f"and {num_hidden} concepts more" if num_hidden else ""
        note = self.m_score_note or ""
        return notebook.piece("stack", [Scores([self])._repr_html_(), note, notebook.piece("table", head, rows), more])

    def to_dict(self) -> dict[str, Any]:
        """Return the score as a dictionary of plain values, as ``scores.json`` holds it."""
        return asdict(self) | {"m_score_note": self.m_score_note}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the score that a dictionary from :meth:`to_dict` holds, with types checked.

        Entries that are not fields are ignored.

        Raises:
            KeyError, TypeError, ValueError: an entry is missing, or is something else.
        """
        return cls(**_entries(cls, data))


ScoreT = TypeVar("ScoreT", bound=Score)


class Scores(list[ScoreT]):
    """A list of scores, as :func:`phosphene.score` returns it, or a slice of one; ``unfinished`` holds a clause for each unfinished run."""

    def __init__(self, scores: Iterable[ScoreT] = (), unfinished: Sequence[str] = ()) -> None:
        super().__init__(scores)
        self.unfinished = list(unfinished)

    @overload
    def __getitem__(self, place: SupportsIndex) -> ScoreT: ...
    @overload
    def __getitem__(self, place: "slice[Any, Any, Any]") -> Self: ...
    def __getitem__(self, place: "SupportsIndex | slice[Any, Any, Any]") -> "ScoreT | Self":
        found = super().__getitem__(place)
        return type(self)(found, self.unfinished) if isinstance(found, list) else found

    def __repr__(self) -> str:
        return repr(self._told_apart())

    def _told_apart(self) -> "list[ScoreT]":
        """Return the scores with more in the names of source and target where others have the same: recipe, run, hash of weights."""
        sources = told_apart([(one.source, getattr(one, "recipe", ""), str(getattr(one, "run", ""))) for one in self])
        targets = told_apart([(one.target, one.target_sha256[:8]) for one in self])
        return [replace(one, source=a, target=b) for one, a, b in zip(self, sources, targets, strict=True)]

    def below(self, *, min_top1: float = 0.0, min_m_score: float = 0.0) -> list[str]:
        """Return a clause for every run that is not finished, and for every score that is below a minimum.

        Args:
            min_top1: Least ``top1_all``, in [0, 1].
            min_m_score: Least ``m_score``, in [0, 1]; above 0, a score that has none does not reach it.

        Raises:
            ArgumentError: a minimum is not in [0, 1].
        """
        min_top1, min_m_score = as_share(min_top1), as_share(min_m_score)
        clauses = [*self.unfinished]
        for one in self:
            maps = getattr(one, "run", one.source)
            if one.top1_all < min_top1:
                right = f"{round(one.top1_all * one.rated)} of {one.rated_text}"
                clauses.append(f"{one.target} recognises {right} of {maps} (the least top-1 is {exact(min_top1)})")
            if (one.m_score or 0.0) < min_m_score:
                value = "missing" if one.m_score is None else f"{one.m_score:.4f}"
                clauses.append(f"M_score of {one.target} on {maps} is {value} (the least is {exact(min_m_score)})")
        return clauses

    def _repr_html_(self) -> str:
        """Return the list as HTML for a notebook: a table with a line of figures per score."""
        has_contrasts = any(one.contrasts for one in self)
        rows = [
            [
                f"{one.source} → {one.target}",
                f"{one.maps:,}",
                "-" if one.m_score is None else notebook.Cell(one.m_score_text, one.m_score),
                "-"
                if one.of_contrasts
                else notebook.rate_cell(one.top1_all, one.top1_all_interval, 0 if one.of_outputs else one.classes),
                *([notebook.rate_cell(one.top1_contrasts, one.top1_contrasts_interval, 0)] if has_contrasts else []),
                notebook.rate_cell(one.top1_concepts, one.top1_concepts_interval, one.concepts),
                notebook.Cell(f"{one.p_class:.2f}", one.p_class),
            ]
            for one in self._told_apart()
        ]
        head = ["source → target", "maps", "M_score", "top-1, all classes", "top-1, the concepts", "p of the class"]
        if any(one.multi_label for one in self):
            head[3] += f"; multi-label: {MULTI_LABEL_RATE}"
        if any(one.of_outputs for one in self):
            is_mixed = not all(one.of_outputs for one in self)
            head[3] = f"{head[3]}; outputs: " * is_mixed + BEYOND
            head[5] = f"{head[5]}; outputs: " * is_mixed + "percentile"
        if has_contrasts:
            head[3:4] = [head[3] + "; without contrasts", f"contrasts: {TOP1_OF_SIDES}"]
        return notebook.piece("table", head, rows)


def _entries(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that rebuild the dataclass ``kind`` from values of JSON, with declared types."""
    optional_names = {field.name for field in fields(kind) if field.default is not MISSING}
    hints = get_type_hints(kind).items()
    return {name: _typed(hint, data[name]) for name, hint in hints if name in data or name not in optional_names}


def _typed(kind: Any, value: Any) -> Any:
    """Return a value of JSON as the declared type ``kind``: a dataclass, tuple or simple type; TypeError if it does not fit."""
    if get_origin(kind) is UnionType:  # ``X | None``
        return None if value is None else _typed(get_args(kind)[0], value)
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(**_entries(kind, value))
    if get_origin(kind) is tuple:
        first, second = get_args(kind)  # a tuple of any length, or an interval
        kinds = [first] * len(value) if second is Ellipsis else [first, second]
        return tuple(_typed(one, part) for one, part in zip(kinds, value, strict=True))
    if not isinstance(value, (int, float) if kind is float else kind):
        raise TypeError(f"{value!r} is not a {kind.__name__}")
    return kind(value)
