"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any, ClassVar, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from phosphene.backdoor.survey import Standing as ScanStanding
from phosphene.errors import printable
from phosphene.workflows.estimate import duration
from phosphene.workflows.map import Progress as Standing

EVERY_SECONDS = 10.0


class _Bar:
    """A bar on a terminal; elsewhere a plain line now and then."""

    columns: "tuple[str | ProgressColumn, ...]" = ()
    fields: ClassVar[dict[str, Any]] = {}
    total: "float | None" = None

    def __init__(self, title: str) -> None:
        self.title = title
        self.console = Console(file=sys.stderr)
        self.bar: Progress | None = None
        self.began = self.said = time.monotonic()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.bar = Progress(*self.columns, console=self.console)
            self.bar.start()
            self.bar.add_task(escape(printable(self.title)), total=self.total, **self.fields)
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def say(self, line: str, *, now: bool = False) -> None:
        """Print a line where there is no bar, unless the last one was a moment ago."""
        if now or time.monotonic() - self.said >= EVERY_SECONDS:
            self.said = time.monotonic()
            print(printable(line), file=sys.stderr, flush=True)  # noqa: T201


class MapProgress(_Bar):
    """Shows how a ``map`` command gets on: maps x steps, time left, current loss and targeting rate."""

    fields: ClassVar[dict[str, Any]] = {"loss": "-", "hits": "-"}

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.first: float | None = None
        self.columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]} · targeting {task.fields[hits]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )

    def __call__(self, standing: Standing) -> None:
        """Show where the job stands."""
        step = standing.step
        done = standing.maps_done * step.total + step.number * len(standing.labels)
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
        left = standing.left
        if standing.share is None:
            left = (now - self.began) / max(done - self.first, 1) * (total - done)
        where = f"map {standing.maps_done + 1} of {standing.maps_total}, {labels}, step {step.number} of {step.total}"
        line = f"{self.title}: {where}, loss {step.loss:.3f}, targeting {step.hits:.0%}{_team(standing)}"
        said = line if left is None else f"{line}, {duration(left)} left"
        self.say(said, now=step.number >= step.total)


def _team(standing: Standing) -> str:
    """Say what all workers do together, where there are several."""
    if standing.workers == 1 or standing.rate is None:
        return f", {standing.failed} failed" if standing.failed else ""
    failed = f", {standing.failed} failed" if standing.failed else ""
    return f", {standing.workers} workers, {standing.rate:.1f} maps a minute{failed}"


class ScanProgress(_Bar):
    """Shows how a ``scan`` command gets on: what it does, the share that is done, and the time left."""

    fields: ClassVar[dict[str, Any]] = {"left": ""}
    total = 1.0

    def __init__(self, title: str) -> None:
        super().__init__(title)
        left = TextColumn("{task.fields[left]}")
        self.columns = (TextColumn("[bold]{task.description}"), BarColumn(), TimeElapsedColumn(), left)

    def __call__(self, standing: ScanStanding, share: float, left: "float | None") -> None:
        """Show where the scan stands."""
        doing = printable(f"{self.title}: {standing.doing}")
        after = "" if left is None else f"{left:.0f} s left"
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], description=escape(doing), completed=share, left=after)
            return
        where = f"step {standing.done} of {standing.total}"
        self.say(", ".join([doing, where, *([after] if after else [])]))
