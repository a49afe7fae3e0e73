"""Steps that are replayed give the maps of eager ones, or none is replayed; what is fetched late keeps its step.

The real recorder needs a GPU (test_cuda.py). Here recordings are functions that call the step again, as it is or with a
fault that a recording may have.
"""

import contextlib
import gc
import warnings
import weakref

import pytest
import torch

from phosphene.concept_map import Job
from phosphene.concepts import Concept
from phosphene.engine import Engine
from phosphene.engine.capture import EAGER_CALLS, CapturedSteps
from phosphene.engine.device import tf32_convolutions
from phosphene.errors import NumericError, SpeedWarning
from phosphene.mapper import MapOptimization, map_jobs
from phosphene.mapper.draws import draw_ahead
from phosphene.mapper.views import draw_views
from phosphene.recipe import Recipe, resolve
from phosphene.units import Unit
from tests import hand
from tests.twice import assert_same_map

JOBS = [Job(0), Job(2, seed=5), Job(1)]
UNITS = [Job.of(Concept.of_unit(Unit("stem", channel))) for channel in range(3)]
RECIPES = {
    "vivid": resolve("vivid", {"steps": 9}),  # a weight is measured at four of them, which are another step
    "plain": resolve("vivid", {"steps": 15, "statistics": 0.0}),
    "quick": resolve("quick", {"steps": 14, "refine_steps": 11}),
    "paper": resolve("paper", {"steps": 12, "refine_steps": 7, "batch_size": 6}),
}


def replaying(log):
    """A recorder whose recordings take the step that was recorded; ``log`` counts recordings and replays."""

    def record(step, inputs):
        log["recorded"] = log.get("recorded", 0) + 1

        def replay(*given):
            log["replayed"] = log.get("replayed", 0) + 1
            return step(*given)

        return replay

    return record


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_replayed_and_fetched_late_maps_are_the_same(network, pool, recipe):
    log = {}
    with Engine(network, device="cpu", precision="fp64") as plain:
        expected = map_jobs(plain, pool, JOBS, recipe)
        again = map_jobs(plain, pool, JOBS[:1], recipe)
    with Engine(network, device="cpu", precision="fp64") as fast:
        fast.steps_per_fetch, fast._captured = 4, CapturedSteps("shapes", replaying(log))
        found = map_jobs(fast, pool, JOBS, recipe)
        before = dict(log)
        found += map_jobs(fast, pool, JOBS[:1], recipe)  # another shape
        for one, other in zip(found, expected + again, strict=True):
            assert_same_map(one, other)
        kinds = 1 + bool(recipe.refine_steps) + bool(recipe.statistics)
        assert before["recorded"] == kinds
        steps = recipe.rounds * (recipe.steps + recipe.refine_steps)
        assert before["replayed"] == steps - kinds * (EAGER_CALLS + 1)
        assert log["recorded"] == 2 * kinds
        map_jobs(fast, pool, JOBS, recipe)
        assert log["recorded"] == 2 * kinds  # the next group of this shape is replayed from its first step
        assert log["replayed"] == 2 * before["replayed"] + steps
    assert fast._captured is None


def refuses(step, inputs):
    raise RuntimeError("operation not permitted when stream is capturing\nmore lines")


def forgets_an_input(step, inputs):
    return lambda *given: step(*inputs[:1], *given[1:])


def counts_wrong(step, inputs):
    def replay(*given):
        nu, *others = step(*given)
        return nu * 1.1, *others

    return replay


def fails_when_replayed(step, inputs):
    def replay(*given):
        raise RuntimeError("an illegal memory access")

    return replay


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (refuses, r"\(operation not permitted when stream is capturing\)"),
        (forgets_an_input, "it gives other numbers"),
        (counts_wrong, "it gives other numbers"),
        (fails_when_replayed, "illegal memory access"),
    ],
)
def test_a_step_that_cannot_be_replayed_is_taken_eagerly_and_one_line_says_so(network, pool, record, why):
    recipe = RECIPES["vivid"]
    with Engine(network, device="cpu", precision="fp64") as one:
        (expected,) = map_jobs(one, pool, JOBS[:1], recipe)
        one._captured = CapturedSteps("shapes", record)
        with pytest.warns(SpeedWarning, match=f"shapes cannot be replayed as a CUDA graph .*{why}") as lines:
            (found,) = map_jobs(one, pool, JOBS[:1], recipe)
        assert len(lines) == 1
        with warnings.catch_warnings(action="error"):  # said once
            map_jobs(one, pool, JOBS[:1], recipe)
    assert_same_map(found, expected)


def test_once_a_step_of_a_network_cannot_be_replayed_none_is(network, pool):
    """Those of Eq. 2 come after Algorithm 1's, and those of another recipe after both: one line says it all."""
    replayed = {}

    def record(step, inputs):
        if "refine" in step.__qualname__:
            raise RuntimeError("operation not permitted when stream is capturing")
        return replaying(replayed)(step, inputs)

    with Engine(network, device="cpu", precision="fp64") as one:
        one._captured = CapturedSteps("shapes", record)
        with pytest.warns(SpeedWarning, match="cannot be replayed") as lines:
            map_jobs(one, pool, JOBS[:1], RECIPES["quick"])
        before = replayed["replayed"]
        assert before > 0
        with warnings.catch_warnings(action="error"):
            map_jobs(one, pool, JOBS[:1], RECIPES["quick"])
            map_jobs(one, pool, JOBS[:1], RECIPES["vivid"])
    assert len(lines) == 1
    assert replayed["replayed"] == before


def test_one_recording_is_not_used_for_another_recipe(network, pool):
    recipe, other = RECIPES["vivid"], RECIPES["vivid"].replace(step_size=0.3, radius=20.0)
    with Engine(network, device="cpu", precision="fp64") as one:
        (expected,) = map_jobs(one, pool, JOBS[:1], other)
        one._captured = CapturedSteps("shapes", replaying({}))
        map_jobs(one, pool, JOBS[:1], recipe)
        (found,) = map_jobs(one, pool, JOBS[:1], other)
    assert_same_map(found, expected)


@pytest.fixture
def without_cycle_search():
    """Python frees what nothing refers to, and does not search for cycles meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_cycle_search")
def test_recordings_are_freed_when_the_engine_closes_and_those_of_units_with_their_group(network, pool):
    """Each holds a copy of all activations in the memory of a GPU."""
    recordings, recipe = weakref.WeakSet(), RECIPES["plain"]

    def record(step, inputs):
        replay = replaying({})(step, inputs)
        recordings.add(replay)
        return replay

    with Engine(network, device="cpu") as one:
        one._captured = CapturedSteps("shapes", record)
        map_jobs(one, pool, JOBS[:1], recipe)
        assert len(recordings) == 1
        for job in UNITS:
            map_jobs(one, pool, [job], recipe)
            assert len(recordings) == 2, "that of the class and that of the last unit"
    assert not recordings


def test_that_units_cannot_be_replayed_is_found_out_once(network, pool):
    tried = []

    def record(step, inputs):
        tried.append(step)
        return refuses(step, inputs)

    with Engine(network, device="cpu") as one:
        one._captured = CapturedSteps("shapes", record)
        with pytest.warns(SpeedWarning, match="cannot be replayed") as lines:
            _ = [map_jobs(one, pool, [job], RECIPES["plain"]) for job in [*UNITS, JOBS[0]]]
    assert len(lines) == len(tried) == 1


# --- randomness ahead of the steps


@pytest.mark.parametrize("ahead", [1, 3, 10, 64])
@pytest.mark.parametrize("recipe", [RECIPES["vivid"], RECIPES["paper"]], ids=["views", "no views"])
def test_what_is_drawn_ahead_is_what_single_steps_draw(recipe, ahead):
    pool = hand.pool()
    seeds, steps = (3, 8), 10
    stepwise, generators = ([torch.Generator().manual_seed(seed) for seed in seeds] for _ in range(2))
    drawn = list(draw_ahead(pool, recipe, generators, steps, ahead, torch.float32))
    assert len(drawn) == steps
    for samples, views in drawn:
        assert torch.equal(samples, pool.pixels[pool.draw_rows(recipe.batch_size, stepwise)])
        expected = draw_views(recipe, stepwise, (hand.SIDE, hand.SIDE))
        if expected is None:
            assert views is None
        else:
            torch.testing.assert_close(views, expected.float())
    for one, other in zip(generators, stepwise, strict=True):  # nothing was drawn in vain: maps go on from here
        assert torch.equal(one.get_state(), other.get_state())


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_state_taken_between_two_fetches_goes_on_to_the_same_map(network, pool, recipe):
    with Engine(network, device="cpu", precision="fp64") as one:
        expected = map_jobs(one, pool, JOBS[:2], recipe)
        one.steps_per_fetch = 4
        begun = MapOptimization(one, pool, JOBS[:2], recipe)
        for step in begun:
            if step.number == 6:  # of the steps 5 to 8, which were taken together
                break
        state = begun.state()
        one.steps_per_fetch = 3
        resumed = MapOptimization(one, pool, JOBS[:2], recipe, state)
        numbers = [step.number for step in resumed]
        assert numbers == list(range(9, resumed.total + 1))
        for found, other in zip(resumed.finish(), expected, strict=True):
            assert_same_map(found, other)


# --- what is fetched late


def test_progress_is_reported_for_every_step(network, pool):
    recipe, steps, reference = RECIPES["quick"], [], []
    with Engine(network, device="cpu", precision="fp64") as one:
        map_jobs(one, pool, JOBS, recipe, reference.append)
        one.steps_per_fetch = 10
        map_jobs(one, pool, JOBS, recipe, steps.append)
    assert [step.number for step in steps] == [step.number for step in reference]
    for found, expected in zip(steps, reference, strict=True):
        assert found.loss == pytest.approx(expected.loss, rel=1e-3)
        torch.testing.assert_close(found.nu, expected.nu, rtol=1e-3, atol=1e-3 * float(expected.nu.abs().max()))


def test_maps_stop_at_the_same_step(network, pool):
    recipe = resolve("vivid", {"steps": 60, "stop_after": 2, "statistics": 0.0, "loss": "log-odds"})
    jobs = [Job(0), Job(5), Job(9)]
    with Engine(network, device="cpu", precision="fp64") as one:
        expected = map_jobs(one, pool, jobs, recipe)
        one.steps_per_fetch = 7
        found = map_jobs(one, pool, jobs, recipe)
    assert len({len(other.loss) for other in expected}) > 1  # else nothing is tested here
    for own, other in zip(found, expected, strict=True):
        assert len(own.loss) == len(other.loss)
        assert_same_map(own, other)


class Fragile(hand.Templates):
    """Gives NaN for the class ``broken`` from a call on."""

    def __init__(self):
        super().__init__()
        self.calls, self.fails_from, self.broken = 0, 10**9, 3

    def forward(self, x):
        logits = super().forward(x)
        self.calls += torch.is_grad_enabled()
        if self.calls >= self.fails_from:
            logits = logits.clone()
            logits[:, self.broken] = torch.nan
        return logits


@pytest.mark.parametrize("ahead", [1, 4, 10])
def test_nan_is_reported_with_its_step_and_its_maps(ahead):
    made = hand.classifier()
    made.module = Fragile().eval()
    recipe = Recipe(batch_size=4, steps=12, rounds=1, refine_steps=0, sign_test=False, xi_layer="")
    with Engine(made, device="cpu", micro_batch=99) as one:
        one.steps_per_fetch = ahead
        one.spatial_layer = lambda _: "templates"
        making = MapOptimization(one, hand.pool(), [Job(1), Job(3)], recipe)
        made.module.calls, made.module.fails_from = 0, 7
        with pytest.raises(NumericError, match="NaN or infinity at step 7 of 12") as said:
            list(making)
    assert said.value.rows == (0, 1)


# --- TF32


def precisions():
    """Every switch of TF32 that torch has, as it stands; some raise an error where others were used."""
    found = {}
    backends = torch.backends
    for name, read in {
        "cudnn": lambda: backends.cudnn.allow_tf32,
        "matmul": lambda: backends.cuda.matmul.allow_tf32,
        "conv": lambda: backends.cudnn.conv.fp32_precision,
        "matmul precision": lambda: backends.cuda.matmul.fp32_precision,
    }.items():
        try:
            found[name] = read()
        except (RuntimeError, AttributeError) as error:
            found[name] = type(error).__name__
    return found


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("users", [{}, {"cudnn": False}, {"matmul": True}, {"conv": "ieee"}])
def test_tf32_is_set_and_restored_also_after_an_error(allowed, users):
    backends = torch.backends
    if "conv" in users and not hasattr(backends.cudnn, "conv"):
        pytest.skip("this torch has no newer switches")
    original = backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
    try:
        backends.cudnn.allow_tf32 = users.get("cudnn", True)
        backends.cuda.matmul.allow_tf32 = users.get("matmul", False)
        if "conv" in users:
            backends.cudnn.conv.fp32_precision = users["conv"]
        before, inside = precisions(), {}
        with contextlib.suppress(KeyError), tf32_convolutions(allowed=allowed):
            inside = precisions()
            raise KeyError
        assert precisions() == before
        assert allowed in (inside["cudnn"], inside["conv"] == "tf32")
        assert not inside["matmul"]
    finally:
        backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = original


def test_tf32_is_restored_in_whichever_order_engines_are_closed():
    before = precisions()
    first, second = tf32_convolutions(allowed=False), tf32_convolutions(allowed=True)
    first.__enter__()
    second.__enter__()
    assert torch.backends.cudnn.allow_tf32
    first.__exit__(None, None, None)
    assert torch.backends.cudnn.allow_tf32, "the second is still open"
    second.__exit__(None, None, None)
    assert precisions() == before


def test_a_second_engine_of_a_thread_leaves_tf32_to_the_first_when_it_closes():
    with tf32_convolutions(allowed=False):
        with tf32_convolutions(allowed=True):
            assert torch.backends.cudnn.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
