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
    hashes, sha256 = run.map_hashes(), classifier.sha256
    if sha256 != run.facts()["model"]["sha256"]:
        return 0  # trained on since the maps were made: it is another network now
    own = [one for one in read_predictions(run) if (one.name, one.sha256) == (classifier.name, sha256)]
    predicted_places = {place for one in own for place in one.maps}
    concepts = dict(zip(((row["index"], row["seed"]) for row in run.facts()["jobs"]), run.concepts(), strict=True))
    places = [place for place in hashes if place not in predicted_places and not concepts[place].unit]
    if places:
        folders = (run.folder(Job(*place), concepts[place].label) for place in places)
        with Engine(classifier, device=device) as engine:
            logits = logits_of_maps(engine, map(run.read, folders))
        same_classes = {index: index for index in range(classifier.num_classes)}
        matched = MatchedMaps(
            [concepts[place] for place in places], same_classes, classifier.labels, classifier.multi_label
        )
        rows = top_predictions(logits, matched)
        write_predictions(run, classifier, dict(zip(places, rows, strict=True)), hashes, sha256)
    return len(places)
