"""The report of a run: one HTML file that opens without a network and can be mailed as it is."""

import base64
import hashlib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from phosphene import markup
from phosphene.arguments import Samples
from phosphene.concept_map import ConceptMap, p_class_name
from phosphene.concepts import is_class, is_unit, kind_and_index
from phosphene.contact_sheet import refuse_empty
from phosphene.formats import count, heat, percent, probability, targeting_text
from phosphene.image_files import encode
from phosphene.labels import first_synonym
from phosphene.reports.checks import check_section
from phosphene.reports.gallery import map_section, sheet_of_maps
from phosphene.reports.glance import notes_glance
from phosphene.reports.images import natural_images
from phosphene.reports.made import made_section
from phosphene.reports.scan import scan_section
from phosphene.reports.scores import score_section
from phosphene.runs import RunDirectory
from phosphene.runs.atomic import write_bytes
from phosphene.runs.scans import no_maps
from phosphene.runs.whole import to_run

# Parts of the page: name -> function that returns what the template of that name shows, or None to leave the part out.
# Of a part's facts, "glance", a list of {"mark", "text"}, goes to the top of the page, and "nav" into its contents. A
# new part is a file, a template and a line here.
SECTIONS = {
    "gallery": map_section,
    "scan": scan_section,
    "scores": score_section,
    "checks": check_section,
    "made": made_section,
}


def write_report(
    run: "str | Path | RunDirectory | ConceptMap | Iterable[ConceptMap]",
    *,
    reference: Samples = None,
    columns: "int | None" = None,
    size: "int | None" = None,
) -> str:
    """Write a run's ``report.html``, and ``sheet.png``, as :func:`phosphene.report` says; return the page's path as text."""
    refuse_empty(columns, size)
    run = to_run(run)
    facts = run.facts()
    run.require_writable()
    is_empty = isinstance(reference, str) and not reference  # as a path, it would be the working directory
    spec, examples = ("", {}) if reference is None or is_empty else natural_images(reference, facts)
    parts = {name: part for name, function in SECTIONS.items() if (part := function(run, facts)) is not None}
    gallery, scan = parts.get("gallery"), parts.get("scan")
    if gallery is None and scan is None:
        raise no_maps(run)
    if scan is not None and scan["first"]:
        parts = {"scan": scan, **parts}
    glance = notes_glance(facts) + [line for part in parts.values() for line in part["glance"]]
    map_count = len(gallery["cards"]) if gallery else 0
    style, script = (Markup(read_static(name)) for name in ("style.css", "script.js"))  # noqa: S704  (our own files)
    page = (
        environment()
        .get_template("report.html")
        .render(
            {name: parts.get(name) for name in SECTIONS},
            contents={name: part["nav"] for name, part in parts.items()},
            glance=sorted(glance, key=lambda line: line["mark"] != "bad"),  # bad news first
            facts=facts,
            examples=examples,
            reference=spec,
            maps=map_count,
            missing=len(facts["jobs"]) - map_count,
            style=style,
            script=script,
            policy=policy(style, script),
        )
    )
    if gallery:
        write_bytes(run.path / "sheet.png", encode(sheet_of_maps(run, gallery, columns, size)))
    path = run.path / "report.html"
    write_bytes(path, page.encode())
    return str(path)


def environment(*packages: str) -> Environment:
    """Return the Jinja environment of the report's templates.

    A template of ``packages`` hides the report's of the same name.
    """
    templates = markup.environment(*packages, "phosphene.reports")
    templates.filters |= {
        "heat": heat,
        "percent": percent,
        "probability": probability,
        "kind": kind_and_index,
        "is_class": is_class,
        "is_unit": is_unit,
        "p_class_name": p_class_name,
        "short": first_synonym,
        "targeting": targeting_text,
    }
    templates.globals |= {"count": count}
    return templates


def policy(style: str, script: str) -> str:
    """Return a content security policy for a page with this style and script.

    It also allows images in data URLs, and no fetching. Attributes may set styles, because widths and colours of charts
    are numbers in them.
    """
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    styles, scripts = (f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; img-src data:; style-src {styles}; style-src-elem {styles}; "
        f"style-src-attr 'unsafe-inline'; script-src {scripts}; base-uri 'none'; form-action 'none'"
    )


def read_static(name: str) -> str:
    """Return the text of the file ``name``, a style sheet or script, in the report's folder ``static``."""
    return resources.files("phosphene.reports").joinpath("static", name).read_text(encoding="utf-8")
