"""The gallery as an application: which address leads to which page, and what a failure looks like."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from phosphene.errors import PhospheneError
from phosphene.web.folder import NotHereError
from phosphene.web.gallery import Gallery
from phosphene.web.guard import Guard
from phosphene.web.pages import Pages


def make_app(root: Path, *, host: str = "127.0.0.1", trust: bool = False) -> Guard:
    """Return the gallery of ``root`` as an ASGI application.

    Args:
        root: The folder whose run directories are shown; nothing outside it is.
        host: What the server is bound to: the names that it answers to follow from it.
        trust: Whether it may start runs of models that bring code along.
    """
    gallery = Gallery(root, trust=trust)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(gallery.jobs.close)

    app = FastAPI(lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    pages: dict[str, Callable[..., Any]] = {
        "/": gallery.runs,
        "/live": gallery.live_runs,
        "/run/{name:path}": gallery.run,
        "/live/{name:path}": gallery.live_run,
        "/picture/{index}/{seed}/{name:path}": gallery.picture,
        "/report/{name:path}": gallery.report,
        "/compare": gallery.compare,
        "/new": gallery.new,
        "/static/{name}": gallery.static,
    }
    for path, page in pages.items():
        app.get(path)(page)
    app.post("/start")(gallery.start)
    app.post("/cancel")(gallery.cancel)
    app.state.gallery = gallery
    _errors(app, gallery.pages)
    return Guard(app, host)


def _errors(app: FastAPI, pages: Pages) -> None:
    """Make every failure a page with one line on it."""

    def shown(status: int, text: Callable[[Any], str]) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handle(_: Request, error: Exception) -> Response:
            code = getattr(error, "status_code", status)
            return pages.show("error.html", code, text=text(error), title="Not possible")

        return handle

    app.add_exception_handler(NotHereError, shown(404, lambda _: "There is nothing of that name here."))
    app.add_exception_handler(PhospheneError, shown(409, str))
    app.add_exception_handler(HTTPException, shown(404, lambda error: str(error.detail)))
    line = "Unexpected {}. The server's terminal says more."
    app.add_exception_handler(Exception, shown(500, lambda error: line.format(type(error).__name__)))
