"""Exceptions for what a user can put right. Every message is one line that says what is wrong and names the fix."""

import inspect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any


class PhospheneError(Exception):
    """Base class of all errors that a user can put right.

    Commands print the message on one line and exit with 2.
    """


class ArgumentError(PhospheneError, TypeError):
    """Raised for an argument of a wrong type, an option that a function lacks or wants, and a number that is too small or too large."""


class SpecError(PhospheneError):
    """Raised for a model spec that is unknown or does not fit, and for an executor that cannot be used."""


class CardError(PhospheneError):
    """Raised for a malformed model, card or label file, or a network that is not as its card says."""


class WeightsError(PhospheneError):
    """Raised for weights that are missing, unreadable, or do not fit the network."""


class TrustError(PhospheneError):
    """Raised when loading a model would run code that came with it, without ``trust``."""


class ConceptError(PhospheneError):
    """Raised for a concept that matches no class or map, or several, or whose expression cannot be read."""


class SamplesError(PhospheneError):
    """Raised for samples that are missing, unreadable, too few, or of the wrong shape."""


class RecipeError(PhospheneError):
    """Raised for a recipe field, or a setting of training or a scan, that does not exist or whose value is out of range."""


class RunError(PhospheneError):
    """Raised for a run directory that belongs to something else, is damaged, or cannot be written."""


class DeviceError(PhospheneError):
    """Raised for a device or precision that this machine lacks, or a device without enough memory."""


class NumericError(PhospheneError):
    """Raised when a network returns NaN or infinity, or training diverges.

    Attributes:
        rows: Positions of the maps of a group that it concerns; empty if they are not known.
    """

    rows: tuple[int, ...] = ()


class JobsError(PhospheneError):
    """Raised at the end if some maps could not be computed; a run directory holds the others.

    Attributes:
        maps: The other maps if they are in memory, as a list; else empty.
    """

    maps: Sequence[Any] = ()


class PortError(PhospheneError):
    """Raised if the server cannot listen on its host and port."""


class ExtraError(PhospheneError, ImportError):
    """Raised when an optional library is missing or broken; the message has the pip command."""


class PhospheneWarning(UserWarning):
    """Base of warnings that say everything in one line; the command line prints only that line."""


class RecipeWarning(PhospheneWarning):
    """Warning that a network lacks something that the recipe uses, so that its maps are made without."""


class SpeedWarning(PhospheneWarning):
    """Warning that something works as it should, but slower than it could."""


def warn(line: str, kind: type[PhospheneWarning] = PhospheneWarning) -> None:
    """Issue a warning that points at the line of the caller's own code, the nearest one outside this package."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __name__.partition(".")[0]:
        frame, level = frame.f_back, level + 1
    warnings.warn(line, kind, stacklevel=level)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its type if there is no message.

    Of TorchScript's messages it is the last line, because the first says only that something failed.
    """
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return lines[-1].removeprefix("RuntimeError: ") if "TorchScript interpreter" in lines[0] else lines[0]


@contextmanager
def one_line(kind: type[PhospheneError], what: str, fix: str = "") -> Iterator[None]:
    """For a ``with`` block: turn any exception into a one-line ``kind`` error; our own errors pass.

    Args:
        kind: Type of the error that is raised instead.
        what: Name of what has failed; the first line of the error follows.
        fix: What to do about it; ends the line.
    """
    try:
        yield
    except PhospheneError:
        raise
    except (Exception, SystemExit) as error:
        line = f"{type(error).__name__}: {first_line(error)}"
        if isinstance(error, OSError) and error.strerror and str(error.filename) in what:
            line = error.strerror  # the rest is a number, and the path once more
        raise kind(f"{what} ({line}): {fix}" if fix else f"{what}: {line}") from error


def as_share(number: "str | float") -> float:
    """Return a share, in [0, 1], which may be given as text.

    Raises:
        ArgumentError: it is something else.
    """
    with suppress(TypeError, ValueError):
        if 0 <= float(number) <= 1:
            return float(number)
    raise ArgumentError(f"{number} is no share: give a number from 0 to 1, such as 0.8.")


def describe(value: object) -> str:
    """Return the type of a wrong argument and the first 40 characters of its value, as text for an error message."""
    return f"{type(value).__name__} {str(value)[:40]!r}"


def nearest(word: str, names: Sequence[str], most: int = 3) -> str:
    """Return a hint for an error message, `` Did you mean a or b?``, with names like ``word``.

    It is empty if none is alike.
    """
    import difflib  # noqa: PLC0415  (needed for errors only)

    close = difflib.get_close_matches(word.casefold(), names, n=most, cutoff=0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def first_few(names: Sequence[str], most: int = 5) -> str:
    """Return the first ``most`` names as text, joined by commas, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def printable(text: str) -> str:
    """Return text on one line, with runs of blanks made one and control characters removed."""
    return " ".join("".join(one for one in text if one.isprintable() or one.isspace()).split())
