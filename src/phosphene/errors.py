"""One exception family. Every message is one line that says what is wrong and names the fix."""


class PhospheneError(Exception):
    """Something the user can put right. The command line prints it in one line and exits with 2."""


class SpecError(PhospheneError):
    """A model, sample or recipe spec that nothing answers to, or that more than one thing answers to."""


class CardError(PhospheneError):
    """A model card that cannot be read or contradicts itself."""


class WeightsError(PhospheneError):
    """Weights that are missing, unreadable, or do not fit the network."""


class TrustError(PhospheneError):
    """Loading would run code that came with the model, and nobody allowed it."""


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
    """A network that answers with NaN or infinity.

    Attributes:
        rows: Of maps that were made together, those that it is about; empty where that is not known.
    """

    rows: tuple[int, ...] = ()


class JobsError(PhospheneError):
    """Maps that could not be made; the others are there."""


class ExtraError(PhospheneError, ImportError):
    """An optional library that is not installed, or is broken."""


def first_line(error: BaseException) -> str:
    """Return the first line of what an exception of another library says, or its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def nearest(word: str, known: "list[str] | tuple[str, ...]", most: int = 3) -> str:
    """Say which of ``known`` the user may have meant: `` Did you mean a or b?`` or an empty string."""
    import difflib  # noqa: PLC0415  (only a failing call pays for it)

    close = difflib.get_close_matches(word.casefold(), known, n=most, cutoff=0.5)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def printable(text: str) -> str:
    """Return ``text`` on one line without what a terminal would obey: labels and names may come from anywhere."""
    return " ".join("".join(sign for sign in text if sign.isprintable() or sign.isspace()).split())
