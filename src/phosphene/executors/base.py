"""What an executor is: it takes groups of the maps of plans, makes them, and yields what happens.

The driver (:mod:`phosphene.workflows.map`) decides which maps are missing, which are made together, and what is tried
again. Whether a map is finished is decided by the run directory alone.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.concepts import is_unit, name_with_index
from phosphene.engine import Engine
from phosphene.engine.device import pick_device, pick_precision
from phosphene.labels import first_synonym
from phosphene.mapper import Step, group_size, passes_per_map
from phosphene.recipe import Recipe
from phosphene.runs import RunDirectory, run_facts
from phosphene.samples import SamplePool


@dataclass(frozen=True, kw_only=True)
class MapOrigin:
    """What maps are made from, and what they are computed on.

    Attributes:
        classifier: The source classifier.
        pool: Samples.
        recipe: Hyper-parameters.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``auto`` (bf16 on a GPU), ``fp32``, ``tf32``, ``bf16`` or ``fp64``.
        compile: Whether torch compiles the network: ``auto``, ``on`` or ``off``.
        range_doubt: Why the declared input may be wrong, for the report; empty without a doubt, or if it was not checked.
    """

    classifier: Classifier
    pool: SamplePool
    recipe: Recipe
    device: str = "auto"
    precision: str = "auto"
    compile: str = "auto"
    range_doubt: str = ""

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The entries of ``run.json`` for maps of this origin: model, recipe, samples, device and precision.

        Read before the maps are made, and kept: the network may be trained on afterwards, and they are of what it was.

        Raises:
            DeviceError: this machine does not have the device.
        """
        device = pick_device(self.device)
        # On a CPU auto has one meaning, and runs that say so go on; on a GPU it had another one before.
        precision = self.precision if device.type == "cpu" else pick_precision(self.precision, device)
        facts = run_facts(self.classifier, self.recipe, self.pool, str(device), precision)
        return {**facts, "model": facts["model"] | ({"range_doubt": self.range_doubt} if self.range_doubt else {})}

    @property
    def hashes(self) -> tuple[str, ...]:
        """The hashes of model, recipe and samples, which tell whether two maps belong into one run."""
        return tuple(self.facts[entry]["sha256"] for entry in ("model", "recipe", "samples"))

    def engine(self, planned_maps: int = 0) -> Engine:
        """Return an Engine for the source classifier, to be opened with ``with``.

        It compiles the network if ``planned_maps`` pay for it.
        """
        return Engine(
            self.classifier,
            device=self.device,
            precision=self.precision,
            compile=self.compile,
            planned_passes=planned_maps * passes_per_map(self.recipe, self.pool),
        )


@dataclass(frozen=True, kw_only=True)
class MapPlan(MapOrigin):
    """A MapOrigin with the maps of a run, and the run directory they go to.

    Attributes:
        run: Where the results go.
        jobs: Classes and seeds, finished ones included.
        frames: Images of each new map as it grows, written beside it; a map that goes on from a checkpoint has only
            those that were still to come, and one that is finished gets none.
    """

    run: RunDirectory
    jobs: Sequence[Job] = ()
    frames: int = 0

    @property
    def passes(self) -> int:
        """Number of images that all jobs send through the network, finished ones included.

        A backward pass counts as one more.
        """
        return len(self.jobs) * passes_per_map(self.recipe, self.pool)

    @property
    def missing_count(self) -> int:
        """Number of jobs without a finished map, judged by the names of the run's files."""
        finished_seeds = self.run.listing()
        return sum(job.seed not in finished_seeds.get(job.index, ()) for job in self.jobs)

    @property
    def group_size(self) -> int:
        """How many maps are made together, in one batch, on this plan's device (1 on a CPU)."""
        return group_size(self.engine(), self.recipe)


@dataclass(frozen=True)
class Group:
    """Jobs of one plan that an executor makes together; the driver's queue hands them out.

    Attributes:
        run: Position of the run's plan.
        jobs: The maps. A group that goes on from a checkpoint has the maps of the checkpoint.
        missing: Jobs of the group that are not finished yet; only these are written.
    """

    run: int
    jobs: tuple[Job, ...]
    missing: tuple[Job, ...]


@dataclass(frozen=True)
class MapSummary:
    """What executors report and commands print of a map: figures of its :class:`ConceptMap`, and where it comes from.

    Attributes:
        made: Whether the map was made now; if not, it was cached.
        run: Position of the run's plan.
        source: Classifier and recipe, ``shapes (vivid)``, if the command makes several runs; else empty.
    """

    index: int
    label: str
    seed: int
    p_class: float
    targeting_rate: "float | None"
    passes: int
    seconds: float
    made: bool
    run: int = 0
    source: str = ""

    @classmethod
    def of(cls, one: ConceptMap, *, made: bool, run: int = 0) -> "MapSummary":
        """Return the MapSummary of a finished map."""
        facts = ("index", "label", "seed", "p_class", "targeting_rate", "passes", "seconds")
        return cls(**{fact: getattr(one, fact) for fact in facts}, made=made, run=run)

    @property
    def short(self) -> str:
        """The first synonym of the label."""
        return first_synonym(self.label)

    @property
    def is_unit(self) -> bool:
        """Whether the map is of a unit or output.

        Its ``p_class`` is then its percentile among samples, and not the class's probability.
        """
        return is_unit(self.index)

    @property
    def name(self) -> str:
        """The map's name for messages: ``crane (134)`` for a class, the label for a union, contrast or unit."""
        return name_with_index(self.index, self.label)


@dataclass(frozen=True)
class Stepped:
    """Event of an executor: a group of maps has taken an optimization step."""

    group: Group
    step: Step


@dataclass(frozen=True)
class Made:
    """Event of an executor: one map is finished.

    ``map`` holds the map if its worker could not write it, for the driver to write.
    """

    group: Group
    summary: MapSummary
    map: "ConceptMap | None" = None


@dataclass(frozen=True)
class GroupFailed:
    """Event of an executor: an error ended the making of a group.

    Attributes:
        group: The group.
        error: Reason, in one line.
        guilty: The maps that are known to have caused the error; empty if they are not known.
        final: Whether the guilty maps have used up all their tries.
    """

    group: Group
    error: str
    guilty: tuple[Job, ...] = ()
    final: bool = False


@dataclass(frozen=True)
class GroupEnded:
    """Event of an executor: it is done with a group, whose maps are all made, or which was ``stopped``.

    A group that was stopped has left a checkpoint, if its worker may write one.
    """

    group: Group
    stopped: bool = False


Event = Stepped | Made | GroupFailed | GroupEnded


class Executor(Protocol):
    """Interface of executors: they make the maps of plans in groups, and yield what happens as events."""

    @property
    def workers(self) -> int:
        """How many groups of maps are made at the same time, at most; the driver only shows it."""

    def group_size(self, plan: MapPlan) -> int:
        """Return how many maps of a plan this executor makes together in one group."""

    def run(
        self, plans: Sequence[MapPlan], take: "Callable[[], Group | None]", stop: Callable[[], bool]
    ) -> Generator[Event]:
        """Make the groups of maps that ``take`` returns, until there are none, and yield events.

        Args:
            plans: The plans of the runs.
            take: Returns the next group; ``None`` ends the work. A group that failed may come back in parts, so it is
                called again after every event.
            stop: Says between two steps whether to end now; what is under way is left with a checkpoint.

        Raises:
            PhospheneError: no map of this kind can be made: the disk is full, the model cannot be loaded.
        """
