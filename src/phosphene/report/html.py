"""The report of a run: one HTML file that opens without a network and is mailed as it is."""

import base64
import hashlib
import io
from collections.abc import Callable
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from PIL import Image

from phosphene.concept_map import ConceptMap
from phosphene.contact_sheet import SIDE, contact_sheet
from phosphene.errors import RunError, printable
from phosphene.report.checks import check_section
from phosphene.report.gallery import Gallery
from phosphene.report.made import made_section
from phosphene.report.reference import natural_pictures
from phosphene.report.scan import scan_section
from phosphene.report.scores import score_section
from phosphene.runs import RunDirectory
from phosphene.runs.atomic import write_bytes
from phosphene.runs.scores import read_scores

# The parts beside the gallery, the first above it and the others below, in the order of the page: name, what finds its
# facts (None leaves it out), its template. The template sees the facts under the part's name. "glance", a list of
# {"mark", "text"}, goes to the top of the page, and "nav" into its contents. So a new part is a file, a template and a
# line here.
Section = tuple[str, Callable[[RunDirectory, dict[str, Any]], "dict[str, Any] | None"], str]
SECTIONS: list[Section] = [
    ("scan", scan_section, "scan.html"),
    ("scores", score_section, "scores.html"),
    ("checks", check_section, "checks.html"),
]

FIRST = "scan"  # it stands above the gallery, and a page may consist of it alone

# A sheet of more maps is longer than what shows pictures will take.
MOST_ON_SHEET = 1000


def write_report(run: RunDirectory, *, reference: "str | None" = None) -> str:
    """Write ``report.html`` and ``sheet.png`` into a run directory and return the report's path.

    Everything on the page comes from the run directory, so that writing it again loses nothing. A run that was only
    scanned has a report without a gallery.

    Args:
        run: The run directory.
        reference: Sample spec of pictures with labels: one of each class is shown beside its maps.

    Raises:
        RunError: it is no run directory, it has neither finished maps nor a scan, or it cannot be written.
        SamplesError: the pictures for reference cannot be read, or their labels are not the network's classes.
    """
    facts = run.facts()
    thumbnails: list[Image.Image] = []
    captions: list[str] = []

    def keep(one: ConceptMap) -> None:
        if len(thumbnails) == MOST_ON_SHEET:
            return
        image = one.image.convert("RGB")
        thumbnails.append(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
        captions.append(f"{one.short}, {one.seed}" if gallery.several else one.short)

    examples = natural_pictures(reference, facts) if reference else {}
    gallery = Gallery(run, facts, examples, keep)
    parts = {name: found for name, function, _ in SECTIONS if (found := function(run, facts)) is not None}
    if not gallery.notes and FIRST not in parts:
        raise RunError(f"{run.path} has no finished maps yet: run `phosphene map` to the end first.")
    style, script = (Markup(_read(name)) for name in ("style.css", "script.js"))  # noqa: S704  (our own files)
    page = (
        environment()
        .get_template("report.html")
        .render(
            **{FIRST: None, **{name: parts.get(name) for name, _, _ in SECTIONS}},
            sections=[(name, parts[name].get("nav", name), file) for name, _, file in SECTIONS if name in parts],
            glance=_sorted(
                gallery.glance() if gallery.notes else [], *(found.get("glance", []) for found in parts.values())
            ),
            facts=facts,
            gallery=gallery,
            examples=examples,
            reference=reference,
            maps=len(gallery.notes),
            classes=len({index for index, _ in gallery.notes}),
            missing=len(facts["jobs"]) - len(gallery.notes),
            made=made_section(run, facts, [str(row.get("target_spec", row["target"])) for row in read_scores(run)]),
            style=style,
            script=script,
            policy=policy(style, script),
        )
    )
    if thumbnails:
        data = io.BytesIO()
        contact_sheet(thumbnails, captions).save(data, "PNG")
        write_bytes(run.path / "sheet.png", data.getvalue())
    path = run.path / "report.html"
    write_bytes(path, page.encode())
    return str(path)


def environment() -> Environment:
    """Return what renders the templates: everything is escaped, and nothing may be missing."""
    return Environment(
        loader=PackageLoader("phosphene.report"),
        autoescape=select_autoescape(default=True),
        finalize=_plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def policy(style: str, script: str) -> str:
    """Return the page's content security policy: nothing is fetched, and no script runs but ours.

    Attributes may set styles, because widths and colours of charts are numbers in them.
    """
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    styles, scripts = (f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; img-src data:; style-src {styles}; style-src-elem {styles}; "
        f"style-src-attr 'unsafe-inline'; script-src {scripts}; base-uri 'none'; form-action 'none'"
    )


def _sorted(*parts: list[dict[str, str]]) -> list[dict[str, str]]:
    """Put first what somebody must know of this network, and last what is said of others."""
    return sorted(
        (line for lines in parts for line in lines), key=lambda line: ("beside" in line, line["mark"] != "bad")
    )


def _read(name: str) -> str:
    return resources.files("phosphene.report").joinpath("templates", name).read_text(encoding="utf-8")


def _plain(value: Any) -> Any:
    """Leave out of names and labels what turns the reading direction or a terminal; escaping comes after."""
    odd = isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable()
    return printable(value) if odd else value
