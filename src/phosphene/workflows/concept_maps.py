"""What Python holds of maps: a list of them, and an open run directory. Both are indexed by name, and shown in a notebook."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, SupportsIndex, overload

from phosphene import notebook
from phosphene.arguments import as_list, text_of
from phosphene.checked import checked
from phosphene.concept_map import ConceptMap, captions, p_text
from phosphene.concepts import Concept
from phosphene.errors import ArgumentError, ConceptError, RunError, describe
from phosphene.executors.base import MapOrigin
from phosphene.expressions import find_among
from phosphene.formats import count
from phosphene.reports import write_report
from phosphene.reports.grid import Grid
from phosphene.reports.made import scores_note
from phosphene.runs import RunDirectory
from phosphene.runs.checks import checks_line
from phosphene.runs.lock import hold
from phosphene.runs.scans import verdict_lines
from phosphene.runs.scores import scores_table
from phosphene.runs.whole import one_or_several, run_with, to_run
from phosphene.workflows.own_predictions import write_own_predictions


class ConceptMaps(list[ConceptMap]):
    """A list of maps: what :func:`map_concepts` returns, or ``ph.ConceptMaps(maps)`` of any maps.

    ``maps["castle"]`` are those of a concept, a list again; ``maps[0]`` is the first map, whatever its class; ``maps[:2]``
    are the first two. What they were made from, and the run that holds them, each map knows for itself, so that a part
    of a list, or several lists in one, can be scored, checked and saved like the whole.

    Args:
        maps: Maps, also of different models; or one map, or an open run.

    Raises:
        ArgumentError: something else is among them.
    """

    def __init__(self, maps: "ConceptMap | Iterable[ConceptMap]" = ()) -> None:
        super().__init__(as_list(maps))
        for one in self:
            if not isinstance(one, ConceptMap):
                raise ArgumentError(f"ConceptMaps is a list of maps, not of {describe(one)}: ph.open_run opens a run.")

    @overload
    def __getitem__(self, place: SupportsIndex) -> ConceptMap: ...
    @overload
    def __getitem__(self, place: "str | Concept | slice[Any, Any, Any]") -> Self: ...
    def __getitem__(self, place: "SupportsIndex | slice[Any, Any, Any] | str | Concept") -> "ConceptMap | Self":
        """Return the map at a position, or a list of the maps of a concept (a label or Concept) or of a slice.

        Raises:
            ConceptError: there is no map of the concept.
        """
        if isinstance(place, str | Concept | tuple):
            index = _index_of(place, [one.concept for one in self], "this list")
            return type(self)(one for one in self if one.index == index)
        found = super().__getitem__(place)
        return type(self)(found) if isinstance(found, list) else found

    def __contains__(self, one: object) -> bool:
        """Return whether a map, or the map of a concept (a label or Concept), is in the list."""
        if isinstance(one, str | Concept):
            return _is_among(one, [each.concept for each in self])
        return super().__contains__(one)

    def copy(self) -> Self:
        """Return a new list of the same maps."""
        return type(self)(self)

    def __add__(self, others: Iterable[ConceptMap]) -> Self:  # type: ignore[override]
        return type(self)([*self, *others])

    @property
    def origin(self) -> "MapOrigin | None":
        """Classifier, samples and recipe that the maps were made from; ``None`` if that is not known, or not the same for all."""
        origins = {one.origin and one.origin.hashes: one.origin for one in self}
        return next(iter(origins.values())) if len(origins) == 1 else None

    def require_origin(self, otherwise: str = "") -> MapOrigin:
        """Return :attr:`origin`, or raise an error that says why there is none, and ``otherwise``, another way out.

        Raises:
            ConceptError: there are no maps.
            RunError: the maps do not know what they were made from, or some were made from something else.
        """
        if not self:
            raise ConceptError("there are no maps in this list.")
        origin = self[0].origin
        if origin is None:
            raise RunError(
                "these maps do not know what they were made from (copies by replace, copy or pickle do not): give what "
                f"map_concepts returned{otherwise}."
            )
        for one in self:
            if one.origin is None or one.origin.hashes != origin.hashes:
                raise RunError(
                    f"the map of {one.short} was not made from the model, recipe and samples of the first map: take it apart{otherwise}."
                )
        return origin

    @property
    def run(self) -> "OpenRun | None":
        """The run directory whose finished maps these are; ``None`` if they are in memory only, or not all of a run."""
        run, is_whole = run_with(self)
        return OpenRun(run.path) if run is not None and is_whole else None

    @checked
    def grid(self, columns: int = 5, size: "int | None" = None) -> Grid:
        """Return the images with their labels as a :class:`Grid`.

        A notebook shows it, and its ``save`` writes .png, .pdf or .svg.

        Args:
            columns: Images per row.
            size: Width of each image in pixels; 160 by default.

        Raises:
            ConceptError: the list is empty, or a number is below 1.
        """
        return Grid([one.image for one in self], captions(self), columns=columns, size=size)

    @checked
    def save(self, path: "str | Path") -> "OpenRun":
        """Write the maps, and their classifier's predictions for them, to a run; return the run.

        Args:
            path: The directory: a new one, or one with maps of the same model, recipe and samples.

        Raises:
            ConceptError: there are no maps.
            RunError: the maps do not know what they were made from, or some of them have been altered since, or are of
                another model, recipe or samples, or the directory cannot take them.
        """
        if Path(path).suffix.lower() in (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".gif"):
            raise RunError(f"maps.save writes a run directory, and {path} is an image: maps.grid().save writes a .png.")
        origin, run = self.require_origin(), OpenRun(path)
        for one in [one for one in self if one.is_altered]:
            raise RunError(
                f"the map of {one.short} has been altered, and its figures are of the old one: make it again."
            )
        labels = origin.classifier.labels
        run.check(origin.facts, labels)
        with hold(run.path):
            run.begin(origin.facts, ((one.job, one.label) for one in self), labels)
            for one in self:
                run.write(one)
        write_own_predictions(run, origin.classifier, device=origin.device)
        return run

    def report(self) -> Path:
        """Write ``report.html`` of the run whose maps these are; return its path.

        Raises:
            RunError: they are in memory only, or a part of a run.
        """
        return Path(write_report(to_run(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._title()})"

    def _title(self) -> str:
        """Return the numbers of maps and concepts as text, ``12 maps of 4 classes``."""
        noun = ("concept",) if any(one.expression for one in self) else ("class", "classes")
        return f"{count(len(self), 'map')} of {count(len({one.index for one in self}), *noun)}"

    def _repr_html_(self) -> str:
        """Return the list as HTML for a notebook: images of its first 48 maps, with captions and confidences."""
        figures = [
            notebook.piece("figure", notebook.image(one.image, caption), caption, p_text(one, "p {:.2f}"))
            for one, caption in list(zip(self, captions(self), strict=True))[: notebook.MOST_IMAGES]
        ]
        return notebook.piece("gallery", self._title(), figures, len(self))


class OpenRun(RunDirectory):
    """A run directory that :func:`open_run` has opened. Its finished maps are found as those of a list of maps are.

    ``run["star"]`` are the maps of a concept, ``run[0]`` is the first map in the order of ``run.json``, whatever its class,
    and ``run[:2]`` are the first two; ``run[:]`` is the list of all, which has ``grid`` and ``report``.
    ``for one in run`` reads one map after the other. Only the maps asked for are read.
    """

    def __iter__(self) -> Iterator[ConceptMap]:
        return self.maps()

    def __len__(self) -> int:
        return len(self.finished_folders())

    def __contains__(self, one: object) -> bool:
        """Return whether the run has a finished map of a concept (a label or Concept), or this very map."""
        if isinstance(one, ConceptMap):
            return (self.path.absolute(), self.map_hashes().get((one.index, one.seed))) in one.locations
        finished = {index for index, _ in self.finished_folders()}
        return isinstance(one, str | Concept) and _is_among(one, [c for c in self.concepts() if c.index in finished])

    @overload
    def __getitem__(self, place: SupportsIndex) -> ConceptMap: ...
    @overload
    def __getitem__(self, place: "str | Concept | slice[Any, Any, Any]") -> ConceptMaps: ...
    def __getitem__(self, place: "SupportsIndex | slice[Any, Any, Any] | str | Concept") -> "ConceptMap | ConceptMaps":
        """Return the map at a position, or the maps of a concept (a label, synonym, expression or Concept) or of a slice.

        Raises:
            ConceptError: the run has no map of the concept.
            RunError: a map is damaged.
        """
        folders = self.finished_folders()
        if isinstance(place, str | Concept | tuple):
            index = _index_of(place, self.concepts(), str(self.path))
            return ConceptMaps(self.read(folder) for (number, _), folder in folders.items() if number == index)
        found = list(folders.values())[place]
        return ConceptMaps(map(self.read, found)) if isinstance(found, list) else self.read(found)

    def _repr_html_(self) -> str:
        """Return the run as HTML that a notebook displays.

        Raises:
            RunError: this is not a run directory, or its run.json is damaged.
        """
        facts = self.facts()
        height, width = facts["model"]["input"]["size"]
        total = len(self)
        about = [
            ("model", f"{facts['model']['name']}, {facts['model']['classes']} classes, {height} × {width} pixels"),
            ("recipe", facts["recipe"]["name"]),
            ("samples", facts["samples"]["spec"]),
            ("maps", f"{total} of {len(facts['jobs'])} finished"),
            *(("scan", line) for line in verdict_lines(self)),
            *(("checks", line) for line in [checks_line(self)] if line),
            *(("scores", line) for line in [scores_note(self, facts)] if line),
            ("directory", str(self.path)),
        ]
        maps = self[: notebook.MOST_IMAGES]
        body = maps._repr_html_() if maps else ""
        more = f"and {total - len(maps)} more" if total > len(maps) else ""
        return notebook.piece("stack", [notebook.piece("facts", about), body, more, scores_table(self)])


def _is_among(name: "str | Concept", concepts: Sequence[Concept]) -> bool:
    """Return whether a label, synonym, expression or Concept names one of ``concepts``."""
    with suppress(ConceptError):
        return _index_of(name, concepts, "") in {one.index for one in concepts}
    return False


def _index_of(name: Any, concepts: Sequence[Concept], where: str) -> int:
    """Return the index of the concept that a label, synonym, expression or Concept names among ``concepts``; else ConceptError."""
    if isinstance(name, tuple):
        raise ConceptError(f"maps are found by one name at a time, such as maps[{name[0] if name else 'star'!r}].")
    return find_among(text_of(name), concepts, where)


def as_maps(maps: Any) -> "ConceptMaps | None":
    """Return one map or several as ConceptMaps; ``None`` for anything else, such as a run."""
    items = one_or_several(maps)
    return ConceptMaps(items) if all(isinstance(one, ConceptMap) for one in items) else None


Run = str | Path | RunDirectory | ConceptMap | Iterable[ConceptMap]


def open_run(run: Run) -> OpenRun:
    """Open a run that ``map`` or ``scan`` made: ``run["star"]`` are its maps of a class, ``list(run)`` all its maps.

    Args:
        run: The path of its directory, or all of its maps.

    Raises:
        RunError: this is not a run directory, or its run.json is damaged.
    """
    return OpenRun(to_run(run).path)
