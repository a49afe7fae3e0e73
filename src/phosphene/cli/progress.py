"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from phosphene.backdoor.survey import Standing as ScanStanding
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
        left = standing.left
        if standing.share is None:
            left = (now - self.began) / max(done - self.first, 1) * (total - done)
        where = f"map {standing.maps_done + 1} of {standing.maps_total}, {labels}, step {step.done} of {step.total}"
        line = f"{self.title}: {where}, loss {step.loss:.3f}, targeting {step.hits:.0%}{_team(standing)}"
        said = line if left is None else f"{line}, {duration(left)} left"
        print(printable(said), file=sys.stderr, flush=True)  # noqa: T201


def _team(standing: Standing) -> str:
    """Say what all workers do together, where there are several."""
    if standing.workers == 1 or standing.rate is None:
        return f", {standing.failed} failed" if standing.failed else ""
    failed = f", {standing.failed} failed" if standing.failed else ""
    return f", {standing.workers} workers, {standing.rate:.1f} maps a minute{failed}"


class ScanProgress:
    """Shows how a ``scan`` command gets on: what it does, the share that is done, and the time left."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.console = Console(file=sys.stderr)
        self.bar: Progress | None = None
        self.said = time.monotonic()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            left = TextColumn("{task.fields[left]}")
            self.bar = Progress(
                TextColumn("[bold]{task.description}"), BarColumn(), TimeElapsedColumn(), left, console=self.console
            )
            self.bar.start()
            self.bar.add_task(escape(printable(self.title)), total=1.0, left="")
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, standing: ScanStanding, share: float, left: "float | None") -> None:
        """Show where the scan stands."""
        doing = printable(f"{self.title}: {standing.doing}")
        after = "" if left is None else f"{left:.0f} s left"
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], description=escape(doing), completed=share, left=after)
            return
        now = time.monotonic()
        if now - self.said < EVERY_SECONDS:
            return
        self.said = now
        where = f"step {standing.done} of {standing.total}"
        print(", ".join([doing, where, *([after] if after else [])]), file=sys.stderr, flush=True)  # noqa: T201
