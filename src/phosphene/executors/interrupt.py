"""Ctrl-C and SIGTERM: they call a function in place of ending the process."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_interrupt(handle: Callable[[], None]) -> Iterator[None]:
    """Context in which Ctrl-C and SIGTERM call ``handle`` instead of ending the process.

    Outside the main thread it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, lambda *_: handle()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Context that yields a function which returns whether Ctrl-C or SIGTERM has come.

    A second signal raises KeyboardInterrupt.
    """
    signalled = threading.Event()

    def note_signal() -> None:
        if signalled.is_set():
            raise KeyboardInterrupt
        signalled.set()

    with on_interrupt(note_signal):
        yield signalled.is_set
