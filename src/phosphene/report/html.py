"""The report of a run: one HTML file that opens without a network."""

import base64
import io
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from PIL import Image

from phosphene.concept_map import ConceptMap, to_image
from phosphene.errors import RunError, printable
from phosphene.report.checks import check_section
from phosphene.report.scores import score_section
from phosphene.report.sheet import contact_sheet
from phosphene.runs import RunDirectory
from phosphene.runs.atomic import write_bytes

CURVE_WIDTH, CURVE_HEIGHT = 120, 28


def write_report(run: RunDirectory, verdicts: "list[str] | None" = None) -> str:
    """Write ``report.html`` and ``sheet.png`` into a run directory and return the report's path.

    Raises:
        RunError: it is no run directory, it has no finished maps, or it cannot be written.
    """
    facts = run.facts()
    maps = list(run.maps())
    if not maps:
        raise RunError(f"{run.path} has no finished maps yet: run `phosphene map` to the end first.")
    environment = Environment(
        loader=PackageLoader("phosphene.report"),
        autoescape=select_autoescape(default=True),
        finalize=_plain,
        undefined=StrictUndefined,
    )
    page = environment.get_template("report.html").render(
        facts=facts,
        maps=[_row(one) for one in maps],
        classes=len({one.index for one in maps}),
        missing=len(facts["jobs"]) - len(maps),
        size=f"{facts['model']['input']['size'][0]} × {facts['model']['input']['size'][1]}",
        verdicts=verdicts or [],
        scores=score_section(run, facts),
        checks=check_section(run),
    )
    several = len({one.seed for one in maps}) > 1
    captions = [f"{one.short}, {one.seed}" if several else one.short for one in maps]
    data = io.BytesIO()
    sheet = contact_sheet([one.image for one in maps], captions)
    sheet.save(data, "PNG", optimize=True)
    write_bytes(run.path / "sheet.png", data.getvalue())
    path = run.path / "report.html"
    write_bytes(path, page.encode())
    return str(path)


def _plain(value: Any) -> Any:
    """Leave out of names and labels what turns the reading direction or a terminal; escaping comes after."""
    odd = isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable()
    return printable(value) if odd else value


def _row(one: ConceptMap) -> dict[str, Any]:
    return {
        "label": one.label,
        "short": one.short,
        "index": one.index,
        "seed": one.seed,
        "p_class": f"{one.p_class:.3f}",
        "targeting": "not measured" if one.targeting_rate is None else f"{one.targeting_rate:.0%}",
        "passes": f"{one.passes:,}",
        "seconds": f"{one.seconds:.1f}",
        "picture": _data_url(one.image),
        "xi": _data_url(to_image(one.xi)),
        "curve": _curve(one.loss),
    }


def _data_url(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "WEBP", quality=90)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()


def _curve(loss: tuple[float, ...]) -> str:
    """Points of the loss curve for an SVG polyline, highest loss at the top."""
    top = max(*loss, 1e-9) if len(loss) > 1 else 1.0
    last = max(len(loss) - 1, 1)
    points = (f"{k / last * CURVE_WIDTH:.1f},{(1 - value / top) * CURVE_HEIGHT:.1f}" for k, value in enumerate(loss))
    return " ".join(points)
