"""Ctrl-C and SIGTERM: they call a function in place of ending the process."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_interrupt(handle: Callable[[], None]) -> Iterator[None]:
    """Call ``handle`` for every Ctrl-C and SIGTERM that comes; outside of the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: handle()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether a signal has come; a second signal interrupts at once."""
    asked = threading.Event()

    def ask() -> None:
        """Ask for a stop; interrupt at once if that has been asked before."""
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    with on_interrupt(ask):
        yield asked.is_set
