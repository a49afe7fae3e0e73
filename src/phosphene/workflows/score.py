"""``score``: scores of many runs on many target classifiers, written to each run's ``scores.json``."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phosphene.arguments import Model, Samples, to_classifiers
from phosphene.classifier import Classifier
from phosphene.concepts import Concept
from phosphene.engine.device import pick_device
from phosphene.errors import ConceptError, RunError, SamplesError
from phosphene.labels import Labels
from phosphene.metrics.matching import classes_of, match_maps, overlap_note, units_note
from phosphene.metrics.predictions import check_channels
from phosphene.metrics.range_check import range_doubt
from phosphene.metrics.scorecard import Score, Scores
from phosphene.metrics.scores import score_maps
from phosphene.runs import RunDirectory
from phosphene.runs.labels import refuse_other_labels
from phosphene.runs.predictions import read_predictions, write_predictions
from phosphene.runs.scores import read_scores, write_scores
from phosphene.samples import SamplePool
from phosphene.workflows.run_origin import model_of_run, samples_of_run


@dataclass(frozen=True)
class SourceRun:
    """A finished run whose maps are to be scored: its directory, facts and hashes.

    Attributes:
        run: Run directory of the source.
        facts: Content of the run's ``run.json``.
        channels: Channels of the maps.
        sha256: Hash over the maps.
        hashes: Hash of each map, by class and seed.
        samples: Of maps of a regression's outputs, the samples over which a target's percentiles are; else ``None``.
    """

    run: RunDirectory
    facts: dict[str, Any]
    channels: int
    sha256: str
    hashes: dict[tuple[int, int], str]
    samples: "SamplePool | None" = None

    @property
    def name(self) -> str:
        """The source classifier's name with the recipe's in parentheses: ``shapes (vivid)``."""
        return f"{self.facts['model']['name']} ({self.facts['recipe']['name']})"

    @property
    def concepts(self) -> list[Concept]:
        """The Concept of each map in ``run.json``, in order, without those of units."""
        return [Concept.of_facts(row) for row in self.rows]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of ``run.json`` whose maps other networks can judge.

        Those of inner units are left out, as only their own network has them.
        """
        return [row for row in self.facts["jobs"] if not Concept.of_facts(row).is_inner_unit]


@dataclass(frozen=True, kw_only=True, repr=False)
class RunScore(Score):
    """How a target classifies a run's maps: a row of ``scores.json``.

    It has ``M_score``, in [1 / concepts, 1], and top-1 rates.

    Attributes:
        run: The run directory.
        recipe: Name of the recipe that made the maps.
        target_spec: Spec that the target was loaded from.
        target_sha256: Hash of its weights and input space.
        maps_sha256: Hash over the maps.
        samples: Of outputs of a regression, spec of the samples over which the percentiles are; else empty.
    """

    run: Path
    recipe: str
    target_spec: str
    target_sha256: str
    maps_sha256: str
    samples: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return this score as a row of ``scores.json``: all fields but ``run``."""
        return {key: value for key, value in super().to_dict().items() if key != "run"}


def score_runs(
    runs: Iterable[RunDirectory],
    targets: "Model | Iterable[Model]" = (),
    *,
    samples: Samples = None,
    device: str = "auto",
    trust: bool = False,
    on_progress: "Callable[[int, int, str], None] | None" = None,
    on_warning: "Callable[[str], None] | None" = None,
    on_note: Callable[[str], None] = lambda _: None,
) -> Scores[RunScore]:
    """Score every run on every target, and write each run's ``scores.json`` and ``readings.json``.

    Everything is checked first: that all runs are complete, and that all targets have the concepts of the runs.

    Args:
        runs: Run directories; one that is given twice is scored once.
        targets: Classifiers or their specs; without any, the models of the runs themselves. A model that is
            given twice counts once.
        samples: Of maps of a regression's outputs, the samples over which the targets' percentiles are; by default
            those of the run.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        trust: Allow code that came with a target to run.
        on_progress: Called before every score with the number of scores so far, that of all, and what is scored: the
            target's name and, of several runs, whose maps it classifies, ``shapes-plain on maps by shapes (vivid)``.
        on_warning: Called with a line for every target that is doubtful, because its declared input range does not fit,
            and for every run whose concepts share classes, for which M_score means nothing.
        on_note: Called with every note on a target, such as that its weights are random.

    Returns:
        The scores, run by run.

    Raises:
        RunError: a run has no maps, or unfinished or damaged ones, or its own model has changed.
        ConceptError: a run has maps of units alone, or a target lacks one of the concepts.
        SamplesError: a run is of outputs of a regression, and its samples are gone or have changed; or ``samples`` are
            given, and no run is.
        SpecError: a target is not found, or takes images of another number of channels.
    """
    pick_device(device)  # before any work
    sources = [_open_source(run, samples) for run in {run.path.resolve(): run for run in runs}.values()]
    labels = {label: None for source in sources for label in classes_of(source.concepts).values()}
    classifiers = to_classifiers(targets, trust=trust, classes=list(labels))
    hashes = _distinct_classifiers(classifiers or _source_classifiers(sources, trust=trust))
    distinct_targets = list(hashes)
    for source in sources:
        for target in distinct_targets:
            _check_pair(source, target)
    refuse_unused_samples(samples, (concept for source in sources for concept in source.concepts))
    for note in _notes(sources, distinct_targets):
        on_note(note)
    if on_warning is not None:
        doubts = [range_doubt(target, device=device) for target in distinct_targets]
        doubts += [overlap_note(source.concepts) for source in sources]
        doubts += [units_note(len(source.facts["jobs"]) - len(source.rows)) for source in sources]
        for doubt in doubts:
            if doubt is not None:
                on_warning(doubt)
    scores: dict[tuple[int, int], RunScore] = {}
    for column, target in enumerate(distinct_targets):
        for line, source in enumerate(sources):
            if on_progress is not None:
                maps = f" on maps by {source.name}" if len(sources) > 1 else ""
                on_progress(len(scores), len(sources) * len(distinct_targets), target.name + maps)
            scores[line, column] = score = _score_pair(source, target, hashes[target], device)
            write_scores(source.run, [score.to_dict()])
    return Scores(scores[key] for key in sorted(scores))


def refuse_unused_samples(samples: Samples, concepts: Iterable[Concept]) -> None:
    """Raise SamplesError if samples were given for a score that uses none.

    A score uses them for maps of outputs of a regression network.

    Raises:
        SamplesError: they would not be used.
    """
    if samples is not None and not any(concept.unit for concept in concepts):
        raise SamplesError(
            "samples are for maps of outputs of a regression network, whose percentiles are over them, and these maps are "
            "of classes: leave them out."
        )


def _notes(sources: Iterable[SourceRun], targets: Iterable[Classifier]) -> Iterator[str]:
    """Yield the targets' notes, each after its name, and when maps of contrasts are correct.

    A note on a multi-label target says when its maps are correct.
    """
    yield from (f"{target.name}: {note}" for target in targets for note in target.notes)
    if any(concept.against for source in sources for concept in source.concepts):
        yield "contrasts (A vs B): a map is correct if the top-1 of the two sides alone is on the left"
    yield from (
        f"{target.name}: a map is correct if its class has a probability of its own above 0.5"
        for target in targets
        if target.multi_label
    )


def _open_source(run: RunDirectory, samples: Samples) -> SourceRun:
    """Check a run by reading its maps once; return it as a SourceRun, which holds no maps.

    A run without maps, or with unfinished or damaged ones, is a RunError.

    If some of its maps are of a regression's outputs, it gets ``samples``, or by default those of the run.
    """
    facts = run.facts()
    run.require_finished()
    run.require_writable()
    read_scores(run)  # a damaged file is reported before any work
    read_predictions(run)
    sha256, hashes = run.maps_sha256(), run.map_hashes()
    channels = {one.nu.shape[0] for one in run.maps()}
    if len(channels) > 1:
        raise RunError(f"{run.path} is damaged: its maps differ in their number of channels.")
    source = SourceRun(run, facts, channels.pop(), sha256, hashes)
    if not any(concept.unit for concept in source.concepts):
        return source
    height, width = facts["model"]["input"]["size"]
    return replace(source, samples=samples_of_run(facts, samples, (source.channels, height, width)))


def _source_classifiers(sources: Sequence[SourceRun], *, trust: bool) -> list[Classifier]:
    """Load the source classifiers of runs, each once.

    Other weights or labels than those that the maps were made with are a RunError.
    """
    classifiers: dict[tuple[str, str], Classifier] = {}
    for source in sources:
        key = source.facts["model"]["spec"], source.facts["model"]["sha256"]
        if key in classifiers:
            refuse_other_labels(source.run.path, source.facts["jobs"], classifiers[key].labels)
        else:
            classifiers[key] = model_of_run(
                source.run, source.facts, trust=trust, option="--target, or targets= in Python"
            )
    return list(classifiers.values())


def _distinct_classifiers(targets: Iterable[Classifier]) -> dict[Classifier, str]:
    """Return the classifiers in order, each with its hash.

    Of several with the same name and the same weights only the first is returned.
    """
    classifiers: dict[tuple[str, str], Classifier] = {}
    for target in targets:
        classifiers.setdefault((target.name, target.sha256), target)
    return {target: sha256 for (_, sha256), target in classifiers.items()}


def _check_pair(source: SourceRun, target: Classifier) -> None:
    """Raise an error if a target cannot judge a run.

    It is a SpecError for other channels, a CardError for a regression, a ConceptError for no or missing concepts.

    The target must have every concept of the run; a unit of an inner layer is none.
    """
    check_channels(source.channels, target)
    if not source.concepts:
        trust = ["--trust"] if source.facts["model"].get("trust") else []
        check = shlex.join(["phosphene", "check", str(source.run.path), "--only", "seeds", *trust])
        raise ConceptError(
            f"{source.run.path} has maps of units alone, which only this network has: `{check}` judges them by other seeds."
        )
    match_maps(source.concepts, target)
    concepts = classes_of(source.concepts)
    classes = source.facts["model"]["classes"]
    by_number = target.labels.numbers_only and concepts.items() <= dict(enumerate(Labels.numbered(classes))).items()
    if by_number and target.num_classes != classes:
        raise ConceptError(
            f"{source.facts['model']['name']} and {target.name} number their classes without names, {classes} and "
            f"{target.num_classes} of them: give both labels (`labels` in their cards)."
        )


def _score_pair(source: SourceRun, target: Classifier, target_sha256: str, device: str) -> RunScore:
    """Score a run's maps on a target, and write the target's predictions to ``readings.json``.

    Predictions are written of maps of classes. ``target_sha256`` is the target's hash.
    """
    name = source.facts["model"]["name"]
    maps = (one for one in source.run.maps() if not one.concept.is_inner_unit)
    score, rows = score_maps(maps, source.concepts, target, samples=source.samples, source=name, device=device)
    if rows:
        jobs = [(row["index"], row["seed"]) for row in source.rows]
        write_predictions(source.run, target, dict(zip(jobs, rows, strict=True)), source.hashes, target_sha256)
    return RunScore(
        **vars(score),
        run=source.run.path,
        recipe=source.facts["recipe"]["name"],
        target_spec=target.spec,
        target_sha256=target_sha256,
        maps_sha256=source.sha256,
        samples=source.samples.spec if source.samples else "",
    )
