"""The model, recipe and samples of a run: those that its ``run.json`` names, or others of the user's choice."""

from typing import Any

from phosphene.arguments import Model, Samples, to_classifier, to_pool_of_shape
from phosphene.classifier import Classifier
from phosphene.errors import CardError, RecipeError, RunError, SamplesError, SpecError, WeightsError
from phosphene.executors.base import MapOrigin
from phosphene.prompts import split_spec
from phosphene.recipe import Recipe
from phosphene.runs import RunDirectory
from phosphene.runs.facts import computes_otherwise
from phosphene.runs.labels import refuse_other_labels
from phosphene.samples import MEMORY, SamplePool
from phosphene.sources import is_factory
from phosphene.sources.factory import check_named


def model_of_run(
    run: RunDirectory, facts: dict[str, Any], model: "Model | None" = None, *, trust: bool, option: str
) -> Classifier:
    """Return the model that made a run's maps, loaded by the spec in ``run.json`` unless it is given.

    Args:
        run: The run.
        facts: The content of ``run.json``.
        model: The model that made the maps, or its spec from here; ``None`` for the spec in ``facts``.
        trust: Allow code that came with it to run.
        option: The options by which the user names a model, for messages.

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
        raise type(error)(
            f"{error} If {run.path} was mapped from another folder, run this from there, or name the model ({option})."
        ) from None
    now, then = classifier.sha256, facts["model"]["sha256"]
    if now != then:
        raise RunError(
            f"{classifier.spec} has other weights ({now[:8]}) than the maps of {run.path} come from ({then[:8]}): bring "
            f"those back, or name another model ({option})."
        )
    if computes_otherwise(facts["model"], classifier.noise_logits):
        raise RunError(
            f"{classifier.spec} has the weights that the maps of {run.path} come from, but other outputs (was its code "
            f"changed?): bring that code back, or name another model ({option})."
        )
    refuse_other_labels(run.path, facts["jobs"], classifier.labels)
    return classifier


def samples_of_run(facts: dict[str, Any], samples: Samples, shape: tuple[int, int, int]) -> SamplePool:
    """Return the samples of a run, loaded by the spec in ``run.json``, or others if they are given.

    Args:
        facts: The content of ``run.json``.
        samples: Samples to take instead; ``None`` for those of the run.
        shape: Channels, height and width of the maps.

    Raises:
        SamplesError: the samples cannot be read, do not fit ``shape``, or are not those of the run any more.
    """
    if samples is not None:
        return to_pool_of_shape(samples, shape)
    spec, sha256 = facts["samples"]["spec"], facts["samples"]["sha256"]
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


def origin_of_run(
    run: RunDirectory, facts: dict[str, Any], model: "Model | None", samples: Samples, *, trust: bool, device: str
) -> MapOrigin:
    """Return what a run's maps were made from, loaded as ``run.json`` names it, with other samples if they are given.

    Args:
        run: The run.
        facts: The content of ``run.json``.
        model: The model that made the maps, or its spec from here; ``None`` for the spec in ``facts``.
        samples: Samples to take instead; ``None`` for those of the run.
        trust: Allow code that came with the model to run.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        PhospheneError: the model or the samples cannot be loaded, or are not those of the run any more.
        RunError: the recipe is damaged, or of another version.
    """
    recipe = _recipe_of_run(run, facts["recipe"])
    classifier = model_of_run(run, facts, model, trust=trust, option="--model, or model= in Python")
    pool = samples_of_run(facts, samples, classifier.input.shape)
    precision = str(facts.get("precision") or "auto")
    return MapOrigin(classifier=classifier, pool=pool, recipe=recipe, device=device, precision=precision)


def _recipe_of_run(run: RunDirectory, facts: dict[str, Any]) -> Recipe:
    """Return the recipe of a run from ``facts``, the ``recipe`` of its ``run.json``.

    An unknown field, a bad value or another hash is a RunError.
    """
    fields = {key: value for key, value in facts.items() if key != "sha256"}
    try:
        recipe = Recipe().replace(**fields)
    except RecipeError as error:
        raise RunError(f"{run.path} was made by a recipe that this version does not have: {error}") from None
    if set(fields) == set(recipe.to_dict()) and recipe.sha256 != facts["sha256"]:
        raise RunError(f"{run.path / 'run.json'} is damaged (its recipe has another hash): map it again.")
    return recipe
