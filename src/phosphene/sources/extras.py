"""Optional libraries: imported when they are needed, and where they are missing the pip command is named."""

import importlib
from types import ModuleType

from phosphene.errors import ExtraError, first_line
from phosphene.sources.torchvision_repair import mend


def extra(library: str, name: str) -> ModuleType:
    """Import an optional library.

    Args:
        library: What is imported.
        name: The extra of this package that installs it.

    Raises:
        ExtraError: it is not installed, or is broken; the pip command is named.
    """
    mend()  # torchvision is what all of them import
    try:
        return importlib.import_module(library)
    except (ImportError, RuntimeError, OSError) as error:
        package = library.partition(".")[0]
        absent = isinstance(error, ModuleNotFoundError) and error.name == package
        what = "not installed" if absent else f"broken: {first_line(error)}"
        raise ExtraError(f"{package} is {what}: pip install phosphene[{name}].") from None
