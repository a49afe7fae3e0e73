"""Leases: one holder at a time, and a dead one is found out without asking any clock on a wall."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from phosphene.concept_map import Job
from phosphene.runs.leases import Leases, sweep
from phosphene.runs.machine import began

JOB = Job(3, 1)


@pytest.fixture
def pair(tmp_path):
    both = Leases(tmp_path), Leases(tmp_path)
    yield both
    for one in both:
        one.close()


def rewrite(tmp_path, **changes):
    """Change what a lease says of its holder."""
    file = tmp_path / ".fleet" / "leases" / "3-1"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return file


def test_one_holder_until_it_gives_back_and_nothing_is_left(tmp_path, pair):
    first, second = pair
    assert first.claim(JOB)
    assert first.claim(JOB)
    assert not second.claim(JOB)
    assert second.claim(Job(3, 2))
    first.release(JOB)
    assert second.claim(JOB)
    for one in pair:
        one.close()
    assert not list(tmp_path.iterdir())


def test_of_many_who_want_it_one_gets_it(tmp_path):
    crowd = [Leases(tmp_path) for _ in range(16)]
    got = []
    gate = threading.Barrier(len(crowd))

    def want(one):
        gate.wait()
        got.append(one.claim(JOB))

    threads = [threading.Thread(target=want, args=(one,)) for one in crowd]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got.count(True) == 1
    for one in crowd:
        one.close()


def test_a_dead_process_of_this_machine_holds_nothing_and_one_of_many_takes_over(tmp_path):
    code = (
        "import sys, os; from pathlib import Path; from phosphene.concept_map import Job\n"
        "from phosphene.runs.leases import Leases\n"
        "assert Leases(Path(sys.argv[1])).claim(Job(3, 1)); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    assert (tmp_path / ".fleet" / "leases" / "3-1").exists()
    crowd = [Leases(tmp_path) for _ in range(8)]
    assert sum([one.claim(JOB) for one in crowd]) == 1
    for one in crowd:
        one.close()


def test_a_number_that_another_process_got_is_not_the_holder(tmp_path, pair):
    first, second = pair
    first.claim(JOB)
    rewrite(tmp_path, began=began(os.getpid()) - 1)
    assert second.claim(JOB)
    first.release(JOB)  # it has lost it, and must not take it from the new holder
    assert not Leases(tmp_path).claim(JOB)


def test_another_machine_is_given_up_when_nothing_changes_for_long_enough_by_our_own_clock(tmp_path, monkeypatch):
    first = Leases(tmp_path)
    first.claim(JOB)
    rewrite(tmp_path, machine="elsewhere")
    beat = tmp_path / ".fleet" / "beats" / first.owner
    end = time.monotonic() + 10
    while not beat.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    first._stop.set()  # a holder that does nothing more
    first._beating.join()
    clock = [1000.0]
    monkeypatch.setattr("phosphene.runs.leases.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("phosphene.runs.leases.time.time", lambda: pytest.fail("a wall clock was asked"), raising=False)
    second = Leases(tmp_path, stale=60)
    assert not second.claim(JOB)
    clock[0] += 59
    os.utime(beat, (0, 0))  # times of files say nothing either
    assert not second.claim(JOB)
    beat.write_text("a change")
    clock[0] += 59
    assert not second.claim(JOB)
    clock[0] += 59
    assert not second.claim(JOB)
    clock[0] += 2
    assert second.claim(JOB)
    second.close()


def test_a_damaged_lease_does_not_last_for_ever(tmp_path, monkeypatch):
    first, second = Leases(tmp_path), Leases(tmp_path, stale=60)
    first.claim(JOB)
    (tmp_path / ".fleet" / "leases" / "3-1").write_text("{")
    clock = [0.0]
    monkeypatch.setattr("phosphene.runs.leases.time.monotonic", lambda: clock[0])
    assert not second.claim(JOB)
    clock[0] += 61
    assert second.claim(JOB)
    for one in (first, second):
        one.close()


def test_a_driver_gives_a_job_to_one_worker_so_what_another_holds_for_it_is_what_a_dead_one_left(tmp_path):
    first, second = Leases(tmp_path, "driver"), Leases(tmp_path, "driver")
    first.claim(JOB)
    rewrite(tmp_path, machine="elsewhere")
    assert second.claim(JOB)
    for one in (first, second):
        one.close()


def test_a_sweep_removes_what_the_dead_have_left_and_nothing_else(tmp_path, pair):
    first, second = pair
    first.claim(JOB)
    second.claim(Job(4))
    rewrite(tmp_path, pid=2**22 - 1, began=1)
    sweep(tmp_path)
    assert [file.name for file in (tmp_path / ".fleet" / "leases").iterdir()] == ["4-0"]
