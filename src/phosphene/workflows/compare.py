"""Two run directories, class by class."""

import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from phosphene import notebook
from phosphene.concept_map import ConceptMap, p_class_name
from phosphene.concepts import is_class, is_unit
from phosphene.formats import count, percent, probability
from phosphene.labels import first_synonym
from phosphene.metrics.compare import Change, ComparedRun, Prediction, compare
from phosphene.reports.scores import read_scorecards
from phosphene.runs import RunDirectory
from phosphene.runs.predictions import read_predictions
from phosphene.runs.scans import no_maps


@dataclass(frozen=True)
class Comparison:
    """Result of ``compare``, which a notebook shows as a table.

    Attributes:
        runs: Directories of the runs.
        facts: Content of their ``run.json`` files.
        changes: A Change per class that both have, the most changed first. It is by images and predictions, from 0
            (unchanged) to 1.
        only: Labels of the classes that only the one or the other has.
        maps: Their maps by class.
    """

    runs: tuple[Path, Path]
    facts: tuple[dict[str, Any], dict[str, Any]]
    changes: tuple[Change, ...]
    only: tuple[list[str], list[str]]
    maps: tuple[dict[int, list[ConceptMap]], dict[int, list[ConceptMap]]]

    def __repr__(self) -> str:
        nouns = {"class": "classes"}.get(self.noun, f"{self.noun}s")
        return f"Comparison({str(self.runs[0])!r}, {str(self.runs[1])!r}, {count(len(self.changes), self.noun, nouns)})"

    def _repr_html_(self) -> str:
        """Return the comparison as HTML that a notebook displays: a table of the most changed classes, and the notes."""
        rows = [
            [
                first_synonym(one.label),
                *map(notebook.Cell, self.cells(one), (one.change or 0.0, one.images or 0.0, one.predictions or 0.0)),
            ]
            for one in self.changes[: notebook.MOST_IMAGES]
        ]
        table = notebook.piece("table", self.columns, rows)
        return notebook.piece("stack", [table, *self.notes])

    @property
    def noun(self) -> str:
        """What is compared, for the head of a column: ``class``, or ``concept`` if there are unions, contrasts, units or outputs."""
        return "class" if all(is_class(one.index_a) for one in self.changes) else "concept"

    @property
    def columns(self) -> list[str]:
        """Names of the columns of a table of changes: what is compared, and what :meth:`cells` returns."""
        p_name = p_class_name(*(one.index_a for one in self.changes))  # of the maps of a network by itself
        return [self.noun, "change", "images", f"{p_name} in both" if self.same_network else "predictions"]

    @property
    def scored(self) -> bool:
        """Whether predictions count in a class's change: those of either source for the other's maps are known."""
        return any(one.predictions is not None for one in self.changes)

    @property
    def seeds_known(self) -> bool:
        """Whether at least one class was mapped with several seeds in both runs: without, no change is given."""
        return any(min(one.seeds) > 1 for one in self.changes)

    def cells(self, one: Change) -> tuple[str, str, str]:
        """Return three texts on a class's change: in all, of its images, of its predictions; each a percentage, or why there is none.

        Of one network, the third gives its confidence in each run's maps.
        """
        differ = " and ".join(_method_differences(self.facts))
        if self.same_network:
            confidence = " and ".join(map(probability, one.confidences))
            return "same network", f"other {differ}" if differ else "same network", confidence
        several = min(one.seeds) > 1
        no_change = (
            "nothing to compare" if several else "one seed each" if max(one.seeds) == 1 else "one seed in one run"
        )
        no_images = f"other {differ}" if differ else "unclear"
        change, images, predictions = (
            why if value is None else percent(value) if several else "order only"
            for value, why in ((one.change, no_change), (one.images, no_images), (one.predictions, "not scored"))
        )
        alone = one.change is not None and one.predictions is None
        return f"{change} by images alone" if alone else change, images, predictions

    @property
    def same_network(self) -> bool:
        """Whether the sources of both runs are the same network, whatever their specs: equal hashes over input space and weights."""
        return len({facts["model"]["sha256"] for facts in self.facts}) == 1

    @property
    def notes(self) -> list[str]:
        """Warnings and hints on how to read the changes, one line each: what differs, what is not known."""
        notes = []
        differ = " and ".join(_method_differences(self.facts))
        if self.same_network:
            if differ:
                notes.append(
                    f"Warning: the runs differ in {differ}, which changes every image and the confidence in it."
                )
            causes = f"{differ} and seeds" if differ else "seeds"
            notes.append(
                "Both runs have the same network, none of whose classes has changed: differences between the maps are due to "
                f"{causes}."
            )
            return notes
        if differ:
            notes.append(
                f"Warning: the runs differ in {differ}, which changes every image, so only predictions are compared."
            )
        if not self.seeds_known:
            notes.append(
                "What another seed changes is known only with two seeds per class in both runs: no change is "
                "given, and the order alone means something."
            )
        elif any(one.images is not None for one in self.changes):
            notes.append(
                "Images: what another seed alone changes is subtracted, so images that look different can show 0 %."
            )
        if not differ and any(one.images is None for one in self.changes):
            notes.append("Images are unclear where two seeds of a class differ as much as two classes do.")
        if self.scored and self.seeds_known:
            notes.append(
                "Predictions: class means, less the variation between seeds (two standard errors), so a class can show 0 % "
                "although some of its maps are predicted as another class. More seeds per class leave less to chance."
            )
        if any(side and side.instead for one in self.changes for side in (one.a_by_b, one.b_by_a)):
            notes.append("Intervals of 95 % are of the share of maps that are predicted as the other class.")
        if any(is_unit(one.index_a) for one in self.changes):
            notes.append(
                "Units are compared by name: those of two networks have nothing in common unless one was made from the other."
            )
        return notes + self._score_hint()

    def _score_hint(self) -> list[str]:
        """Return a note, as a list, with what scores that which is unknown of the predictions; empty if all is known."""
        judged = [one for one in self.changes if not is_unit(one.index_a)]  # units are of one network alone
        if self.scored and not any(one.a_by_b is None or one.b_by_a is None for one in judged):
            return []
        models = [facts["model"] for facts in self.facts]
        one_way = any((one.a_by_b is None) != (one.b_by_a is None) for one in judged)
        known = "known in part" if self.scored else "unknown"
        known = f"How each source classifies the other's maps is {known}"
        known += ", and the order is by one direction only" if one_way else ""
        if any(model["spec"] == model["name"] for model in models):  # a network in memory, which no command loads
            runs = [str(path) for path in self.runs]
            return [
                f"{known}: phosphene.score({runs}, [a, b]) in Python, where a and b are the networks of the two runs"
            ]
        words = ["phosphene", "score", *map(str, self.runs)]
        words += [word for model in models for word in ("--target", model["spec"])]
        words += ["--trust"] if any(model.get("trust") for model in models) else []
        return [f"{known}: {shlex.join(words)}"]

    def to_dict(self) -> dict[str, Any]:
        """Return the document of ``compare --json``: both runs, warnings, changes, and the classes that only one run has."""
        return {
            "runs": [str(path) for path in self.runs],
            "models": [facts["model"]["name"] for facts in self.facts],
            "recipes": [facts["recipe"]["name"] for facts in self.facts],
            "warnings": self.notes,
            "changes": [asdict(one) for one in self.changes],
            "only": [list(labels) for labels in self.only],
        }


def compare_runs(a: RunDirectory, b: RunDirectory) -> Comparison:
    """Compare the finished maps of two RunDirectory objects class by class; return the Comparison; ConceptError if they share no class.

    Raises:
        RunError: one of them is not a run directory, is damaged, or has no finished maps.
        ConceptError: they have no class in common.
    """
    facts = (a.facts(), b.facts())
    maps_a, maps_b = _maps_by_class(a), _maps_by_class(b)
    first, second = (one["model"]["sha256"] for one in facts)
    sides = _compared_run(a, maps_a, second), _compared_run(b, maps_b, first)
    changes = compare(*sides, same_network=first == second, same_method=not _method_differences(facts))
    shared_a, shared_b = {one.index_a for one in changes}, {one.index_b for one in changes}
    only_a = [group[0].label for index, group in maps_a.items() if index not in shared_a]
    only_b = [group[0].label for index, group in maps_b.items() if index not in shared_b]
    return Comparison((a.path, b.path), facts, tuple(changes), (only_a, only_b), (maps_a, maps_b))


def _method_differences(facts: Sequence[dict[str, Any]]) -> list[str]:
    """Return which of "samples" and "recipe" differ between two runs, given their ``run.json``; each changes the images of all classes."""
    sizes = {tuple(one["model"]["input"]["size"]) for one in facts}
    keys = {"samples": "sha256" if len(sizes) == 1 else "spec", "recipe": "sha256"}  # of another size, another hash
    return [name for name, key in keys.items() if facts[0][name][key] != facts[1][name][key]]


def _maps_by_class(run: RunDirectory) -> dict[int, list[ConceptMap]]:
    """Read all finished maps of a run, also of units and contrasts; return a list of them per concept index; RunError if there are none."""
    found: dict[int, list[ConceptMap]] = defaultdict(list)
    for one in run.maps():
        found[one.index].append(one)
    if not found:
        raise no_maps(run)
    return dict(found)


def _compared_run(run: RunDirectory, by_class: dict[int, list[ConceptMap]], other_sha256: str) -> ComparedRun:
    """Return a run as a ComparedRun: its maps and, if the run was scored on network ``other_sha256``, what that predicts for them."""
    maps = [one for group in by_class.values() for one in group]
    score = next((score for row, score in read_scorecards(run) if row["target_sha256"] == other_sha256), None)
    stored = next((one.maps for one in read_predictions(run) if one.sha256 == other_sha256), {})
    predictions = {}
    for one in score.per_concept if score else ():
        places = [(one.index, each.seed) for each in by_class.get(one.index, ())]
        if places and all(place in stored for place in places):
            wrong = (first_synonym(one.misread[0].label), one.misread[0].count) if one.misread else ("", 0)
            predictions[one.index] = Prediction(tuple(stored[place]["p_class"] for place in places), *wrong)
    return ComparedRun(maps, predictions)
