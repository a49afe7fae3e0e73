"""What a command warns of stands in its JSON as well: of the network, of the samples, of what was chosen."""

import json

import pytest

from tests import tiny
from tests.tiny import SETTINGS


@pytest.fixture
def network(card):
    """A card without weights: the factory makes random ones."""
    (card.folder / "tiny.safetensors").unlink()
    return card.write(weights=None)


@pytest.fixture
def samples(call, sample_folder):
    """A folder of samples that holds a run and a broken file."""
    words = ["-c", "star", "--set", "steps=2", "--device", "cpu", "--out", sample_folder / "earlier"]
    assert call("map", "demo:shapes", *words).code == 0
    (sample_folder / "broken.png").write_bytes(b"no image")
    return sample_folder


def test_warnings_stand_in_the_json_of_every_command(call, network, samples, tmp_path):
    out, common = tmp_path / "out", ["--trust", "--device", "cpu", "--json"]

    def warnings(*words):
        answer = call(*words, *common)
        assert answer.code in (0, 3), answer.err
        found = json.loads(answer.out)["warnings"]
        printed = [line.removeprefix("phosphene: ").removeprefix("warning: ") for line in answer.err.splitlines()]
        assert [line for line in found if line not in printed and not line.startswith(("An interval", "Without"))] == []
        assert [line for line in answer.err.splitlines() if line.startswith("phosphene: ")] != []
        return " | ".join(found)

    classes = [word for index in range(5) for word in ("-c", index)]
    said = warnings("map", network.path, *classes, "--samples", samples, *SETTINGS, "--out", out)
    assert "tiny: its weights are random: the card names no weights file" in said
    assert "only 1 sample of 12 is held out" in said
    assert "earlier (a run directory)" in said
    assert "broken.png" in said
    said = warnings("check", out, "--only", "fidelity")
    assert "weights are random" in said
    assert "earlier (a run directory)" in said
    said = warnings("scan", network.path, "--samples", samples, "--no-map", "--out", tmp_path / "scan")
    assert "weights are random" in said
    assert "earlier (a run directory)" in said
    said = warnings("score", out)
    assert "weights are random" in said
    assert "Without --target, the models of the runs are the targets" in said
    union = tmp_path / "union"
    warnings("map", network.path, "-c", 0, "-c", "crane (1) + lion (0)", *SETTINGS, "--out", union)
    assert "share a class" in warnings("score", union)
    facts = json.loads(call("doctor", network.path, "--samples", samples, *common).out)
    assert "weights are random" in facts["notes"]
    assert "earlier (a run directory)" in facts["skipped_samples"]
    for page in (out / "report.html", tmp_path / "scan" / "report.html"):
        assert "tiny: its weights are random" in page.read_text(encoding="utf-8")


def test_a_factory_that_loads_its_weights_is_not_said_to_have_random_ones(call, card, tmp_path):
    factory = tiny.FACTORY.replace("    return nn.Sequential(", "    net = nn.Sequential(")
    factory += "    from safetensors.torch import load_file\n"
    factory += "    net.load_state_dict(load_file(__file__[:-7] + 'tiny.safetensors'))\n    return net\n"
    (card.folder / "nets.py").write_text(factory, encoding="utf-8")
    answer = call(
        "map", card.write(weights=None).path, "--trust", "-c", 0, *SETTINGS, "--out", tmp_path / "out", "--json"
    )
    assert answer.code == 0, answer.err
    assert "random" not in answer.err
    assert json.loads(answer.out)["warnings"] == []
