"""The whole method: cycle between Algorithm 1 and Eq. 2, then measure the maps."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor

from phosphene.concept_map import ConceptMap, Job
from phosphene.engine import Engine
from phosphene.engine.gradients import MAX_STEPS_WITHOUT_GRADIENT, zero_gradient
from phosphene.engine.statistics import Prior, is_measured
from phosphene.engine.units import UnitClassifier
from phosphene.errors import NumericError
from phosphene.mapper.algorithm import Moments, accumulate
from phosphene.mapper.draws import draw_ahead
from phosphene.mapper.measurements import confidences, targeting_rates
from phosphene.mapper.progress import FrameRecorder, Step
from phosphene.mapper.refinement import activation_weights, refine
from phosphene.mapper.smoothing import colour_matrix
from phosphene.mapper.units import engine_and_targets
from phosphene.recipe import Recipe
from phosphene.samples.pool import SamplePool


def group_size(engine: Engine, recipe: Recipe) -> int:
    """Return how many maps are computed together: one on a CPU, more on a GPU.

    On a GPU as many as fill a micro-batch, no more, so that an interruption loses little. On a CPU each map is computed
    alone: kernels choose the order of their sums by the shape of a batch, so that other maps in it would change a map
    in its last bits, which a hundred steps make visible (docs/scale.md). At 224 pixels one map fills a micro-batch.
    """
    return 1 if engine.device.type == "cpu" else max(1, engine.images_per_group // recipe.batch_size)


def in_groups(jobs: Sequence[Job], engine: Engine, recipe: Recipe) -> Iterator[list[Job]]:
    """Yield the jobs in order, as lists of :func:`group_size` jobs to compute together; the last may be shorter."""
    size = group_size(engine, recipe)
    for start in range(0, len(jobs), size):
        yield list(jobs[start : start + size])


def map_jobs(
    engine: Engine,
    pool: SamplePool,
    jobs: Sequence[Job],
    recipe: Recipe,
    on_progress: "Callable[[Step], None] | None" = None,
    frames: int = 0,
) -> list[ConceptMap]:
    """Compute the maps of ``jobs`` together by a recipe; return one measured ConceptMap per job.

    Args:
        engine: An open engine.
        pool: Samples on any device.
        jobs: Concepts and seeds.
        recipe: Hyper-parameters.
        on_progress: Called after every step.
        frames: Images of each map as it develops, evenly spaced over all steps; they do not change the map.

    Raises:
        NumericError: the network gives NaN or infinity.
        RecipeError: the network has no spatial activation, or not the one that the recipe names.
    """
    optimization = MapOptimization(engine, pool, jobs, recipe)
    recorder = FrameRecorder(frames, recipe.contrast)
    for step in optimization:
        recorder(step)
        if on_progress is not None:
            on_progress(step)
    return optimization.finish(recorder)


class MapOptimization:
    """Computes a group of maps together: iterate over it to take steps, then call :meth:`finish`.

    Every map draws mini-batches and views from a generator of its own, seeded by its job, so that they do not depend
    on the other maps of the group. Between two steps, :meth:`state` is all that is needed to resume from there, to the
    same bits on the same kind of machine.

    Args:
        engine: An open engine.
        pool: Samples on any device.
        jobs: Concepts and seeds.
        recipe: Hyper-parameters.
        state: State to resume from, as :meth:`state` returned it; by default the maps start at zero.

    Raises:
        RecipeError: the network has no spatial activation, or not the one that the recipe names.
        ValueError: the state is of other jobs or of another network.
    """

    def __init__(
        self,
        engine: Engine,
        pool: SamplePool,
        jobs: Sequence[Job],
        recipe: Recipe,
        state: "Mapping[str, Tensor] | None" = None,
    ) -> None:
        self.jobs, self.recipe = tuple(jobs), recipe
        self.started = time.perf_counter()
        self.layer = engine.spatial_layer(recipe.xi_layer)  # first, so that a wrong name fails before any work
        self.pool = pool.to(engine.device)
        self.colours = colour_matrix(pool.colour_covariance, recipe.colour) if recipe.colour else None
        concepts = [job.concept(engine.classifier.labels) for job in jobs]
        self.labels = [concept.label for concept in concepts]
        self.engine, self.classes = engine_and_targets(engine, concepts, self.pool)
        # Of the pool as it was given, and by the engine itself: then they are measured once, and not in every group.
        statistics_weight = with_natural_statistics_only(recipe, pool).statistics
        statistics = engine.feature_statistics(pool.pixels) if statistics_weight else None
        self.prior = Prior(statistics, recipe.statistics) if statistics and statistics.layers else None
        # As it is carried out: the network, too, may have no statistics.
        self.effective_recipe = recipe if self.prior else recipe.replace(statistics=0.0)
        self.total = recipe.rounds * (recipe.steps + recipe.refine_steps)
        self.generators = [torch.Generator().manual_seed(job.seed * 1_000_003 + job.index) for job in jobs]
        self.losses: list[list[float]] = []  # per step, per map
        self.hits: list[list[float]] = []  # per step, per map
        self.stopped: list[int | None] = [None] * len(self.jobs)  # per map, the step it stopped after (stop_after)
        self.earlier_seconds = 0.0  # before this object was created
        self.nu = torch.zeros((len(jobs), *engine.classifier.input.shape), dtype=engine.dtype, device=engine.device)
        self.xi: Tensor | None = None
        self.moments = Moments.zero(self.nu)
        if state is not None:
            self._restore(state)

    def __iter__(self) -> Iterator[Step]:
        """Take the steps that are left, Algorithm 1 and Eq. 2 in turn, and yield a Step after each.

        Raises:
            CardError: the first steps have no gradient: all are 0.
            NumericError: the network gives NaN or infinity; ``rows`` says for which of the jobs.
        """
        engine, recipe, classes, ahead = self.engine, self.recipe, self.classes, self.engine.steps_per_fetch
        while len(self.losses) < self.total and not self._all_stopped():
            step = len(self.losses) % (recipe.steps + recipe.refine_steps)  # within this round
            if step in (0, recipe.steps):
                self.moments = Moments.zero(self.nu)
            if step < recipe.steps:
                draws = draw_ahead(self.pool, recipe, self.generators, recipe.steps - step, ahead, self.nu.dtype)
                steps = accumulate(engine, draws, classes, self.nu, recipe, self.moments, self.colours, self.prior)
            else:
                if step == recipe.steps:
                    self.xi = activation_weights(engine, self.nu, self.layer, recipe.contrast)
                assert self.xi is not None  # noqa: S101  (a state within Eq. 2 has it)
                steps_left = recipe.steps + recipe.refine_steps - step
                draws = draw_ahead(self.pool, recipe, self.generators, steps_left, ahead, None)
                steps = refine(engine, draws, classes, self.nu, self.xi, recipe, self.moments)
            while block := list(islice(steps, ahead)):
                yield from self._record(block)
                if self._all_stopped():
                    return

    def _record(self, block: Sequence[tuple[Tensor, Tensor, Tensor]]) -> list[Step]:
        """Store the results of a block of steps; return a Step for each until all maps have stopped.

        The state is then that after all of them, though the caller sees one after the other. NumericError if a loss
        is not finite.
        """
        losses, hits = torch.stack([torch.stack(figures) for _, *figures in block], 1).tolist()
        reports: list[Step] = []
        for (nu, _, _), loss, hit in zip(block, losses, hits, strict=True):
            if not all(math.isfinite(value) for value in loss):
                name, number = self.engine.classifier.name, len(self.losses) + 1
                error = NumericError(f"network {name} gives NaN or infinity at step {number} of {self.total}.")
                error.rows = tuple(row for row, value in enumerate(loss) if not math.isfinite(value))
                raise error
            self.losses.append(loss)
            self.hits.append(hit)
            is_running = [stop is None for stop in self.stopped]
            if not all(is_running):  # Algorithm 1 continues with all maps; those that have stopped stay as they were
                rows = torch.tensor(is_running, device=nu.device).view(-1, 1, 1, 1)
                nu = torch.where(rows, nu, self.nu)  # noqa: PLW2901
            self.nu = nu
            maps_are_zero = len(self.losses) == min(MAX_STEPS_WITHOUT_GRADIENT, self.total) and not self.nu.any()
            if maps_are_zero and not isinstance(self.engine.classifier, UnitClassifier):  # units may be dead
                raise zero_gradient(self.engine.classifier)
            self._record_stops()
            total = len(self.losses) if self._all_stopped() else self.total
            reports.append(Step(len(self.losses), total, sum(loss) / len(loss), sum(hit) / len(hit), self.nu))
            if self._all_stopped():
                break
        return reports

    def _record_stops(self) -> None:
        """Note this step for each map whose samples all hit in each of the last ``stop_after`` steps."""
        stop_after = self.recipe.stop_after
        if stop_after and len(self.hits) >= stop_after:
            for row, stop in enumerate(self.stopped):
                if stop is None and all(hits[row] == 1 for hits in self.hits[-stop_after:]):
                    self.stopped[row] = len(self.hits)

    def _all_stopped(self) -> bool:
        """Return whether every map of the group has stopped early (``stop_after``)."""
        return None not in self.stopped

    def finish(self, recorder: "FrameRecorder | None" = None) -> list[ConceptMap]:
        """Return the finished maps, one ConceptMap per job, with their measurements and recorded frames.

        Xi is that of the refinement if there was one, and is else measured here.

        Raises:
            NumericError: the network gives NaN or infinity.
        """
        engine, recipe, run_recipe = self.engine, self.recipe, self.effective_recipe
        xi = activation_weights(engine, self.nu, self.layer, recipe.contrast) if self.xi is None else self.xi
        steps_taken = [len(self.losses) if stop is None else stop for stop in self.stopped]
        p_class = confidences(engine, self.nu, self.classes, recipe.contrast)
        rates = targeting_rates(engine, self.pool.held_out, self.nu, self.classes)
        return [
            ConceptMap(
                nu=self.nu[row].float().cpu(),
                xi=xi[row].float().cpu(),
                index=job.index,
                label=self.labels[row],
                seed=job.seed,
                recipe_sha256=recipe.sha256,
                contrast=recipe.contrast,
                p_class=p_class[row],
                targeting_rate=rates[row],
                loss=tuple(step[row] for step in self.losses[: steps_taken[row]]),
                passes=passes_per_map(run_recipe.replace(steps=steps_taken[row]) if self.stopped[row] else run_recipe),
                seconds=self._seconds() / len(self.jobs),
                hits=tuple(step[row] for step in self.hits[: steps_taken[row]]),
                frames=recorder.frames_of(row) if recorder is not None else (),
                expression=job.expression,
                device=str(engine.device),
                precision=engine.precision,
            )
            for row, job in enumerate(self.jobs)
        ]

    def state(self) -> dict[str, Tensor]:
        """Return what is needed to resume here, as CPU tensors by name."""
        tensors = {
            "nu": self.nu,
            "xi": self.xi,
            "mean": self.moments.mean,
            "square": self.moments.square,
            "weight": self.moments.weight,
            "moment_steps": torch.tensor(self.moments.step),
            "generators": torch.stack([generator.get_state() for generator in self.generators]),
            "losses": torch.tensor(self.losses, dtype=torch.float64).view(-1, len(self.jobs)),
            "hits": torch.tensor(self.hits, dtype=torch.float64).view(-1, len(self.jobs)),
            "seconds": torch.tensor(self._seconds(), dtype=torch.float64),
        }
        return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items() if tensor is not None}

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        """Set this optimization to a state that :meth:`state` returned; ValueError if it is of other jobs."""
        if state["nu"].shape != self.nu.shape or state["losses"].shape[1:] != (len(self.jobs),):
            raise ValueError(
                f"the state is of maps {tuple(state['nu'].shape)}, but the jobs have maps {tuple(self.nu.shape)}."
            )

        def tensor_of(name: str) -> "Tensor | None":
            return state[name].to(self.nu) if name in state else None

        self.nu, self.xi = state["nu"].to(self.nu), tensor_of("xi")
        mean, square = state["mean"].to(self.nu), state["square"].to(self.nu)
        self.moments = Moments(mean, square, int(state["moment_steps"]), tensor_of("weight"))
        self.losses = state["losses"].tolist()
        for hits in state["hits"].tolist():
            self.hits.append(hits)
            self._record_stops()
        self.earlier_seconds = float(state["seconds"])
        for generator, generator_state in zip(self.generators, state["generators"], strict=True):
            generator.set_state(generator_state.clone())  # it accepts no view into a stack

    def _seconds(self) -> float:
        """Return the wall time of this group in seconds, with that of earlier processes it resumed from."""
        return self.earlier_seconds + time.perf_counter() - self.started


def passes_per_map(recipe: Recipe, pool: "SamplePool | None" = None) -> int:
    """Return how many images one map sends through the network; a backward pass counts as one more.

    Views add none. The measurements of the finished map are left out. ``pool`` is that of the samples: of synthetic
    ones no weight of statistics is measured.
    """
    if pool is not None:
        recipe = with_natural_statistics_only(recipe, pool)
    passes_per_round = passes_of_steps(recipe, range(1, recipe.steps + 1)) + recipe.refine_steps * recipe.batch_size * 2
    return recipe.rounds * passes_per_round


def with_natural_statistics_only(recipe: Recipe, pool: SamplePool) -> Recipe:
    """Return the recipe, without ``statistics`` if the samples are synthetic (see docs/ablations.md)."""
    return recipe.replace(statistics=0.0) if pool.synthetic else recipe


def passes_of_steps(recipe: Recipe, steps: range) -> int:
    """Return how many images steps of Algorithm 1, counted from 1, send through the network for one map."""
    extra_passes = sum(map(is_measured, steps)) if recipe.statistics else 0  # a backward pass more
    return recipe.batch_size * (len(steps) * (4 if recipe.sign_test else 2) + extra_passes)
