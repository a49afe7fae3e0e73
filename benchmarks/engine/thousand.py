"""All 1,001 outputs of one network, interrupted four times on purpose: `python -m benchmarks.engine.thousand`.

Gives `phosphene map mobilenet_v1_050 --all` with two workers and a cheap recipe, ends it by a signal once so many maps
are finished, gives the same command again, and checks that the maps which were finished before are unchanged. Draws
docs/figures/thousand.webp. About an hour on 2 cores; it continues where it was if it is stopped itself. Linux.
"""

import argparse
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.common import (
    FIGURES,
    NETWORKS,
    PHOTOGRAPHS,
    ROOT,
    SHARED,
    hardware,
    markdown_table,
    target_scores,
    write_result,
)
from phosphene.runs import RunDirectory
from phosphene.runs.atomic import read_json, write_json

NETWORK, STEPS, WORKERS = "mobilenet_v1_050", 16, 2
FOLDER = ROOT / "runs" / "thousand"
# Finished maps and the signal that is sent then. KILL cannot be caught, TERM is what preemption sends, INT is Ctrl-C.
INTERRUPTIONS = ((150, signal.SIGKILL), (400, signal.SIGTERM), (650, signal.SIGINT), (850, signal.SIGKILL))
COLUMNS, SIDE, GAP = 33, 72, 4  # of the figure
POLL = 2.0  # seconds
PR_SET_CHILD_SUBREAPER = 36  # workers that outlive the command become our children, so their CPU time is counted


def command(out: Path) -> list[str]:
    """Return the command that is given again and again."""
    card = str(SHARED / "zoo" / f"{NETWORK}.toml")
    options = ["--trust", "--samples", PHOTOGRAPHS, "--set", f"steps={STEPS}", "--workers", str(WORKERS)]
    return [sys.executable, "-m", "phosphene", "map", card, "--all", *options, "--threads", "1", "--out", str(out)]


def attempt(number: int, run: RunDirectory, log: Path) -> dict[str, Any]:
    """Give the command and, but for the last time, interrupt it; return what happened."""
    count, interruption = INTERRUPTIONS[number] if number < len(INTERRUPTIONS) else (None, None)
    before, worked, began = hashes(run), cpu_seconds(), time.perf_counter()
    sent = None
    with log.open("ab") as file:
        process = subprocess.Popen(command(run.path), stdout=file, stderr=file)
        while process.poll() is None:
            time.sleep(POLL)
            if count is not None and interruption is not None and len(hashes(run)) >= count:
                process.send_signal(interruption)
                sent = interruption.name
                break
        code = process.wait()
    wait_for_orphans()
    if sent is None and code != 0:
        raise SystemExit(f"the command ended by itself with exit code {code}: see {log}")
    after = hashes(run)
    return {
        "signal": sent or "-",
        "exit": code,
        "before": len(before),
        "after": len(after),
        "changed": sum(after.get(name) != digest for name, digest in before.items()),
        "seconds": round(time.perf_counter() - began, 1),
        "core_seconds": round(cpu_seconds() - worked, 1),
    }


def hashes(run: RunDirectory) -> dict[str, str]:
    """Return the hash of every finished map by the folder of its class."""
    return {file.parent.parent.name: read_json(file)["map_sha256"] for file in run.path.glob("maps/*/seed-0/map.json")}


def cpu_seconds() -> float:
    """Return the CPU time of all processes that ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def wait_for_orphans() -> None:
    """Wait for the workers of a killed command to end."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def draw(run: RunDirectory) -> None:
    """Draw all maps in the order of the outputs."""
    maps = sorted(run.maps(), key=lambda one: one.index)
    rows, pitch = -(-len(maps) // COLUMNS), SIDE + GAP
    sheet = Image.new("RGB", (COLUMNS * pitch - GAP, rows * pitch - GAP), (255, 255, 255))
    for place, one in enumerate(maps):
        small = one.image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        sheet.paste(small, (place % COLUMNS * pitch, place // COLUMNS * pitch))
    sheet.save(FIGURES / "thousand.webp", quality=80, method=6)


def main() -> None:
    """Give the command until it finishes; print what happened and what it cost."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(hardware())
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    run, state = RunDirectory(FOLDER / "run"), FOLDER / "attempts.json"
    attempts: list[dict[str, Any]] = read_json(state)["attempts"] if state.exists() else []
    while len(attempts) <= len(INTERRUPTIONS):
        attempts.append(attempt(len(attempts), run, FOLDER / "log.txt"))
        print(attempts[-1], file=sys.stderr, flush=True)
        write_json(state, {"attempts": attempts})
    draw(run)
    maps = list(run.maps())
    scores, core = target_scores(maps), sum(one["core_seconds"] for one in attempts)
    passes = sum(one.passes for one in maps)
    head = ("ended by", "exit code", "maps before", "after", "changed", "seconds", "core seconds")
    print(markdown_table(head, [list(one.values()) for one in attempts]))
    print(f"{len(maps)} maps, {passes:,} passes, {core / 60:.0f} core minutes, {core / len(maps):.1f} core s per map")
    print(markdown_table(("target", "top-1 of 1,001"), [(name, f"{scores[name]['top1']:.2f}") for name in NETWORKS]))
    result = {"attempts": attempts, "maps": len(maps), "passes": passes, "core_seconds": core, "targets": scores}
    write_result("thousand", result)


if __name__ == "__main__":
    main()
