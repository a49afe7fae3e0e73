"""The part of the report that says how other classifiers see the maps."""

from typing import Any

from phosphene.checks.finding import FEWEST
from phosphene.concepts import Concept, is_class
from phosphene.errors import RunError
from phosphene.formats import BEYOND, TOP1_OF_SIDES, count, percent
from phosphene.metrics.matching import overlap_note
from phosphene.metrics.scorecard import Score
from phosphene.runs import RunDirectory
from phosphene.runs.scores import NAME, read_scores

# A table of more concepts than this is folded away.
MOST_OPEN = 24
# A target that classifies at least this share of the maps as their class counts as good, if there are enough of them.
MIN_GOOD_TOP1 = 0.5


def score_section(run: RunDirectory, facts: dict[str, Any]) -> "dict[str, Any] | None":
    """Return the template's facts on a run's scores; ``None`` if its maps were not scored.

    Raises:
        RunError: scores.json is damaged.
    """
    scorecards = read_scorecards(run)
    if not scorecards:
        return None
    overlap = overlap_note(map(Concept.of_facts, facts["jobs"]))
    names = [score.target for _, score in scorecards]
    targets = [
        {
            "score": score,
            "is_source": row["target_sha256"] == facts["model"]["sha256"],
            "weights": row["target_sha256"][:8] if names.count(score.target) > 1 else "",
            "per_concept": {one.index: one for one in score.per_concept},
        }
        for row, score in scorecards
    ]
    return {
        "nav": "Other networks" if targets[0]["score"].of_outputs else "Other classifiers",
        # the gallery has a line on the source itself
        "glance": [_glance(target["score"], overlap) for target in targets if not target["is_source"]],
        "overlap": overlap,
        "targets": targets,
        "sides_name": TOP1_OF_SIDES,
        "expressions": not all(is_class(one.index) for one in scorecards[0][1].per_concept),  # unions and contrasts
        "first": targets[0]["score"],  # all rows of a run are about the same maps
        "open": len(targets[0]["per_concept"]) <= MOST_OPEN,
    }


def read_scorecards(run: RunDirectory) -> list[tuple[dict[str, Any], Score]]:
    """Return each row of ``scores.json`` for the run's current maps, with the Score made from it.

    Raises:
        RunError: scores.json is damaged.
    """
    try:
        return [(row, Score.from_dict(row)) for row in read_scores(run)]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.path / NAME} is damaged ({type(error).__name__}: {error}). Delete it and score again."
        ) from None


def _glance(score: Score, overlap: "str | None") -> dict[str, str]:
    """Return the line for the top of the report on a target: its ``text``, and ``mark`` (good, unsure or empty).

    It gives the share of maps that the target classifies as their class.

    Args:
        score: The score on the target.
        overlap: Why M_score means nothing for these concepts; ``None`` if it does.
    """
    low, high = (100 * end for end in score.top1_all_interval)
    # Half of contrasts are right by chance.
    is_low = low <= 50 if score.of_contrasts else score.top1_all < MIN_GOOD_TOP1
    mark = "unsure" if is_low else "good" if score.rated >= FEWEST else ""
    rate, maps = percent(score.top1_all), count(score.maps, "map")
    interval = f"(95 % interval {low:.0f} to {high:.0f} %"
    if score.of_outputs:
        beyond = f"{BEYOND} of the samples, or for low: below the 1st"
        return {"mark": mark, "text": f"by {score.target}, {rate} of {maps} of outputs are {beyond} {interval})."}
    if score.of_contrasts:
        left = "as their left side rather than their right"
        text = f"{score.target} classifies {rate} of {maps} of contrasts {left} {interval}; half are so by chance"
    elif score.multi_label:
        right = f"gives the class of {rate} of {score.rated_text} a probability above one half"
        text = f"{score.target}, whose outputs are independent, {right} {interval}"
    else:
        right = f"as their class, among its {score.classes:,} classes"
        text = f"{score.target} classifies {rate} of {score.rated_text} {right} {interval}"
        text += "; a map of a union as one of its classes" if score.rate_name == "correct" else ""
    if overlap:
        return {"mark": "", "text": f"{text}). {overlap}"}
    if score.m_score is not None:
        text += f"; M_score, the paper's metric: {score.m_score:.2f} of at most 1"
    return {"mark": mark, "text": f"{text})."}
