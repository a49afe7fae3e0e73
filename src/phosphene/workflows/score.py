"""``score``: scores of maps on many target classifiers, written to ``scores.json`` of each run that they are all maps of."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phosphene.arguments import Model, Samples, to_classifiers
from phosphene.classifier import Classifier
from phosphene.concepts import Concept
from phosphene.engine.device import pick_device
from phosphene.errors import ConceptError, SamplesError
from phosphene.labels import Labels
from phosphene.metrics.matching import classes_of, match_maps, overlap_note, units_note
from phosphene.metrics.predictions import check_channels
from phosphene.metrics.range_check import range_doubt
from phosphene.metrics.scorecard import Score, Scores
from phosphene.metrics.scores import score_maps
from phosphene.progress import ProgressDisplay
from phosphene.runs.directory import hash_of_maps
from phosphene.runs.facts import refuse_other_labels
from phosphene.runs.predictions import read_predictions, write_predictions
from phosphene.runs.scores import read_scores, write_scores
from phosphene.samples import SamplePool
from phosphene.workflows.judged_maps import JudgedMaps, judged_maps


@dataclass(frozen=True)
class SourceMaps(JudgedMaps):
    """Maps that are to be scored, of one source, with what is stored about them.

    Attributes:
        channels: Channels of the maps.
        hashes: Hash of each map of a whole run, by class and seed; else empty.
        samples: Of maps of a regression's outputs, the samples over which a target's percentiles are; else ``None``.
    """

    channels: tuple[int, ...]
    hashes: dict[tuple[int, int], str]
    samples: "SamplePool | None"

    @property
    def model(self) -> str:
        """The source classifier's name; ``source`` if the maps do not know it."""
        return str(self.facts["model"]["name"]) if self.facts else "source"

    @property
    def name(self) -> str:
        """The source classifier's name with the recipe's in parentheses: ``shapes (vivid)``."""
        return f"{self.model} ({self.facts['recipe']['name']})" if self.facts else self.model

    @property
    def concepts(self) -> list[Concept]:
        """The Concept of each map that other networks can judge, in order."""
        return [Concept.of_facts(row) for row in self.scored_rows]

    @property
    def scored_rows(self) -> list[dict[str, Any]]:
        """The rows of the maps that other networks can judge: only their own network has inner units."""
        return [row for row in self.rows if not Concept.of_facts(row).is_inner_unit]


@dataclass(frozen=True, kw_only=True, repr=False)
class RunScore(Score):
    """How a target classifies the maps of a whole run: a row of ``scores.json``.

    Attributes:
        run: The run directory.
        recipe: Name of the recipe that made the maps.
        target_spec: Spec that the target was loaded from.
        maps_sha256: Hash over the maps.
        samples: Of outputs of a regression, spec of the samples over which the percentiles are; else empty.
    """

    run: Path
    recipe: str
    target_spec: str
    maps_sha256: str
    samples: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return this score as a row of ``scores.json``: all fields but ``run``."""
        return {key: value for key, value in super().to_dict().items() if key != "run"}


def score_sources(
    sources: Any,
    targets: "Model | Iterable[Model]" = (),
    *,
    samples: Samples = None,
    device: str = "auto",
    trust: bool = False,
    display: "ProgressDisplay | None" = None,
    on_progress: "Callable[[int, int, str], None] | None" = None,
) -> Scores[Any]:
    """Score the maps of every source on every target, and write ``scores.json`` and ``readings.json`` of each whole run.

    Everything is checked first: that all maps can be read, and that all targets have their concepts. The arguments are those
    of :func:`phosphene.score`, which writes the reports, too. The ``display`` shows progress, notes on targets, and what is
    doubtful.

    Returns:
        The scores, source by source: a RunScore of a whole run, a Score of other maps.
    """
    pick_device(device)  # before any work
    display = display or ProgressDisplay("score", shown=False)
    opened = [_open_source(one, samples) for one in judged_maps(sources)]
    labels = {label: None for source in opened for label in classes_of(source.concepts).values()}
    classifiers = to_classifiers(targets, trust=trust, classes=list(labels))
    hashes = _distinct_classifiers(classifiers or _source_classifiers(opened, trust=trust))
    distinct_targets = list(hashes)
    for source in opened:
        for target in distinct_targets:
            _check_pair(source, target)
    if samples is not None and not any(source.samples for source in opened):
        raise SamplesError(
            "samples are for maps of outputs of a regression network, whose percentiles are over them, and these maps are "
            "of classes: leave them out."
        )
    for note in _notes(opened, distinct_targets):
        display.note(note)
    for doubt in _doubts(opened, distinct_targets, device):
        display.warn(doubt)
    scores: dict[tuple[int, int], Score] = {}
    total = len(opened) * len(distinct_targets)
    for column, target in enumerate(distinct_targets):
        for line, source in enumerate(opened):
            name = f"{target.name} on maps by {source.name}" if len(opened) > 1 else target.name
            display.update(f"score {len(scores) + 1} of {total}: {name}", len(scores) / total)
            if on_progress is not None:
                on_progress(len(scores), total, name)
            scores[line, column] = _score_pair(source, target, hashes[target], device)
    return Scores((scores[key] for key in sorted(scores)), [one.unfinished for one in opened if one.unfinished])


def _doubts(sources: Sequence[SourceMaps], targets: Sequence[Classifier], device: str) -> "Iterator[str | None]":
    """Yield what may be wrong with sources and targets, a line each, and ``None`` for what is as it should be."""
    yield from (source.doubt for source in sources)
    # Of a few maps, the score itself takes less time than this.
    if any(source.whole_run is not None for source in sources):
        yield from (range_doubt(target, device=device) for target in targets)
    yield from (overlap_note(source.concepts) for source in sources)
    yield from (units_note(len(source.rows) - len(source.scored_rows)) for source in sources)


def _notes(sources: Iterable[SourceMaps], targets: Iterable[Classifier]) -> Iterator[str]:
    """Yield the targets' notes, each after its name, and when maps of contrasts are correct.

    A note on a multi-label target says when its maps are correct.
    """
    yield from (f"{target.name}: {note}" for target in targets for note in target.notes)
    if any(concept.against for source in sources for concept in source.concepts):
        yield "contrasts (A vs B) are counted apart, by the top-1 of their two sides; among the concepts each stands for its left side"
    yield from (
        f"{target.name}: a map is correct if its class has a probability of its own above 0.5"
        for target in targets
        if target.multi_label
    )


def _open_source(judged: JudgedMaps, samples: Samples) -> SourceMaps:
    """Check maps by reading them once; return them as SourceMaps, which holds none of a run.

    If some of them are of a regression's outputs, it gets ``samples``, or by default those that they were made from.

    Raises:
        ConceptError: there are no maps.
        RunError: one is damaged, or a whole run's results cannot be written.
    """
    hashes: dict[tuple[int, int], str] = {}
    if (run := judged.whole_run) is not None:
        run.require_writable()
        read_scores(run)  # a damaged file is reported before any work
        read_predictions(run)
        hashes = run.map_hashes()
    shapes = list(dict.fromkeys((*one.nu.shape,) for one in judged.read()))
    if not shapes:
        raise ConceptError("there are no maps to score.")
    channels = tuple(dict.fromkeys(shape[0] for shape in shapes))
    source = SourceMaps(**vars(judged), channels=channels, hashes=hashes, samples=None)
    if not any(concept.unit for concept in source.concepts):
        return source
    return replace(source, samples=judged.load_samples(samples, shapes[0]))


def _source_classifiers(sources: Sequence[SourceMaps], *, trust: bool) -> list[Classifier]:
    """Return the source classifiers of maps, each loaded once.

    Other weights or labels than those that the maps were made with are a RunError.
    """
    classifiers: dict[tuple[str, str], Classifier] = {}
    for source in sources:
        key = (source.facts["model"]["spec"], source.facts["model"]["sha256"]) if source.facts else ("", "")
        if source.run is not None and key in classifiers:
            refuse_other_labels(source.run.path, source.facts["jobs"], classifiers[key].labels)
        else:
            options = {"option": "--target, or targets= in Python", "otherwise": ", or name a target to score them on"}
            classifiers[key] = source.load_model(trust=trust, **options)
    return list(classifiers.values())


def _distinct_classifiers(targets: Iterable[Classifier]) -> dict[Classifier, str]:
    """Return the classifiers in order, each with its hash.

    Of several with the same name and the same weights only the first is returned.
    """
    classifiers: dict[tuple[str, str], Classifier] = {}
    for target in targets:
        classifiers.setdefault((target.name, target.sha256), target)
    return {target: sha256 for (_, sha256), target in classifiers.items()}


def _check_pair(source: SourceMaps, target: Classifier) -> None:
    """Raise an error if a target cannot judge maps.

    It is a SpecError for other channels, a CardError for a regression, a ConceptError for no or missing concepts.

    The target must have every concept of the maps; a unit of an inner layer is none.
    """
    for channels in source.channels:
        check_channels(channels, target)
    if not source.concepts and source.run is not None and source.maps is None:
        trust = ["--trust"] if source.facts["model"].get("trust") else []
        check = shlex.join(["phosphene", "check", str(source.run.path), "--only", "seeds", *trust])
        raise ConceptError(
            f"{source.run.path} has maps of units alone, which only this network has: `{check}` judges them by other seeds."
        )
    if not source.concepts:
        raise ConceptError("these are maps of units alone, which only their network has: ph.check judges them.")
    match_maps(source.concepts, target)
    concepts = classes_of(source.concepts)
    classes = source.facts["model"]["classes"] if source.facts else target.num_classes
    by_number = target.labels.numbers_only and concepts.items() <= dict(enumerate(Labels.numbered(classes))).items()
    if by_number and target.num_classes != classes:
        raise ConceptError(
            f"{source.model} and {target.name} number their classes without names, {classes} and "
            f"{target.num_classes} of them: give both labels (`labels` in their cards)."
        )


def _score_pair(source: SourceMaps, target: Classifier, target_sha256: str, device: str) -> Score:
    """Score maps on a target; of a whole run, write the score, and of maps of classes the target's predictions, too."""
    maps = (one for one in source.read() if not one.concept.is_inner_unit)
    options: dict[str, Any] = {"samples": source.samples, "source": source.model, "device": device}
    score, predictions = score_maps(maps, source.concepts, target, **options)
    score = replace(score, target_sha256=target_sha256)
    if (run := source.whole_run) is None:
        return score
    if predictions:
        jobs = [(row["index"], row["seed"]) for row in source.scored_rows]
        found = dict(zip(jobs, predictions, strict=True))
        write_predictions(run, target, found, source.hashes, target_sha256)
    run_score = RunScore(
        **vars(score),
        run=run.path,
        recipe=source.facts["recipe"]["name"],
        target_spec=target.spec,
        maps_sha256=hash_of_maps(source.hashes),
        samples=source.samples.spec if source.samples else "",
    )
    write_scores(run, [run_score.to_dict()])
    return run_score
