"""What a fleet must survive: killed workers and drivers, full and read-only disks, damage, jumping clocks, company."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import command
from tests.processes import called, running
from tests.tiny import make_card

KILLS, SEEDS = 20, 12
SETTINGS = ["--set=batch_size=4", "--set=steps=40", "--set=refine_steps=10", "--set=rounds=1"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
pytestmark = pytest.mark.slow

LIMIT = float(os.environ.get("PHOSPHENE_PATIENCE", "240"))  # seconds; a busy machine needs more


def words(card, out, *more):
    """A run of 60 small maps."""
    return command("map", card.path, "--trust", "--all", f"--seeds={SEEDS}", *SETTINGS, f"--out={out}", *more)


def content(out):
    """Every file of a run but the report, byte by byte; JSON without times."""
    found = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        if name == "report.html":  # it tells times
            continue
        found[name] = path.read_bytes()
        if path.suffix == ".json":
            data = json.loads(found[name])
            data.pop("seconds", None)
            found[name] = data
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A card, and its run as it is when nothing disturbs it."""
    folder = tmp_path_factory.mktemp("faults")
    card = make_card(folder / "card")
    subprocess.run(words(card, folder / "calm"), env=ONE_THREAD, check=True, capture_output=True, timeout=LIMIT)
    calm = content(folder / "calm")
    assert sum(name.endswith("map.safetensors") for name in calm) == 5 * SEEDS
    assert not [name for name in calm if name.startswith((".fleet", "live"))]
    return card, folder / "calm", calm


def start(card, out, *more, **options):
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": ONE_THREAD}
    return subprocess.Popen(words(card, out, *more), **(pipes | options))


def workers(driver):
    """The worker processes of a driver."""
    return called("spawn_main", driver.pid)


def made(out):
    return len(list(out.glob("maps/*/*/map.json")))


def wait_for(condition, process, limit=LIMIT):
    end = time.monotonic() + limit
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end
        time.sleep(0.002)
    return True


def after(driver, out, count):
    """A condition: the driver has workers, and so many maps are there."""
    return lambda: bool(workers(driver)) and made(out) >= count


def test_twenty_kills_of_workers_and_drivers_leave_the_run_that_calm_weather_leaves(world, tmp_path):
    card, _, calm = world
    out, luck, killed = tmp_path / "run", random.Random(7), {"driver": 0, "worker": 0}
    driver = start(card, out, "--workers=2")
    for _ in range(KILLS):
        alive = wait_for(after(driver, out, made(out) + luck.choice([0, 0, 1, 2])), driver)
        time.sleep(luck.uniform(0, 0.3))
        victims = workers(driver)
        if not alive or driver.poll() is not None or not victims:
            break
        if luck.random() < 0.35:
            driver.kill()
            killed["driver"] += 1
            driver.communicate()
            driver = start(card, out, "--workers=2")
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(luck.choice(victims), signal.SIGKILL)
                killed["worker"] += 1
    said = driver.communicate(timeout=LIMIT)[1]
    for _ in range(3):  # a map whose workers were killed three times is given up until the command is given again
        if driver.returncode == 0:
            break
        assert driver.returncode == 2, said
        driver = start(card, out, "--workers=2")
        said = driver.communicate(timeout=LIMIT)[1]
    assert driver.returncode == 0, said
    assert sum(killed.values()) == KILLS, f"the run was over after {killed}"
    assert min(killed.values()) >= 4, killed
    assert content(out) == calm


def test_the_workers_of_a_killed_driver_go(world, tmp_path):
    card, _, _ = world
    driver = start(card, tmp_path / "run", "--workers=2", "--set=steps=4000")
    assert wait_for(lambda: len(workers(driver)) == 2 and list((tmp_path / "run").glob(".fleet/leases/*")), driver)
    team = workers(driver)
    driver.kill()
    driver.communicate()
    end = time.monotonic() + 60
    while any(running(pid) for pid in team):
        assert time.monotonic() < end, "workers outlive their driver"
        time.sleep(0.05)
    assert list((tmp_path / "run").glob(".fleet/checkpoints/*")), "they were asked to go and kept where they were"


@pytest.mark.parametrize(("number", "more"), [(signal.SIGTERM, []), (signal.SIGINT, ["--workers=2"])])
def test_a_stop_keeps_where_a_long_map_was(card, tmp_path, number, more):
    long = ["map", card.path, "--trust", "-c", 0, "-c", 3, *SETTINGS, "--set=steps=2500", *more]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ONE_THREAD}
    options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    out, calm = tmp_path / "run", tmp_path / "calm"
    driver = subprocess.Popen(command(*long, "--out", out), **options)
    assert wait_for(lambda: list(out.glob("maps/*/*/preview.webp")), driver)
    driver.send_signal(number)
    said, complained = driver.communicate(timeout=LIMIT)
    assert driver.returncode == 130, complained
    assert said == ""
    assert "interrupted. The same command goes on from here." in complained
    kept = list(out.glob(".fleet/checkpoints/*"))
    assert 1 <= len(kept) <= 2
    assert not list(out.glob(".fleet/leases/*"))
    for place in (out, calm):
        subprocess.run(command(*long, "--out", place), env=ONE_THREAD, check=True, capture_output=True, timeout=LIMIT)
    assert content(out) == content(calm)


TWO = """
import itertools, sys, time
steps = itertools.count()
if sys.argv[2] == "jumps":  # a wall clock that is days off at every look
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + 86400.0 * (next(steps) % 5 - 2)
    time.time_ns = lambda: real_ns() + 86_400_000_000_000 * (next(steps) % 5 - 2)
import phosphene as ph
from phosphene.workflows import execute, plan
from phosphene.recipe import resolve
from phosphene.samples import load_samples
classifier = ph.load(sys.argv[3], trust=True)
pool = load_samples("synthetic:mixed", classifier.input.shape)
recipe = resolve("vivid", {"batch_size": 4, "steps": 40, "refine_steps": 10, "rounds": 1})
todo = plan(classifier, recipe, pool, sys.argv[1], None, range(12))
found = execute(todo, device="cpu")
print(found.made, found.there)
"""


def test_two_drivers_share_a_run_and_a_jumping_clock_changes_nothing(world, tmp_path):
    card, _, calm = world
    out = tmp_path / "run"
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, out, how, card.path], stdout=subprocess.PIPE, text=True, env=ONE_THREAD
        )
        for how in ("jumps", "steady")
    ]
    counts = [tuple(map(int, one.communicate(timeout=LIMIT)[0].split())) for one in pair]
    assert [one.returncode for one in pair] == [0, 0]
    assert sum(first for first, _ in counts) == 5 * SEEDS, "no map is made twice"
    assert all(sum(both) == 5 * SEEDS for both in counts)
    assert min(first for first, _ in counts) > 0, "both have worked"
    ours = {name: data for name, data in content(out).items() if name.startswith("maps/")}
    assert ours == {name: data for name, data in calm.items() if name.startswith("maps/")}


def test_a_damaged_map_is_found_by_its_hash_and_made_again(world, tmp_path):
    card, run, calm = world
    out = tmp_path / "run"
    shutil.copytree(run, out)
    file = out / "maps" / "lion-0" / "seed-3" / "map.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    written = {path: path.stat().st_mtime_ns for path in out.glob("maps/*/*/map.json")}
    done = subprocess.run(words(card, out, "--workers=2"), env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path for path, then in written.items() if path.stat().st_mtime_ns != then} == {file.parent / "map.json"}
    assert content(out) == calm


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 kB; root alone can mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk; tests/e2e/test_bad_input.py fills one by injection")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("more", [[], ["--workers=2"]])
def test_a_full_disk_and_one_that_turns_read_only(world, small_disk, more):
    card, _, calm = world
    out = small_disk / "run"

    def attempt():
        done = subprocess.run(words(card, out, *more), env=ONE_THREAD, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, [line for line in done.stderr.splitlines() if line.startswith("phosphene: ")]

    code, said = attempt()
    assert (code, len(said)) == (2, 1), said
    assert "the disk is full while writing" in said[0]
    assert 0 < made(out) < 5 * SEEDS
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, said = attempt()
    assert (code, len(said)) == (2, 1), said
    assert "cannot be written" in said[0]
    subprocess.run(["mount", "-o", "remount,rw,size=100m", str(small_disk)], check=True)
    code, said = attempt()
    assert (code, said) == (0, [])
    assert content(out) == calm
