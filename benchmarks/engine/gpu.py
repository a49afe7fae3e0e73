"""Speed on a GPU beside its targets: `python -m benchmarks.engine.gpu [--quick]`.

- commands: `phosphene map --all` of mobilenet_v2_a, `score` by three networks, `scan` of a network of 10 classes and
  one of 1,001, each timed from outside, files and report included; a scan's own seconds beside them.
- maps: `vivid` for one map alone and ten together, and `paper` for one map, by VGG-16, ResNet-50 and DenseNet-121 with
  random weights at 224 pixels (which cost the same), in single precision, with bf16 autocast, and compiled. All cases of
  a network compile and record beside each other; then each is measured alone. Beside it: the share of the bf16 matrix
  peak; the time over a raw loop of the same network, precision and compilation, the best of several batch sizes, eager
  and replayed as a CUDA graph; whether a map among ten is the map alone; where the GPU's time goes.

Every case and command runs in a process of its own, and what fails costs only its rows. `--quick` ends after at most
8 minutes on one GPU with 16 cores and needs nothing but this repository and ../shared/zoo: bf16 only, `paper` with 30 of
its 650 steps, 200 classes instead of 1,001 (both scaled up), two batch sizes of the raw loop, a profile for ten maps by
`vivid` only, and what no time is left for is said. In full it takes
about half an hour. Where there is no GPU, `--quick --networks demo:shapes --no-commands` tries the script out.
"""

import argparse
import json
import math
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import ROOT, SHARED, hardware, markdown_table, write_result
from benchmarks.engine.floor import NETWORKS
from phosphene.runs import RunDirectory

PRECISIONS = ("bf16", "fp32")
QUICK_SECONDS, RESERVE = 470.0, 5.0  # of --quick, and of these for printing
# In --quick, what the cases of a network may take until all are compiled, and what a command may take.
READY_SECONDS, COMMAND_SECONDS = 110.0, 90.0
CLASSES, QUICK_CLASSES = 1001, 200
# Seconds per map: (recipe, maps together) -> network -> target.
MAP_TARGETS = {
    ("vivid", 1): {"VGG-16": 0.35, "ResNet-50": 0.35, "DenseNet-121": 0.5},
    ("vivid", 10): {"VGG-16": 0.14, "ResNet-50": 0.12, "DenseNet-121": 0.2},
    ("paper", 1): {"VGG-16": 50.0, "ResNet-50": 40.0},
}
SHARE_TARGETS = {("vivid", 10, "VGG-16"): 0.55}  # of the bf16 matrix peak
OVER_LOOP = 1.1
LABELS = {"vivid": "`vivid`, no statistics", "paper": "`paper`"}  # the samples are synthetic


class Clock:
    """How much time is left."""

    def __init__(self, seconds: "float | None") -> None:
        self.ends = None if seconds is None else time.monotonic() + seconds

    def left(self, most: float = math.inf) -> "float | None":
        """Return the seconds that a process may take, at most ``most``; ``None`` without a limit."""
        return None if self.ends is None else min(most, self.ends - RESERVE - time.monotonic())


class Module(subprocess.Popen[str]):
    """A Python module in a process of its own; errors go to a file: a pipe that nobody reads until it is ready would block it."""

    def __init__(self, words: Sequence[str]) -> None:
        self.error_file = tempfile.TemporaryFile("w+")  # noqa: SIM115  (open as long as the process)
        command = [sys.executable, "-m", *words]
        super().__init__(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.error_file, text=True, cwd=ROOT
        )


def finish(process: Module, limit: "float | None", ended_well: Sequence[int] = (0,)) -> tuple[str, str]:
    """Let a process go on and wait for its end; return what it printed, and why it is not all there: empty if it ended well."""
    with process.error_file as errors:
        try:
            out, _ = process.communicate("\n", timeout=None if limit is None else max(limit, 0))
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[0], "no time was left"
        if process.returncode == -signal.SIGKILL:  # while it compiled
            return out, "no time was left"
        errors.seek(0)
        last = (errors.read().strip().splitlines() or [f"exit code {process.returncode}"])[-1]
    return out, "" if process.returncode in ended_well else last


def wait_until_ready(processes: Sequence[Module], limit: "float | None") -> None:
    """Wait until each process has printed a line or ended; kill those that take longer."""
    with ThreadPoolExecutor(len(processes)) as readers:
        lines = {readers.submit(process.stdout.readline): process for process in processes if process.stdout}
        for late in wait(lines, limit).not_done:
            lines[late].kill()


def measure_network(
    name: str, spec: str, precisions: Sequence[str], clock: Clock, *, quick: bool
) -> list[dict[str, Any]]:
    """Return a row per case of a network; one that could not be measured says why."""
    recipes = [case for case in MAP_TARGETS if name in MAP_TARGETS[case] or case[0] == "vivid"]
    cases = [(precision, f"{recipe}:{maps}") for precision in precisions for recipe, maps in recipes]
    more = ["--quick"] if quick else []
    processes = [Module(["benchmarks.engine.gpu_cases", spec, *case, *more]) for case in cases]
    wait_until_ready(processes, clock.left(most=READY_SECONDS))
    rows = []
    for (precision, case), process in zip(cases, processes, strict=True):
        out, why = finish(process, clock.left())
        row = {"network": name, "precision": precision, "case": case, **({"why": why} if why else json.loads(out))}
        rows.append(row)
        print({key: round(one, 3) if isinstance(one, float) else one for key, one in row.items()}, flush=True)
    return rows


def seconds_of(words: Sequence[str], limit: "float | None") -> tuple[float, str]:
    """Run a command; return its seconds, and why it did not end well: empty if it did."""
    began = time.monotonic()
    if limit is not None and limit <= 0:
        return 0.0, "no time was left"
    verdicts = (0, 1, 3) if words[0] == "scan" else (0,)
    _, why = finish(Module(["phosphene", *words, "--trust"]), limit, verdicts)
    return time.monotonic() - began, why


def measure_commands(clock: Clock, *, quick: bool) -> list[dict[str, Any]]:
    """Return the wall time of commands, as a user would give them; `map` of fewer classes scaled up by the median map's time."""
    zoo = SHARED / "zoo"
    source = str(zoo / "mobilenet_v2_a.toml")
    targets = [str(zoo / f"{name}.toml") for name in ("mobilenet_v2_b", "mobilenet_v1_075", "mobilenet_v1_050")]
    to_targets = [word for one in targets for word in ("--target", one)]
    rows: list[dict[str, Any]] = []

    def add(name: str, target: int, words: Sequence[str]) -> dict[str, Any]:
        """Run a command; add its row and return it."""
        seconds, why = seconds_of(words, clock.left(most=COMMAND_SECONDS))
        row = {"command": name, "target": target, "seconds": round(seconds, 1), "scaled_up": False, "why": why}
        rows.append(row)
        print(row, flush=True)
        return row

    def add_scan(classes: int, target: int, spec: str) -> None:
        """Scan a network; add the command's row, and one of the seconds that the scan counts: those without the start of a process."""
        out = Path(folder) / f"{classes}"
        row = add(f"scan, {classes:,} classes", target, ["scan", spec, "--no-map", "--out", str(out)])
        if (out / "scan.json").exists():
            seconds = round(json.loads((out / "scan.json").read_text())["seconds"], 1)
            rows.append(row | {"command": f"{row['command']}, by scan.json", "target": "", "seconds": seconds})
        elif not row["why"]:  # an error that nobody caught has the exit code of a verdict
            row["why"] = "it wrote no scan.json"

    with tempfile.TemporaryDirectory() as folder:
        add_scan(10, 4, str(zoo / "cifar_resnet20.toml"))
        out = f"{folder}/maps"
        classes = [word for index in range(QUICK_CLASSES) for word in ("-c", str(index))] if quick else ["--all"]
        row = add("map --all, 1,001 classes", 120, ["map", source, *classes, "--out", out])
        if quick and not row["why"]:
            each = statistics.median(one.seconds for one in RunDirectory(Path(out)).maps())
            row |= {"seconds": round(row["seconds"] + (CLASSES - QUICK_CLASSES) * each, 1), "scaled_up": True}
        add(f"score of {QUICK_CLASSES if quick else CLASSES} maps by three networks", 15, ["score", out, *to_targets])
        add_scan(CLASSES, 60, source)
    return rows


def map_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of the maps, each figure with its target."""
    head = ("network", "recipe", "maps", "precision", "s per map", "target", "of the peak", "over the best raw loop")
    cells: list[list[str]] = []
    for row in rows:
        if "why" in row:
            recipe, maps = row["case"].split(":")
            cells.append([row["network"], LABELS[recipe], maps, row["precision"], row["why"], "", "", ""])
            continue
        case = (row["recipe"], row["maps"])
        target = MAP_TARGETS[case].get(row["network"])
        share = SHARE_TARGETS.get((*case, row["network"]))
        cells.append(
            [
                *(row["network"], LABELS[row["recipe"]], str(row["maps"]), row["precision"]),
                f"{row['seconds_per_map']:.3f}" + " (scaled up)" * row["scaled_up"],
                "" if target is None else f"{target}",
                f"{row['share_of_peak']:.2f}" + (f" (target {share})" if share else ""),
                f"{row['over_loop']:.2f} (target {OVER_LOOP})",
            ]
        )
    return markdown_table(head, cells)


def print_tables(maps: Sequence[dict[str, Any]], commands: Sequence[dict[str, Any]]) -> None:
    """Print all tables."""
    print(map_table(maps))
    for row in maps:
        if row.get("profile"):
            shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in row["profile"].items())
            print(f"- {row['network']}, {row['precision']}, {row['recipe']}, {row['maps']} together: {shares}")
        if "likeness" in row:
            print(f"- {row['network']}, {row['precision']}: cosine of a map alone and among ten {row['likeness']:.4f}")
    if commands:
        cells = [
            [
                row["command"],
                f"{row['seconds']}" + " (scaled up)" * row["scaled_up"],
                row["target"],
                row["why"] or "ended well",
            ]
            for row in commands
        ]
        print(markdown_table(("command", "seconds", "target", "how it ended"), cells))


def main() -> None:
    """Measure and print; write the result if a GPU was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--networks", nargs="+", metavar="SPEC")
    parser.add_argument("--no-commands", action="store_true")
    arguments = parser.parse_args()
    print(hardware())
    quick, clock = arguments.quick, Clock(QUICK_SECONDS if arguments.quick else None)
    networks = {spec: spec for spec in arguments.networks} if arguments.networks else NETWORKS
    # In --quick first, because the networks take all the time that there is.
    commands = [] if arguments.no_commands else measure_commands(clock, quick=quick)
    maps: list[dict[str, Any]] = []
    for kind in PRECISIONS[:1] if quick else PRECISIONS:
        for name, spec in networks.items():
            maps += measure_network(name, spec, (kind, f"{kind} compiled"), clock, quick=quick)
    print_tables(maps, commands)
    if torch.cuda.is_available():
        write_result("gpu-quick" if quick else "gpu", {"maps": maps, "commands": commands})


if __name__ == "__main__":
    main()
