"""All 1,001 outputs of one network in one run that is interrupted on purpose: `python -m benchmarks.engine.thousand`.

Starts `phosphene map mobilenet_v1_050 --all` with two workers and a cheap recipe, ends it by a signal at fixed numbers
of finished maps, gives the same command once more, and sees in the end that every map which was there before a signal
is still the same. Draws docs/figures/thousand.webp. About an hour of processor time; what is there is not made again,
also after an end that was not on purpose. Linux.
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

from benchmarks.common import NETWORKS, ROOT, SHARED, hardware, images, keep, readings, table
from phosphene.runs import RunDirectory
from phosphene.runs.atomic import read_json, write_json

NETWORK, STEPS, WORKERS = "mobilenet_v1_050", 16, 2
FOLDER = ROOT / "runs" / "thousand"
# At so many finished maps; KILL cannot be caught, TERM is what preemption sends, INT is Ctrl-C.
STOPS = ((150, signal.SIGKILL), (400, signal.SIGTERM), (650, signal.SIGINT), (850, signal.SIGKILL))
COLUMNS, SIDE, GAP = 33, 72, 4
POLL = 2.0
SUBREAPER = 36  # prctl: workers that outlive their driver become ours, and so their processor time is counted


def command(out: Path) -> list[str]:
    """Return the one command that is given again and again."""
    own = ["--trust", "--samples", images(), "--set", f"steps={STEPS}", "--workers", str(WORKERS), "--threads", "1"]
    card = str(SHARED / "zoo" / f"{NETWORK}.toml")
    return [sys.executable, "-m", "phosphene", "map", card, "--all", *own, "--out", str(out)]


def finished(run: RunDirectory) -> dict[str, str]:
    """Return what is there: folder of an output -> the hash of its map."""
    return {file.parent.parent.name: read_json(file)["map_sha256"] for file in run.path.glob("maps/*/seed-0/map.json")}


def turn(number: int, run: RunDirectory, log: Path) -> dict[str, Any]:
    """Give the command once and end it, the last time excepted; return what happened."""
    most, end = STOPS[number] if number < len(STOPS) else (None, None)
    sent = None
    before = count(run)
    worked, began = cpu(), time.perf_counter()
    with log.open("ab") as file:
        started = subprocess.Popen(command(run.path), stdout=file, stderr=file)
        while started.poll() is None:
            time.sleep(POLL)
            if most is not None and end is not None and count(run) >= most:
                started.send_signal(end)
                sent = end.name
                break
        code = started.wait()
    reap()
    if sent is None and code != 0:
        raise SystemExit(f"the command ended by itself with {code}: see {log}")
    facts = {"signal": sent, "exit": code, "before": before, "after": count(run)}
    return {**facts, "seconds": round(time.perf_counter() - began, 1), "core_seconds": round(cpu() - worked, 1)}


def count(run: RunDirectory) -> int:
    """Return how many maps are there."""
    return len(run.listing())


def cpu() -> float:
    """Return the processor time of all that has ended below this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def reap() -> None:
    """Wait for workers that a killed driver has left; they see it and end."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def mosaic(run: RunDirectory) -> None:
    """Draw all maps in the order of the outputs."""
    maps = sorted(run.maps(), key=lambda one: one.index)
    rows, pitch = -(-len(maps) // COLUMNS), SIDE + GAP
    sheet = Image.new("RGB", (COLUMNS * pitch - GAP, rows * pitch - GAP), (255, 255, 255))
    for place, one in enumerate(maps):
        small = one.image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        sheet.paste(small, (place % COLUMNS * pitch, place // COLUMNS * pitch))
    sheet.save(ROOT / "docs" / "figures" / "thousand.webp", quality=80, method=6)


def main() -> None:
    """Run, interrupt, go on, and say what it cost."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(hardware())
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    run, state = RunDirectory(FOLDER / "run"), FOLDER / "turns.json"
    turns: list[dict[str, Any]] = read_json(state)["turns"] if state.exists() else []
    while len(turns) <= len(STOPS):
        kept = finished(run)
        happened = turn(len(turns), run, FOLDER / "log.txt")
        now = finished(run)
        changed = sum(now.get(name) != digest for name, digest in kept.items())
        turns.append({**happened, "changed": changed})
        print(turns[-1], file=sys.stderr, flush=True)
        write_json(state, {"turns": turns})
    mosaic(run)
    maps = list(run.maps())
    read = readings(maps)
    passes, core = sum(one.passes for one in maps), sum(one["core_seconds"] for one in turns)
    head = ("ended by", "exit code", "maps before", "after", "changed", "seconds", "core s")
    keys = ("signal", "exit", "before", "after", "changed", "seconds", "core_seconds")
    print(table(head, [[one[key] or ("-" if key == "signal" else 0) for key in keys] for one in turns]))
    print(f"{len(maps)} maps, {passes:,} passes, {core / 60:.0f} core minutes, {core / len(maps):.1f} core s a map")
    print(table(("read by", "top-1 of 1,001"), [(name, f"{read[name]['top1']:.2f}") for name in NETWORKS]))
    keep("thousand", {"turns": turns, "maps": len(maps), "passes": passes, "core_seconds": core, "read": read})


if __name__ == "__main__":
    main()
