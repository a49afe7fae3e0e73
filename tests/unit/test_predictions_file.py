"""readings.json: what classifiers predict for each map, as long as the map has not changed."""

import json

import pytest
import torch

from phosphene.concept_map import Job
from phosphene.concepts import Concept
from phosphene.errors import RunError
from phosphene.metrics.matching import MatchedMaps
from phosphene.metrics.predictions import top_predictions
from phosphene.runs import RunDirectory
from phosphene.runs.predictions import read_predictions, write_predictions
from phosphene.workflows.own_predictions import write_own_predictions
from tests import tiny


@pytest.fixture
def run(tmp_path):
    made = RunDirectory(tmp_path / "run")
    tiny.add_maps(made, tiny.concept_map(0), tiny.concept_map(3, 1))
    return made


def test_the_first_readings_of_a_picture():
    logits = torch.log(torch.tensor([[0.1, 0.6, 0.3], [0.2, 0.2, 0.6]]))
    first, second = top_predictions(
        logits, MatchedMaps([Concept.of_class(7, "x"), Concept.of_class(8, "y")], {7: 0, 8: 2}, ["a", "b", "c"])
    )
    assert [(one["index"], one["label"]) for one in first["top"]] == [(1, "b"), (2, "c"), (0, "a")]
    assert [one["p"] for one in first["top"]] == pytest.approx([0.6, 0.3, 0.1])
    assert (first["class"], first["p_class"]) == (0, pytest.approx(0.1))
    assert (second["class"], second["p_class"]) == (2, pytest.approx(0.6))


def test_no_more_than_five_are_noted():
    assert (
        len(
            top_predictions(torch.randn(1, 9), MatchedMaps([Concept.of_class(0, "x")], {0: 0}, list("abcdefghi")))[0][
                "top"
            ]
        )
        == 5
    )


def test_the_source_classifier_predicts_every_map_once(run):
    network = tiny.classifier()
    assert read_predictions(run) == []
    assert write_own_predictions(run, network, device="cpu") == 2
    assert write_own_predictions(run, network, device="cpu") == 0
    (stored,) = read_predictions(run)
    assert (stored.name, stored.sha256, stored.classes) == ("tiny", network.sha256, 5)
    for place, row in stored.maps.items():
        with torch.inference_mode():
            wanted = network.logits(run.read(run.folder(Job(*place), tiny.LABELS[place[0]])).pixels[None]).softmax(1)
        assert row["p_class"] == pytest.approx(float(wanted[0, place[0]]), abs=1e-5)
        assert row["top"][0]["index"] == int(wanted.argmax())
        assert row["top"][0]["label"] == tiny.LABELS[int(wanted.argmax())]
    tiny.add_maps(run, tiny.concept_map(4))
    assert write_own_predictions(run, network, device="cpu") == 1
    assert set(read_predictions(run)[0].maps) == {(0, 0), (3, 1), (4, 0)}


def test_predictions_for_a_map_that_was_made_again_are_left_out(run):
    write_own_predictions(run, tiny.classifier(), device="cpu")
    for path in (run.folder(Job(0, 0), tiny.LABELS[0])).iterdir():
        path.unlink()
    run.write(tiny.concept_map(0, nu=torch.rand(3, 16, 16)))
    assert set(read_predictions(run)[0].maps) == {(3, 1)}
    assert write_own_predictions(run, tiny.classifier(), device="cpu") == 1


def test_classifiers_are_distinguished_by_name_and_weights(run):
    row = {"class": 0, "p_class": 0.5, "top": [{"index": 0, "label": "a", "p": 0.5}]}
    for seed, name in ((0, "tiny"), (1, "tiny"), (0, "other")):
        write_predictions(run, tiny.classifier(seed, name=name), {(0, 0): row}, run.map_hashes())
    assert [(one.name, len(one.maps)) for one in read_predictions(run)] == [("tiny", 1), ("tiny", 1), ("other", 1)]


@pytest.mark.parametrize(
    "damage", [{"schema": 9}, {"readers": 3}, {"readers": [{}]}, {"readers": [{"name": "a", "maps": [1]}]}]
)
def test_damage_is_named_with_what_to_do(run, damage):
    write_own_predictions(run, tiny.classifier(), device="cpu")
    path = run.path / "readings.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | damage), encoding="utf-8")
    with pytest.raises(RunError, match=r"readings\.json .*Delete it and score again"):
        read_predictions(run)
