"""What was given to be scored or checked: which maps, the run that holds them, and the model, recipe and samples that made them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from phosphene.arguments import Model, Samples, to_classifier, to_pool_of_shape
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.errors import CardError, RecipeError, RunError, SamplesError, SpecError, WeightsError
from phosphene.executors.base import MapOrigin
from phosphene.prompts import split_spec
from phosphene.recipe import Recipe
from phosphene.runs import RunDirectory
from phosphene.runs.facts import changed_input, computes_otherwise, input_facts, refuse_other_labels
from phosphene.runs.whole import one_or_several, run_with, to_run
from phosphene.samples import MEMORY, SamplePool
from phosphene.sources import is_factory
from phosphene.sources.factory import check_named
from phosphene.workflows.concept_maps import ConceptMaps, as_maps


@dataclass(frozen=True)
class JudgedMaps:
    """Maps that are to be scored or checked, with the run that holds them and what made them.

    Attributes:
        run: The run that holds them, and maybe others; ``None`` if they are in memory only.
        facts: Content of its ``run.json``, or what maps in memory know in its place; empty if they know nothing.
        rows: A row per map, as ``run.json`` has them in ``jobs``.
        maps: The maps if they are a part of a run, or in memory; ``None`` for all finished maps of the run.
        origin: What the maps know that they were made from, if they do.
    """

    run: "RunDirectory | None"
    facts: dict[str, Any]
    rows: list[dict[str, Any]]
    maps: "ConceptMaps | None"
    origin: "MapOrigin | None"

    @classmethod
    def of(cls, given: Any) -> "JudgedMaps":
        """Return the JudgedMaps of a run, of one map or of several; all the finished maps of a run are the run.

        Raises:
            RunError: it is none of these, or a run without finished maps.
        """
        if isinstance(given, JudgedMaps):
            return given
        maps = as_maps(given)
        maps = maps and ConceptMaps(dict.fromkeys(maps))  # a map that is given twice counts once
        origin = None if maps is None else maps.origin
        run, is_all = (to_run(given), True) if maps is None else run_with(maps)
        facts = run.facts() if run is not None else {} if origin is None else origin.facts
        if run is None or not is_all:
            rows = [
                {"index": one.index, "label": one.label, "seed": one.seed, **one.concept.facts()} for one in maps or ()
            ]
            return cls(run, facts, rows, maps, origin)
        finished = run.finished_folders()
        if not finished:
            run.require_finished()
        rows = [row for row in facts["jobs"] if (row["index"], row["seed"]) in finished]
        return cls(run, facts, rows, None, origin)

    @property
    def whole_run(self) -> "RunDirectory | None":
        """The run that results are written to: that of the maps if they are all of it, and it is finished."""
        return self.run if self.maps is None and not self.unfinished else None

    @property
    def unfinished(self) -> str:
        """A clause that counts the run's maps that are not finished; empty if all are, and for other maps than a run's."""
        if self.run is None or self.maps is not None or len(self.rows) == len(self.facts["jobs"]):
            return ""
        jobs = len(self.facts["jobs"])
        return f"{jobs - len(self.rows)} of {jobs} maps of {self.run.path} are not finished"

    @property
    def doubt(self) -> "str | None":
        """A warning that maps of the run are missing, because it is not finished; ``None`` if none is due."""
        return f"{self.unfinished}: only the others are judged, and nothing is written." if self.unfinished else None

    def read(self, rows: "Sequence[dict[str, Any]] | None" = None) -> Iterator[ConceptMap]:
        """Yield the maps; those of a run, by default of all its ``rows`` here, are read one after the other."""
        yield from self.maps or ()
        if self.run is not None and self.maps is None:
            for row in self.rows if rows is None else rows:
                yield self.run.read(self.run.folder(Job(row["index"], row["seed"]), row["label"]))

    def load_model(self, model: "Model | None" = None, *, trust: bool, option: str, otherwise: str = "") -> Classifier:
        """Return the model that made the maps; that of a run is loaded, unless the maps know it or it is given.

        Args:
            model: The model, or its spec from here; ``None`` for the one that is known.
            trust: Allow code that came with it to run.
            option: The options by which the user names a model, for messages.
            otherwise: Another way out if no model is known, for messages.

        Raises:
            PhospheneError: it cannot be loaded, is not known, or is not what it was.
        """
        if self.run is not None:
            own = None if self.origin is None else self.origin.classifier
            return _model_of_run(self.run, self.facts, own if model is None else model, trust=trust, option=option)
        origin = self._require_origin(otherwise)
        classifier = origin.classifier if model is None else to_classifier(model, trust=trust)
        if classifier.sha256 != origin.hashes[0] and model is not None:
            raise RunError("these maps were made by another model: leave model out, they know theirs.")
        if classifier.sha256 != origin.hashes[0]:  # trained on since
            raise RunError(
                f"{classifier.name} has changed since these maps were made: map it again, or give a Classifier of the old "
                f"weights ({option}){otherwise}."
            )
        return classifier

    def load_samples(self, samples: Samples, shape: tuple[int, int, int]) -> SamplePool:
        """Return the samples that the maps were made from, or others if they are given.

        Args:
            samples: Samples to take instead; ``None`` for those that are known.
            shape: Channels, height and width of the maps.

        Raises:
            PhospheneError: they cannot be read, do not fit ``shape``, are not known, or are not what they were.
        """
        if samples is None and (self.run is None or self.origin is not None):
            samples = self._require_origin(", or give samples").pool
        if samples is not None:
            return to_pool_of_shape(samples, shape)
        spec, sha256 = self.facts["samples"]["spec"], self.facts["samples"]["sha256"]
        if spec == MEMORY:
            raise SamplesError(
                "the run's samples were given in Python and are not stored: give them again (samples= in Python), or others "
                "(--samples)."
            )
        try:
            pool = to_pool_of_shape(spec, shape)
        except SamplesError as error:
            raise SamplesError(
                f"the run's samples cannot be had again, choose others (--samples, or samples= in Python): {error}"
            ) from None
        if pool.sha256 != sha256:
            raise SamplesError(
                f"samples {spec} have changed since the run: choose others (--samples, or samples= in Python)."
            )
        return pool

    def load_recipe(self) -> Recipe:
        """Return the recipe that made the maps.

        Raises:
            RunError: it is not known; or the one in ``run.json`` has an unknown field, a bad value or another hash.
        """
        if self.run is None:
            return self._require_origin("").recipe
        facts = self.facts["recipe"]
        fields = {key: value for key, value in facts.items() if key != "sha256"}
        try:
            recipe = Recipe().replace(**fields)
        except RecipeError as error:
            raise RunError(f"{self.run.path} was made by a recipe that this version does not have: {error}") from None
        if set(fields) == set(recipe.to_dict()) and recipe.sha256 != facts["sha256"]:
            raise RunError(f"{self.run.path}/run.json is damaged (its recipe has another hash): map it again.")
        return recipe

    def _require_origin(self, otherwise: str) -> MapOrigin:
        """Return what the maps know that they were made from; an error names ``otherwise`` as another way out."""
        return self.origin or ConceptMaps(self.maps or ()).require_origin(otherwise)


def judged_maps(given: Any) -> list[JudgedMaps]:
    """Return the JudgedMaps of maps, or of one or several runs or lists of maps; a run that is given twice counts once.

    Raises:
        RunError: one is none of these, or a run without finished maps.
    """
    items = one_or_several(given)
    maps = as_maps(items)
    several = [JudgedMaps.of(one) for one in (items if maps is None else [maps])]
    once = {one.run.path.resolve() if one.run is not None and one.maps is None else id(one): one for one in several}
    return list(once.values())


def _model_of_run(
    run: RunDirectory, facts: dict[str, Any], model: "Model | None", *, trust: bool, option: str
) -> Classifier:
    """Return the model that made a run's maps, loaded by the spec in ``facts`` unless it is given.

    Raises:
        PhospheneError: the model cannot be loaded.
        TrustError: the facts name a function, and ``trust`` is false.
        RunError: its weights, labels or what it computes are others than those of the run.
    """
    spec = facts["model"]["spec"]
    where, _ = split_spec(spec)
    if model is None and is_factory(where):  # somebody else may have written run.json
        check_named(where, f"run {run.path}", trust=trust)
    try:
        texts = facts["model"].get("texts", ())  # of a two-tower model, whose spec names no classes
        classifier = to_classifier(spec if model is None else model, trust=trust, classes=texts)
    except (CardError, SpecError, WeightsError) as error:
        if model is not None:
            raise
        if spec == facts["model"]["name"]:
            raise type(error)(
                f"{run.path} was mapped from a network in memory, which no spec loads: give it ({option})."
            ) from None
        raise type(error)(
            f"{error} If {run.path} was mapped from another folder, run this from there, or name the model ({option})."
        ) from None
    now, then = classifier.sha256, facts["model"]["sha256"]
    if now != then:
        what, then, now = "other weights or another output", then[:8], now[:8]  # the hash tells no more
        if declared := changed_input(facts["model"]["input"], input_facts(classifier.input)):
            what, then, now = f"another {declared[0]}", *declared[1:]
        raise RunError(
            f"{classifier.spec} has {what} ({now}) than the network that made the maps of {run.path} ({then}): bring that "
            f"network back, or name another model ({option})."
        )
    if computes_otherwise(facts["model"], classifier.noise_logits):
        raise RunError(
            f"{classifier.spec} has the weights that the maps of {run.path} come from, but other outputs (was its code "
            f"changed?): bring that code back, or name another model ({option})."
        )
    refuse_other_labels(run.path, facts["jobs"], classifier.labels)
    return classifier
