"""Speed of the engine on a CPU: `python -m benchmarks.engine` (about 5 minutes on 2 cores).

(a) Samples per second, forward and backward to the input, for mobilenet_v2_a at 224 pixels: the loop that one would
    write by hand, the engine with several micro-batches, and the engine with its measures switched off one by one.
(b) Seconds per step of Algorithm 1 with the paper's batch of 128: benchmarks/engine/literal.py and the recipe `paper`.

Every case runs in a process of its own; a figure is the best of several repetitions. The ratios are what counts.
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

from benchmarks.common import PHOTOGRAPHS, hardware, markdown_table, network, write_result
from benchmarks.engine.literal import algorithm_1
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.mapper import map_jobs
from phosphene.recipe import resolve
from phosphene.samples import load_samples

SAMPLES, REPEATS = 48, 4
SLEEPING = {"OMP_WAIT_POLICY": "PASSIVE"}
# (a): name -> arguments of the measuring process, its environment
CASES: dict[str, tuple[list[str], dict[str, str]]] = {
    "by hand, batches of 64, contiguous": (["--by-hand", "64"], {}),
    "by hand, batches of 16, channels last": (["--by-hand", "16", "--channels-last"], {}),
    "by hand, batches of 8, channels last": (["--by-hand", "8", "--channels-last"], {}),
    "engine, micro-batches of 4": (["--micro-batch", "4"], {}),
    "engine, micro-batches of 8 (default)": (["--micro-batch", "8"], {}),
    "engine, micro-batches of 16": (["--micro-batch", "16"], {}),
    "engine, micro-batches of 32": (["--micro-batch", "32"], {}),
    "engine, freed memory returned to the system": (["--micro-batch", "8", "--return-memory"], {}),
    "engine, waiting threads sleep": (["--micro-batch", "8"], SLEEPING),
    "engine, bf16 autocast": (["--micro-batch", "8", "--precision", "bf16"], {}),
}
# (b): the literal script's `backward()` also computes the gradients of the weights, unless they are frozen.
STEPS = 2
WAYS = {
    "literal script, a batch at once": "batch",
    "literal script, a batch at once, weights frozen": "batch-frozen",
    "literal script, one image at a time": "single",
    "literal script, one image at a time, weights frozen": "single-frozen",
    "recipe paper": "recipe",
}


def samples_per_second(run: Callable[[], object]) -> float:
    """Return the best of several repetitions, after one to warm up."""
    run()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return SAMPLES / min(seconds)


def by_hand(size: int, *, channels_last: bool) -> float:
    """Measure the loop that one would write by hand."""
    classifier = network("mobilenet_v2_a")
    module = classifier.module.eval().requires_grad_(requires_grad=False)
    images = torch.rand(SAMPLES, *classifier.input.shape) * 2 - 1
    labels = torch.zeros(SAMPLES, dtype=torch.int64)
    if channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.contiguous(memory_format=torch.channels_last)

    def run() -> None:
        for chunk, some in zip(torch.split(images, size), torch.split(labels, size), strict=True):
            leaf = chunk.detach().requires_grad_()
            torch.autograd.grad(functional.cross_entropy(module(leaf), some, reduction="sum"), leaf)

    return samples_per_second(run)


def by_engine(micro_batch: int, precision: str) -> float:
    """Measure the engine's gradients of two maps."""
    classifier = network("mobilenet_v2_a")
    samples = torch.randint(0, 256, (2, SAMPLES // 2, *classifier.input.shape), dtype=torch.uint8)
    nu, classes = torch.zeros(2, *classifier.input.shape), torch.tensor([1, 2])
    with Engine(classifier, device="cpu", precision=precision, micro_batch=micro_batch) as engine:
        return samples_per_second(lambda: engine.mean_gradients(samples, nu, classes))


def seconds_per_step(way: str) -> float:
    """Return the seconds per step of Algorithm 1 with b 128 and the sign test, for one map."""
    classifier = network("mobilenet_v2_a")
    pool = load_samples(PHOTOGRAPHS, classifier.input.shape)
    recipe = resolve("paper", {"steps": STEPS, "rounds": 1, "refine_steps": 0})
    label = classifier.labels.find("castle")
    if way != "recipe":
        classifier.module.eval().requires_grad_(requires_grad=not way.endswith("-frozen"))
        arguments = (classifier.logits, pool.pixels.float() / 255, label, recipe.batch_size, STEPS, recipe.radius)
        began = time.perf_counter()
        algorithm_1(*arguments, one_by_one=way.startswith("single"))
        return (time.perf_counter() - began) / STEPS
    with Engine(classifier, device="cpu") as engine:
        ends: list[float] = []  # of each step: scoring the finished map is not part of Algorithm 1
        began = time.perf_counter()
        map_jobs(engine, pool, [Job(label)], recipe, lambda _: ends.append(time.perf_counter()))
    return (ends[-1] - began) / STEPS


def in_process(*arguments: str, **environment: str) -> float:
    """Measure one case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.engine", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
    return float(json.loads(done.stdout))


def main() -> None:
    """Run every case in a process of its own and print the tables, or run the one case that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["a", "b"], help="only this table; nothing is written")
    one_case = parser.add_argument_group("one case, in this process")
    one_case.add_argument("--by-hand", type=int, metavar="BATCH")
    one_case.add_argument("--channels-last", action="store_true")
    one_case.add_argument("--micro-batch", type=int)
    one_case.add_argument("--return-memory", action="store_true")
    one_case.add_argument("--precision", default="auto")
    one_case.add_argument("--step", choices=list(WAYS.values()))
    arguments = parser.parse_args()
    if arguments.return_memory:
        import phosphene.engine.engine as module  # noqa: PLC0415

        module.keep_freed_memory = lambda: None
    if arguments.by_hand:
        print(json.dumps(by_hand(arguments.by_hand, channels_last=arguments.channels_last)))
    elif arguments.micro_batch:
        print(json.dumps(by_engine(arguments.micro_batch, arguments.precision)))
    elif arguments.step:
        print(json.dumps(seconds_per_step(arguments.step)))
    else:
        tables(arguments.only)


def tables(only: "str | None") -> None:
    """Measure and print the tables; write the result if it is whole."""
    print(hardware())
    result = {}
    if only != "b":
        speeds = {name: in_process(*words, **environment) for name, (words, environment) in CASES.items()}
        hand = max(speed for name, speed in speeds.items() if name.startswith("by hand"))
        own = max(speed for name, speed in speeds.items() if name.startswith("engine, micro"))
        result |= {"samples_per_second": speeds, "engine_over_best_by_hand": own / hand}
        rows = [[name, f"{speed:.1f}", f"{speed / hand:.2f}"] for name, speed in speeds.items()]
        print(markdown_table(["(a) forward and backward", "samples/s", "over the best by hand"], rows))
    if only != "a":
        steps = {name: in_process("--step", way) for name, way in WAYS.items()}
        result |= {"seconds_per_step": steps}
        rows = [[name, f"{seconds:.1f}", f"{seconds / steps['recipe paper']:.2f}"] for name, seconds in steps.items()]
        print(markdown_table(["(b) one step of Algorithm 1, b 128", "seconds", "over recipe paper"], rows))
    if not only:
        write_result("engine", result)


if __name__ == "__main__":
    main()
