"""Progress on stderr: a bar on a terminal, one updated line in a notebook, a plain line now and then elsewhere."""

import contextlib
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from phosphene.errors import PhospheneWarning, RecipeError, printable, warn

EVERY_SECONDS = "PHOSPHENE_PROGRESS_SECONDS"  # environment variable: the time between two plain lines
NOTEBOOK_SECONDS = 0.5  # between two updates in a notebook
NOTEBOOK_WIDTH = 110
EARLY = 0.03  # finished share below which no time left is shown: the first steps take longer than the others
WIDE = 110  # columns of a terminal from which the figures of the last step are shown beside the bar


class ProgressDisplay:
    """Shows a command's progress on stderr, as a bar, an updated line in a notebook, or plain lines; a context manager.

    Args:
        title: What is worked on; plain lines begin with it.
        shown: Whether anything is shown.

    Raises:
        RecipeError: the environment variable for the time between two lines holds no such time.
    """

    def __init__(self, title: str, *, shown: bool = True) -> None:
        self.title, self.shown, self.every = title, shown, _seconds_between_lines()
        self.console = Console(file=sys.stderr)
        self.bar: Progress | None = None
        self.last_line = ""
        self.began = self.printed = time.monotonic()
        self.part_began = self.began  # the part that the share is of
        self.first = self.share = 0.0  # share at the first update of the part, which took no time; latest share
        self.in_notebook = shown and _in_notebook()
        self.warnings: list[str] = []  # that were shown, for the command's JSON

    def __enter__(self) -> Self:
        self._show_others, warnings.showwarning = warnings.showwarning, self._show_warning
        if self.shown and not self.in_notebook and self.console.is_terminal:
            facts, left = TextColumn("{task.fields[facts]}"), TextColumn("{task.fields[left]}")
            what = TextColumn("[bold]{task.description}")
            percentage = TaskProgressColumn("{task.percentage:>3.0f} %")
            wide = self.console.width >= WIDE  # else all columns would be cut off
            columns = (what, BarColumn(20), percentage, *([facts] if wide else []), TimeElapsedColumn(), left)
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.bar.start()
            self.bar.add_task(escape(printable(self.title)), total=None, facts="", left="")
        return self

    def __exit__(self, *_: object) -> None:
        warnings.showwarning = self._show_others
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        elif self.in_notebook:
            self._overwrite("")

    @property
    def elapsed(self) -> str:
        """The time since the display was created, as text such as ``2.5 min``."""
        return duration(time.monotonic() - self.began)

    def update(
        self,
        what: str,
        share: "float | None" = None,
        facts: str = "",
        *,
        last: bool = False,
    ) -> None:
        """Show what is being done, the finished share and the time left by it; plain lines are printed at most every 10 seconds.

        Args:
            what: What is being done.
            share: Finished share of everything, in [0, 1]; ``None`` while that is not known.
            facts: Figures of the last step.
            last: Whether this is the end of a part: it gets a plain line, however recent the last one is.
        """
        if not self.shown:
            return
        now = time.monotonic()
        to_go = ""
        if share is not None:
            if share < self.share or not self.share:
                self.part_began, self.first = now, share
            self.share, work = share, share - self.first
            if work > 0 and share >= EARLY:
                to_go = f"{duration((now - self.part_began) * (1 - share) / work)} left"
        if self.bar is not None:
            task, text = self.bar.task_ids[0], escape(printable(what))
            total = None if share is None else 1.0
            self.bar.update(task, description=text, completed=share, total=total, facts=escape(facts), left=to_go)
            return
        done = "" if share is None else f"{100 * share:.0f} % done"
        doing = "starting" if what == self.title else what
        line = f"{self.title}: " + ", ".join(part for part in (doing, facts, done, to_go) if part)
        if self.in_notebook:
            if last or now - self.printed >= NOTEBOOK_SECONDS:
                self.printed = now
                self._overwrite(printable(line))
        elif line != self.last_line and (last or now - self.printed >= self.every):
            self.printed, self.last_line = now, line
            print(printable(line), file=sys.stderr, flush=True)  # noqa: T201

    def follow(self, on_progress: "Callable[[Any], None] | None" = None) -> Callable[[Any], None]:
        """Return an ``on_progress`` callback that shows each report here by its ``show(display)``, then passes it to ``on_progress``."""

        def callback(progress: Any) -> None:
            progress.show(self)
            if on_progress is not None:
                on_progress(progress)

        return callback

    def print(self, line: str) -> None:
        """Print a line to stderr that stays, above the bar if there is one; nothing if the display is hidden."""
        if self.shown:
            if self.in_notebook:
                self._overwrite("")
            if self.bar is not None:
                self.console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
            else:
                print(printable(line), file=sys.stderr, flush=True)  # noqa: T201

    def note(self, line: str) -> None:
        """Print ``line`` as a remark that stays, unless the display is hidden, and keep it in ``warnings``.

        A line that was shown before is not repeated.
        """
        if line not in self.warnings:
            self.warnings.append(line)
            self.print(f"phosphene: {line}")

    def warn(self, line: "str | None") -> None:
        """Print ``line`` as a warning that stays, and keep it in ``warnings``; nothing happens for ``None``.

        If the display is hidden, a Python warning is issued instead. A line that was shown before is not repeated, as it
        would be for every run or target.
        """
        if line is None or line in self.warnings:
            return
        self.warnings.append(line)
        if self.shown:
            self.print(f"phosphene: warning: {line}")
        else:
            warn(line)

    def _show_warning(self, message: "Warning | str", category: type[Warning], *where: Any, **more: Any) -> None:
        """Takes the place of ``warnings.showwarning``: a PhospheneWarning becomes a line of the display unless hidden."""
        if self.shown and issubclass(category, PhospheneWarning):
            self.warn(str(message))
        else:
            self._show_others(message, category, *where, **more)

    def _overwrite(self, line: str) -> None:
        """Replace the current progress line in a notebook cell's stderr by ``line``, cut or padded to 110 characters."""
        print(f"\r{line[:NOTEBOOK_WIDTH]:<{NOTEBOOK_WIDTH}}\r", end="", file=sys.stderr, flush=True)  # noqa: T201


@contextlib.contextmanager
def show_progress(progress: "bool | ProgressDisplay", title: str) -> Iterator[ProgressDisplay]:
    """For a ``with`` block: yield the display given as ``progress``, retitled, or open a new one, hidden if ``progress`` is false."""
    if isinstance(progress, ProgressDisplay):
        progress.title = title
        progress.update(title)
        yield progress
    else:
        with ProgressDisplay(title, shown=bool(progress)) as display:
            yield display


def duration(seconds: float) -> str:
    """Return a number of seconds as text, in the largest unit of which there are 2: ``45 s``, ``2.5 min``, ``3.0 h``, ``4.1 days``."""
    for unit, size in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _seconds_between_lines() -> float:
    """Return the number of seconds between two plain lines, from the environment or 10; RecipeError if that is no number from 0 up."""
    text = os.environ.get(EVERY_SECONDS) or "10"
    with contextlib.suppress(ValueError):
        if (seconds := float(text)) >= 0:
            return seconds
    raise RecipeError(f"{EVERY_SECONDS} is {text!r}; it must be a number of seconds, 0 or more.")


def _in_notebook() -> bool:
    """Return whether this process is a Jupyter notebook's kernel, judged by IPython's shell."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return any(one.__name__ == "ZMQInteractiveShell" for one in type(shell).__mro__)  # Colab's is a kind of it
