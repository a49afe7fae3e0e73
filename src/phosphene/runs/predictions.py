"""``readings.json``: what classifiers predict for the image of each map, the most probable classes first."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phosphene.classifier import Classifier
from phosphene.runs.directory import RunDirectory
from phosphene.runs.documents import Document
from phosphene.runs.lock import hold

CLASS = {"index": int, "label": str, "p": float}
MAP = {
    "index": int,
    "seed": int,
    "map_sha256": str,
    "class": int,
    "p_class": float,
    "top": [CLASS],
    "up?": [int],
    "right?": bool,
}
CLASSIFIER = {"name": str, "sha256": str, "classes": int, "maps": [MAP]}
# "readings" and "readers" are older words, which stay so that old run directories still open.
PREDICTIONS = Document("readings.json", "predictions", {"readers": [CLASSIFIER]}, "Delete it and score again.")
Place = tuple[int, int]  # class and seed


@dataclass(frozen=True)
class ClassifierPredictions:
    """What one classifier predicts for a run's maps, by (class index, seed), as ``readings.json`` holds it.

    Attributes:
        name: Name of the classifier.
        sha256: Hash of its weights and input space.
        classes: Number of its classes.
        maps: Predictions by class and seed: ``class`` (its own index of the concept), ``p_class``, and ``top``, a list
            of ``index``, ``label`` and ``p``, the most probable first; with ``index``, ``seed`` and ``map_sha256`` of
            the map.
    """

    name: str
    sha256: str
    classes: int
    maps: dict[Place, dict[str, Any]]


def read_predictions(run: RunDirectory) -> list[ClassifierPredictions]:
    """Return a ClassifierPredictions per classifier in ``readings.json``, for maps that have not changed since; RunError if damaged.

    The file is ``readings.json``, its older name, so that old run directories still open.

    Raises:
        RunError: the file is damaged, or of another version.
    """
    data = PREDICTIONS.read(run.path)
    if data is None:
        return []
    now = run.map_hashes()
    found = []
    for one in data["readers"]:
        maps = {(row["index"], row["seed"]): row for row in one["maps"]}
        current = {place: row for place, row in maps.items() if now.get(place) == row["map_sha256"]}
        found.append(ClassifierPredictions(one["name"], one["sha256"], one["classes"], current))
    return [one for one in found if one.maps]


def write_predictions(
    run: RunDirectory,
    classifier: Classifier,
    found: Mapping[Place, Mapping[str, Any]],
    hashes: Mapping[Place, str],
    sha256: "str | None" = None,
) -> None:
    """Merge a classifier's predictions into ``readings.json``, and drop outdated ones.

    Args:
        run: The run.
        classifier: The classifier.
        found: Predictions by class and seed, as in :class:`ClassifierPredictions`.
        hashes: Hash of each map at the time of the prediction.
        sha256: Hash of the classifier, if it is known: to compute it takes time.

    Raises:
        RunError: the file is damaged or cannot be written.
    """
    key = (classifier.name, sha256 or classifier.sha256)
    with hold(run.path):
        stored = {(one.name, one.sha256): one for one in read_predictions(run)}
        new = {
            (index, seed): {"index": index, "seed": seed, "map_sha256": hashes[index, seed], **row}
            for (index, seed), row in found.items()
        }
        maps = {**(stored[key].maps if key in stored else {}), **new}
        stored[key] = ClassifierPredictions(*key, classifier.num_classes, maps)
        rows = [{**vars(one), "maps": [one.maps[place] for place in sorted(one.maps)]} for one in stored.values()]
        PREDICTIONS.write(run.path, {"readers": rows})
