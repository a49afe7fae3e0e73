"""What a site shows of its runs: their maps as cards, names that tell the runs apart, and the classes they share."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from phosphene.concepts import Concept
from phosphene.errors import ConceptError, RunError
from phosphene.labels import first_synonym
from phosphene.metrics.compare import in_common
from phosphene.reports.gallery import classifications
from phosphene.reports.scan_words import glance, headline
from phosphene.runs import RunDirectory
from phosphene.runs.map_json import read_map_json
from phosphene.runs.paths import slug
from phosphene.runs.predictions import read_predictions
from phosphene.runs.scans import NAME, no_maps, scan_of

Card = dict[str, Any]


@dataclass
class SiteRun:
    """A run as the site shows it.

    Attributes:
        run: The run directory.
        facts: Its run.json.
        number: Its place among the runs, from 1; the name of its folder of images.
        name: Name of its model on the site.
        title: Name of the run on the site.
        maps: Its finished maps by class, those of the first seed first: ``map`` (map.json, with ``short``), ``concept``,
            ``own`` and ``others`` (what classifiers predict for it), ``folder``, and ``image``, the image's name on the site,
            which :func:`classes_of` adds.
    """

    run: RunDirectory
    facts: dict[str, Any]
    number: int
    name: str
    title: str
    maps: dict[int, list[Card]]

    @property
    def cards(self) -> list[Card]:
        """Its finished maps of all classes."""
        return [card for cards in self.maps.values() for card in cards]

    @property
    def model(self) -> str:
        """The page of the run's model, without suffix."""
        return f"{slug(self.name)}-{self.facts['model']['sha256'][:8]}"

    @property
    def verdict(self) -> "tuple[str, str, str] | None":
        """The verdict of a scan of the run's network, its mark, and it in words; ``None`` if it was not scanned."""
        scanned = scan_of(self.run, self.facts["model"]["sha256"])
        return scanned and (scanned[1]["verdict"], headline(scanned[1])[1], glance(scanned[1]))

    @property
    def labels(self) -> dict[int, str]:
        """The label of each class of which the run has maps, by index."""
        return {index: cards[0]["map"]["label"] for index, cards in self.maps.items()}


@dataclass
class SiteClass:
    """A class as the site shows it, with its maps in all runs.

    Attributes:
        page: Its page, without suffix; the first image of each run bears the same name.
        label: Its label in the first run that has it.
        index: Its index there.
        maps: Its maps by the number of the run.
    """

    page: str
    label: str
    index: int
    maps: dict[int, list[Card]]

    @property
    def order(self) -> tuple[Any, ...]:
        """The key to sort by: classes by index, then unions and contrasts, then units."""
        concept: Concept = next(iter(self.maps.values()))[0]["concept"]
        return concept.order

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
        RunError: a run is given twice, has neither finished maps nor a scan, or is damaged.
    """
    paths = [run.path.resolve() for run in runs]
    for path, run in zip(paths, runs, strict=True):
        if paths.count(path) > 1:
            raise RunError(f"{run.path} is given twice: name each run once.")
    facts = [run.facts() for run in runs]
    models, recipes = [one["model"] for one in facts], [one["recipe"] for one in facts]
    names = _distinct_names([model["name"] for model in models], [model["sha256"][:8] for model in models])
    titles = _distinct_names(
        names,
        [recipe["name"] for recipe in recipes],
        [f"recipe {recipe['sha256'][:8]}" for recipe in recipes],
        [one["samples"]["spec"] for one in facts],
        [run.path.name for run in runs],
        [str(run.path) for run in runs],
    )
    numbered = enumerate(zip(runs, facts, names, titles, strict=True), 1)
    return [SiteRun(run, one, number, name, title, _read_maps(run)) for number, (run, one, name, title) in numbered]


def _read_maps(run: RunDirectory) -> dict[int, list[Card]]:
    """Return a run's finished maps by class index: their map.json, folder and predictions, but no images.

    Raises:
        RunError: there are none, and no scan.
    """
    classifiers, facts = read_predictions(run), run.facts()
    cards: dict[int, list[Card]] = defaultdict(list)
    for place, folder in run.finished_folders().items():
        map_facts = read_map_json(folder)
        shown = {"short": first_synonym(map_facts["label"]), **map_facts}
        card = {"map": shown, "concept": Concept.of_facts(map_facts), "folder": folder}
        cards[place[0]].append(card | classifications(classifiers, facts, place))
    if not cards and not (run.path / NAME).exists():
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
    """Return the classes of all runs, by number; classes of two runs that share a synonym become one.

    A class that matches several of another run, so that it is not clear which is meant, stays a class of its own. Each
    map gets the name of its image: ``1/page.webp`` for the first of a class in run 1, then ``1/page.2.webp``.
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
    for one in classes:
        for number, cards in one.maps.items():
            for place, card in enumerate(cards, 1):
                card["image"] = f"{number}/{one.page}{f'.{place}' * (place > 1)}.webp"
    return sorted(classes, key=lambda one: one.order)


def _matching_classes(a: dict[int, str], b: dict[int, str]) -> dict[int, int]:
    """Return index in ``a`` -> index in ``b`` of classes that share a synonym; both arguments are index -> label.

    If a class matches several, only classes that are equal in index and label are paired.
    """
    try:
        return in_common(a, b)
    except ConceptError:
        return {index: index for index, label in a.items() if b.get(index) == label}
