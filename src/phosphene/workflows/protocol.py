"""What a driver and its workers say to each other, and what an executor is.

A driver hands out tasks, a few maps of one run each. An executor has them done, in this process, in others, or on other
machines, and tells the driver what happens. Whether a map is there is decided by the run directory alone.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from phosphene.concept_map import ConceptMap, Job
from phosphene.labels import first_synonym
from phosphene.mapper import Step
from phosphene.recipe import Recipe
from phosphene.workflows.plan import MapPlan


@dataclass(frozen=True)
class Ticket:
    """What a process needs to work on a run: to load what was planned, and to see that it is the same.

    Attributes:
        run: Where the results go, absolute.
        model: Model spec.
        model_sha256: Hash of the weights.
        trust: Whether code that comes with the model may run.
        recipe: Hyper-parameters.
        samples: Sample spec.
        samples_sha256: Hash of the pixels.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        frames: Pictures of each map as it grows.
        together: Maps that are made together; 0 leaves it to the engine.
        driver: Whose work this is.
        folder: Where relative paths of the specs begin.
    """

    run: Path
    model: str
    model_sha256: str
    trust: bool
    recipe: Recipe
    samples: str
    samples_sha256: str
    device: str
    precision: str
    frames: int
    together: int
    driver: str
    folder: str

    @classmethod
    def of(
        cls, plan: MapPlan, *, device: str, precision: str, frames: int = 0, together: int = 0, driver: str = ""
    ) -> "Ticket":
        """Write the ticket of a plan."""
        return cls(
            run=plan.run.path.absolute(),
            model=plan.classifier.spec,
            model_sha256=plan.classifier.sha256,
            trust=plan.trust,
            recipe=plan.recipe,
            samples=plan.pool.spec,
            samples_sha256=plan.pool.sha256,
            device=device,
            precision=precision,
            frames=frames,
            together=together,
            driver=driver,
            folder=os.getcwd(),  # noqa: PTH109
        )


@dataclass(frozen=True)
class Task:
    """Maps of one run to look for, and to make where they are missing.

    Attributes:
        number: Its name.
        run: Position of the ticket.
        jobs: The maps; those that are made together stand together.
    """

    number: int
    run: int
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class MapNote:
    """What is said of a map that is there; see :class:`~phosphene.concept_map.ConceptMap`.

    Attributes:
        index: The class.
        label: Its full label.
        seed: The seed.
        p_class: Probability of the class for the picture.
        targeting_rate: Share of held-out samples that are moved to the class.
        passes: What it cost, in images through the network.
        seconds: What it cost, in time.
        made: Whether it was made just now; if not, it was there already.
        run: Position of its plan.
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

    @classmethod
    def of(cls, one: ConceptMap, *, made: bool, run: int = 0) -> "MapNote":
        """Note a map."""
        facts = ("index", "label", "seed", "p_class", "targeting_rate", "passes", "seconds")
        return cls(**{fact: getattr(one, fact) for fact in facts}, made=made, run=run)

    @property
    def short(self) -> str:
        """The first synonym of the label, for captions."""
        return first_synonym(self.label)


# --- what happens; every event names its task


@dataclass(frozen=True)
class Stepped:
    """A group of maps has taken a step."""

    task: int
    jobs: tuple[Job, ...]
    step: Step


@dataclass(frozen=True)
class Found:
    """A map is there; ``map`` holds it where the worker cannot write it."""

    task: int
    note: MapNote
    map: "ConceptMap | None" = None


@dataclass(frozen=True)
class Failed:
    """Maps that were made together could not be made; ``guilty`` are those that are known to be the reason."""

    task: int
    jobs: tuple[Job, ...]
    error: str
    guilty: tuple[Job, ...] = ()


@dataclass(frozen=True)
class Ended:
    """A task is over. ``busy`` are jobs that another process is at; ``stopped`` says that it was asked to stop."""

    task: int
    busy: tuple[Job, ...] = ()
    stopped: bool = False


@dataclass(frozen=True)
class Died:
    """A task's worker has gone, and nobody knows how far it came; ``final`` where all tries have been made."""

    task: int
    why: str
    final: bool = False


@dataclass(frozen=True)
class Broken:
    """Nothing of this kind can go on: the disk is full, the model cannot be loaded, no worker starts."""

    error: Exception


Event = Stepped | Found | Failed | Ended | Died | Broken
Tell = Callable[[Event], None]


@dataclass(frozen=True)
class Slot:
    """Room for a task; ``loaded`` is the run whose network is at hand there, if any."""

    number: int
    loaded: "int | None" = None


class Executor(Protocol):
    """Has tasks done. The driver calls it from one thread."""

    @property
    def workers(self) -> int:
        """How many tasks are worked on at the same time, at most."""

    def together(self, plan: MapPlan) -> int:
        """How many maps of a plan a worker makes together."""

    def open(self, plans: Sequence[MapPlan], tickets: Sequence[Ticket], tell: Tell, stop: Callable[[], bool]) -> None:
        """Begin. ``stop`` says whether the work is to be laid down, between two steps."""

    def slots(self) -> list[Slot]:
        """Return where tasks can be handed in now."""

    def submit(self, slot: Slot, task: Task) -> None:
        """Hand in a task."""

    def wait(self, seconds: float) -> None:
        """Tell what has happened; return after the first events, or after so many seconds."""

    def close(self) -> None:
        """Stop what still runs, with checkpoints, and give everything back."""
