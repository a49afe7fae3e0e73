"""FastAPI and uvicorn, optional libraries."""

from importlib import import_module
from typing import Any

from phosphene.errors import ExtraError, first_line


def require(name: str) -> Any:
    """Import a module of FastAPI or uvicorn.

    Raises:
        ExtraError: it is not installed, or is broken.
    """
    try:
        return import_module(name)
    except (ImportError, RuntimeError, OSError) as error:
        library = name.partition(".")[0]
        gone = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == library
        why = "is not installed" if gone else f"is broken ({type(error).__name__}: {first_line(error)})"
        raise ExtraError(f"{library}, which the gallery needs, {why}: pip install phosphene[serve].") from None
