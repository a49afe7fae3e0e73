"""The whole method: cycle between Algorithm 1 and Eq. 2, then measure the map."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.concept_map import ConceptMap, Job
from phosphene.engine import Engine, Nudge
from phosphene.errors import NumericError
from phosphene.mapper.activations import activation_weights
from phosphene.mapper.algorithm import accumulate
from phosphene.mapper.measure import measure
from phosphene.mapper.refinement import refine
from phosphene.mapper.views import Views
from phosphene.recipe import Recipe
from phosphene.samples.pool import SamplePool


@dataclass(frozen=True)
class Step:
    """Where a group of maps stands.

    Attributes:
        done: Steps taken, over all rounds.
        total: Steps to take.
        loss: Mean cross-entropy, over the maps of the group.
        hits: Share of this step's samples that were read as their map's class, in [0, 1].
        nu: The maps as they are now, (m, c, h, w).
    """

    done: int
    total: int
    loss: float
    hits: float
    nu: Tensor


def map_jobs(
    engine: Engine,
    pool: SamplePool,
    jobs: Sequence[Job],
    recipe: Recipe,
    watch: "Callable[[Step], None] | None" = None,
) -> list[ConceptMap]:
    """Make the maps of ``jobs`` together, in one stream of work.

    Every map draws from a generator of its own, seeded by its job, so that company does not change it.

    Args:
        engine: An open engine.
        pool: Samples on any device.
        jobs: Classes and seeds.
        recipe: Hyper-parameters.
        watch: Called after every step.

    Raises:
        NumericError: the network answers with NaN or infinity.
        RecipeError: the network has no spatial activation, or not the one that the recipe names.
    """
    began = time.perf_counter()
    layer = engine.spatial_layer(recipe.xi_layer)  # first, because a wrong name should cost nothing
    pool = pool.to(engine.device)
    generators = [torch.Generator().manual_seed(job.seed * 1_000_003 + job.index) for job in jobs]
    classes = torch.tensor([job.index for job in jobs], device=engine.device)
    nu = torch.zeros((len(jobs), *engine.classifier.input.shape), dtype=engine.dtype, device=engine.device)
    total = recipe.rounds * (recipe.steps + recipe.refine_steps)
    losses: list[Tensor] = []
    xi: Tensor | None = None

    def draw() -> Tensor:
        return pool.draw(recipe.batch_size, generators)

    def see() -> Views:
        return Views(recipe, generators)

    def take(steps: Iterator[tuple[Tensor, Nudge]]) -> Tensor:
        moved = nu
        for moved, nudge in steps:
            losses.append(nudge.loss)
            loss = float(nudge.loss.mean())
            if loss != loss or loss == float("inf"):  # noqa: PLR0124  (NaN)
                name = engine.classifier.name
                raise NumericError(f"network {name} answered with NaN or infinity at step {len(losses)} of {total}.")
            if watch is not None:
                watch(Step(len(losses), total, loss, float(nudge.hits.mean()), moved))
        return moved

    for _ in range(recipe.rounds):
        nu = take(accumulate(engine, draw, see, classes, nu, recipe))
        if recipe.refine_steps:
            xi = activation_weights(engine, nu, layer, recipe.contrast)
            nu = take(refine(engine, draw, classes, nu, xi, recipe))
    if xi is None:
        xi = activation_weights(engine, nu, layer, recipe.contrast)

    facts = measure(engine, pool.held_out, nu, classes, recipe.contrast)
    curve = torch.stack(losses, 1).tolist()
    seconds = (time.perf_counter() - began) / len(jobs)
    return [
        ConceptMap(
            nu=nu[row].float().cpu(),
            xi=xi[row].float().cpu(),
            index=job.index,
            label=engine.classifier.labels[job.index],
            seed=job.seed,
            recipe_sha256=recipe.sha256,
            contrast=recipe.contrast,
            p_class=facts[row].p_class,
            targeting_rate=facts[row].targeting_rate,
            loss=tuple(curve[row]),
            passes=passes(recipe),
            seconds=seconds,
        )
        for row, job in enumerate(jobs)
    ]


def passes(recipe: Recipe) -> int:
    """Images that one map sends through the network, a backward counted as one more; measuring is left out."""
    a_step = recipe.batch_size * (4 if recipe.sign_test else 2)
    return recipe.rounds * (recipe.steps * a_step + recipe.refine_steps * recipe.batch_size * 2)
