"""One command at a time works on a run directory, and the one that is refused names the other."""

import os
import socket
import subprocess
import sys
import threading

import pytest

from phosphene.errors import RunError
from phosphene.runs.lock import hold, holder

OTHER = """
import sys
from pathlib import Path
from phosphene.runs.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder until it is killed."""
    words = [sys.executable, "-c", OTHER, tmp_path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_that_another_process_holds_is_refused_and_its_holder_named(tmp_path, other):
    with (
        pytest.raises(RunError, match=r"is in use by .*wait until it ends, or choose another run directory") as error,
        hold(tmp_path, wait=0.1),
    ):
        pass
    line = str(error.value)
    assert f"process {other.pid} on {socket.gethostname()}, since 20" in line
    assert "\n" not in line
    assert holder(tmp_path)["pid"] == other.pid


def test_a_process_that_is_killed_holds_nothing(tmp_path, other):
    other.kill()
    other.wait()
    left = holder(tmp_path)
    with hold(tmp_path, wait=5):
        assert holder(tmp_path)["token"] != left["token"]
        assert holder(tmp_path)["pid"] == os.getpid()
    assert holder(tmp_path) == {}


def test_who_holds_it_may_hold_it_again_and_another_thread_may_not(tmp_path):
    refused = []

    def second():
        try:
            with hold(tmp_path, wait=0.1):
                pass
        except RunError as error:
            refused.append(error)

    with hold(tmp_path):
        note = holder(tmp_path)
        with hold(tmp_path):
            assert holder(tmp_path) == note
        assert holder(tmp_path) == note != {}
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 1
    second()
    assert len(refused) == 1


def test_a_damaged_note_names_nobody(tmp_path, other):
    for text in ("", "[]", '{"pid": 3}'):
        (tmp_path / ".lock.json").write_text(text, encoding="utf-8")
        with pytest.raises(RunError, match="in use by another command"), hold(tmp_path, wait=0.05):
            pass


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot be written.*another path"), hold(tmp_path / "file" / "run"):
        pass
