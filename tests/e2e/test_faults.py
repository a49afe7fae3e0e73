"""What `map` must survive: killed workers and drivers, full and read-only disks, damage, a second command."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest

from phosphene.runs.lock import hold
from tests.conftest import PATIENCE, command
from tests.files import map_times
from tests.processes import descendants, running
from tests.tiny import make_card
from tests.twice import assert_same_run

KILLS, SEEDS = 6, 12
SETTINGS = ["--set=batch_size=4", "--set=steps=40", "--set=refine_steps=10", "--set=rounds=1"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
pytestmark = pytest.mark.slow


def words(card, out, *more):
    """A run of 60 small maps."""
    return command("map", card.path, "--trust", "--all", f"--seeds={SEEDS}", *SETTINGS, f"--out={out}", *more)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A card, and its run as it is when nothing disturbs it."""
    folder = tmp_path_factory.mktemp("faults")
    card = make_card(folder / "card")
    whole = folder / "undisturbed"
    subprocess.run(words(card, whole), env=ONE_THREAD, check=True, capture_output=True, timeout=PATIENCE)
    assert made(whole) == 5 * SEEDS
    assert not list(whole.glob(".checkpoints/*"))
    assert not list(whole.glob("live/*"))
    return card, whole


def start(card, out, *more, **options):
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": ONE_THREAD}
    return subprocess.Popen(words(card, out, *more), **(pipes | options))


def workers(driver):
    """The processes in which Ray computes maps for a driver now."""
    return descendants("ray::make_group", driver.pid)


def made(out):
    return len(list(out.glob("maps/*/*/map.json")))


def wait_for(condition, process, limit=PATIENCE):
    end = time.monotonic() + limit
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end
        time.sleep(0.002)
    return True


def finish(card, out, *more):
    """Give the command until it says that all is made; maps whose workers died three times are tried anew."""
    for _ in range(4):
        done = subprocess.run(
            words(card, out, *more), env=ONE_THREAD, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        if done.returncode == 0:
            return
        assert done.returncode == 2, done.stderr
    raise AssertionError(done.stderr)


@pytest.mark.parametrize("more", [[], ["--workers=2"]], ids=["here", "workers"])
def test_kills_of_workers_and_drivers_leave_the_run_that_an_undisturbed_command_leaves(world, tmp_path, more):
    """The driver is killed at any moment; with workers, every other kill is one of a worker."""
    card, undisturbed = world
    out, luck = tmp_path / "run", random.Random(7)
    kills = KILLS if not more else KILLS // 2
    finished: dict = {}
    for number in range(kills):
        driver = start(card, out, *more)
        before = made(out)
        assert wait_for(lambda before=before: made(out) > before, driver), "the run was over too early"
        if more and number % 2:
            victims: list = []
            assert wait_for(lambda: victims.extend(workers(driver)) or victims, driver)  # noqa: B023  (at once)
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(luck.choice(victims), signal.SIGKILL)
            now = made(out)
            assert wait_for(lambda now=now: made(out) > now, driver), "the others go on"
        time.sleep(luck.uniform(0, 0.3))
        driver.kill()
        driver.communicate()
        now = {path: path.read_bytes() for path in out.glob("maps/*/*/map.safetensors")}
        now = {path: data for path, data in now.items() if path.with_name("map.json").exists()}
        assert finished.items() <= now.items(), "a finished map stays byte-identical"
        finished = now
    finish(card, out, *more)
    assert_same_run(out, undisturbed)


def test_the_workers_of_a_killed_driver_end_and_its_lock_is_free(world, tmp_path):
    card, _ = world
    out = tmp_path / "run"
    driver = start(card, out, "--workers=2", "--set=steps=20000")
    assert wait_for(lambda: len(workers(driver)) == 2 and len(list(out.glob("live/*.json"))) == 2, driver)
    pids = workers(driver)
    driver.kill()
    driver.communicate()
    end = time.monotonic() + 60
    while any(running(pid) for pid in pids):
        assert time.monotonic() < end, "workers outlive their driver"
        time.sleep(0.05)
    with hold(out, wait=0):
        pass


@pytest.mark.parametrize(
    ("number", "more"), [(signal.SIGTERM, []), (signal.SIGINT, ["--workers=2"]), (signal.SIGTERM, ["--workers=2"])]
)
def test_a_stop_keeps_where_a_long_map_was(card, tmp_path, number, more):
    # Class 0 by this recipe does not multiply rounding, whatever the number of steps.
    long = ["map", card.path, "--trust", "-c", 0, "--seeds=2", "--recipe=quick", *SETTINGS, "--set=steps=2500", *more]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ONE_THREAD}
    options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    out, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    driver = subprocess.Popen(command(*long, "--out", out), start_new_session=True, **options)
    assert wait_for(lambda: list(out.glob("maps/*/*/preview.webp")), driver)
    asked = time.monotonic()
    # A terminal sends SIGINT to all processes; `kill` and containers send SIGTERM to one. (To all, it ends Ray as well,
    # and what its workers have made since their last checkpoint is lost.)
    (os.killpg if number == signal.SIGINT else os.kill)(driver.pid, number)
    said, complained = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 130, complained
    assert said == ""
    assert re.search(
        r"interrupted, \d+ of \d+ maps finished; the same command continues where this stopped\.", complained
    )
    assert time.monotonic() - asked < 30
    kept = list(out.glob(".checkpoints/*"))
    assert 1 <= len(kept) <= 2
    for place in (out, undisturbed):
        subprocess.run(
            command(*long, "--out", place), env=ONE_THREAD, check=True, capture_output=True, timeout=PATIENCE
        )
    assert_same_run(out, undisturbed)


def test_a_second_command_on_the_run_is_refused_and_names_the_first(world, tmp_path):
    card, _ = world
    out = tmp_path / "run"
    first = start(card, out, "--set=steps=20000")
    assert wait_for(lambda: list(out.glob("live/*.json")), first)
    done = subprocess.run(
        words(card, out, "--set=steps=20000"), env=ONE_THREAD, capture_output=True, text=True, check=False
    )
    first.kill()
    first.communicate()
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("phosphene: ")]
    assert done.returncode == 2
    assert f"is in use by `phosphene map {card.path}" in line
    assert f"process {first.pid} on " in line


def test_a_damaged_map_is_found_by_its_hash_and_made_again(world, tmp_path):
    card, undisturbed = world
    out = tmp_path / "run"
    shutil.copytree(undisturbed, out)
    file = out / "maps" / "lion-0" / "seed-3" / "map.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    written = map_times(out)
    done = subprocess.run(words(card, out, "--workers=2"), env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path for path, then in written.items() if path.stat().st_mtime_ns != then} == {file.parent / "map.json"}
    assert_same_run(out, undisturbed)


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
    card, undisturbed = world
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
    assert_same_run(out, undisturbed)
