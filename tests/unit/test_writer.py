"""Files that are written by a thread while maps are made: in order, none reported before it is there, errors reported."""

import threading

import pytest
import torch

from phosphene.errors import RunError
from phosphene.executors import worker
from phosphene.recipe import Recipe
from phosphene.runs import RunDirectory
from phosphene.runs.checkpoints import Checkpoints
from phosphene.runs.writer import WriterThread
from phosphene.samples.pool import make_pool
from phosphene.workflows.map import execute
from phosphene.workflows.plan import plan
from tests import tiny
from tests.groups import InGroups
from tests.twice import assert_same_maps

RECIPE = Recipe(steps=4, batch_size=4, rounds=1, refine_steps=2)


@pytest.fixture
def threaded(monkeypatch):
    """Maps are made on a CPU, and their files written as with a GPU; three may wait."""
    monkeypatch.setattr(worker, "MOST_WAITING", {"cpu": 3})


def todo(path):
    generator = torch.Generator().manual_seed(5)
    pool = make_pool(torch.randint(0, 256, (12, 3, 16, 16), generator=generator).to(torch.uint8), "pool")
    return plan(tiny.classifier(), RECIPE, pool, path, None, [0, 1], device="cpu")


# --- the queue


@pytest.mark.parametrize("most", [0, 1, 3])
def test_results_come_in_order_and_all_of_them(most):
    queue = WriterThread[int](most)
    given = []
    for number in range(10):
        queue.submit(lambda one: one if one % 3 else None, number)
        given += queue.results()
    given += queue.results(flush=True)
    queue.close()
    assert given == [1, 2, 4, 5, 7, 8]


def test_as_many_calls_wait_as_may():
    queue, gate = WriterThread[int](2), threading.Event()
    for _ in range(2):
        queue.submit(gate.wait, 60)
    assert not list(queue.results())
    third = threading.Thread(target=queue.submit, args=(int,))
    third.start()
    third.join(0.2)
    assert third.is_alive()  # it waits for room
    gate.set()
    third.join(60)
    assert not third.is_alive()
    assert len(list(queue.results(flush=True))) == 3
    queue.close()


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("error", "says"), [(RunError("the disk is full"), "the disk is full"), (ValueError("odd"), "ValueError: odd")]
)
def test_after_a_call_that_fails_none_is_made(error, says):
    queue, made = WriterThread[None](5), []
    queue.submit(made.append, 1)
    queue.submit(fail, error)
    queue.submit(made.append, 2)
    with pytest.raises(RunError, match=says):
        list(queue.results(flush=True))
    queue.submit(made.append, 3)
    queue.close()
    assert made == [1]


def test_closing_waits_for_all_calls():
    queue, made = WriterThread[None](5), []
    for number in range(5):
        queue.submit(made.append, number)
    queue.close()
    assert made == list(range(5))


# --- maps


@pytest.mark.parametrize("together", [1, 4])
def test_a_run_is_the_same_and_every_map_is_there_when_it_is_reported(tmp_path, monkeypatch, threaded, together):
    threads, seen = set(), []
    write = RunDirectory.write

    def watched(self, one):
        threads.add(threading.current_thread().name)
        write(self, one)

    def on_map(found):
        seen.append((found.index, found.seed))
        assert (found.index, found.seed) in one.run.finished_folders()

    one = todo(tmp_path / "threaded")
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write", watched)
        assert execute(one, executor=InGroups(together), on_map=on_map).made == 10
    assert len(threads) == 1
    assert threads != {threading.current_thread().name}
    assert seen == [(index, seed) for index in range(5) for seed in (0, 1)]
    assert not (one.run.path / ".checkpoints").exists()
    monkeypatch.setattr(worker, "MOST_WAITING", {"cpu": 0})
    plain = todo(tmp_path / "plain")
    execute(plain, executor=InGroups(together))
    assert_same_maps(one.run.path, plain.run.path)


def test_a_full_disk_ends_everything_and_leaves_the_checkpoint(tmp_path, monkeypatch, threaded):
    one, write = todo(tmp_path / "run"), RunDirectory.write

    def full(self, found):
        if found.index == 1:
            raise RunError("the disk is full")
        write(self, found)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write", full)
        with pytest.raises(RunError, match="the disk is full"):
            execute(one, executor=InGroups(4))
    assert len(list(one.run.maps())) == 2
    assert any(Checkpoints(one.run.path).path.iterdir())  # the group goes on from its last step
    again = execute(one, executor=InGroups(4))
    assert (again.cached, again.made) == (2, 8)


def test_an_interruption_waits_for_what_is_finished(tmp_path, threaded):
    one, steps = todo(tmp_path / "run"), []

    def interrupt(progress):
        steps.append(progress)
        if len(steps) == 10:  # in the second group, while files of the first one may still wait
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(one, executor=InGroups(2), on_progress=interrupt)
    assert sorted(one.run.finished_folders()) == [(0, 0), (0, 1)]
    again = execute(one, executor=InGroups(2))
    assert (again.cached, again.made) == (2, 8)
