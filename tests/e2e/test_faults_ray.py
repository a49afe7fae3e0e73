"""Ray: the same run as on one machine, whatever becomes of its workers and nodes. One small cluster for all tests."""

import os
import secrets
import signal
import threading
import time
from pathlib import Path

import pytest

import phosphene as ph
from phosphene.errors import PhospheneWarning
from phosphene.executors import pick_executor
from phosphene.recipe import resolve
from phosphene.samples import load_samples
from phosphene.workflows.map import execute
from phosphene.workflows.plan import plan
from tests.processes import descendants
from tests.tiny import make_card
from tests.twice import assert_same_maps

# Ray reads both when it is imported. Tokens as it should be everywhere, and one of our own.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # warnings of Ray itself
RECIPE = {"batch_size": 4, "steps": 60, "refine_steps": 5, "rounds": 1}
SEEDS = 3


@pytest.fixture(scope="module")
def cluster():
    """A head without room for work, and two nodes with room for one task each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=made.address, log_to_driver=False, logging_level="error")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_card(tmp_path_factory.mktemp("model")).path


def todo(model, out):
    classifier = ph.load(model, trust=True)
    pool = load_samples("synthetic:mixed", classifier.input.shape)
    return plan(classifier, resolve("vivid", RECIPE), pool, out, None, range(SEEDS), device="cpu")


def maps(out):
    return list(Path(out).rglob("map.safetensors"))


@pytest.fixture(scope="module")
def undisturbed(model, tmp_path_factory):
    """The maps as one process makes them, with one thread as a Ray worker has."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    execute(todo(model, out))
    torch.set_num_threads(threads)
    return out


def executor():
    return pick_executor("ray", workers=2)


def task_processes():
    """Processes in which this cluster runs our tasks now."""
    return descendants("ray::make_group")


def later(condition, act):
    """Do something in the background once a condition holds; the list says whether it was done."""
    done = []

    def wait():
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if condition():
                done.append(act())
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return done, thread


def leftovers(out):
    return [path for path in Path(out).rglob("*") if path.suffix == ".part" or ".checkpoints" in path.parts]


def test_a_worker_is_killed(cluster, model, undisturbed, tmp_path):
    out = tmp_path / "run"
    killed, thread = later(
        lambda: task_processes() and len(maps(out)) >= 2,
        lambda: [os.kill(pid, signal.SIGKILL) for pid in task_processes()],
    )
    outcome = execute(todo(model, out), executor=executor())
    thread.join()
    assert killed
    assert killed[0]
    assert (outcome.made, outcome.cached) == (5 * SEEDS, 0)
    assert_same_maps(out, undisturbed)
    assert not leftovers(out)


def test_without_a_common_disk_the_driver_writes(cluster, model, undisturbed, tmp_path, monkeypatch):
    """The lock's note is not where the workers look for it, as on a machine that mounts nothing."""
    monkeypatch.setattr("phosphene.runs.lock._write_note", lambda *_: None)
    out = tmp_path / "run"
    first = todo(model, out)
    outcome = execute(first, executor=executor())
    assert outcome.made == 5 * SEEDS
    assert_same_maps(out, undisturbed)
    assert not leftovers(out)
    again = execute(first, executor=executor())
    assert (again.made, again.cached) == (0, 5 * SEEDS)


def test_a_worker_that_fits_on_no_node_is_noted(cluster, model, tmp_path, monkeypatch):
    monkeypatch.setattr("phosphene.executors.ray.NOTE_SECONDS", 0.0)
    events = pick_executor("ray", threads=2).run([todo(model, tmp_path / "run")], lambda: None, lambda: False)
    with pytest.warns(PhospheneWarning, match="asks for 2 CPUs, and Ray has only 1 CPU on any node yet"):
        assert not list(events)


def test_a_node_is_removed(cluster, model, undisturbed, tmp_path):
    out = tmp_path / "run"
    removed, thread = later(
        lambda: len(maps(out)) >= 2, lambda: cluster.remove_node(cluster.nodes.pop(), allow_graceful=False) or True
    )
    outcome = execute(todo(model, out), executor=executor())
    thread.join()
    assert removed
    assert (outcome.made, outcome.cached) == (5 * SEEDS, 0)
    assert_same_maps(out, undisturbed)
    assert not leftovers(out)
