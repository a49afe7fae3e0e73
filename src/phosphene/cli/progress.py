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
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from phosphene.backdoor.scan import ScanProgress
from phosphene.errors import printable
from phosphene.workflows.estimate import duration
from phosphene.workflows.progress import Progress

EVERY_SECONDS = 10.0


class _Bar:
    """A bar on a terminal; elsewhere a plain line now and then."""

    columns: "tuple[str | ProgressColumn, ...]" = ()
    fields: ClassVar[dict[str, Any]] = {}
    total: "float | None" = None

    def __init__(self, title: str) -> None:
        self.title = title
        self.console = Console(file=sys.stderr)
        self.bar: RichProgress | None = None
        self.began = self.printed = time.monotonic()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.bar = RichProgress(*self.columns, console=self.console)
            self.bar.start()
            self.bar.add_task(escape(printable(self.title)), total=self.total, **self.fields)
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def print_line(self, line: str, *, now: bool = False) -> None:
        """Print a line where there is no bar, unless the last one was a moment ago."""
        if now or time.monotonic() - self.printed >= EVERY_SECONDS:
            self.printed = time.monotonic()
            print(printable(line), file=sys.stderr, flush=True)  # noqa: T201


class MapProgress(_Bar):
    """Shows the progress of a ``map`` command: maps x steps, time left, current loss and targeting rate."""

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

    def __call__(self, progress: Progress) -> None:
        """Show how far the command is."""
        step = progress.step
        done = progress.maps_done * step.total + step.number * len(progress.labels)
        total = progress.maps_total * step.total
        if progress.share is not None:  # several workers or recipes: passes are counted
            done = round(progress.share * total)
        labels = ", ".join(progress.labels[:3]) + (", ..." if len(progress.labels) > 3 else "")
        if self.bar is not None:
            self.bar.update(
                self.bar.task_ids[0],
                description=escape(printable(labels + _workers(progress))),
                completed=done,
                total=total,
                loss=f"{step.loss:.3f}",
                hits=f"{step.hits:.0%}",
            )
            return
        now = time.monotonic()
        if self.first is None:
            self.first = done - len(progress.labels)  # cached maps took no time
        left = progress.left
        if progress.share is None:
            left = (now - self.began) / max(done - self.first, 1) * (total - done)
        where = f"map {progress.maps_done + 1} of {progress.maps_total}, {labels}, step {step.number} of {step.total}"
        line = f"{self.title}: {where}, loss {step.loss:.3f}, targeting {step.hits:.0%}{_workers(progress)}"
        text = line if left is None else f"{line}, {duration(left)} left"
        self.print_line(text, now=step.number >= step.total)


def _workers(progress: Progress) -> str:
    """Return what all workers do together, where there are several."""
    if progress.workers == 1 or progress.rate is None:
        return f", {progress.failed} failed" if progress.failed else ""
    failed = f", {progress.failed} failed" if progress.failed else ""
    return f", {progress.workers} workers, {progress.rate:.1f} maps per minute{failed}"


class ScanBar(_Bar):
    """Shows the progress of a ``scan`` command: what it does, the share that is done, and the time left."""

    fields: ClassVar[dict[str, Any]] = {"left": ""}
    total = 1.0

    def __init__(self, title: str) -> None:
        super().__init__(title)
        left = TextColumn("{task.fields[left]}")
        self.columns = (TextColumn("[bold]{task.description}"), BarColumn(), TimeElapsedColumn(), left)

    def __call__(self, progress: ScanProgress) -> None:
        """Show how far the scan is."""
        doing = printable(f"{self.title}: {progress.doing}")
        left = ""
        if progress.share > 0:
            left = f"{(time.monotonic() - self.began) * (1 - progress.share) / progress.share:.0f} s left"
        if self.bar is not None:
            description = escape(doing)
            self.bar.update(self.bar.task_ids[0], description=description, completed=progress.share, left=left)
            return
        self.print_line(f"{doing}, {progress.share:.0%}, {left}")
