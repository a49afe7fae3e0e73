"""What a source classifier predicts for its own maps, which ``readings.json`` of their run holds."""

from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.metrics.matching import MatchedMaps
from phosphene.metrics.predictions import logits_of_maps, top_predictions
from phosphene.runs import RunDirectory
from phosphene.runs.predictions import read_predictions, write_predictions


def write_own_predictions(run: RunDirectory, classifier: Classifier, *, device: str = "auto") -> int:
    """Predict the maps that ``readings.json`` lacks by their source classifier, and add them.

    Args:
        run: The run.
        classifier: The source classifier.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Returns:
        Number of maps predicted; 0 if the classifier has changed since it made the maps.

    Raises:
        RunError: the run is damaged or cannot be written.
        NumericError: the network returns NaN or infinity.
    """
    hashes = run.map_hashes()
    key = (classifier.name, classifier.sha256)
    if key[1] != run.facts()["model"]["sha256"]:
        return 0  # trained on since the maps were made: it is another network now
    predicted_places = {place for one in read_predictions(run) if (one.name, one.sha256) == key for place in one.maps}
    concepts = dict(zip(((row["index"], row["seed"]) for row in run.facts()["jobs"]), run.concepts(), strict=True))
    places = [place for place in hashes if place not in predicted_places and not concepts[place].unit]
    if places:
        folders = (run.folder(Job(*place), concepts[place].label) for place in places)
        with Engine(classifier, device=device) as engine:
            logits = logits_of_maps(engine, map(run.read, folders))
        place_concepts = [concepts[place] for place in places]
        classes = range(classifier.num_classes)
        rows = top_predictions(
            logits,
            MatchedMaps(
                place_concepts, dict(zip(classes, classes, strict=True)), classifier.labels, classifier.multi_label
            ),
        )
        write_predictions(run, classifier, dict(zip(places, rows, strict=True)), hashes, key[1])
    return len(places)
