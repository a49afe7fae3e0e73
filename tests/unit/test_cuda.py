"""On a GPU: the same maps as on the CPU up to rounding, alone or in a group, replayed or not, compiled or not.

They are skipped on a machine without a GPU, and CI has none: run them on one after a change of the engine
(`pytest tests/unit/test_cuda.py`).
"""

import copy
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from phosphene.backdoor.plant import plant
from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.errors import NumericError, SpeedWarning
from phosphene.mapper import MapOptimization, map_jobs
from phosphene.recipe import resolve
from phosphene.samples import load_samples
from phosphene.workflows.estimate import estimate
from phosphene.workflows.map import execute
from phosphene.workflows.plan import plan
from tests import grey
from tests.groups import InGroups

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore:.*is deprecated. Please switch to:DeprecationWarning"),  # torch.compile's own
]

JOBS = [Job(index) for index in range(3)]
RECIPES = {
    "vivid": resolve("vivid", {"steps": 30}),
    "plain": resolve("vivid", {"steps": 20, "statistics": 0.0}),
    "quick": resolve("quick", {"steps": 25, "refine_steps": 15}),
    "paper": resolve("paper", {"steps": 12, "refine_steps": 8, "batch_size": 16}),
}


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """A cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def pool(network):
    """Drawn, but named as natural samples are, whose statistics recipes use."""
    return replace(load_samples("synthetic:mixed", network.input.shape), spec="natural")


def gradients(network, **how):
    """Gradients of two maps on five samples each, on the CPU."""
    generator = torch.Generator().manual_seed(1)
    samples = torch.randint(0, 256, (2, 5, *network.input.shape), dtype=torch.uint8, generator=generator)
    nu = torch.randn(2, *network.input.shape, generator=generator) / 10
    with Engine(network, **how) as engine:
        put = engine.device
        return engine.mean_gradients(
            samples.to(put), nu.to(put), torch.tensor([0, 3], device=put), "log-odds"
        ).gradient.cpu()


def cosine(one, other):
    return float(nn.functional.cosine_similarity(one.nu.flatten(), other.nu.flatten(), 0))


@pytest.mark.parametrize("compiled", ["off", "on"])
def test_gradients_are_those_of_the_cpu(network, compiled):
    expected = gradients(network, device="cpu")
    found = gradients(network, device="cuda", precision="fp32", compile=compiled)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-4 * float(expected.abs().max()))


def test_bf16_gradients_point_the_same_way(network):
    one, other = (gradients(network, device="cuda", precision=precision).flatten() for precision in ("fp32", "bf16"))
    assert nn.functional.cosine_similarity(one, other, 0) > 0.95


@pytest.mark.parametrize("precision", ["fp64", "fp32", "bf16"])
def test_maps_are_classified_as_their_class_and_a_group_changes_them_little(network, pool, precision):
    recipe = resolve("vivid")
    with Engine(network, device="cuda", precision=precision) as engine:
        together = map_jobs(engine, pool, JOBS, recipe)
        (single,) = map_jobs(engine, pool, JOBS[:1], recipe)
    assert min(one.p_class for one in together) > 0.9
    assert cosine(single, together[0]) > (0.999 if precision == "fp64" else 0.8)  # rounding grows from step to step


# --- replayed steps


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_replayed_maps_are_the_eager_ones(network, pool, recipe):
    with Engine(network, device="cuda", precision="fp64") as engine:
        captured, engine._captured = engine._captured, None
        eager = map_jobs(engine, pool, JOBS, recipe)
        eager += map_jobs(engine, pool, JOBS[:2], recipe)
        engine._captured = captured
        with warnings.catch_warnings(action="error"):
            replayed = map_jobs(engine, pool, JOBS, recipe)
            replayed += map_jobs(engine, pool, JOBS[:2], recipe)
            again = map_jobs(engine, pool, JOBS, recipe)  # replayed from the first step
        kinds = 1 + bool(recipe.statistics)  # of steps: some measure the weight of the statistics
        assert all(len(step.proved) == 2 * kinds for step in captured.steps.values())  # two sizes of groups
        assert len(captured.steps) == 1 + bool(recipe.refine_steps)
    for one, other in zip([*replayed, *again], [*eager, *eager[:3]], strict=True):
        assert cosine(one, other) > 0.999
        assert one.loss[-1] == pytest.approx(other.loss[-1], rel=0.05, abs=0.05)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_are_replayed_in_every_precision(network, pool, precision):
    with Engine(network, device="cuda", precision=precision) as engine, warnings.catch_warnings(action="error"):
        maps = map_jobs(engine, pool, JOBS, resolve("vivid"))
        assert [len(step.proved) for step in engine._captured.steps.values()] == [
            2
        ]  # with a weight to measure, and without
    assert min(one.p_class for one in maps) > 0.9


def test_a_compiled_network_is_replayed(network, pool):
    with Engine(network, device="cuda", precision="fp32", compile="on") as engine:
        maps = map_jobs(engine, pool, JOBS, resolve("vivid"))
        assert [len(step.proved) for step in engine._captured.steps.values()] == [
            2
        ]  # with a weight to measure, and without
    assert min(one.p_class for one in maps) > 0.9


@pytest.mark.parametrize("compiled", ["off", "on"])
def test_depthwise_convolutions_are_replayed_with_channels_first(pool, compiled):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 12, 1)]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).to(memory_format=torch.channels_last)
    separable = Classifier(module, size=96, name="separable")
    recipe = resolve("vivid", {"steps": 40})
    with Engine(separable, device="cpu", precision="fp64") as engine:
        (expected,) = map_jobs(engine, pool, JOBS[:1], recipe)
    with Engine(separable, device="cuda", precision="fp64", compile=compiled) as engine:
        (found,) = map_jobs(engine, pool, JOBS[:1], recipe)
        assert module[1].weight.stride() == (9, 9, 3, 1)
        assert [len(step.proved) for step in engine._captured.steps.values()] == [2]
    assert cosine(found, expected) > 0.99


class Branching(nn.Module):
    """A network that looks at its input to choose its way."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Linear(8, 4)
        self.last = nn.ReLU()

    def forward(self, x):
        features = self.first(x) if float(x.detach().mean()) > 0.5 else self.second(x)
        return self.head(self.last(features).mean((2, 3)))


def test_a_network_that_branches_on_its_input_is_mapped_eagerly(network, pool):
    branching = Classifier(Branching(), size=32, name="branching")
    small = load_samples("synthetic:mixed", branching.input.shape)
    recipe = RECIPES["vivid"]
    with Engine(branching, device="cpu", precision="fp64") as engine:
        (expected,) = map_jobs(engine, small, JOBS[:1], recipe)
    with (
        Engine(branching, device="cuda", precision="fp64") as engine,
        pytest.warns(SpeedWarning, match="branching cannot be replayed"),
    ):
        (found,) = map_jobs(engine, small, JOBS[:1], recipe)
    with Engine(network, device="cuda", precision="fp64") as engine:  # the device is not upset
        later = map_jobs(engine, pool, JOBS[1:2], RECIPES["quick"].replace(refine_steps=0))
    assert cosine(found, expected) > 0.99
    assert torch.isfinite(later[0].nu).all()


# --- what is fetched late


def test_a_state_between_two_fetches_goes_on_to_the_same_map(network, pool):
    recipe = RECIPES["quick"]
    with Engine(network, device="cuda", precision="fp64") as engine:
        expected = map_jobs(engine, pool, JOBS[:2], recipe)
        begun, numbers = MapOptimization(engine, pool, JOBS[:2], recipe), []
        for step in begun:
            numbers.append(step.number)
            if step.number == 13:
                break
        resumed = MapOptimization(engine, pool, JOBS[:2], recipe, begun.state())
        assert [step.number for step in resumed] == list(range(21, 41))
        for one, other in zip(resumed.finish(), expected, strict=True):
            assert cosine(one, other) > 0.999


def test_nan_is_reported_with_its_step():
    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.limit = nn.Conv2d(3, 4, 3), nn.Parameter(torch.tensor(1e9))

        def forward(self, x):
            logits = self.conv(x).relu().mean((2, 3))
            return logits / (logits < self.limit)

    fragile = Classifier(Fragile(), size=16, name="fragile")
    pool = load_samples("synthetic:noise", fragile.input.shape)
    recipe = RECIPES["vivid"].replace(steps=40)
    with Engine(fragile, device="cuda") as engine:
        making = iter(MapOptimization(engine, pool, JOBS[:1], recipe))
        for _ in range(20):
            next(making)
        fragile.module.limit.data.fill_(-1e9)  # the recording reads it where it lies
        with pytest.raises(NumericError, match="NaN or infinity at step 21 of 40"):
            next(making)


# --- settings, files


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_tf32_holds_as_long_as_the_engine_is_open(network, precision):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with Engine(network, device="cuda", precision=precision):
        assert torch.backends.cudnn.allow_tf32 == (precision == "auto")
        assert not torch.backends.cuda.matmul.allow_tf32
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


@pytest.mark.parametrize("compiled", ["off", "auto"])
def test_a_run_is_planned_estimated_made_and_written(network, pool, tmp_path, compiled):
    seen = []

    def on_map(found):
        assert (found.index, found.seed) in todo.run.finished_folders()
        seen.append(found)

    todo = plan(network, RECIPES["vivid"], pool, tmp_path / "run", None, [0, 1], device="cuda", compile=compiled)
    assert estimate(todo).seconds > 0
    assert execute(todo, executor=InGroups(5), on_map=on_map).made == len(todo.jobs) == len(seen)
    assert not (todo.run.path / ".checkpoints").exists()


@pytest.mark.parametrize("home", ["cpu", "cuda"])
def test_a_backdoor_is_planted_on_the_gpu_wherever_the_network_is(home):
    """The copy ends up where the original is."""
    original = copy.deepcopy(grey.clean())
    original.module.to(home)
    schedule = replace(grey.SCHEDULE, distil=0.1)
    how = {"poison_rate": 0.2, "schedule": schedule, "device": "cuda"}
    made = plant(original, grey.samples(), grey.TRIGGER, grey.TARGET, **how)
    assert made.success >= 0.9
    for one in (original, made.classifier):
        assert {parameter.device.type for parameter in one.module.parameters()} == {home}
