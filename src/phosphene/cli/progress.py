"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from phosphene.errors import printable
from phosphene.fleet.estimate import duration
from phosphene.fleet.mapping import Progress as Standing

EVERY_SECONDS = 10.0


class MapProgress:
    """Shows how a ``map`` command gets on: maps x steps, time left, current loss and targeting rate."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.console = Console(file=sys.stderr)
        self.bar: Progress | None = None
        self.began = self.said = time.monotonic()
        self.first: float | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("loss {task.fields[loss]} · targeting {task.fields[hits]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.bar.start()
            self.bar.add_task(escape(printable(self.title)), total=None, loss="-", hits="-")
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, standing: Standing) -> None:
        """Show where the job stands."""
        step = standing.step
        done = standing.maps_done * step.total + step.done * len(standing.labels)
        total = standing.maps_total * step.total
        if standing.share is not None:  # several workers or recipes: somebody counts passes
            done = round(standing.share * total)
        labels = ", ".join(standing.labels[:3]) + (", ..." if len(standing.labels) > 3 else "")
        if self.bar is not None:
            self.bar.update(
                self.bar.task_ids[0],
                description=escape(printable(labels + _team(standing))),
                completed=done,
                total=total,
                loss=f"{step.loss:.3f}",
                hits=f"{step.hits:.0%}",
            )
            return
        now = time.monotonic()
        if self.first is None:
            self.first = done - len(standing.labels)  # what was there already took no time
        if now - self.said < EVERY_SECONDS and step.done < step.total:
            return
        self.said = now
        left = (
            (now - self.began) / max(done - self.first, 1) * (total - done) if standing.left is None else standing.left
        )
        where = f"map {standing.maps_done + 1} of {standing.maps_total}, {labels}, step {step.done} of {step.total}"
        line = f"{self.title}: {where}, loss {step.loss:.3f}, targeting {step.hits:.0%}{_team(standing)}, "
        print(printable(f"{line}{duration(left)} left"), file=sys.stderr, flush=True)  # noqa: T201


def _team(standing: Standing) -> str:
    """Say what all workers do together, where there are several."""
    if standing.workers == 1 or standing.rate is None:
        return f", {standing.failed} failed" if standing.failed else ""
    failed = f", {standing.failed} failed" if standing.failed else ""
    return f", {standing.workers} workers, {standing.rate:.1f} maps a minute{failed}"
