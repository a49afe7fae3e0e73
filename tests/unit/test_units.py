"""Units of a network: the layers that have them, their activations, and what a map of one is."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import phosphene as ph
from phosphene.classifier import Classifier
from phosphene.concepts import FIRST_UNIT, Concept, Sides
from phosphene.engine import Engine
from phosphene.engine.targets import hits, targets_of
from phosphene.engine.units import mean_activations
from phosphene.errors import CardError, ConceptError, PhospheneError, RunError
from phosphene.labels import Labels
from phosphene.mapper.units import engine_and_targets, resolve_units
from phosphene.metrics.predictions import logits_of_maps
from phosphene.samples.pool import make_pool
from phosphene.units import Unit
from tests import tiny

VECTOR = [0.5, 0, 0, -2, 0, 0, 0, 1]


def samples(count=40):
    """Samples of the tiny classifier, uint8."""
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def by_hand(module, images, layer=3, channel=2):
    """The mean activation of a channel of the tiny network for images in [0, 1], computed without hooks."""
    return module[: layer + 1]((images - 0.5) / 0.25)[:, channel].flatten(1).mean(1)


class TestLayers:
    def test_are_listed_in_the_order_of_a_pass_with_shapes_and_units(self):
        found = ph.layers(tiny.classifier())
        assert [(one.name, one.kind, one.shape, one.units) for one in found[:4]] == [
            ("0", "Conv2d", (6, 16, 16), 6),
            ("1", "BatchNorm2d", (6, 16, 16), 6),
            ("2", "ReLU", (6, 16, 16), 6),
            ("3", "Conv2d", (8, 8, 8), 8),
        ]
        assert [(one.name, one.shape, one.units) for one in found[5:]] == [
            ("5", (8, 1, 1), 8),
            ("6", (8,), 8),
            ("7", (5,), 5),
        ]

    def test_leave_no_hook_behind_not_even_when_the_network_fails(self):
        class Fails(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = tiny.network()
                self.failing = False

            def forward(self, x):
                if self.failing:
                    raise ZeroDivisionError
                return self.net(x)

        network = Fails()
        classifier = Classifier(network, size=16, output="logits")
        assert classifier.num_classes == 5
        network.failing = True
        with pytest.raises(ZeroDivisionError):
            ph.layers(classifier)
        assert not any(part._forward_hooks for part in network.modules())

    def test_scripted_networks_have_none_that_can_be_read(self):
        with pytest.warns(DeprecationWarning, match="torch.jit"):
            scripted = torch.jit.trace(tiny.network(), torch.rand(1, 3, 16, 16))
        with pytest.raises(CardError, match="no layer that can be read"):
            ph.layers(Classifier(scripted, size=16))


class TestMeanActivations:
    def test_average_over_positions_of_feature_maps_and_of_tokens(self):
        maps = torch.arange(24.0).view(1, 2, 3, 4)
        assert mean_activations(maps, (3, 4)).tolist() == [[5.5, 17.5]]
        tokens = torch.cat([torch.full((1, 1, 2), 99.0), torch.arange(18.0).view(1, 9, 2)], 1)
        assert mean_activations(tokens, (6, 6)).tolist() == [[8.0, 9.0]]

    def test_flat_outputs_are_their_own_and_others_have_none(self):
        assert mean_activations(torch.tensor([[1.0, 2.0]]), (3, 4)).tolist() == [[1.0, 2.0]]
        assert mean_activations(torch.tensor([[[[1.0]], [[2.0]]]]), (3, 4)).tolist() == [[1.0, 2.0]]
        for output in ((torch.rand(1, 2),), torch.tensor([[1, 2]]), torch.rand(3), torch.rand(1, 2, 7)):
            assert mean_activations(output, (3, 4)) is None


class TestParse:
    def test_channels_one_several_or_the_most_active(self):
        assert Unit.parse("unit:features.3.0:12") == [Unit("features.3.0", 12)]
        assert [one.channel for one in Unit.parse("unit:a:3, 7,5")] == [3, 7, 5]
        assert Unit.parse("unit:a:*") == [Unit("a")]
        assert Unit("a").is_several
        for unit in (Unit("a.b", 0), Unit("a")):
            assert Unit.parse(unit.expression) == [unit]

    @pytest.mark.parametrize(
        "text", ["unit:a", "unit:a:", "unit::3", "unit:a:-1", "unit:a:1.5", "unit:a:x", "unit:a:1,"]
    )
    def test_refuses_what_is_no_channel(self, text):
        with pytest.raises(ConceptError, match="is not a unit: write unit:LAYER:3"):
            Unit.parse(text)

    def test_a_direction_is_the_one_vector_in_a_file_of_any_kind(self, tmp_path):
        vector = torch.tensor(VECTOR)
        np.save(tmp_path / "a.npy", vector.double().numpy()[None])
        np.savez(tmp_path / "a.npz", vector=vector.numpy())
        torch.save(vector.half(), tmp_path / "a.pt")
        save_file({"vector": vector}, tmp_path / "a.safetensors")
        for suffix in ("npy", "npz", "pt", "safetensors"):
            (unit,) = Unit.parse(f"direction:{tmp_path}/a.{suffix}@3")
            assert unit.weights(8).tolist() == VECTOR
            assert unit.label == f"direction:a.{suffix}@3"
            assert Unit.parse(unit.expression) == [unit]
        with pytest.raises(ConceptError, match="holds 8 values, and layer 3 has 6 units"):
            unit.weights(6)

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            ({"a": np.ones(3), "b": np.ones(3)}, "holds 2 arrays"),
            ({"a": np.ones((3, 2))}, r"an array of shape \(3, 2\)"),
            ({"a": np.zeros(3)}, "not all of them 0"),
            ({"a": np.array([1, np.nan])}, "finite values"),
            ({"a": np.array(["x"])}, "cannot be read"),
        ],
    )
    def test_refuses_files_without_one_vector(self, tmp_path, data, why):
        np.savez(tmp_path / "a.npz", **data)
        with pytest.raises(ConceptError, match=why):
            Unit.parse(f"direction:{tmp_path}/a.npz@3")

    @pytest.mark.parametrize(
        "text", ["direction:a.npy", "direction:@3", "direction:a.txt@3", "direction:missing.npy@3"]
    )
    def test_refuses_a_direction_without_its_parts(self, text):
        with pytest.raises(ConceptError):
            Unit.parse(text)


class TestWithUnits:
    def test_a_column_is_the_activation_in_deviations_above_the_99th_percentile(self):
        classifier, images, pool = tiny.classifier(), torch.rand(5, 3, 16, 16), samples()
        of_samples = by_hand(classifier.module, pool / 255)
        limit, spread = of_samples.quantile(0.99), of_samples.std(correction=0)
        with Engine(classifier, device="cpu", micro_batch=3) as engine, torch.no_grad():
            found = engine.with_units([Unit("3", 2)], pool).logits(images)
            plain = engine.logits(images)
            expected = (by_hand(classifier.module, images) - limit) / spread
        assert torch.allclose(found[:, :5], plain, atol=1e-6)
        assert torch.allclose(found[:, 5], expected, atol=1e-4)

    def test_the_loss_pushes_nothing_down(self):
        classifier, pool = tiny.classifier(), samples()
        nu, batch = torch.zeros(1, 3, 16, 16), pool[None, :4]
        concept = Concept.of_unit(Unit("3", 2))
        with Engine(classifier, device="cpu") as engine:
            reader, targets = engine_and_targets(engine, [concept], make_pool(pool, "samples"))
            found = reader.mean_gradients(batch, nu, targets, "log-odds").gradient
            spread = reader.classifier.scales[0][1]
        leaf = (batch[0] / 255).requires_grad_()
        (expected,) = torch.autograd.grad(-by_hand(classifier.module, leaf).sum() / spread, leaf)
        assert torch.allclose(found[0], expected.mean(0), atol=1e-5)

    def test_a_unit_is_read_before_the_next_module_changes_it_in_place(self):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        classifier, pool = Classifier(network, size=16, output="logits"), samples()
        with Engine(classifier, device="cpu") as engine, torch.no_grad():
            values = engine.activations_of_samples(pool, "0")
            assert torch.allclose(values, network[0](pool / 255).mean((2, 3)), atol=1e-5)
        assert (values < 0).any()

    def test_is_measured_on_every_sample_where_memory_runs_out(self):
        pool = samples()
        with Engine(tiny.classifier(), device="cpu", micro_batch=32) as engine:
            expected = engine.activations_of_samples(pool, "3")
        classifier = tiny.classifier()
        tiny.limit_memory(classifier.module[4], 10)
        with Engine(classifier, device="cpu", micro_batch=32) as engine:
            view = engine.with_units([Unit("3", 2)], pool)
            torch.testing.assert_close(engine.activations_of_samples(pool, "3"), expected)
            assert (engine.micro_batch, view.micro_batch) == (8, 8)

    def test_what_one_engine_measures_the_other_does_not_take_for_its_own(self):
        pool = samples()
        with Engine(tiny.classifier(), device="cpu") as engine:
            engine.added = {}  # as what an engine may keep one day
            plain = engine.logits_of_samples(pool)
            view = engine.with_units([Unit("3", 2)], pool)
            assert not hasattr(view, "added")
            assert view.logits_of_samples(pool).shape[1] == plain.shape[1] + 1
            assert engine.logits_of_samples(pool) is plain

    def test_is_closed_with_its_engine_and_says_so(self):
        with Engine(tiny.classifier(), device="cpu") as engine:
            view = engine.with_units([Unit("3", 2)], samples())
            inner = view.with_units([Unit("3", 1)], samples())
        for closed in (engine, view, inner):
            with pytest.raises(PhospheneError, match="the engine is closed"):
                closed.logits(torch.rand(1, 3, 16, 16))

    def test_leaves_no_hook_behind_when_the_network_fails(self):
        classifier = tiny.classifier()
        with Engine(classifier, device="cpu") as engine:
            reader = engine.with_units([Unit("3", 2)], samples())
            last, classifier.module[7] = classifier.module[7], nn.Linear(4, 5)
            with pytest.raises(RuntimeError):
                reader.logits(torch.rand(1, 3, 16, 16))
            classifier.module[7] = last
            assert engine.logits(torch.rand(1, 3, 16, 16)).shape == (1, 5)
        assert not any(part._forward_hooks for part in classifier.module.modules())

    def test_tokens_of_a_transformer_have_units_too(self):
        class Tokens(nn.Module):
            def __init__(self):
                super().__init__()
                self.patches = nn.Conv2d(3, 8, 4, 4)
                self.block = nn.Linear(8, 8)
                self.head = nn.Linear(8, 5)

            def forward(self, x):
                return self.head(self.block(self.patches(x).flatten(2).transpose(1, 2)).mean(1))

        classifier = Classifier(Tokens(), size=16, output="logits")
        assert {one.name: one.shape for one in ph.layers(classifier)}["block"] == (16, 8)
        maps = ph.map_concepts(
            classifier, "unit:block:3", samples="synthetic:noise", overrides=tiny.SHORT, progress=False
        )
        assert maps[0].nu.abs().max() > 0


class TestTargets:
    def test_units_have_columns_after_the_classes_and_are_told_from_none(self):
        unit = Sides(())
        assert targets_of([unit, Sides((1,)), unit], 3).tolist() == [
            [0, 0, 0, 1, 0, -1],
            [-1, 1, -1, 0, 0, 0],
            [0, 0, 0, 0, 1, -1],
        ]
        assert targets_of([unit, Sides((1,))], 3, multi_label=True).tolist() == [[0, 0, 0, 1, -1], [0, 1, 0, 0, -1]]

    def test_a_sample_counts_if_it_is_above_the_limit(self):
        targets = targets_of([Sides(())] * 3, 2)[[0, 0, 0]][:, [0, 1, 2, 5]]
        logits = torch.tensor([[9.0, 9.0, 0.5], [-9.0, -9.0, -0.5], [0.0, 0.0, 3.0]])
        assert hits(logits, targets).tolist() == [True, False, True]

    def test_a_unit_that_no_sample_activates_is_not_active_in_all(self):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        with torch.no_grad():
            network[0].bias.fill_(-1e3)
        classifier, pool = Classifier(network, size=16, output="logits"), make_pool(samples(), "samples")
        (one,) = ph.map_concepts(classifier, "unit:1:0", samples=pool, overrides=tiny.SHORT, progress=False)
        assert (one.p_class, one.targeting_rate) == (0, 0)


class TestResolve:
    def test_the_most_active_are_those_of_the_largest_mean(self):
        classifier, pool = tiny.classifier(), make_pool(samples(), "samples")
        means = torch.stack([by_hand(classifier.module, pool.pixels / 255, 4, one).mean() for one in range(8)])
        found = resolve_units([Concept.of_unit(Unit("4")), Concept.of_class(0, "lion")], classifier, pool, 3)
        assert sorted(one.unit.channel for one in found[:3]) == sorted(means.topk(3).indices.tolist())
        assert found[3].is_class

    @pytest.mark.parametrize(
        ("unit", "why"),
        [
            (Unit("stage", 0), "has no layer 'stage'.*`phosphene layers tiny` lists them"),
            (Unit("3", 8), "layer 3 has no channel 8: name one from 0 to 7"),
        ],
    )
    def test_what_the_network_has_not_is_refused(self, unit, why):
        pool = make_pool(samples(), "samples")
        with pytest.raises(ConceptError, match=why):
            resolve_units([Concept.of_unit(unit)], tiny.classifier(), pool)

    def test_the_nearest_layers_are_named(self, network, pool):
        with pytest.raises(ConceptError, match=r"Did you mean blocks.0"):
            resolve_units([Concept.of_unit(Unit("block.0", 0))], network, pool)

    def test_a_class_of_that_name_wins(self):
        classifier = tiny.classifier(labels=("unit:3:2", "b", "c", "d", "e"))
        maps = ph.map_concepts(classifier, "unit:3:2", samples="synthetic:noise", overrides=tiny.SHORT, progress=False)
        assert maps[0].index == 0


class TestMaps:
    def test_a_map_raises_its_unit_for_samples_that_had_no_part_in_it(self, network, pool):
        overrides = {"steps": 30, "batch_size": 8}
        maps = ph.map_concepts(network, ["unit:blocks.1:5", "star"], samples=pool, overrides=overrides, progress=False)
        one = maps["unit:blocks.1:5"][0]
        with Engine(network, device="cpu") as engine:
            reader = engine.with_units([Unit("blocks.1", 5)], pool.pixels)
            before = reader.logits(pool.held_out / 255)[:, -1]
            after = reader.logits((pool.held_out / 255 - one.nu).clamp(0, 1))[:, -1]
            value = logits_of_maps(reader, [one])[0, -1]
            below = (
                engine.activations_of_samples(pool.pixels, "blocks.1")[:, 5] < reader.classifier.scales[0][0]
            ).float()
        assert after.mean() > before.mean() + 1
        assert one.targeting_rate == pytest.approx(float((after > 0)[before <= 0].float().mean()), abs=0.05)
        assert below.mean() == pytest.approx(0.99, abs=0.005)
        assert (one.p_class > 0.99) == (value > 0)
        alone = ph.map_concepts(network, "star", samples=pool, overrides=overrides, progress=False)
        assert torch.equal(alone[0].nu, maps["star"][0].nu)

    def test_a_run_stores_finds_and_reads_it_again(self, tmp_path, network, pool):
        np.save(tmp_path / "a, b.npy", np.arange(1, 65, dtype=np.float32))
        names = [f"direction:{tmp_path / 'a, b.npy'}@blocks.1", "unit:blocks.0:3"]
        how = {"samples": pool, "overrides": {"steps": 2, "batch_size": 2}, "progress": False}
        maps = ph.map_concepts(network, names, out=tmp_path / "run", **how)
        (tmp_path / "a, b.npy").unlink()
        again = list(ph.open_run(tmp_path / "run").maps())
        assert [one.label for one in again] == ["unit:blocks.0:3", "direction:a  b.npy@blocks.1"]
        assert {one.concept for one in again} == {one.concept for one in maps}
        assert all(FIRST_UNIT <= one.index < 2**53 for one in again)
        assert maps[names[0]][0].label == again[1].label
        assert maps["unit:blocks.0:3"][0].concept.unit == Unit("blocks.0", 3)
        assert "percentile" in repr(again[0])
        assert not ph.open_run(tmp_path / "run").path.joinpath("readings.json").exists()

    def test_a_damaged_unit_is_an_error_of_the_run(self):
        for unit in ({"layer": "a", "chanel": 3}, "a", None):
            with pytest.raises(RunError, match="concept 'unit:a:3' is damaged"):
                Concept.of_facts({"index": FIRST_UNIT + 3, "label": "unit:a:3", "unit": unit})

    def test_concepts_are_ordered_classes_first_units_last(self):
        labels = Labels(["a", "b", "c"])
        several = [
            Concept.of_unit(Unit("l", 10)),
            Concept.of_sides(Sides((0, 1)), labels),
            Concept.of_unit(Unit("l", 9)),
        ]
        several.append(Concept.of_class(2, "c"))
        assert [one.label for one in sorted(several, key=lambda one: one.order)] == [
            "c",
            "a + b",
            "unit:l:9",
            "unit:l:10",
        ]
