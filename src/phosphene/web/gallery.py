"""The pages of the gallery, one method each."""

import contextlib
import functools
import hashlib
import itertools
import re
import secrets
import shlex
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from fastapi import Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from phosphene.api.evaluation import compare
from phosphene.concept_map import Job
from phosphene.errors import PhospheneError
from phosphene.progress import duration
from phosphene.recipe import DEFAULT_RECIPE, RECIPES
from phosphene.reports.html import environment
from phosphene.runs import RunDirectory
from phosphene.runs.failures import note_command_failure
from phosphene.runs.scores import NAME as SCORES
from phosphene.sources import SPEC_FORMS, list_specs
from phosphene.web.folder import HERE, Folder, NotHereError, read_cached, thumbnail
from phosphene.web.form import CONCEPT_FORMS, FIELDS, LONGEST_NAME, Command, FormError, read_form
from phosphene.web.guard import REPORT_POLICY
from phosphene.web.processes import CommandProcess, Processes
from phosphene.web.validate import validate
from phosphene.web.views import run_view, run_views

if TYPE_CHECKING:
    from phosphene.workflows.compare import Comparison

MOST_FORM_BYTES = 2_000_000
CACHEABLE = {"cache-control": "private, max-age=86400, immutable"}


class Gallery:
    """The pages of a served folder: a method per address takes the request, or values from it, and returns the response.

    Args:
        root: The folder whose run directories are shown; nothing outside it is.
        trust: Whether runs of models that bring code along may be started.
    """

    def __init__(self, root: Path, *, trust: bool) -> None:
        self.root, self.trust = root, trust
        self.folder, self.processes = Folder(root), Processes()
        self.token = secrets.token_urlsafe(32)  # in the forms of this server's pages, which other sites cannot read
        self.templates = environment("phosphene.web")
        self.templates.filters |= {
            "path": quote,
            "duration": duration,
            "capitalized": capitalized,
            "shell": shlex.quote,
        }
        self.templates.globals |= {"token": self.token, "trust": trust, "root": str(root)}
        self._comparing = threading.Lock()  # one comparison at a time: it takes memory

    def runs(self, request: Request) -> Response:
        """Return the page that lists all runs, and the commands that have no run directory yet; 304 if it has not changed."""
        runs, processes = run_views(self.folder, self.processes.running), self.processes.copy()
        # Processes without a run directory have only just started, or failed before they made one.
        names = {run.name for run in runs}
        starting = [one for one in reversed(processes.values()) if one.name not in names and one.state != "finished"]
        return self._live_page(request, "runs.html", runs=runs, processes=processes, starting=starting, title="Runs")

    def run(self, request: Request, name: str) -> Response:
        """Return the page of the run ``name``, or of its command while it is being started; 304 if it has not changed."""
        process, view = self.processes.get(name), None
        try:
            view = run_view(self.folder, name, self.processes.running)
        except NotHereError:
            if process is None:
                raise
        return self._live_page(request, "run.html", run=view, process=process, name=name, title=name)

    def image(self, index: int, seed: int, name: str, v: str = "", small: bool = False) -> Response:
        """Return a map's image or preview, a thumbnail if ``small``; browsers may cache it if the address has a version, ``v``."""
        path = self.folder.image(self.folder.run(name), index, seed)
        headers = CACHEABLE if v else {}
        if small:
            return Response(read_cached(thumbnail, path), media_type="image/webp", headers=headers)
        kind = "image/png" if path.suffix == ".png" else "image/webp"
        return FileResponse(path, media_type=kind, headers=headers)

    def report(self, name: str) -> Response:
        """Return a run's existing ``report.html`` (404 if none), with a policy that keeps it apart from this server's pages."""
        # The address ends like the file's, so that links between reports lead where they do on disk.
        path = self.folder.file(self.folder.run(name.removesuffix("/report.html")).path / "report.html")
        return FileResponse(path, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})

    def compare(self, a: str = "", b: str = "") -> HTMLResponse:
        """Return the page on which two runs are chosen, and if ``a`` and ``b`` name runs, their comparison."""
        runs = [view for view in run_views(self.folder) if view.finished_maps]
        found: dict[str, Any] | None = None
        error = ""
        try:
            found = self._comparison(a, b) if a and b else None
        except NotHereError:
            raise
        except PhospheneError as failed:
            error = str(failed)
        return self.page("compare.html", runs=runs, a=a, b=b, found=found, error=error, title="Compare")

    def new(self, action: str = "map", model: str = "", run: str = "", edit: str = "") -> HTMLResponse:
        """Return the page of the form that starts a command, filled from the query, or from the command on run ``edit`` if it is known."""
        process = self.processes.get(edit)
        if process is None:
            return self._form({"action": action, "model": model, "run": run})
        # A run directory takes no other model, recipe or samples, so that what is changed needs another name.
        taken = process.run.exists() and process.command.action != "check"
        return self._form(process.command.fields | ({"name": self._free_name(process.name)} if taken else {}))

    async def start(self, request: Request) -> Response:
        """Try a submitted form's fields, start its command and redirect to the run's page; or return the form with its faults."""
        return await self._start(await self._fields(request))

    async def retry(self, request: Request) -> Response:
        """Start a command again that was started here before, as :meth:`start` does; finished maps are kept."""
        _, process = await self._process(request)
        return await self._start(process.command.fields)

    async def stop(self, request: Request) -> Response:
        """Interrupt a command that was started here, and redirect back to the page of its run; finished maps are kept."""
        name, process = await self._process(request)
        process.stop()
        return RedirectResponse(f"/run/{quote(name)}", status_code=303)

    async def dismiss(self, request: Request) -> Response:
        """Remove an ended command from the list and redirect there; why it failed is noted in the run's ``failures.json``."""
        name, process = await self._process(request)
        if not process.running:
            with contextlib.suppress(PhospheneError):  # a run that cannot be read or written loses only the reason
                if process.state == "failed" and (process.run / "run.json").exists():
                    note_command_failure(RunDirectory(process.run), process.message)
            del self.processes[name]
        return RedirectResponse("/", status_code=303)

    def page(self, template: str, status: int = 200, **variables: Any) -> HTMLResponse:
        """Return an HTML response with a status, rendered from a template with ``variables``."""
        return HTMLResponse(self.templates.get_template(template).render(variables), status)

    def _live_page(self, request: Request, template: str, **variables: Any) -> Response:
        """Return a page that the browser asks for again and again; status 304 if it has the same one already."""
        page = self.page(template, **variables)
        page.headers["etag"] = etag = f'"{hashlib.sha256(page.body).hexdigest()[:24]}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"etag": etag})
        return page

    def _comparison(self, a: str, b: str) -> dict[str, Any]:
        """Return what the page shows of two runs, given by name: the comparison, names, a function for image URLs."""
        runs = [self.folder.run(name) for name in (a, b)]
        places = [quote(name) for name in (a, b)]
        with self._comparing:
            found = _compare(runs[0].path, runs[1].path, *map(_version, runs))

        def image_url(side: int, one: Job) -> str:
            """Return the gallery's address of a map's image; ``side`` is 0 or 1, the first or second run."""
            return f"/image/{one.index}/{one.seed}/{places[side]}"

        return {"comparison": found, "names": (a, b), "image_url": image_url}

    async def _start(self, fields: dict[str, str]) -> Response:
        """Try a form's fields, start its command and redirect to the page of its run; or return the form with its faults, status 400."""
        try:
            command = read_form(fields, trust=self.trust)
            run = self._run_directory(command)
            try:
                await run_in_threadpool(validate, command, run)  # takes seconds, and pages are served meanwhile
            except FormError as error:
                if "name" in error.faults and run.exists():
                    error.faults["name"] += f" {self._free_name(command.name)} is free."
                raise
            self.processes.start(command, run)
        except FormError as error:
            return self._form(fields, error.faults, 400)
        except OSError as error:
            return self._form(fields, {"": str(error)}, 400)
        return RedirectResponse(f"/run/{quote(command.name)}", status_code=303)

    def _run_directory(self, command: Command) -> Path:
        """Return the path of a command's run directory; FormError if a run to check is missing, or a new one lies in a run or at a link."""
        if command.action == "check":
            try:
                self.folder.run(command.name)
            except NotHereError:
                raise FormError({"run": "There is no such run here."}) from None
            return self.root if command.name == HERE else self.root / command.name
        if (self.folder.root / "run.json").exists():
            raise FormError("This folder is itself a run: serve the folder above it to start new ones.")
        if (self.root / command.name).is_symlink():
            raise FormError({"name": f"{command.name} is a link: choose another name."})
        return self.root / command.name

    def _free_name(self, name: str) -> str:
        """Return, for ``star`` or ``star-7``, the first of ``star-2``, ``star-3`` ... that no run, file or command has."""
        stem = re.sub(r"-[0-9]+$", "", name)[: LONGEST_NAME - 6]
        names = (f"{stem}-{number}" for number in itertools.count(2))
        return next(one for one in names if not (self.root / one).exists() and one not in self.processes)

    def _form(
        self, fields: "dict[str, str]", faults: "dict[str, str] | None" = None, status: int = 200
    ) -> HTMLResponse:
        """Return the page with the form that starts a command, filled with ``fields``; ``faults`` (field -> message) stand beside."""
        action = fields.get("action", "map")
        action, faults = action if action in FIELDS else "map", faults or {}
        runs = [view for view in run_views(self.folder) if view.facts]
        specs = {view.facts["model"]["spec"] for view in runs}
        return self.page(
            "new.html",
            status,
            action=action,
            fields=fields,
            faults=faults,
            first_fault=next((key for key in FIELDS[action] if key in faults), ""),
            specs=dict(list_specs()) | {spec: "has a run here" for spec in sorted(specs) if spec},
            runs=[view for view in runs if view.finished_maps],
            forms=SPEC_FORMS,
            concept_forms=CONCEPT_FORMS,
            recipes={name: recipe.description for name, recipe in RECIPES.items()},
            default=DEFAULT_RECIPE,
            title="New run",
        )

    async def _process(self, request: Request) -> tuple[str, CommandProcess]:
        """Return the name of the run in a submitted form, and the command started for it; status 404 if none was."""
        name = (await self._fields(request)).get("name", "")
        process = self.processes.get(name)
        if process is None:
            raise HTTPException(404, "This server has not started that run, or it was dismissed.")
        return name, process

    async def _fields(self, request: Request) -> dict[str, str]:
        """Read and return the fields of a submitted form; refuse one without this server's token with status 403."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_FORM_BYTES:
                raise HTTPException(413, "The form is too long.")
        try:
            fields = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=100))
        except ValueError:
            fields = {}
        if not secrets.compare_digest(self.token.encode(), fields.get("token", "").encode()):
            raise HTTPException(403, "This form is out of date (the server was restarted): load its page again.")
        return fields


def capitalized(text: str) -> str:
    """Return text with its first letter in upper case, unless it begins with a path or a name such as ``xi_layer``."""
    return text[:1].upper() + text[1:] if text.partition(" ")[0].rstrip(",.:").isalpha() else text


@functools.lru_cache(maxsize=4)
def _compare(a: Path, b: Path, *versions: object) -> "Comparison":
    """Return the Comparison of the runs at two paths, with Jobs in place of maps, whose tensors would fill the memory; cached."""
    comparison = compare(a, b)
    jobs: Any = tuple({index: [one.job for one in maps] for index, maps in side.items()} for side in comparison.maps)
    return replace(comparison, maps=jobs)


def _version(run: RunDirectory) -> tuple[str, int]:
    """Return what differs whenever a run's maps or scores have changed."""
    scores = run.path / SCORES
    return run.maps_sha256(), scores.stat().st_mtime_ns if scores.is_file() else 0
