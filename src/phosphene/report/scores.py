"""The part of the report that says how other classifiers see the maps."""

from dataclasses import dataclass
from typing import Any

from phosphene.errors import RunError
from phosphene.labels import first_synonym
from phosphene.metrics.scorecard import ConceptScore, Interval, Score
from phosphene.report.formats import percent
from phosphene.runs import RunDirectory
from phosphene.runs.scores import NAME, read_scores

# A table of more concepts than this is folded away.
MOST_OPEN = 24
# A target that classifies at least this share of the maps as their class counts as good.
GOOD = 0.5


@dataclass(frozen=True)
class Cell:
    """A cell of a heat map.

    Attributes:
        text: The number itself; colour only repeats it.
        heat: Strength of the cell's colour, in percent.
        rest: A second, smaller line.
    """

    text: str
    heat: int
    rest: str = ""


def score_section(run: RunDirectory, facts: dict[str, Any]) -> "dict[str, Any] | None":
    """Return what ``scores.html`` shows, or ``None`` if the run's current maps have not been scored.

    Raises:
        RunError: scores.json is damaged.
    """
    rows = read_scores(run)
    if not rows:
        return None
    try:
        scores = [Score.from_dict(row) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.path / NAME} is damaged ({type(error).__name__}: {error}). Delete it and score again."
        ) from None
    names = [score.target for score in scores]
    targets = [
        {
            "score": score,
            "is_source": row["target_sha256"] == facts["model"]["sha256"],
            "weights": row["target_sha256"][:8] if names.count(score.target) > 1 else "",
            "interval": [round(100 * value, 1) for value in (score.interval[0], score.m_score, score.interval[1])],
            "cells": _summary(score),
            "sweep": [
                Cell(f"{point.m_score:.2f}", _heat(point.m_score, 1 / score.concepts), percent(point.top1_all))
                for point in score.contrast_sweep
            ],
        }
        for row, score in zip(rows, scores, strict=True)
    ]
    concepts = _concepts(scores)
    return {
        "nav": "Other classifiers",
        # the gallery has a line on the source itself
        "glance": [_glance(target["score"]) for target in targets if not target["is_source"]],
        "targets": targets,
        "concepts": concepts,
        "open": len(concepts) <= MOST_OPEN,
        "first": scores[0],
    }


def _glance(score: Score) -> dict[str, str]:
    """Return the summary line of a score for the top of the report."""
    return {
        "mark": "good" if score.top1_all >= GOOD else "unsure",
        "text": f"{score.target} classifies {percent(score.top1_all)} of these maps as their class, among its "
        f"{score.classes:,} classes (M_score, the paper's measure of transfer: {score.m_score:.2f} of at most 1).",
    }


def _summary(score: Score) -> list[Cell]:
    """Return a target's cells: M_score, both top-1 rates, mean probability."""
    low, high = score.interval
    return [
        Cell(f"{score.m_score:.2f}", _heat(score.m_score, 1 / score.concepts), f"{low:.2f} to {high:.2f}"),
        Cell(percent(score.top1_all), _heat(score.top1_all), _percent_range(score.top1_all_interval)),
        Cell(percent(score.top1_concepts), _heat(score.top1_concepts), _percent_range(score.top1_concepts_interval)),
        Cell(f"{score.p_class:.2f}", _heat(score.p_class)),
    ]


def _concepts(scores: list[Score]) -> list[dict[str, Any]]:
    """Return one line per concept with a cell per target; all rows of a run are about the same maps."""
    lines = []
    for one in scores[0].per_concept:
        found = [next((row for row in score.per_concept if row.index == one.index), None) for score in scores]
        cells = [_concept(row) if row else Cell("–", 0) for row in found]
        lines.append({"short": first_synonym(one.label), "index": one.index, "cells": cells})
    return lines


def _concept(one: ConceptScore) -> Cell:
    """Return the cell of one concept: how many of its maps are classified right, and as what else."""
    wrong = ", ".join(
        first_synonym(other.label) + (f" {other.count}×" if one.maps > 1 else "") for other in one.misread
    )
    share = one.right / max(one.maps, 1)
    text = f"{one.right} of {one.maps}" if one.maps > 1 else ("yes" if one.right else "no")
    return Cell(f"{text}, p {one.p_class:.2f}", _heat(share), f"as {wrong}" if wrong else "")


def _heat(value: float, least: float = 0.0) -> int:
    """Return the strength of the colour in percent: 0 at the least possible value, 100 at 1."""
    return round(100 * min(max((value - least) / (1 - least), 0.0), 1.0))


def _percent_range(interval: Interval) -> str:
    """Return an interval of shares as ``81 to 94 %``."""
    return f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"
