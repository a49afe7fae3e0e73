"""Two runs side by side: one HTML file that opens without a network, and the part of it that the gallery shows."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from phosphene.concept_map import ConceptMap
from phosphene.labels import first_synonym
from phosphene.metrics.compare import Change, Prediction
from phosphene.report.html import environment, policy
from phosphene.report.images import data_url
from phosphene.runs.atomic import write_bytes

if TYPE_CHECKING:
    from phosphene.workflows.compare import Comparison

MOST_SEEDS = 3
MOST_NAMED = 12


def write_comparison(comparison: "Comparison", path: Path) -> None:
    """Write a comparison as one HTML file.

    Raises:
        RunError: it cannot be written.
    """
    templates = resources.files("phosphene.report").joinpath("templates")
    files = [templates.joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "compare.css")]
    style = Markup("".join(files))  # noqa: S704  (our own files)
    names = (comparison.runs[0].name, comparison.runs[1].name)
    found = comparison_view(comparison, lambda _, one: data_url(one.image, quality=88), names)
    page = environment().get_template("compare_page.html").render(found=found, style=style, policy=policy(style, ""))
    write_bytes(path, page.encode())


def comparison_view(
    comparison: "Comparison", image_url: Callable[[int, ConceptMap], str], names: tuple[str, str]
) -> dict[str, Any]:
    """Return what ``compare_part.html`` shows.

    Args:
        comparison: The comparison.
        image_url: Returns the address of a map's image; its first argument is 0 for the first run, 1 for the second.
        names: What to call the runs.
    """
    same = comparison.facts[0]["model"]["sha256"] == comparison.facts[1]["model"]["sha256"]
    return {
        "comparison": comparison,
        "names": names,
        "same": same,
        "rows": [_row(one, comparison, image_url, same=same) for one in comparison.changes],
        "only": [_first_labels(labels) for labels in comparison.only],
    }


def _row(
    one: Change, comparison: "Comparison", image_url: Callable[[int, ConceptMap], str], *, same: bool
) -> dict[str, Any]:
    """Return what the page shows of one class."""
    lines = [] if same else [_prediction("B", "A", one.a_by_b), _prediction("A", "B", one.b_by_a)]
    return {
        "change": one,
        "lines": [line for line in lines if line],
        "maps": [
            [{"src": image_url(side, found), "seed": found.seed} for found in comparison.maps[side][index][:MOST_SEEDS]]
            for side, index in enumerate((one.index_a, one.index_b))
        ],
    }


def _prediction(target: str, source: str, prediction: "Prediction | None") -> str:
    """Return what a source predicts for the other run's maps, in a sentence."""
    if prediction is None:
        return ""
    instead = f"; it mostly predicts {prediction.instead}" if prediction.instead else ""
    return f"{target}’s network has a confidence of {prediction.p_class:.2f} in {source}’s maps{instead}"


def _first_labels(labels: list[str]) -> str:
    """Return the first synonyms of the first few labels, and how many more there are."""
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return ", ".join(first_synonym(label) for label in labels[:MOST_NAMED]) + more
