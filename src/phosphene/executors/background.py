"""Calls that wait for the disk: one thread makes them in order, while the GPU goes on."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from phosphene.errors import PhospheneError, RunError, first_line

Result = TypeVar("Result")


class Background(Generic[Result]):
    """Makes calls in order in a thread (in the caller's if ``most`` is 0) and hands out results in order; after a failed call, makes none.

    Args:
        most: Calls that may wait, 1 or more; with 0 there is no thread, and every call is made at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="phosphene-writer") if most else None
        self.waiting: deque[Future[Result | None]] = deque()
        self.done: deque[Result | None] = deque()
        self.failed = False

    def submit(self, function: Callable[..., "Result | None"], *arguments: Any) -> None:
        """Queue the call ``function(*arguments)``, or make it at once without a thread; wait while ``most`` others are queued.

        Raises:
            RunError: an earlier call has failed.
        """
        if self.thread is None:
            self.done.append(function(*arguments))
            return
        while len(self.waiting) >= self.most:
            self.done.append(self.waiting.popleft().result())
        self.waiting.append(self.thread.submit(self._call, function, *arguments))

    def results(self, *, wait: bool = False) -> Iterator[Result]:
        """Yield, in order, the results of finished calls that are not ``None``; with ``wait``, of all calls; raise what a call raised.

        Raises:
            RunError: a call has failed.
        """
        while self.done or (self.waiting and (wait or self.waiting[0].done())):
            result = self.done.popleft() if self.done else self.waiting.popleft().result()
            if result is not None:
                yield result

    def close(self) -> None:
        """Wait until all queued calls are made, and end the thread; results and errors not yet taken by :meth:`results` are dropped."""
        if self.thread is not None:
            self.thread.shutdown()

    def _call(self, function: Callable[..., "Result | None"], *arguments: Any) -> "Result | None":
        """Make a call and return its result; ``None`` if an earlier call failed; RunError for any error but a PhospheneError."""
        if self.failed:
            return None
        try:
            return function(*arguments)
        except Exception as error:
            self.failed = True
            if isinstance(error, PhospheneError):
                raise
            raise RunError(f"a finished map cannot be written: {type(error).__name__}: {first_line(error)}.") from error
