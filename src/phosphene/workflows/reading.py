"""What a run's own model reads in its maps, noted when they are made: the report says it without loading a model."""

from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.metrics.predictions import logits_of_maps, top_predictions
from phosphene.runs import RunDirectory
from phosphene.runs.readings import read_readings, write_readings
from phosphene.runs.scores import map_hashes


def note_own_readings(run: RunDirectory, classifier: Classifier, *, device: str = "auto") -> int:
    """Have a run's model read the finished maps that it has not read yet, and note it in ``readings.json``.

    Args:
        run: The run.
        classifier: The model that its maps come from.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Returns:
        How many maps were read: one forward pass each.

    Raises:
        RunError: the run is damaged or cannot be written.
        NumericError: the network answers with NaN or infinity.
    """
    hashes = map_hashes(run)
    own = (reader for reader in read_readings(run) if reader.sha256 == classifier.sha256)
    seen = {place for reader in own if reader.name == classifier.name for place in reader.maps}
    missing = [place for place in hashes if place not in seen]
    if missing:
        labels = classifier.labels
        folders = (run.folder(Job(*place), labels[place[0]]) for place in missing)
        with Engine(classifier, device=device) as engine:
            logits = logits_of_maps(engine, map(run.read, folders))
        concepts = [(index, labels[index]) for index, _ in missing]
        rows = top_predictions(logits, concepts, {index: index for index, _ in missing}, labels)
        write_readings(run, classifier, dict(zip(missing, rows, strict=True)), hashes)
    return len(missing)
