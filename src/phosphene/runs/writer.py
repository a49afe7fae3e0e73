"""A thread that writes the files of finished maps, in order, while the next maps are made."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

from phosphene.errors import PhospheneError, RunError, first_line

Result = TypeVar("Result")


class WriterThread(Generic[Result]):
    """One thread that makes queued calls in order, and none after a call that failed.

    Their results, or the error, come from :meth:`results`.

    Args:
        most_waiting: Calls that may be unfinished when :meth:`submit` returns; with 0 it waits for its own.
    """

    def __init__(self, most_waiting: int) -> None:
        self.most_waiting = most_waiting
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="phosphene-writer")
        self.calls: deque[Future[Result | None]] = deque()
        self.failed = False

    def submit(self, function: Callable[..., "Result | None"], *arguments: Any) -> None:
        """Queue ``function(*arguments)``, and wait until at most ``most_waiting`` calls are unfinished."""
        self.calls.append(self.thread.submit(self._call, function, *arguments))
        pending = [call for call in self.calls if not call.done()]
        if len(pending) > self.most_waiting:
            wait(pending[:1])

    def results(self, *, flush: bool = False) -> Iterator[Result]:
        """Yield the results of finished calls in order, leaving out ``None``; raise a call's error.

        With ``flush`` it waits for all calls.

        Raises:
            PhospheneError: a call has failed; a RunError unless the call itself raised another kind.
        """
        while self.calls and (flush or self.calls[0].done()):
            result = self.calls.popleft().result()
            if result is not None:
                yield result

    def close(self) -> None:
        """Wait until all queued calls are made, and end the thread.

        Results and errors that :meth:`results` has not taken are dropped.
        """
        self.thread.shutdown()

    def _call(self, function: Callable[..., "Result | None"], *arguments: Any) -> "Result | None":
        """Make a queued call and return its result; any error becomes a PhospheneError.

        If an earlier call failed, do nothing and return ``None``.
        """
        if self.failed:
            return None
        try:
            return function(*arguments)
        except Exception as error:
            self.failed = True
            if isinstance(error, PhospheneError):
                raise
            raise RunError(f"a finished map cannot be written: {type(error).__name__}: {first_line(error)}.") from error
