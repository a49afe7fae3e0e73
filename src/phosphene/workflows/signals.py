"""Ctrl-C and SIGTERM: the first asks for a stop between two steps, the second stops at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Stop:
    """Whether somebody has asked for a stop."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        """Say so."""
        return self.asked

    def ask(self, number: int, frame: "FrameType | None") -> None:
        """Handle a signal."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """Turn Ctrl-C and SIGTERM into a :class:`Stop`, in the main thread; elsewhere nothing changes."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
