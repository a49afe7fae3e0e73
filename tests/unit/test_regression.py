"""Regression networks: outputs are pulled up or down by their own value, and what needs classes refuses them."""

import json
import re
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

import phosphene as ph
from phosphene.arguments import to_concepts
from phosphene.classifier import Classifier
from phosphene.concept_map import Job, p_class_name, render
from phosphene.concepts import Concept, kind_and_index
from phosphene.engine import Engine
from phosphene.errors import CardError, ConceptError, RunError, SamplesError
from phosphene.expressions import find_among
from phosphene.mapper import map_jobs
from phosphene.mapper.units import engine_and_targets
from phosphene.metrics.matching import match_maps
from phosphene.metrics.range_check import range_doubt
from phosphene.metrics.scorecard import Score
from phosphene.recipe import resolve
from phosphene.runs.predictions import read_predictions
from phosphene.samples.pool import make_pool
from phosphene.units import Unit
from phosphene.workflows.doctor import examine_model
from tests import tiny

# The network has no weights.
pytestmark = pytest.mark.filterwarnings("ignore:.*no layer whose features can be read")

LABELS = ["brightness, mean", "red", "contrast + noise"]


class Meter(nn.Module):
    """Measures the mean of all values, less 3, the mean of red, and minus the mean of green."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(2)  # a spatial layer, which every mapped network needs

    def forward(self, x):
        means = self.pool(x).mean((2, 3))
        return torch.stack([means.mean(1) - 3, means[:, 0], -means[:, 1]], 1)


def meter(**changes):
    return Classifier(Meter(), **({"size": 16, "output": "regression", "labels": LABELS, "name": "meter"} | changes))


def resize(images, size):
    return functional.interpolate(images, (size, size), mode="bilinear", antialias=True)


@pytest.fixture
def pool():
    """Samples of different brightness and colour."""
    generator = torch.Generator().manual_seed(4)
    levels = torch.rand(60, 3, 1, 1, generator=generator)
    noise = torch.rand(60, 3, 16, 16, generator=generator)
    return make_pool((200 * levels + 50 * noise).to(torch.uint8), "samples")


def concepts(*names):
    return [to_concepts(name, meter())[0] for name in names]


class TestNames:
    def test_an_output_is_high_or_low(self):
        high, low = concepts("brightness", "low:mean")
        assert high.unit == Unit(channel=0, output="brightness, mean")
        assert low.unit == Unit(channel=0, output="brightness, mean", low=True)
        assert (high.label, low.label) == ("brightness, mean", "low:brightness, mean")
        assert high.index != low.index
        assert {kind_and_index(one.index, one.label) for one in (high, low)} == {"output"}

    def test_expressions_and_facts_mean_the_same_output(self):
        for one in concepts("red", "low:2", "low:brightness", "contrast + noise"):
            assert concepts(one.expression) == [one]
            row = {"index": one.index, "label": one.label, **one.facts()}
            assert Concept.of_facts(row) == one
            assert find_among(one.expression, concepts("low:red", one.expression), "run") == one.index

    def test_all_are_the_high_ones(self):
        found = to_concepts(None, meter())
        assert [(one.unit.channel, one.unit.low) for one in found] == [(0, False), (1, False), (2, False)]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("red + brightness", "are mapped one by one, by -c NAME or -c low:NAME"),
            ("red vs brightness", "are mapped one by one"),
            ("low:redd", "Did you mean red"),
            ("low:7", "^output index 7 is out of range: the network has outputs 0 to 2"),
            ("7", "^output index 7 is out of range"),
            ("nope", "^no output is called 'nope'. Try an index, or one of brightness, red, "),
            ("low:", "'low:' lacks a name: write low:NAME, such as 'low:brightness'"),
            ("low: ", "lacks a name"),
            ("text:nice", "and meter has outputs: name one of them, such as 'brightness'"),
        ],
    )
    def test_what_is_no_output_is_refused(self, text, why):
        with pytest.raises(ConceptError, match=why) as error:
            concepts(text)
        assert "class" not in str(error.value)

    def test_low_is_refused_for_classes(self):
        with pytest.raises(ConceptError, match='card says output = "regression"'):
            ph.map_concepts(tiny.classifier(), "low:lion", progress=False)

    def test_without_labels_they_are_numbered(self):
        assert list(meter(labels=None).labels) == ["output 0", "output 1", "output 2"]


class TestColumns:
    def test_are_the_distance_to_the_99th_percentile_in_deviations_up_or_down(self, pool):
        images = torch.rand(5, 3, 16, 16)
        with Engine(meter(), device="cpu", micro_batch=7) as engine:
            reader, targets = engine_and_targets(engine, concepts("red", "low:red"), pool)
            found = reader.logits(images)
        assert targets.tolist() == [[0, 0, 0, 1, 0, -1], [0, 0, 0, 0, 1, -1]]
        of_samples = pool.pixels[:, 0].float().mean((1, 2)) / 255
        own, spread = images[:, 0].mean((1, 2)), of_samples.std(correction=0)
        assert torch.allclose(found[:, 3], (own - of_samples.quantile(0.99)) / spread, atol=1e-4)
        assert torch.allclose(found[:, 4], (of_samples.quantile(0.01) - own) / spread, atol=1e-4)

    def test_gradients_are_those_of_the_bare_output(self, pool):
        with Engine(meter(), device="cpu") as engine:
            reader, targets = engine_and_targets(engine, concepts("red", "low:red"), pool)
            nu, batch = torch.zeros(2, 3, 16, 16), pool.pixels[:4].expand(2, 4, 3, 16, 16)
            found = reader.mean_gradients(batch, nu, targets, "log-odds").gradient
        spread = (pool.pixels[:, 0].float().mean((1, 2)) / 255).std(correction=0)
        slope = torch.zeros(3, 16, 16)
        slope[0] = -1 / (16 * 16 * spread)  # the loss falls as the mean of red rises
        assert torch.allclose(found, torch.stack([slope, -slope]), atol=1e-5)


class TestMaps:
    def test_take_the_output_where_they_are_meant_to(self, pool):
        wanted = ["brightness", "low:brightness"]
        maps = ph.map_concepts(meter(), wanted, samples=pool, overrides={"steps": 30}, device="cpu", progress=False)
        high, low = (maps[name][0] for name in wanted)
        moved = [float((pool.pixels / 255 - one.nu).clamp(0, 1).mean()) for one in (high, low)]
        assert moved[1] + 0.1 < float(pool.pixels.double().mean() / 255) < moved[0] - 0.1
        limit = (pool.pixels / 255).mean((1, 2, 3)).quantile(0.99)
        held_out = (pool.held_out / 255)[(pool.held_out / 255).mean((1, 2, 3)) < limit]
        above = (held_out - high.nu).clamp(0, 1).mean((1, 2, 3)) > limit
        assert high.targeting_rate == pytest.approx(float(above.double().mean()), abs=1e-6)
        assert p_class_name(high.index) == "percentile"

    @pytest.mark.parametrize("shape", [(-1, 1), (-1,)])
    def test_one_output_is_no_class_of_two(self, pool, shape):
        class Age(nn.Module):
            def __init__(self):
                super().__init__()
                self.pool = nn.AvgPool2d(2)

            def forward(self, x):
                return self.pool(x).mean((1, 2, 3)).reshape(shape)

        age = Classifier(Age(), size=16, output="regression", labels=["age"])
        assert (age.num_classes, list(age.labels)) == (1, ["age"])
        assert age.logits(torch.full((2, 3, 16, 16), 0.25)).tolist() == [[0.25], [0.25]]
        assert "measurements" in age.notes[-1]
        (one,) = ph.map_concepts(age, "low:age", samples=pool, overrides=tiny.SHORT, progress=False)
        assert one.concept.unit.low

    def test_are_saved_and_read_as_what_they_are(self, pool, tmp_path):
        maps = ph.map_concepts(meter(), "low:red", samples=pool, overrides=tiny.SHORT, progress=False)
        run = maps.save(tmp_path / "run")
        assert [one.unit for one in run.concepts()] == [Unit(channel=1, output="red", low=True)]
        assert next(run.maps()).concept == maps[0].concept


class Backwards(Meter):
    """The same measurements in the other order, twice as large."""

    def forward(self, x):
        return 2 * super().forward(x).flip(1)


class TestScores:
    """Another network of half the size measures the maps and the samples, both resized to its input."""

    @pytest.fixture
    def maps(self, pool):
        names = ["brightness", "low:brightness", "contrast + noise"]
        how = {"samples": pool, "seeds": 2, "overrides": {"steps": 30}, "device": "cpu", "progress": False}
        return ph.map_concepts(meter(), names, **how)

    @pytest.fixture
    def other(self):
        return Classifier(Backwards(), size=8, output="regression", labels=LABELS[::-1], name="other")

    def test_are_percentiles_of_the_targets_own_values(self, maps, other, pool):
        (score,) = ph.score(maps, other, device="cpu", progress=False)
        samples = resize((pool.pixels / 255), 8)  # the scores round them to 8 bits
        images = resize(render(torch.stack([one.nu for one in maps]), 0.2), 8)
        known, values = other.logits(samples), other.logits(images)
        right, percentiles = [], []
        for one, found in zip(maps, values, strict=True):
            column = LABELS[::-1].index(one.concept.unit.output)
            low, high = known[:, column].quantile(torch.tensor([0.01, 0.99])).tolist()
            value, less = float(found[column]), known[:, column] < found[column]
            right.append(value < low if one.concept.unit.low else value > high)
            percentiles.append(float((less != one.concept.unit.low).double().mean()))
        assert score.top1_all == sum(right) / 6 > 0
        assert [one.right for one in score.per_concept] == [sum(right[place : place + 2]) for place in (0, 2, 4)]
        assert score.p_class == pytest.approx(sum(percentiles) / 6, abs=2 / len(pool.pixels))
        assert [one.target_index for one in score.per_concept] == [2, 2, 0]
        assert (score.m_score, score.interval, score.top1_concepts, score.maps, score.concepts) == (
            None,
            None,
            None,
            6,
            3,
        )
        assert score.m_score_note.startswith("M_score compares probabilities of classes")
        assert Score.from_dict(json.loads(json.dumps(score.to_dict()))) == score

    def test_are_shown_as_percentiles(self, maps, other):
        scores = ph.score(maps, other, device="cpu", progress=False)
        assert repr(scores[0]).startswith("Score(meter → other: M_score -, beyond the 99th percentile ")
        for html in (scores._repr_html_(), scores[0]._repr_html_()):
            assert "beyond the 99th percentile" in html
            assert "percentile</th>" in html
            assert "top-1, all classes" not in html
            assert "p of the class" not in html

    def test_do_not_depend_on_the_seeds_beside_them(self, maps, other):
        (score,) = ph.score(maps, other, device="cpu", progress=False)
        (alone,) = ph.score(maps["low:brightness"], other, device="cpu", progress=False)
        assert alone.per_concept[0].right == score.per_concept[1].right
        assert alone.per_concept[0].p_class == pytest.approx(score.per_concept[1].p_class, abs=0.02)

    def test_of_a_saved_run_need_its_samples_or_others(self, maps, other, pool, tmp_path):
        run = maps.save(tmp_path / "run")
        with pytest.raises(
            SamplesError, match=r"run.s samples cannot be had again, choose others \(--samples, or samples="
        ):
            ph.score(run, other, progress=False)
        (score,) = ph.score(run, other, samples=pool, device="cpu", progress=False)
        (in_memory,) = ph.score(maps, other, device="cpu", progress=False)
        assert score.per_concept == in_memory.per_concept
        assert read_predictions(run) == []
        with pytest.raises(RunError, match=r"do not know what they were made from .*, or give samples"):
            ph.score([replace(one) for one in maps], other, progress=False)

    def test_outputs_and_classes_are_scored_apart(self, maps):
        with pytest.raises(ConceptError, match=r"tiny has classes: score them on a network whose card says output"):
            ph.score(maps, tiny.classifier(), progress=False)
        with pytest.raises(ConceptError, match=r"some maps are of outputs .* and some of classes"):
            match_maps([*concepts("red"), Concept.of_class(0, "lion")], meter())
        with pytest.raises(ConceptError, match=r"1 of 1 concepts have no class of their own in meter: 'blue'"):
            match_maps([Concept.of_unit(Unit(channel=0, output="blue"))], meter())
        with pytest.raises(ConceptError, match="at least 2 different ones"):
            ph.m_score(maps, meter())


class TestChecks:
    """A network of two blocks and a head, whose outputs all depend on every block."""

    @pytest.fixture
    def maps(self, pool):
        torch.manual_seed(0)
        parts = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        network = Classifier(nn.Sequential(*parts, nn.Linear(8, 2)), size=16, output="regression", labels=["a", "b"])
        how = {"samples": pool, "overrides": tiny.SHORT, "device": "cpu", "progress": False}
        return ph.map_concepts(network, ["a", "b", "low:a", "low:b"], **how)

    def test_cascade_randomises_what_outputs_depend_on(self, maps):
        (found,) = ph.check(maps, only="cascade", progress=False, device="cpu")
        assert found.figures["blocks"] == 3
        assert {"hog_at_1", "top1_at_1", "hog_at_2", "top1_at_3"} <= set(found.figures)
        assert "the new maps resemble the original ones" in found.explanation
        assert "in the trained network, " in found.explanation
        assert "take their output beyond the 99th percentile of the samples" in found.explanation

    def test_speak_of_outputs_and_percentiles(self, maps):
        found = {one.name: one for one in ph.check(maps, progress=False, device="cpu")}
        assert "unions, contrasts, units or outputs" in found.pop("permuted-labels").explanation
        for one in found.values():
            assert not re.search(r"\bclass|\bp \d", one.explanation), one.explanation
        assert "mean percentile" in found["random-weights"].explanation
        assert "mean percentile" in found["fidelity"].explanation
        assert 0 <= found["fidelity"].figures["p_class_at_0.2"] <= 1

    def test_figures_are_the_percentiles_of_the_maps(self, maps):
        """The maps' own are at the recipe's contrast, and the check of fidelity has that among its own."""
        (found,) = ph.check(maps, only="fidelity", progress=False, device="cpu")
        at = f"p_class_at_{maps[0].contrast:g}"
        assert found.figures[at] == pytest.approx(sum(one.p_class for one in maps) / 4, abs=0.02)


class TestRefusals:
    def test_what_needs_classes_says_so_in_one_line(self, pool):
        clean = tiny.classifier()
        with pytest.raises(CardError, match=r"^a scan needs classes, and the outputs of meter are measurements"):
            ph.scan(meter(), samples=pool, progress=False)
        with pytest.raises(CardError, match=r"^a scan needs classes"):
            ph.scan(clean, samples=pool, reference=[meter()], progress=False)
        with pytest.raises(CardError, match=r"^a score of maps of classes needs classes"):
            match_maps([Concept.of_class(0, "red")], meter())
        with pytest.raises(CardError, match=r"^a search for confused pairs needs classes"):
            ph.map_models([meter()], confused=1, samples=pool, progress=False)

    def test_a_job_of_a_class_is_not_mapped_as_a_softmax(self, pool):
        with (
            Engine(meter(), device="cpu") as engine,
            pytest.raises(CardError, match=r"^a map of a class needs classes"),
        ):
            map_jobs(engine, pool, [Job(1, 0)], resolve("vivid"))

    def test_the_range_is_not_judged_by_a_softmax(self, pool):
        assert range_doubt(meter(), pool, device="cpu") is None
        found = examine_model(meter(), pool, device="cpu")
        assert found["outputs"] == 3
        assert found["measurements"].startswith("means -2.")
        assert not found.keys() & {"confidence", "predictions", "range", "classes"}
