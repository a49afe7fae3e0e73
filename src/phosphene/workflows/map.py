"""Make the maps of plans: the front door of the fleet."""

from collections.abc import Callable, Sequence

from phosphene.workflows.driver import Driver, Outcome
from phosphene.workflows.inline import Inline
from phosphene.workflows.plan import MapPlan, default_run, plan, run_name
from phosphene.workflows.progress import Progress
from phosphene.workflows.protocol import Executor, MapNote

__all__ = ["MapPlan", "Outcome", "Progress", "default_run", "execute", "plan", "run_name"]


def execute(
    plans: "MapPlan | Sequence[MapPlan]",
    *,
    executor: "Executor | None" = None,
    device: str = "auto",
    precision: str = "auto",
    watch: "Callable[[Progress], None] | None" = None,
    done: "Callable[[MapNote], None] | None" = None,
    frames: int = 0,
    together: int = 0,
) -> Outcome:
    """Make the maps that are not there yet. No map is kept in memory: read them from the plan's run.

    A map is written when it is finished, an unfinished one has a checkpoint; after an interruption the same plan goes
    on from there. A map that fails three times is noted in the run's ``failures.json``, and the others are made.

    Args:
        plans: What to make.
        executor: What does the work; this process by default.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        watch: Called after every step.
        done: Called for every map, also for those that were there already.
        frames: Pictures of each new map as it grows, written beside it; a map that goes on from a checkpoint has only
            those that were still to come, and one that is finished gets none.
        together: Maps made together; 0 leaves it to the engine.

    Raises:
        JobsError: maps could not be made; all others are there.
        KeyboardInterrupt: a stop was asked for, by Ctrl-C or SIGTERM.
        RunError: a run directory belongs to something else or cannot be written.

    Example:
        >>> import tempfile
        >>> import phosphene as ph
        >>> from phosphene.recipe import resolve
        >>> from phosphene.samples import load_samples
        >>> classifier = ph.load("demo:shapes")
        >>> pool = load_samples("synthetic:noise", classifier.input.shape)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     todo = plan(classifier, resolve("vivid", {"steps": 2}), pool, folder, ["star"])
        ...     execute(todo).made, [one.short for one in todo.run.maps()]
        (1, ['star'])
    """
    several = [plans] if isinstance(plans, MapPlan) else list(plans)
    driver = Driver(
        several,
        executor or Inline(device),
        device=device,
        precision=precision,
        frames=frames,
        together=together,
        watch=watch,
        done=done,
    )
    outcome = driver.run()
    outcome.check()
    return outcome
