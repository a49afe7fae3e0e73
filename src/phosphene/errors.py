"""Exceptions for what a user can put right. Every message is one line that says what is wrong and names the fix."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class PhospheneError(Exception):
    """Base of all errors that a user can put right. Commands print the message on one line and exit with 2."""


class SpecError(PhospheneError):
    """A model, sample or recipe spec that matches nothing, or several things."""


class CardError(PhospheneError):
    """A model, card or label file that is malformed, or a network that cannot be used as described."""


class WeightsError(PhospheneError):
    """Weights that are missing, unreadable, or do not fit the network."""


class TrustError(PhospheneError):
    """Loading would run code that came with the model, which was not allowed."""


class ConceptError(PhospheneError):
    """A class that the classifier does not have, or a name that several classes share."""


class SamplesError(PhospheneError):
    """Samples that are missing, unreadable, or too few."""


class RecipeError(PhospheneError):
    """A recipe field that does not exist, or a value outside its range."""


class RunError(PhospheneError):
    """A run directory that belongs to something else, is damaged, or cannot be written."""


class DeviceError(PhospheneError):
    """A device or precision that this machine does not have."""


class NumericError(PhospheneError):
    """A network returned NaN or infinity.

    Attributes:
        rows: Positions of the maps of a group that it concerns; empty if they are not known.
    """

    rows: tuple[int, ...] = ()


class JobsError(PhospheneError):
    """Some maps could not be computed; the others are finished."""


class ExtraError(PhospheneError, ImportError):
    """An optional library that is not installed, or is broken."""


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def one_line(kind: type[PhospheneError], what: str, fix: str = "") -> Iterator[None]:
    """Turn whatever a library or foreign code raises inside into one line; errors of ours pass as they are.

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
        raise kind(f"{what} ({line}): {fix}" if fix else f"{what}: {line}") from error


def nearest(word: str, names: Sequence[str], most: int = 3) -> str:
    """Return a hint at similar ``names``, `` Did you mean a or b?``, or an empty string."""
    import difflib  # noqa: PLC0415  (needed for errors only)

    close = difflib.get_close_matches(word.casefold(), names, n=most, cutoff=0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def first_few(names: Sequence[str], most: int = 5) -> str:
    """Return the first few names with commas between them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def printable(text: str) -> str:
    """Return ``text`` on one line, without control characters: labels and names may come from anywhere."""
    return " ".join("".join(one for one in text if one.isprintable() or one.isspace()).split())
