"""The whole method: cycle between Algorithm 1 and Eq. 2, then measure the map."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from phosphene.concept_map import ConceptMap, Job
from phosphene.engine import Engine, Nudge
from phosphene.errors import NumericError
from phosphene.mapper.activations import activation_weights
from phosphene.mapper.algorithm import Moments, accumulate
from phosphene.mapper.frames import FrameRecorder
from phosphene.mapper.measure import measure
from phosphene.mapper.refinement import refine
from phosphene.mapper.smoothing import colour_matrix
from phosphene.mapper.views import Views
from phosphene.recipe import Recipe
from phosphene.samples.pool import SamplePool


@dataclass(frozen=True)
class Step:
    """Where a group of maps stands.

    Attributes:
        done: Steps taken, over all rounds.
        total: Steps to take; fewer than planned at the last one, if all maps have stopped (``stop_after``).
        loss: Mean cross-entropy, over the maps of the group.
        hits: Share of this step's samples that were read as their map's class, in [0, 1].
        nu: The maps as they are now, (m, c, h, w).
    """

    done: int
    total: int
    loss: float
    hits: float
    nu: Tensor


def group_size(engine: Engine, recipe: Recipe) -> int:
    """Return how many maps are made together.

    On a GPU as many as fill a micro-batch, no more, so that a stop loses little. On a CPU each map goes alone: kernels
    choose the order of their sums by the shape of a batch, so that company would change a map in its last bits, which
    a hundred steps make visible (docs/scale.md). At 224 pixels that is what fills a micro-batch anyway.
    """
    return 1 if engine.device.type == "cpu" else max(1, engine.group_pictures // recipe.batch_size)


def in_groups(jobs: Sequence[Job], engine: Engine, recipe: Recipe) -> Iterator[list[Job]]:
    """Split jobs into groups of :func:`group_size`."""
    size = group_size(engine, recipe)
    for start in range(0, len(jobs), size):
        yield list(jobs[start : start + size])


def map_jobs(
    engine: Engine,
    pool: SamplePool,
    jobs: Sequence[Job],
    recipe: Recipe,
    watch: "Callable[[Step], None] | None" = None,
    frames: int = 0,
) -> list[ConceptMap]:
    """Make the maps of ``jobs`` together, in one stream of work.

    Every map draws from a generator of its own, seeded by its job, so that company does not change what it sees.

    Args:
        engine: An open engine.
        pool: Samples on any device.
        jobs: Classes and seeds.
        recipe: Hyper-parameters.
        watch: Called after every step.
        frames: Pictures of each map as it grows, evenly spaced over all steps; they do not change the map.

    Raises:
        NumericError: the network answers with NaN or infinity.
        RecipeError: the network has no spatial activation, or not the one that the recipe names.
    """
    making = Making(engine, pool, jobs, recipe)
    film = FrameRecorder(frames, recipe.contrast, watch)
    for step in making:
        film(step)
    return making.finish(film)


class Making:
    """Maps that are being made together. Iterating takes the steps; :meth:`finish` measures the maps.

    Between two steps, :meth:`state` is all that is needed to go on from there, to the same bits on the same kind of
    machine.

    Args:
        engine: An open engine.
        pool: Samples on any device.
        jobs: Classes and seeds.
        recipe: Hyper-parameters.
        state: What :meth:`state` returned, to go on from there; from the start by default.

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
        self.engine, self.jobs, self.recipe = engine, tuple(jobs), recipe
        self.began = time.perf_counter()
        self.layer = engine.spatial_layer(recipe.xi_layer)  # first, because a wrong name should cost nothing
        self.pool = pool.to(engine.device)
        self.colours = colour_matrix(pool.colour_covariance, recipe.colour) if recipe.colour else None
        self.classes = torch.tensor([job.index for job in jobs], device=engine.device)
        self.total = recipe.rounds * (recipe.steps + recipe.refine_steps)
        self.generators = [torch.Generator().manual_seed(job.seed * 1_000_003 + job.index) for job in jobs]
        self.losses: list[list[float]] = []  # a step, a map
        self.hits: list[list[float]] = []
        self.stopped: list[int | None] = [None] * len(self.jobs)  # after which step, of the maps that have (stop_after)
        self.spent = 0.0  # seconds, before this object was made
        self.nu = torch.zeros((len(jobs), *engine.classifier.input.shape), dtype=engine.dtype, device=engine.device)
        self.xi: Tensor | None = None
        self.moments = Moments()
        if state is not None:
            self._restore(state)

    def __iter__(self) -> Iterator[Step]:
        """Take the steps that are left: cycle between Algorithm 1 and Eq. 2.

        Raises:
            NumericError: the network answers with NaN or infinity; ``rows`` says for which of the jobs.
        """
        engine, recipe, classes = self.engine, self.recipe, self.classes
        while len(self.losses) < self.total and not self._all_stopped():
            done = len(self.losses) % (recipe.steps + recipe.refine_steps)  # steps of this round
            if done < recipe.steps:
                self.moments = self.moments if done else Moments()
                yield from self._take(
                    accumulate(engine, self._draw, self._see, classes, self.nu, recipe, self.moments, self.colours)
                )
            else:
                if done == recipe.steps:
                    self.moments = Moments()
                    self.xi = activation_weights(engine, self.nu, self.layer, recipe.contrast)
                assert self.xi is not None  # noqa: S101  (a state within Eq. 2 holds it)
                yield from self._take(refine(engine, self._draw, classes, self.nu, self.xi, recipe, self.moments))

    def _take(self, steps: Iterator[tuple[Tensor, Nudge]]) -> Iterator[Step]:
        for moved, nudge in steps:
            losses = nudge.loss.tolist()
            if not all(math.isfinite(loss) for loss in losses):
                name, step = self.engine.classifier.name, len(self.losses) + 1
                error = NumericError(f"network {name} answered with NaN or infinity at step {step} of {self.total}.")
                error.rows = tuple(row for row, loss in enumerate(losses) if not math.isfinite(loss))
                raise error
            hits = nudge.hits.tolist()
            # Algorithm 1 goes on with all maps of the group; those that have stopped are kept as they were.
            moves = torch.tensor([step is None for step in self.stopped], device=moved.device)
            self.losses.append(losses)
            self.hits.append(hits)
            self.nu = torch.where(moves.view(-1, 1, 1, 1), moved, self.nu)
            self._note_stops()
            total = len(self.losses) if self._all_stopped() else self.total
            yield Step(len(self.losses), total, sum(losses) / len(losses), sum(hits) / len(hits), self.nu)
            if self._all_stopped():
                return

    def _note_stops(self) -> None:
        """Note the maps that stop here: every step's samples and views are new, so its hits are a held-out measure."""
        in_a_row = self.recipe.stop_after
        if in_a_row and len(self.hits) >= in_a_row:
            for row, stopped in enumerate(self.stopped):
                if stopped is None and all(hits[row] == 1 for hits in self.hits[-in_a_row:]):
                    self.stopped[row] = len(self.hits)

    def _all_stopped(self) -> bool:
        return None not in self.stopped

    def finish(self, film: "FrameRecorder | None" = None) -> list[ConceptMap]:
        """Measure the maps after the last step; ``film`` has watched them grow.

        Raises:
            NumericError: the network answers with NaN or infinity.
        """
        engine, recipe = self.engine, self.recipe
        xi = self.xi
        if xi is None or not recipe.refine_steps:
            xi = activation_weights(engine, self.nu, self.layer, recipe.contrast)
        taken = [len(self.losses) if step is None else step for step in self.stopped]
        facts = measure(engine, self.pool.held_out, self.nu, self.classes, recipe.contrast)
        return [
            ConceptMap(
                nu=self.nu[row].float().cpu(),
                xi=xi[row].float().cpu(),
                index=job.index,
                label=engine.classifier.labels[job.index],
                seed=job.seed,
                recipe_sha256=recipe.sha256,
                contrast=recipe.contrast,
                p_class=facts[row].p_class,
                targeting_rate=facts[row].targeting_rate,
                loss=tuple(step[row] for step in self.losses[: taken[row]]),
                passes=passes(recipe.replace(steps=taken[row]) if self.stopped[row] else recipe),
                seconds=self._seconds() / len(self.jobs),
                hits=tuple(step[row] for step in self.hits[: taken[row]]),
                frames=film.of(row) if film is not None else (),
            )
            for row, job in enumerate(self.jobs)
        ]

    def state(self) -> dict[str, Tensor]:
        """Return where the maps stand, as tensors on the CPU: maps, moments, Xi, generators, losses, hits, seconds."""
        kept = {
            "nu": self.nu,
            "xi": self.xi,
            "mean": self.moments.mean,
            "square": self.moments.square,
            "moment_steps": torch.tensor(self.moments.step),
            "generators": torch.stack([own.get_state() for own in self.generators]),
            "losses": torch.tensor(self.losses, dtype=torch.float64).view(-1, len(self.jobs)),
            "hits": torch.tensor(self.hits, dtype=torch.float64).view(-1, len(self.jobs)),
            "seconds": torch.tensor(self._seconds(), dtype=torch.float64),
        }
        return {name: tensor.detach().cpu().contiguous() for name, tensor in kept.items() if tensor is not None}

    def _restore(self, state: Mapping[str, Tensor]) -> None:
        if state["nu"].shape != self.nu.shape or state["losses"].shape[1:] != (len(self.jobs),):
            raise ValueError(f"a state of maps {tuple(state['nu'].shape)} was given; {tuple(self.nu.shape)} are made.")

        def here(name: str) -> "Tensor | None":
            return state[name].to(self.nu) if name in state else None

        self.nu, self.xi = state["nu"].to(self.nu), here("xi")
        self.moments = Moments(int(state["moment_steps"]), here("mean"), here("square"))
        self.losses = state["losses"].tolist()
        for hits in state["hits"].tolist():
            self.hits.append(hits)
            self._note_stops()
        self.spent = float(state["seconds"])
        for own, past in zip(self.generators, state["generators"], strict=True):
            own.set_state(past.clone())  # a view into a stack is refused

    def _seconds(self) -> float:
        return self.spent + time.perf_counter() - self.began

    def _draw(self) -> Tensor:
        """Draw a mini-batch for every map."""
        return self.pool.draw(self.recipe.batch_size, self.generators)

    def _see(self) -> Views:
        """Draw views of every map."""
        return Views(self.recipe, self.generators)


def passes(recipe: Recipe) -> int:
    """Images that a map sends through the network, a backward counted as one more; measuring it is left out."""
    step = recipe.batch_size * (4 if recipe.sign_test else 2)
    return recipe.rounds * (recipe.steps * step + recipe.refine_steps * recipe.batch_size * 2)
