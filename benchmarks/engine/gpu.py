"""Speed on a GPU beside its targets: `python -m benchmarks.engine.gpu [--quick]`.

- maps: `vivid` for one map alone and ten together, and `paper` for one map, by VGG-16, ResNet-50 and DenseNet-121 with
  random weights at 224 pixels (which cost the same), in single precision, with bf16 autocast, and compiled. Every case
  runs twice and the second run counts: tuning, compiling and recording are done in the first. Beside it: the share of
  the bf16 matrix peak; the time over a raw loop of the same network, precision and compilation, the best of several
  batch sizes, eager and replayed as a CUDA graph; whether a map among ten is the map alone; where the GPU's time goes.
- commands: `phosphene map --all` of mobilenet_v2_a, `score` by three networks, `scan` of a network of 10 classes and
  one of 1,001, each timed from outside, files and report included.

Every network and command runs in a process of its own, and what fails costs only its rows. `--quick` ends after at most
8 minutes on one GPU with 16 cores and needs nothing but this repository and ../shared/zoo: bf16 only, `paper` with 30 of
its 650 steps and 200 classes instead of 1,001 (both scaled up), and what no time is left for is said. In full it takes
about half an hour. Where there is no GPU, `--quick --networks demo:shapes --no-commands` tries the script out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.common import ROOT, SHARED, hardware, markdown_table, write_result
from benchmarks.engine.floor import NETWORKS

PRECISIONS = ("bf16", "bf16 compiled", "fp32", "fp32 compiled")
QUICK_SECONDS, RESERVE = 470.0, 5.0  # of --quick, and of these for printing
CASE_SECONDS, COMMAND_SECONDS = 100.0, 90.0  # that one process may take in --quick
CLASSES, QUICK_CLASSES = 1001, 200
# Seconds per map: (recipe, maps together) -> network -> target.
MAP_TARGETS = {
    ("vivid", 1): {"VGG-16": 0.35, "ResNet-50": 0.35, "DenseNet-121": 0.5},
    ("vivid", 10): {"VGG-16": 0.14, "ResNet-50": 0.12, "DenseNet-121": 0.2},
    ("paper", 1): {"VGG-16": 50.0, "ResNet-50": 40.0},
}
SHARE_TARGETS = {("vivid", 10, "VGG-16"): 0.55}  # of the bf16 matrix peak
OVER_LOOP = 1.1


class Clock:
    """How much time is left."""

    def __init__(self, seconds: "float | None") -> None:
        self.ends = None if seconds is None else time.monotonic() + seconds

    def left(self, most: float) -> "float | None":
        """Return the seconds that a process may take, at most ``most``; ``None`` without a limit."""
        return None if self.ends is None else min(most, self.ends - RESERVE - time.monotonic())


def run(words: Sequence[str], limit: "float | None") -> tuple[float, str, str]:
    """Run a process; return its seconds, what it printed, and why it is not all there: empty if the process ended well."""
    began = time.monotonic()
    if limit is not None and limit <= 0:
        return 0.0, "", "no time was left"
    process = subprocess.Popen([sys.executable, "-m", *words], stdout=-1, stderr=-1, text=True, cwd=ROOT)
    try:
        out, errors = process.communicate(timeout=limit)
        last = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        why = last if process.returncode not in (0, 1, 3) else ""  # 1 and 3 are verdicts of a scan
    except subprocess.TimeoutExpired:
        process.kill()
        out, why = process.communicate()[0], f"no time was left after {limit:.0f} s"
    return time.monotonic() - began, out, why


def measure_network(name: str, spec: str, precision: str, clock: Clock, *, quick: bool) -> list[dict[str, Any]]:
    """Return a row per case of a network in a precision; a row that says why, where it could not be measured."""
    words = ["benchmarks.engine.gpu_cases", spec, precision, *(["--quick"] if quick else [])]
    _, out, why = run(words, clock.left(CASE_SECONDS))
    rows = [{"network": name, "precision": precision, **json.loads(line)} for line in out.splitlines()]
    if why:
        rows.append({"network": name, "precision": precision, "why": why})
    for row in rows:
        print({key: round(one, 3) if isinstance(one, float) else one for key, one in row.items()}, flush=True)
    return rows


def measure_commands(clock: Clock, *, quick: bool) -> list[dict[str, Any]]:
    """Return the wall time of commands, as a user would give them."""
    zoo = SHARED / "zoo"
    source = str(zoo / "mobilenet_v2_a.toml")
    targets = [str(zoo / f"{name}.toml") for name in ("mobilenet_v2_b", "mobilenet_v1_075", "efficientnet_lite0")]
    classes = [word for index in range(QUICK_CLASSES) for word in ("-c", str(index))] if quick else ["--all"]
    scale = CLASSES / QUICK_CLASSES if quick else 1.0
    with tempfile.TemporaryDirectory() as folder:
        commands = [
            ("scan, 10 classes", 4, 1.0, ["scan", str(zoo / "cifar_resnet20.toml"), "--out", f"{folder}/10"]),
            ("map --all, 1,001 classes", 120, scale, ["map", source, *classes, "--out", f"{folder}/maps"]),
            (
                "score of these by three networks",
                *(15, scale),
                ["score", f"{folder}/maps", *(word for one in targets for word in ("--target", one))],
            ),
            ("scan, 1,001 classes", 60, 1.0, ["scan", source, "--out", f"{folder}/1001"]),
        ]
        rows = []
        for name, target, times, words in commands:
            more = ["--no-map"] if words[0] == "scan" else []
            seconds, _, why = run(["phosphene", *words, *more, "--trust"], clock.left(COMMAND_SECONDS))
            row = {"command": name, "target": target, "seconds": round(seconds * times, 1), "scaled_up": times > 1}
            row["why"] = why
            rows.append(row)
            print(row, flush=True)
    return rows


def map_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of the maps, each figure with its target."""
    head = ("network", "recipe", "maps", "precision", "s per map", "target", "of the peak", "over the best raw loop")
    cells: list[list[str]] = []
    for row in rows:
        if "why" in row:
            cells.append([row["network"], "", "", row["precision"], f"not measured: {row['why']}", "", "", ""])
            continue
        case = (row["recipe"], row["maps"])
        target = MAP_TARGETS[case].get(row["network"])
        share = SHARE_TARGETS.get((*case, row["network"]))
        cells.append(
            [
                *(str(row[key]) for key in ("network", "recipe", "maps", "precision")),
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
            print(f"- {row['network']}, {row['precision']}, ten maps: {shares}")
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
    plain = [name for name in PRECISIONS if "compiled" not in name and not (quick and name == "fp32")]
    compiled = [name for name in PRECISIONS if "compiled" in name and not (quick and name.startswith("fp32"))]
    maps: list[dict[str, Any]] = []
    for precision in plain:
        for name, spec in networks.items():
            maps += measure_network(name, spec, precision, clock, quick=quick)
    commands = [] if arguments.no_commands else measure_commands(clock, quick=quick)
    for precision in compiled:  # last: nobody knows how long a compiler takes
        for name, spec in networks.items():
            maps += measure_network(name, spec, precision, clock, quick=quick)
    print_tables(maps, commands)
    if torch.cuda.is_available():
        write_result("gpu-quick" if quick else "gpu", {"maps": maps, "commands": commands})


if __name__ == "__main__":
    main()
