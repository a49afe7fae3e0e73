"""The gallery as an application: which address leads to which page, and what an error looks like."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from phosphene.errors import PhospheneError
from phosphene.web.folder import NotHereError
from phosphene.web.gallery import Gallery
from phosphene.web.guard import Guard


def make_app(root: Path, *, host: str = "127.0.0.1", trust: bool = False) -> Guard:
    """Return the gallery of the folder ``root`` as a FastAPI application in a Guard; it starts no server.

    Args:
        root: The folder whose run directories are shown; nothing outside it is.
        host: What the server is bound to; the host names that it accepts follow from it.
        trust: Whether it may start runs of models that bring code along.
    """
    gallery = Gallery(root, trust=trust)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """When the server ends, end the commands that it has started."""
        yield
        await run_in_threadpool(gallery.processes.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    pages: dict[str, Callable[..., Any]] = {
        "/": gallery.runs,
        "/run/{name:path}": gallery.run,
        "/image/{index}/{seed}/{name:path}": gallery.image,
        "/report/{name:path}": gallery.report,
        "/compare": gallery.compare,
        "/new": gallery.new,
    }
    for path, page in pages.items():
        app.get(path)(page)
    for action in (gallery.start, gallery.retry, gallery.stop, gallery.dismiss):
        app.post(f"/{action.__name__}")(action)
    static: Any = [("phosphene.web", "static"), ("phosphene.reports", "static")]  # the style is the report's
    app.mount("/static", StaticFiles(packages=static))
    app.state.gallery = gallery

    async def error_page(_: Request, error: Exception) -> Response:
        status, text = _status_and_text(error)
        return gallery.page("error.html", status, text=text, title="Not possible")

    for error_type in (PhospheneError, HTTPException, Exception):
        app.add_exception_handler(error_type, error_page)
    return Guard(app, host)


def _status_and_text(error: Exception) -> tuple[int, str]:
    """Return the HTTP status of an error, and its text in one line."""
    if isinstance(error, NotHereError):
        return 404, "There is nothing of that name here."
    if isinstance(error, PhospheneError):
        return 409, str(error)
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    return 500, f"Unexpected {type(error).__name__}. The server's terminal says more."
