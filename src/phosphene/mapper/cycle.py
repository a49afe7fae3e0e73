"""The whole method: cycle between Algorithm 1 and Eq. 2, then measure the map."""

import math
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


def in_groups(jobs: Sequence[Job], engine: Engine, recipe: Recipe) -> Iterator[list[Job]]:
    """Split jobs into groups that fill a micro-batch, no larger, so that a stop loses little."""
    size = max(1, engine.micro_batch // recipe.batch_size)
    for start in range(0, len(jobs), size):
        yield list(jobs[start : start + size])


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
    group = _Group(engine, pool, jobs, recipe, watch)
    nu, xi = group.make()
    facts = measure(engine, group.pool.held_out, nu, group.classes, recipe.contrast)
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
            loss=tuple(step[row] for step in group.losses),
            passes=passes(recipe),
            seconds=seconds,
        )
        for row, job in enumerate(jobs)
    ]


class _Group:
    """Maps that are made together: what they share, and what has become of each."""

    def __init__(
        self,
        engine: Engine,
        pool: SamplePool,
        jobs: Sequence[Job],
        recipe: Recipe,
        watch: "Callable[[Step], None] | None",
    ) -> None:
        self.engine, self.jobs, self.recipe, self.watch = engine, jobs, recipe, watch
        self.layer = engine.spatial_layer(recipe.xi_layer)  # first, because a wrong name should cost nothing
        self.pool = pool.to(engine.device)
        self.classes = torch.tensor([job.index for job in jobs], device=engine.device)
        self.total = recipe.rounds * (recipe.steps + recipe.refine_steps)
        self.generators = [torch.Generator().manual_seed(job.seed * 1_000_003 + job.index) for job in jobs]
        self.losses: list[list[float]] = []  # a step, a map

    def draw(self) -> Tensor:
        """Draw a mini-batch for every map."""
        return self.pool.draw(self.recipe.batch_size, self.generators)

    def see(self) -> Views:
        """Draw views of every map."""
        return Views(self.recipe, self.generators)

    def make(self) -> tuple[Tensor, Tensor]:
        """Cycle between Algorithm 1 and Eq. 2; return nu (m, c, h, w) and Xi (m, 1, h, w)."""
        engine, recipe, classes = self.engine, self.recipe, self.classes
        nu = torch.zeros((len(self.jobs), *engine.classifier.input.shape), dtype=engine.dtype, device=engine.device)
        xi: Tensor | None = None
        for _ in range(recipe.rounds):
            nu = self._take(accumulate(engine, self.draw, self.see, classes, nu, recipe))
            if recipe.refine_steps:
                xi = activation_weights(engine, nu, self.layer, recipe.contrast)
                nu = self._take(refine(engine, self.draw, classes, nu, xi, recipe))
        if xi is None:
            xi = activation_weights(engine, nu, self.layer, recipe.contrast)
        return nu, xi

    def _take(self, steps: Iterator[tuple[Tensor, Nudge]]) -> Tensor:
        """Take all steps and return the last maps, noting what each step said."""
        moved: Tensor | None = None
        for moved, nudge in steps:
            self.losses.append(nudge.loss.tolist())
            if not all(math.isfinite(loss) for loss in self.losses[-1]):
                name, step = self.engine.classifier.name, len(self.losses)
                raise NumericError(f"network {name} answered with NaN or infinity at step {step} of {self.total}.")
            if self.watch is not None:
                loss, hits = sum(self.losses[-1]) / len(self.jobs), float(nudge.hits.mean())
                self.watch(Step(len(self.losses), self.total, loss, hits, moved))
        assert moved is not None  # noqa: S101  (there is at least one step)
        return moved


def passes(recipe: Recipe) -> int:
    """Images that a map sends through the network, a backward counted as one more; measuring it is left out."""
    step = recipe.batch_size * (4 if recipe.sign_test else 2)
    return recipe.rounds * (recipe.steps * step + recipe.refine_steps * recipe.batch_size * 2)
