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
from phosphene.reports.gallery import classification
from phosphene.runs import RunDirectory
from phosphene.runs.facts import slug
from phosphene.runs.map_json import read_map_json
from phosphene.runs.predictions import read_predictions
from phosphene.runs.scans import no_maps

Card = dict[str, Any]


@dataclass
class SiteRun:
    """A run as the site shows it, with its maps and with names that distinguish it from other runs.

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
    """A class as the site shows it, with its maps in all runs.

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
        """Return the mean confidence per run, in percent: the source's as ``p``, other classifiers' as ``others``.

        Both are texts, whose numbers are separated by spaces. Without maps a run's ``p`` is empty; without other
        classifiers its ``others`` is -1.
        """
        card_groups = [self.maps.get(run.number, []) for run in runs]
        source_p = [[one["map"]["p_class"] for one in group] for group in card_groups]
        other_p = [[prediction["p_class"] for one in group for prediction in one["others"]] for group in card_groups]
        return {
            "p": " ".join(f"{100 * fmean(values):.0f}" if values else "" for values in source_p),
            "others": " ".join(f"{100 * fmean(values):.0f}" if values else "-1" for values in other_p),
        }


def read_runs(runs: Sequence[RunDirectory]) -> list[SiteRun]:
    """Return a ``SiteRun`` per run, with the figures and predictions of its maps, but no images.

    Raises:
        RunError: a run is given twice, has no finished maps, or is damaged.
    """
    paths = [run.path.resolve() for run in runs]
    for path, run in zip(paths, runs, strict=True):
        if paths.count(path) > 1:
            raise RunError(f"{run.path} is given twice: name each run once.")
    site_runs = [SiteRun(run, run.facts(), number, _read_maps(run)) for number, run in enumerate(runs, 1)]
    models = [one.facts["model"] for one in site_runs]
    names = _distinct_names([model["name"] for model in models], [model["sha256"][:8] for model in models])
    titles = _distinct_names(
        names,
        [one.facts["recipe"]["name"] for one in site_runs],
        [f"recipe {one.facts['recipe']['sha256'][:8]}" for one in site_runs],
        [one.facts["samples"]["spec"] for one in site_runs],
        [one.run.path.name for one in site_runs],
        [str(one.run.path) for one in site_runs],
    )
    for site_run, name, title in zip(site_runs, names, titles, strict=True):
        site_run.model, site_run.name, site_run.title = (
            f"{slug(name)}-{site_run.facts['model']['sha256'][:8]}",
            name,
            title,
        )
    return site_runs


def _read_maps(run: RunDirectory) -> dict[int, list[Card]]:
    """Return a run's finished maps by class index: their map.json, folder and predictions, but no images.

    Raises:
        RunError: there are none.
    """
    classifiers, sha256 = read_predictions(run), run.facts()["model"]["sha256"]
    sources = [one for one in classifiers if one.sha256 == sha256][:1]
    cards: dict[int, list[Card]] = defaultdict(list)
    for place, folder in run.finished_folders().items():
        map_facts = read_map_json(folder)
        groups = (sources, [one for one in classifiers if one not in sources])
        source_predictions, other_predictions = (
            [one for one in (classification(c, place) for c in group) if one] for group in groups
        )
        card = {"map": {"short": first_synonym(map_facts["label"]), **map_facts}, "folder": folder}
        cards[place[0]].append(
            card | {"own": source_predictions[0] if source_predictions else None, "others": other_predictions}
        )
    if not cards:
        raise no_maps(run)
    return dict(cards)


def _distinct_names(names: list[str], *fact_lists: list[str]) -> list[str]:
    """Return ``names``, with texts appended that tell equal ones apart.

    Texts are taken from ``fact_lists``, list by list, where those of equal names differ. Each list holds one text per
    name. Names whose texts are equal in all lists stay equal.
    """
    for facts in fact_lists:
        groups: dict[str, set[str]] = defaultdict(set)
        for name, fact in zip(names, facts, strict=True):
            groups[name].add(fact)
        names = [f"{name}, {fact}" if len(groups[name]) > 1 else name for name, fact in zip(names, facts, strict=True)]
    return names


def classes_of(runs: Sequence[SiteRun]) -> list[SiteClass]:
    """Return the classes of all runs; classes of two runs that share a synonym become one.

    A class that matches several of another run, so that it is not clear which is meant, stays a class of its own.
    """
    classes: list[SiteClass] = []
    classes_of_runs: list[dict[int, SiteClass]] = []  # by index
    page_names: set[str] = set()
    for run in runs:
        run_classes: dict[int, SiteClass] = {}
        for earlier_run, earlier_classes in zip(runs, classes_of_runs, strict=False):
            unmatched_labels = {index: label for index, label in run.labels.items() if index not in run_classes}
            for index, earlier_index in _matching_classes(unmatched_labels, earlier_run.labels).items():
                if run.number not in earlier_classes[earlier_index].maps:
                    run_classes[index] = earlier_classes[earlier_index]
                    earlier_classes[earlier_index].maps[run.number] = run.maps[index]
        for index, label in run.labels.items():
            if index not in run_classes:
                page = f"{slug(label)}-{index}"
                page = page if page not in page_names else f"{page}.{run.number}"
                page_names.add(page)
                run_classes[index] = SiteClass(page, label, index, {run.number: run.maps[index]})
                classes.append(run_classes[index])
        classes_of_runs.append(run_classes)
    return classes


def _matching_classes(a: dict[int, str], b: dict[int, str]) -> dict[int, int]:
    """Return index in ``a`` -> index in ``b`` of classes that share a synonym; both arguments are index -> label.

    If a class matches several, only classes that are equal in index and label are paired.
    """
    try:
        return in_common(a, b)
    except ConceptError:
        return {index: index for index, label in a.items() if b.get(index) == label}


def model_pages(runs: Sequence[SiteRun]) -> dict[str, list[SiteRun]]:
    """Return the runs of each model, by the name of its page without suffix.

    That name is made of the model's name and its weights' hash.
    """
    pages: dict[str, list[SiteRun]] = defaultdict(list)
    for run in runs:
        pages[run.model].append(run)
    return dict(pages)


def image_name(page: str, place: int) -> str:
    """Return the file name of map number ``place``, from 0, of a class in a run.

    The first is ``page.webp``, the next ``page.2.webp``.
    """
    return f"{page}.webp" if place == 0 else f"{page}.{place + 1}.webp"


def map_folders(runs: Sequence[SiteRun], classes: Sequence[SiteClass]) -> list[tuple[Path, str]]:
    """Return each map's folder in its run and the name of its image in the site, ordered by class, then run."""
    return [
        (card["folder"], f"{run.number}/{image_name(one.page, place)}")
        for one in classes
        for run in runs
        for place, card in enumerate(one.maps.get(run.number, []))
    ]
