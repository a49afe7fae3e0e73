"""What the engine makes of a CPU or GPU: `python -m benchmarks.engine` (about 3 minutes on 2 cores).

Pictures a second, forward and backward to the input, for mobilenet_v2_a at 224 pixels: a loop as one would write it by
hand, the engine at several micro-batches, and the engine with its measures switched off one by one. A figure is the
best of several repetitions, in processes of their own; what counts are the ratios.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch.nn import functional

from benchmarks.common import hardware, keep, network, table
from phosphene.engine import Engine

PICTURES, REPEATS = 48, 4
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}
# name -> arguments of the measuring process, its environment
CASES: dict[str, tuple[list[str], dict[str, str]]] = {
    "by hand, batches of 64, contiguous": (["--by-hand", "64"], {}),
    "by hand, batches of 16, channels last": (["--by-hand", "16", "--channels-last"], {}),
    "by hand, batches of 8, channels last": (["--by-hand", "8", "--channels-last"], {}),
    "engine, micro-batches of 4": (["--micro-batch", "4"], {}),
    "engine, micro-batches of 8 (default)": (["--micro-batch", "8"], {}),
    "engine, micro-batches of 16": (["--micro-batch", "16"], {}),
    "engine, micro-batches of 32": (["--micro-batch", "32"], {}),
    "engine, freed memory given back": (["--micro-batch", "8", "--give-back"], {}),
    "engine, waiting threads sleep": (["--micro-batch", "8"], PASSIVE),
    "engine, bf16 autocast": (["--micro-batch", "8", "--precision", "bf16"], {}),
}


def best(run: Callable[[], object]) -> float:
    """Return pictures a second: the best of several repetitions, after one that does not count."""
    run()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return PICTURES / min(seconds)


def by_hand(size: int, *, channels_last: bool) -> float:
    """Measure the loop that one would write by hand."""
    classifier = network("mobilenet_v2_a")
    module = classifier.module.eval().requires_grad_(requires_grad=False)
    pictures = torch.rand(PICTURES, *classifier.input.shape) * 2 - 1
    classes = torch.zeros(PICTURES, dtype=torch.int64)
    if channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pictures = pictures.contiguous(memory_format=torch.channels_last)

    def run() -> None:
        for chunk, wanted in zip(torch.split(pictures, size), torch.split(classes, size), strict=True):
            leaf = chunk.detach().requires_grad_()
            torch.autograd.grad(functional.cross_entropy(module(leaf), wanted, reduction="sum"), leaf)

    return best(run)


def engine(micro_batch: int, precision: str) -> float:
    """Measure the engine's nudge of two maps."""
    classifier = network("mobilenet_v2_a")
    samples = torch.randint(0, 256, (2, PICTURES // 2, *classifier.input.shape), dtype=torch.uint8)
    nu, classes = torch.zeros(2, *classifier.input.shape), torch.tensor([1, 2])
    with Engine(classifier, precision=precision, micro_batch=micro_batch) as opened:
        return best(lambda: opened.nudge(samples, nu, classes))


def main() -> None:
    """Run every case in a process of its own and print the table, or run the one case that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--by-hand", type=int)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--micro-batch", type=int)
    parser.add_argument("--give-back", action="store_true")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    if arguments.give_back:
        import phosphene.engine.engine as module  # noqa: PLC0415

        module.keep_freed_memory = lambda: False
    if arguments.by_hand:
        print(json.dumps(by_hand(arguments.by_hand, channels_last=arguments.channels_last)))
    elif arguments.micro_batch:
        print(json.dumps(engine(arguments.micro_batch, arguments.precision)))
    else:
        speeds = {}
        for name, (words, environment) in CASES.items():
            command = [sys.executable, "-m", "benchmarks.engine", *words]
            answer = subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
            speeds[name] = json.loads(answer.stdout)
        hand = max(speed for name, speed in speeds.items() if name.startswith("by hand"))
        keep(
            "engine",
            {
                "pictures_per_second": speeds,
                "engine_over_best_by_hand": max(
                    speed for name, speed in speeds.items() if name.startswith("engine, micro")
                )
                / hand,
            },
        )
        print(hardware())
        rows = [[name, f"{speed:.1f}", f"{speed / hand:.2f}"] for name, speed in speeds.items()]
        print(table(["forward and backward", "pictures/s", "over the best by hand"], rows))


if __name__ == "__main__":
    main()
