"""``readings.json``: what classifiers predict for the image of each map, the most probable classes first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phosphene.classifier import Classifier
from phosphene.errors import RunError
from phosphene.runs.atomic import read_json, write_json
from phosphene.runs.facts import versions
from phosphene.runs.files import RunFiles
from phosphene.runs.lock import hold
from phosphene.runs.scores import map_hashes

SCHEMA = 1
NAME = "readings.json"
FIX = "Delete it and score again."
Place = tuple[int, int]  # class and seed


@dataclass(frozen=True)
class ClassifierPredictions:
    """What a classifier predicts for the maps of a run.

    Attributes:
        name: Name of the classifier.
        sha256: Hash of its weights and input space.
        classes: Number of its classes.
        maps: By class and seed: ``class`` (its own index of the concept), ``p_class``, and ``top``, a list of
            ``index``, ``label`` and ``p``, the most probable first.
    """

    name: str
    sha256: str
    classes: int
    maps: dict[Place, dict[str, Any]]


def read_predictions(run: RunFiles) -> list[ClassifierPredictions]:
    """Return the predictions for maps that have not changed since, by classifier; empty without ``readings.json``.

    Raises:
        RunError: the file is damaged, or of another version.
    """
    path = run.path / NAME
    if not path.exists():
        return []
    data = read_json(path, fix=FIX)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("readers"), list):
        raise RunError(f"{path} holds no predictions of this version (schema {SCHEMA}). {FIX}")
    now = map_hashes(run)
    try:
        found = [
            ClassifierPredictions(
                str(one["name"]),
                str(one["sha256"]),
                int(one["classes"]),
                {(row["index"], row["seed"]): _row(row) for row in one["maps"] if _current(row, now)},
            )
            for one in data["readers"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}: {error}). {FIX}") from None
    return [one for one in found if one.maps]


def write_predictions(
    run: RunFiles, classifier: Classifier, found: Mapping[Place, Mapping[str, Any]], hashes: Mapping[Place, str]
) -> None:
    """Add a classifier's predictions to ``readings.json``; those for other maps and of other classifiers stay.

    Args:
        run: The run.
        classifier: The classifier.
        found: By class and seed, as in :class:`ClassifierPredictions`.
        hashes: Hash of each map at the time of the prediction.

    Raises:
        RunError: the file is damaged or cannot be written.
    """
    with hold(run.path):
        stored = {(one.name, one.sha256): one for one in read_predictions(run)}
        key = (classifier.name, classifier.sha256)
        maps = {**(stored[key].maps if key in stored else {}), **{place: dict(row) for place, row in found.items()}}
        stored[key] = ClassifierPredictions(classifier.name, classifier.sha256, classifier.num_classes, maps)
        known = {**map_hashes(run), **hashes}
        write_json(
            run.path / NAME,
            {
                "schema": SCHEMA,
                "versions": versions(),
                "readers": [
                    {
                        "name": one.name,
                        "sha256": one.sha256,
                        "classes": one.classes,
                        "maps": [
                            {"index": place[0], "seed": place[1], "map_sha256": known[place], **row}
                            for place, row in sorted(one.maps.items())
                        ],
                    }
                    for one in stored.values()
                ],
            },
        )


def _current(row: Mapping[str, Any], now: Mapping[Place, str]) -> bool:
    return bool(now.get((row["index"], row["seed"])) == row["map_sha256"])


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    top = [{"index": int(one["index"]), "label": str(one["label"]), "p": float(one["p"])} for one in row["top"]]
    return {"class": int(row["class"]), "p_class": float(row["p_class"]), "top": top}
