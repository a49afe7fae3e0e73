"""What the gallery answers, a method a page."""

from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from fastapi import Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from phosphene.errors import PhospheneError
from phosphene.recipe import DEFAULT_RECIPE, RECIPES
from phosphene.report.compare import comparison_view
from phosphene.sources import FORMS, list_specs
from phosphene.web.comparing import Comparisons
from phosphene.web.folder import Folder, NotHereError
from phosphene.web.form import FormError, read_form
from phosphene.web.guard import REPORT_POLICY, Token
from phosphene.web.jobs import Job, Jobs
from phosphene.web.pages import Pages
from phosphene.web.thumbnails import thumbnail
from phosphene.web.view import RunView, Viewer

MOST_FORM_BYTES = 2_000_000
KEEP = {"cache-control": "private, max-age=86400, immutable"}
# name -> package, place in it, kind; the look is the report's
STATIC = {
    "report.css": ("phosphene.report", "templates/style.css", "text/css"),
    "compare.css": ("phosphene.report", "templates/compare.css", "text/css"),
    "gallery.css": ("phosphene.web", "static/gallery.css", "text/css"),
    "live.js": ("phosphene.web", "static/live.js", "text/javascript"),
    "icon.svg": ("phosphene.web", "static/icon.svg", "image/svg+xml"),
}


class Gallery:
    """The pages of a folder.

    Args:
        root: The folder whose run directories are shown; nothing outside it is.
        trust: Whether runs of models that bring code along may be started.
    """

    def __init__(self, root: Path, *, trust: bool) -> None:
        self.root, self.trust = root, trust
        self.folder, self.jobs, self.token = Folder(root), Jobs(), Token()
        self.viewer, self.comparisons = Viewer(self.folder), Comparisons(self.folder)
        self.pages = Pages({"token": self.token.text, "trust": trust, "root": str(root)})

    def runs(self) -> HTMLResponse:
        """All runs."""
        return self.pages.show("runs.html", runs=self.viewer.runs(), jobs=self._starting(), title="Runs")

    def live_runs(self, request: Request) -> Response:
        """The part of that page that changes."""
        return self.pages.part(request, "runs_part.html", runs=self.viewer.runs(), jobs=self._starting())

    def run(self, name: str) -> HTMLResponse:
        """One run."""
        return self.pages.show("run.html", run=self._look(name), job=self.jobs.get(name), name=name, title=name)

    def live_run(self, request: Request, name: str) -> Response:
        """The part of that page that changes."""
        return self.pages.part(request, "run_part.html", run=self._look(name), job=self.jobs.get(name), name=name)

    def picture(self, index: int, seed: int, name: str, v: str = "", small: bool = False) -> Response:
        """A map's picture, or how far it has come; addresses with a version ``v`` may be kept."""
        run = self.folder.run(name)
        path = self.folder.picture(run, self.folder.facts(run), index, seed)
        keep = KEEP if v else {}
        if small:
            return Response(thumbnail(path), media_type="image/webp", headers=keep)
        kind = "image/png" if path.suffix == ".png" else "image/webp"
        return FileResponse(path, media_type=kind, headers=keep)

    def report(self, name: str) -> Response:
        """A run's own report; a stranger to this server (see ``REPORT_POLICY``)."""
        path = self.folder.file(self.folder.run(name).path / "report.html")
        return FileResponse(path, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})

    def compare(self, a: str = "", b: str = "") -> HTMLResponse:
        """Two runs side by side."""
        every = [view for view in self.viewer.runs() if view.done]
        found: dict[str, Any] | None = None
        error = ""
        try:
            found = self._compared(a, b) if a and b else None
        except NotHereError:
            raise
        except PhospheneError as failed:
            error = str(failed)
        return self.pages.show("compare.html", runs=every, a=a, b=b, found=found, error=error, title="Compare")

    def new(self, model: str = "") -> HTMLResponse:
        """The form that starts a run."""
        return self._form({"model": model})

    async def start(self, request: Request) -> Response:
        """Start the run that a form asks for."""
        fields = await self._fields(request)
        try:
            job = self._start(fields)
        except (FormError, OSError) as error:
            return self._form(fields, str(error), 400)
        return RedirectResponse(f"/run/{quote(job.name)}", status_code=303)

    async def cancel(self, request: Request) -> Response:
        """Cancel a run that was started here."""
        name = (await self._fields(request)).get("name", "")
        job = self.jobs.get(name)
        if job is None:
            raise HTTPException(404, "This server has not started that run: stop it where it was started.")
        job.cancel()
        return RedirectResponse(f"/run/{quote(name)}", status_code=303)

    def static(self, name: str) -> Response:
        """A stylesheet, script or icon of ours."""
        if name not in STATIC:
            raise NotHereError("there is no such file here.")
        package, path, kind = STATIC[name]
        return Response(resources.files(package).joinpath(path).read_bytes(), media_type=kind)

    def _look(self, name: str) -> "RunView | None":
        """Return the run, ``None`` for one that is only just being started, or raise."""
        try:
            return self.viewer.look(name)
        except NotHereError:
            if self.jobs.get(name) is None:
                raise
            return None

    def _starting(self) -> list[Job]:
        """Return jobs that have left no run directory: not yet, or because they failed before."""
        return [job for job in self.jobs.all() if not (self.folder.root / job.name / "run.json").exists()]

    def _compared(self, a: str, b: str) -> dict[str, Any]:
        places = [quote(name) for name in (a, b)]
        return comparison_view(
            self.comparisons.get(a, b),
            lambda side, one: f"/picture/{one.index}/{one.seed}/{places[side]}",
            names=(a, b),
        )

    def _start(self, fields: dict[str, str]) -> Job:
        if (self.folder.root / "run.json").exists():
            raise FormError("This folder is itself a run: serve the folder above it to start new ones.")
        order = read_form(fields, trust=self.trust)
        out = self.root / order.name  # as the user gave the folder: it stands in messages
        if out.is_symlink():
            raise FormError(f"{order.name} is a link: choose another name.")
        return self.jobs.start(order, out)

    def _form(self, fields: dict[str, str], error: str = "", status: int = 200) -> HTMLResponse:
        seen = {view.facts["model"]["spec"] for view in self.viewer.runs() if view.facts is not None}
        return self.pages.show(
            "new.html",
            status,
            fields=fields,
            error=error,
            specs=dict(list_specs()) | {spec: "has a run here" for spec in sorted(seen) if spec},
            forms=FORMS,
            recipes={name: text for name, (text, _) in RECIPES.items()},
            default=DEFAULT_RECIPE,
            title="New run",
        )

    async def _fields(self, request: Request) -> dict[str, str]:
        """Read a form of this server's; without its token it is another's."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_FORM_BYTES:
                raise HTTPException(413, "The form is too long.")
        try:
            fields = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=100))
        except ValueError:
            fields = {}
        if not self.token.fits(fields.get("token", "")):
            raise HTTPException(403, "This form is out of date (the server was restarted): load its page again.")
        return fields
