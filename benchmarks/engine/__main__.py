"""What the engine makes of a CPU: `python -m benchmarks.engine` (about 5 minutes on 2 cores).

Pictures a second, forward and backward to the input, for mobilenet_v2_a at 224 pixels: a loop as one would write it by
hand, the engine at several micro-batches, and the engine with its measures switched off one by one. A figure is the
best of several repetitions, in processes of their own; what counts are the ratios. Then two steps of Algorithm 1 with
the paper's batch of 128: the literal script of benchmarks/engine/literal.py, and the recipe `paper`.
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

from benchmarks.common import hardware, images, keep, network, table
from benchmarks.engine.literal import algorithm_1
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.mapper import map_jobs
from phosphene.recipe import resolve
from phosphene.samples import load_samples

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
# The same two steps of Algorithm 1; the first is what the paper's text says, typed in. `backward()` then also works out
# gradients of the weights, which nobody asked for; frozen, the script is what a careful hand makes of it.
STEPS = 2
WAYS = {
    "literal script, a batch at once": "batch",
    "literal script, picture by picture": "single",
    "literal script, picture by picture, weights frozen": "single-frozen",
    "literal script, a batch at once, weights frozen": "batch-frozen",
    "recipe paper": "ours",
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
    with Engine(classifier, device="cpu", precision=precision, micro_batch=micro_batch) as opened:
        return best(lambda: opened.mean_gradients(samples, nu, classes))


def paper(way: str) -> float:
    """Return the seconds a step of Algorithm 1 with b 128 and the sign test, for one map."""
    classifier = network("mobilenet_v2_a")
    pool = load_samples(images(), classifier.input.shape)
    recipe = resolve("paper", {"steps": STEPS, "rounds": 1, "refine_steps": 0})
    label = classifier.labels.find("castle")
    if way != "ours":
        classifier.module.eval().requires_grad_(requires_grad=not way.endswith("-frozen"))
        samples = pool.pixels.float() / 255
        began = time.perf_counter()
        algorithm_1(
            *(classifier.logits, samples, label, recipe.batch_size, STEPS, recipe.radius),
            one_by_one=way.startswith("single"),
        )
        return (time.perf_counter() - began) / STEPS
    with Engine(classifier, device="cpu") as opened:
        began = time.perf_counter()
        done: list[float] = []  # after the last step: measuring the finished map is not part of Algorithm 1
        map_jobs(opened, pool, [Job(label)], recipe, lambda _: done.append(time.perf_counter()))
    return (done[-1] - began) / STEPS


def in_process(*words: str, **environment: str) -> float:
    """Measure one case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.engine", *words]
    answer = subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
    return float(json.loads(answer.stdout))


def main() -> None:
    """Run every case in a process of its own and print the table, or run the one case that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--by-hand", type=int)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--micro-batch", type=int)
    parser.add_argument("--give-back", action="store_true")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--paper", choices=list(WAYS.values()))
    arguments = parser.parse_args()
    if arguments.give_back:
        import phosphene.engine.engine as module  # noqa: PLC0415

        module.keep_freed_memory = lambda: False
    if arguments.by_hand:
        print(json.dumps(by_hand(arguments.by_hand, channels_last=arguments.channels_last)))
    elif arguments.micro_batch:
        print(json.dumps(engine(arguments.micro_batch, arguments.precision)))
    elif arguments.paper:
        print(json.dumps(paper(arguments.paper)))
    else:
        speeds = {name: in_process(*words, **environment) for name, (words, environment) in CASES.items()}
        steps = {name: in_process("--paper", way) for name, way in WAYS.items()}
        hand = max(speed for name, speed in speeds.items() if name.startswith("by hand"))
        own = max(speed for name, speed in speeds.items() if name.startswith("engine, micro"))
        facts = {"pictures_per_second": speeds, "engine_over_best_by_hand": own / hand, "seconds_a_step": steps}
        keep("engine", facts)
        print(hardware())
        rows = [[name, f"{speed:.1f}", f"{speed / hand:.2f}"] for name, speed in speeds.items()]
        print(table(["forward and backward", "pictures/s", "over the best by hand"], rows))
        rows = [[name, f"{seconds:.1f}", f"{seconds / steps['recipe paper']:.2f}"] for name, seconds in steps.items()]
        print(table(["a step of Algorithm 1, b 128", "s", "over ours"], rows))


if __name__ == "__main__":
    main()
