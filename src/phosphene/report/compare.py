"""Two runs side by side: one HTML file that opens without a network, and the part of it that the gallery shows."""

import base64
import io
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from phosphene.concept_map import ConceptMap
from phosphene.labels import first_synonym
from phosphene.metrics.compare import Change, Prediction
from phosphene.report.html import environment, policy
from phosphene.report.words import percent
from phosphene.runs.atomic import write_bytes
from phosphene.workflows.compare import Comparison

MOST_SEEDS = 3
MOST_NAMED = 12


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write a comparison as one HTML file.

    Raises:
        RunError: it cannot be written.
    """

    def source(_: int, one: ConceptMap) -> str:
        data = io.BytesIO()
        one.image.save(data, "WEBP", quality=88)
        return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()

    templates = resources.files("phosphene.report").joinpath("templates")
    files = [templates.joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "compare.css")]
    style = Markup("".join(files))  # noqa: S704  (our own files)
    names = (comparison.runs[0].name, comparison.runs[1].name)
    page = (
        environment()
        .get_template("compare_page.html")
        .render(found=comparison_view(comparison, source, names), style=style, policy=policy(style, ""))
    )
    write_bytes(path, page.encode())


def comparison_view(
    comparison: Comparison, source: Callable[[int, ConceptMap], str], names: tuple[str, str]
) -> dict[str, Any]:
    """Return what ``compare_part.html`` shows.

    Args:
        comparison: What was found.
        source: Returns the address of a map's image; its first argument is 0 for the first run and 1 for the second.
        names: Of the runs.
    """
    models = [facts["model"]["name"] for facts in comparison.facts]
    sides = [
        {"letter": letter, "name": name, "model": model, "recipe": facts["recipe"]["name"], "maps": number}
        for letter, name, model, facts, number in zip(
            "AB",
            names,
            models,
            comparison.facts,
            [sum(map(len, maps.values())) for maps in comparison.maps],
            strict=True,
        )
    ]
    same = comparison.facts[0]["model"]["sha256"] == comparison.facts[1]["model"]["sha256"]
    return {
        "sides": sides,
        "notes": comparison.notes,
        "rows": [_row(one, comparison, source, same=same) for one in comparison.changes],
        "only": [_listed(labels) for labels in comparison.only],
        "same": same,
    }


def _row(
    one: Change, comparison: Comparison, source: Callable[[int, ConceptMap], str], *, same: bool
) -> dict[str, Any]:
    indices = (one.index_a, one.index_b)
    images = [
        [{"src": source(side, found), "seed": found.seed} for found in comparison.maps[side][index][:MOST_SEEDS]]
        for side, index in enumerate(indices)
    ]
    predictions = []
    if not same:
        predictions = [_spell("B", "A", one.a_by_b), _spell("A", "B", one.b_by_a)]
    return {
        "label": one.label,
        "short": first_synonym(one.label),
        "indices": indices,
        "change": None if one.change is None else round(100 * one.change),
        "images": _figure(one.images),
        "predictions": _figure(one.predictions),
        "lines": [line for line in predictions if line],
        "maps": images,
    }


def _figure(value: "float | None") -> str:
    return "unknown" if value is None else percent(value)


def _spell(target: str, source: str, prediction: "Prediction | None") -> str:
    if prediction is None:
        return ""
    instead = f", mostly as {prediction.instead}" if prediction.instead else ""
    return f"{target}’s network classifies {source}’s as the class with p {prediction.p_class:.2f}{instead}"


def _listed(labels: list[str]) -> str:
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return ", ".join(first_synonym(label) for label in labels[:MOST_NAMED]) + more
