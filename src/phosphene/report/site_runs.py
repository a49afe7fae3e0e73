"""What a site shows of its runs: their maps as cards, names that tell the runs apart, and the classes they share."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from phosphene.errors import ConceptError, RunError
from phosphene.labels import first_synonym
from phosphene.metrics.compare import in_common
from phosphene.report.gallery import classification
from phosphene.runs import RunDirectory
from phosphene.runs.facts import slug
from phosphene.runs.map_json import read_map_json
from phosphene.runs.predictions import read_predictions
from phosphene.runs.scans import no_maps

Card = dict[str, Any]


@dataclass
class SiteRun:
    """A run as the site shows it: its maps by class with their predictions, and names that distinguish it from other runs.

    Attributes:
        run: The run directory.
        facts: Its run.json.
        number: Its place among the runs, from 1; the name of its folder of images.
        maps: Its finished maps by class, those of the first seed first: ``map`` (map.json, with ``short``), ``own`` and
            ``others`` (what classifiers predict for it) and ``folder``.
        model: Page of its model, without suffix.
        name: Name of its model on the site.
        title: Name of the run on the site.
    """

    run: RunDirectory
    facts: dict[str, Any]
    number: int
    maps: dict[int, list[Card]]
    model: str = ""
    name: str = ""
    title: str = ""

    @property
    def labels(self) -> dict[int, str]:
        """The label of each class of which the run has maps, by index."""
        return {index: cards[0]["map"]["label"] for index, cards in self.maps.items()}


@dataclass
class SiteClass:
    """A class as the site shows it: its label, its page, and a dictionary of its maps by the number of each run that has some.

    Attributes:
        page: Its page, without suffix; its images bear the same name.
        label: Its label in the first run that has it.
        index: Its index there.
        maps: Its maps by the number of the run.
    """

    page: str
    label: str
    index: int
    maps: dict[int, list[Card]]

    def figures(self, runs: Sequence[SiteRun]) -> dict[str, str]:
        """Return a dictionary of two texts, ``p`` and ``others``: per run the mean confidence in percent of the source, and of others.

        Numbers are separated by spaces. Without maps a run's ``p`` is empty; without other classifiers its ``others`` is -1.
        """
        groups = [self.maps.get(run.number, []) for run in runs]
        own = [[one["map"]["p_class"] for one in group] for group in groups]
        others = [[found["p_class"] for one in group for found in one["others"]] for group in groups]
        return {
            "p": " ".join(f"{100 * fmean(values):.0f}" if values else "" for values in own),
            "others": " ".join(f"{100 * fmean(values):.0f}" if values else "-1" for values in others),
        }


def read_runs(runs: Sequence[RunDirectory]) -> list[SiteRun]:
    """Return a ``SiteRun`` per RunDirectory, with its maps' figures and predictions, no images; RunError if one has no maps or repeats.

    Raises:
        RunError: a run is given twice, has no finished maps, or is damaged.
    """
    paths = [run.path.resolve() for run in runs]
    for path, run in zip(paths, runs, strict=True):
        if paths.count(path) > 1:
            raise RunError(f"{run.path} is given twice: name each run once.")
    found = [SiteRun(run, run.facts(), number, _read_maps(run)) for number, run in enumerate(runs, 1)]
    models = [one.facts["model"] for one in found]
    names = _distinct_names([model["name"] for model in models], [model["sha256"][:8] for model in models])
    titles = _distinct_names(
        names,
        [one.facts["recipe"]["name"] for one in found],
        [f"recipe {one.facts['recipe']['sha256'][:8]}" for one in found],
        [one.facts["samples"]["spec"] for one in found],
        [one.run.path.name for one in found],
        [str(one.run.path) for one in found],
    )
    for one, name, title in zip(found, names, titles, strict=True):
        one.model, one.name, one.title = f"{slug(name)}-{one.facts['model']['sha256'][:8]}", name, title
    return found


def _read_maps(run: RunDirectory) -> dict[int, list[Card]]:
    """Return a run's finished maps by class index: their map.json, folder and classifiers' predictions, no images; RunError without any."""
    classifiers, sha256 = read_predictions(run), run.facts()["model"]["sha256"]
    own = [one for one in classifiers if one.sha256 == sha256][:1]
    found: dict[int, list[Card]] = defaultdict(list)
    for place, folder in run.finished_folders().items():
        figures = read_map_json(folder)
        groups = (own, [one for one in classifiers if one not in own])
        of_own, of_others = ([one for one in (classification(c, place) for c in group) if one] for group in groups)
        card = {"map": {"short": first_synonym(figures["label"]), **figures}, "folder": folder}
        found[place[0]].append(card | {"own": of_own[0] if of_own else None, "others": of_others})
    if not found:
        raise no_maps(run)
    return dict(found)


def _distinct_names(names: list[str], *more: list[str]) -> list[str]:
    """Return ``names``; to equal ones, the texts in the lists of ``more`` are appended, list by list, where these differ.

    Each list holds one text per name. Names whose texts are equal in all lists stay equal.
    """
    for facts in more:
        groups: dict[str, set[str]] = defaultdict(set)
        for name, fact in zip(names, facts, strict=True):
            groups[name].add(fact)
        names = [f"{name}, {fact}" if len(groups[name]) > 1 else name for name, fact in zip(names, facts, strict=True)]
    return names


def classes_of(runs: Sequence[SiteRun]) -> list[SiteClass]:
    """Return the classes of all runs as ``SiteClass``, each with its maps by run; classes of two runs that share a synonym become one.

    A class that matches several of another run, so that it is not clear which is meant, stays a class of its own.
    """
    classes: list[SiteClass] = []
    places: list[dict[int, SiteClass]] = []  # of every run, by index
    names: set[str] = set()
    for run in runs:
        own: dict[int, SiteClass] = {}
        for earlier, its_classes in zip(runs, places, strict=False):
            left = {index: label for index, label in run.labels.items() if index not in own}
            for index, other in _matching_classes(left, earlier.labels).items():
                if run.number not in its_classes[other].maps:
                    own[index] = its_classes[other]
                    its_classes[other].maps[run.number] = run.maps[index]
        for index, label in run.labels.items():
            if index not in own:
                page = f"{slug(label)}-{index}"
                page = page if page not in names else f"{page}.{run.number}"
                names.add(page)
                own[index] = SiteClass(page, label, index, {run.number: run.maps[index]})
                classes.append(own[index])
        places.append(own)
    return classes


def _matching_classes(a: dict[int, str], b: dict[int, str]) -> dict[int, int]:
    """Return index in ``a`` -> index in ``b`` of classes that share a synonym; if any fits several, only of those equal in index and label.

    Both arguments are index -> label.
    """
    try:
        return in_common(a, b)
    except ConceptError:
        return {index: index for index, label in a.items() if b.get(index) == label}


def model_pages(runs: Sequence[SiteRun]) -> dict[str, list[SiteRun]]:
    """Return the runs of each model, by the name of its page without suffix, which is made of the model's name and weights' hash."""
    pages: dict[str, list[SiteRun]] = defaultdict(list)
    for run in runs:
        pages[run.model].append(run)
    return dict(pages)


def image_name(page: str, place: int) -> str:
    """Return the file name of map number ``place``, from 0, of a class in a run: ``page.webp``, then ``page.2.webp``."""
    return f"{page}.webp" if place == 0 else f"{page}.{place + 1}.webp"


def map_folders(runs: Sequence[SiteRun], classes: Sequence[SiteClass]) -> list[tuple[Path, str]]:
    """Return every map's (folder in the run, name of its image in the site), class by class, and in a class run by run."""
    return [
        (card["folder"], f"{run.number}/{image_name(one.page, place)}")
        for one in classes
        for run in runs
        for place, card in enumerate(one.maps.get(run.number, []))
    ]
