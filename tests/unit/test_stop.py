"""`stop_after`: a map that stops is the whole one as it was at that step; the others of its group go on."""

import pytest

import phosphene as ph
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.errors import RecipeError
from phosphene.mapper import MapOptimization, Step, map_jobs, passes_per_map
from phosphene.recipe import resolve
from phosphene.workflows.map import execute
from phosphene.workflows.plan import plan
from tests.twice import ROOM, assert_same_image, assert_same_map, distance

JOBS = [Job(0), Job(5), Job(9)]
STEPS, STOP = 40, 3
# Without natural statistics, with which these small networks are read as their class much later.
WHOLE = resolve("vivid", {"steps": STEPS, "statistics": 0.0, "loss": "log-odds"})
STOPPING = WHOLE.replace(stop_after=STOP)


@pytest.fixture(scope="module")
def whole(network, pool):
    """Three maps of all their steps, and how they stood after each."""
    stood: list[Step] = []
    with Engine(network, device="cpu", precision="fp64") as engine:
        return map_jobs(engine, pool, JOBS, WHOLE, stood.append), stood


@pytest.fixture(scope="module")
def expected(whole):
    """The step at which each map stops: the last of the first three in a row on which every sample was read."""
    return [_first(one.hits) for one in whole[0]]


def _first(hits):
    rows = [end for end in range(STOP, len(hits) + 1) if set(hits[end - STOP : end]) == {1.0}]
    return rows[0] if rows else len(hits)


def test_each_map_stops_once_its_samples_are_classified_as_its_class(network, pool, whole, expected):
    maps, stood = whole
    assert len(set(expected)) > 1
    assert min(expected) < STEPS  # else nothing is tested here
    with Engine(network, device="cpu", precision="fp64") as engine:
        stopped = map_jobs(engine, pool, JOBS, STOPPING)
    for row, (one, other, taken) in enumerate(zip(stopped, maps, expected, strict=True)):
        assert distance(one.nu, stood[taken - 1].nu[row]) < ROOM
        assert len(one.loss) == taken
        assert one.loss == pytest.approx(other.loss[:taken], rel=ROOM)
        assert one.hits == pytest.approx(other.hits[:taken], abs=ROOM)
        assert one.passes == passes_per_map(WHOLE) * taken // STEPS


def test_an_interrupted_group_goes_on_to_the_same_maps(network, pool, expected):
    with Engine(network, device="cpu", precision="fp64") as engine:
        straight = map_jobs(engine, pool, JOBS, STOPPING)
        begun = MapOptimization(engine, pool, JOBS, STOPPING)
        for step in begun:
            if step.number == min(expected):  # the first has just stopped
                break
        resumed = MapOptimization(engine, pool, JOBS, STOPPING, begun.state())
        steps = list(resumed)
        assert steps[-1].number == steps[-1].total == max(expected)
        for one, other in zip(resumed.finish(), straight, strict=True):
            assert_same_map(one, other)
        assert not list(MapOptimization(engine, pool, JOBS, STOPPING, resumed.state()))  # nothing is left to do


def test_the_run_has_the_passes_that_were_taken_and_the_film_ends_with_the_map(network, pool, expected, tmp_path):
    soonest = JOBS[expected.index(min(expected))].index
    todo = plan(network, STOPPING, pool, tmp_path, [soonest], device="cpu", frames=4)
    assert execute(todo).made == 1
    (one,) = todo.run.maps()
    assert one.passes == 2 * STOPPING.batch_size * len(one.loss) < passes_per_map(STOPPING)
    filmed = ph.map_concepts(network, [soonest], recipe=STOPPING, samples=pool, frames=4, device="cpu")[0]
    assert filmed.passes < passes_per_map(STOPPING)
    assert_same_image(filmed.frames[-1], filmed.image)


@pytest.mark.parametrize("recipe", ["paper", "quick"])
def test_with_eq_2_there_is_no_stopping(recipe):
    with pytest.raises(RecipeError, match="needs rounds=1 and refine_steps=0"):
        resolve(recipe, {"stop_after": 3})
