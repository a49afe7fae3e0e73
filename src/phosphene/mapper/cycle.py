"""The whole method: cycle between Algorithm 1 and Eq. 2, then measure the map."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.concept_map import ConceptMap, Job
from phosphene.engine import Engine, Nudge
from phosphene.errors import NumericError
from phosphene.mapper.activations import activation_weights
from phosphene.mapper.algorithm import Draw, See, accumulate
from phosphene.mapper.measure import measure
from phosphene.mapper.refinement import refine
from phosphene.mapper.views import Views
from phosphene.recipe import Recipe
from phosphene.samples.pool import SamplePool

# The share of samples that reach the class is followed over about ten steps.
SLOWNESS = 0.9
# Below this side a picture has nothing to be coarse about.
LEAST_COARSE = 80


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
            loss=tuple(group.losses[row]),
            passes=group.passes[row],
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
        self.small = coarse_size(engine, recipe)
        self.total = (recipe.coarse_steps if self.small else 0) + recipe.rounds * (recipe.steps + recipe.refine_steps)
        self.losses: list[list[float]] = [[] for _ in jobs]
        self.passes = [0] * len(jobs)
        self.done = self.stages = 0

    def make(self) -> tuple[Tensor, Tensor]:
        """Cycle between Algorithm 1 and Eq. 2; return nu (m, c, h, w) and Xi (m, 1, h, w)."""
        engine, recipe, classes = self.engine, self.recipe, self.classes
        nu = torch.zeros((len(self.jobs), *engine.classifier.input.shape), dtype=engine.dtype, device=engine.device)
        xi: Tensor | None = None
        if self.small:
            nu = self._coarse(self.small, nu)
        for _ in range(recipe.rounds):
            draw, see = self._stage(self.pool)
            nu = self._take(accumulate(engine, draw, see, classes, nu, recipe), recipe.steps, step_passes(recipe))
            if recipe.refine_steps:
                xi = activation_weights(engine, nu, self.layer, recipe.contrast)
                steps = refine(engine, self._stage(self.pool)[0], classes, nu, xi, recipe)
                nu = self._take(steps, recipe.refine_steps, 2 * recipe.batch_size)
        if xi is None:
            xi = activation_weights(engine, nu, self.layer, recipe.contrast)
        return nu, xi

    def _coarse(self, size: tuple[int, int], nu: Tensor) -> Tensor:
        """Run Algorithm 1 on small pictures, at an even step, until each class is safely reached; resize the maps."""
        recipe = self.recipe.replace(steps=self.recipe.coarse_steps, step_decay=1.0)
        draw, see = self._stage(self.pool.resized(size))
        steps = accumulate(self.engine, draw, see, self.classes, nu.new_zeros((*nu.shape[:2], *size)), recipe)
        small = self._take(steps, recipe.steps, step_passes(recipe), recipe.safe_rate)
        return functional.interpolate(small, nu.shape[-2:], mode="bicubic", align_corners=False)

    def _stage(self, pool: SamplePool) -> tuple[Draw, See]:
        """Give every map fresh generators, so that what it draws does not depend on how long its company took."""
        seeds = [(job.seed * 1_000_003 + job.index) * 31 + self.stages for job in self.jobs]
        self.stages += 1
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return (
            lambda: pool.draw(self.recipe.batch_size, generators),
            lambda: Views(self.recipe, generators),
        )

    def _take(self, steps: Iterator[tuple[Tensor, Nudge]], most: int, cost: int, safe_rate: float = 1.0) -> Tensor:
        """Take steps until every map is safe, or to the end; each map stays as it was when it became safe."""
        kept: Tensor | None = None
        live = torch.ones(len(self.jobs), dtype=torch.bool)
        rate = torch.zeros(len(self.jobs))
        for number, (moved, nudge) in enumerate(steps, 1):
            losses = nudge.loss.tolist()
            if not all(math.isfinite(loss) for loss in losses):
                name, step = self.engine.classifier.name, self.done + number
                raise NumericError(f"network {name} answered with NaN or infinity at step {step} of {self.total}.")
            kept = moved if kept is None else torch.where(live.to(moved.device).view(-1, 1, 1, 1), moved, kept)
            for row in live.nonzero()[:, 0].tolist():
                self.losses[row].append(losses[row])
                self.passes[row] += cost
            if self.watch is not None:
                loss, hits = sum(losses) / len(losses), float(nudge.hits.mean())
                self.watch(Step(self.done + number, self.total, loss, hits, kept))
            rate = SLOWNESS * rate + (1 - SLOWNESS) * nudge.hits.cpu()
            if safe_rate < 1:
                live &= rate < safe_rate
                if not live.any():
                    break
        self.done += most
        assert kept is not None  # noqa: S101  (every stage has at least one step)
        return kept


def coarse_size(engine: Engine, recipe: Recipe) -> "tuple[int, int] | None":
    """Size (h, w) of the coarse steps, or None where there are none: too small a picture, or a network that insists."""
    height, width = engine.classifier.input.size
    size = round(height * recipe.coarse_scale), round(width * recipe.coarse_scale)
    if not recipe.coarse_steps or min(size) < LEAST_COARSE or not engine.accepts(size):
        return None
    return size


def step_passes(recipe: Recipe) -> int:
    """Images that one step of Algorithm 1 sends through the network for a map, a backward counted as one more."""
    return recipe.batch_size * (4 if recipe.sign_test else 2)


def passes(recipe: Recipe) -> int:
    """Passes of one map at most; coarse steps may end earlier, and measuring the finished map is left out."""
    refining = recipe.rounds * recipe.refine_steps * recipe.batch_size * 2
    return (recipe.coarse_steps + recipe.rounds * recipe.steps) * step_passes(recipe) + refining
