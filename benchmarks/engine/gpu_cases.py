"""A case of one network in one precision, in this process: `python -m benchmarks.engine.gpu_cases SPEC PRECISION CASE`.

A case is a recipe and how many maps are made together: vivid:10. `benchmarks.engine.gpu` calls it and says what is
measured. Makes the maps once, which compiles and records, prints "ready", waits for a line, makes them again, which
counts, and prints a line of JSON.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.profiler import profile

from benchmarks.engine.floor import operations
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.engine import Engine
from phosphene.engine.capture import CudaGraphs
from phosphene.mapper import MapOptimization, in_groups, map_jobs, passes_per_map
from phosphene.recipe import Recipe, resolve
from phosphene.samples import SamplePool, load_samples
from phosphene.sources import load

QUICK = {"paper": {"steps": 30, "refine_steps": 10, "rounds": 1}}
TRIAL = {"steps": 6, "refine_steps": 0, "rounds": 1, "batch_size": 8}  # without a GPU
SIDE, REPEATS = 8192, 8  # of the matrices whose product is the peak, and how often
# Images of the raw loop, as far as a step has so many (--quick: the two largest); the best counts.
LOOP_BATCHES = (8, 32, 80, 128)
LONGEST = 12  # kernels that are named
PROFILED = ("vivid", 10)  # the one case of a network that --quick has the time to profile
# Kernels on a GPU and operators on a CPU, by the first pattern that is found in their names.
KINDS = {
    "views": r"grid_sampl|affine_grid",
    "smoothing": r"fft",
    "convolutions and matrix products": r"conv|gemm|xmma|cutlass|winograd|nvjet|cudnn.*(fprop|dgrad)|aten::.*mm$",
    "normalisation": r"batch_norm|bn_",
    "pooling": r"pool",
    "changes of layout": r"nchw|nhwc|transpose",
    "copies": r"memcpy|memset|copy|clone",
    "pointwise": r"elementwise|vectorized|triton|pointwise|aten::(add|sub|mul|div|clamp|relu|threshold|where)",
    "sums": r"reduce|norm|softmax|sum|index_add|indexing",
}


def synchronize() -> None:
    """Wait until the GPU has finished what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def best_seconds(call: Callable[[], object]) -> float:
    """Return the best of several repetitions, after some to warm up."""
    seconds = []
    for _ in range(REPEATS):
        synchronize()
        began = time.perf_counter()
        call()
        synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds[2:])


def matrix_peak(device: torch.device) -> float:
    """Return the operations per second of a large bf16 matrix product."""
    side = SIDE if device.type == "cuda" else SIDE // 16
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    return 2 * side**3 / best_seconds(lambda: matrix @ matrix)


def loop_passes_per_second(engine: Engine, sizes: Sequence[int]) -> float:
    """Return the speed of the best raw loop around an open engine's network: forward, cross-entropy, backward.

    Weights are frozen and channels last, and the network compiled or not, as the engine has it; with a GPU the loop is
    also replayed as a CUDA graph.
    """
    (network,) = engine.forwards.chosen.values()

    def step(images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        leaf = images.detach().requires_grad_()
        with torch.autocast(engine.device.type, engine.autocast, engine.autocast is not None, cache_enabled=False):
            logits = network(leaf)
        return torch.autograd.grad(functional.cross_entropy(logits.float(), labels), leaf)

    speeds = []
    for size in sizes:
        images = torch.rand(size, *engine.classifier.input.shape, device=engine.device)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(size, dtype=torch.int64, device=engine.device)
        speeds.append(2 * size / best_seconds(partial(step, images, labels)))
        if engine.device.type == "cuda":
            replay = CudaGraphs(engine.device)(step, (images, labels))
            speeds.append(2 * size / best_seconds(partial(replay, images, labels)))
    return max(speeds)


def make(engine: Engine, pool: SamplePool, recipe: Recipe, count: int) -> tuple[float, list[ConceptMap]]:
    """Make maps of the first classes together; return the seconds per map, and the maps."""
    synchronize()
    began = time.perf_counter()
    groups = in_groups([Job(index) for index in range(count)], engine, recipe)
    maps = [one for group in groups for one in map_jobs(engine, pool, group, recipe)]
    synchronize()
    return (time.perf_counter() - began) / count, maps


def profile_steps(
    engine: Engine, pool: SamplePool, recipe: Recipe, count: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Return :func:`profile_shares` of the steps between two fetches of maps that are made together, after as many to warm up."""
    steps = iter(MapOptimization(engine, pool, [Job(index) for index in range(count)], recipe))

    def take() -> None:
        for _ in range(engine.steps_per_fetch):
            next(steps)

    take()
    return profile_shares(take)


def profile_shares(call: Callable[[], object]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the share of the wall time that the device spends on each kind of kernel, and with none; and on the longest kernels."""
    synchronize()
    with profile() as profiler:
        began = time.perf_counter()
        call()
        synchronize()
        wall = time.perf_counter() - began
    cuda = torch.cuda.is_available()
    field = "self_device_time_total" if cuda else "self_cpu_time_total"
    spent: dict[str, float] = {}
    kernels: dict[str, float] = {}
    for event in profiler.key_averages():
        name = event.key.lower()
        kind = next((kind for kind, pattern in KINDS.items() if re.search(pattern, name)), "others")
        on_device = not cuda or not name.startswith("aten::")  # on a GPU, operators repeat the time of their kernels
        kernels[event.key[:100]] = seconds = getattr(event, field, 0.0) * on_device / 1e6
        spent[kind] = spent.get(kind, 0.0) + seconds
    shares, longest = (
        {name: seconds / wall for name, seconds in sorted(one.items(), key=lambda item: -item[1])}
        for one in (spent, kernels)
    )
    return {**shares, "idle": max(0.0, 1 - sum(shares.values()))}, dict(list(longest.items())[:LONGEST])


def measure(classifier: Classifier, precision: str, case: str, *, quick: bool) -> dict[str, Any]:
    """Return the row of a case; its numbers are taken after a line has come in."""
    kind, _, compiled = precision.partition(" ")
    name, number = case.split(":")
    count, per_pass, published = int(number), operations(classifier), resolve(name)
    recipe = resolve(name, QUICK.get(name)) if quick else published
    if not torch.cuda.is_available():
        recipe = recipe.replace(**TRIAL)
    scale, most = passes_per_map(published) / passes_per_map(recipe), count * recipe.batch_size
    with Engine(classifier, precision=kind, compile="on" if compiled else "off") as engine:
        pool = load_samples("synthetic:mixed", classifier.input.shape).to(engine.device)
        passes = passes_per_map(recipe, pool)
        first, _ = make(engine, pool, recipe, count)
        print("ready", flush=True)
        sys.stdin.readline()
        peak = matrix_peak(engine.device)
        seconds, maps = make(engine, pool, recipe, count)
        sizes = [most] if compiled else [size for size in LOOP_BATCHES if size <= most][-2 if quick else 0 :]
        loop = loop_passes_per_second(engine, sizes)
        # A profile takes seconds, and one map alone looks like several.
        shares, longest = (
            ({}, {}) if quick and (name, count) != PROFILED else profile_steps(engine, pool, recipe, count)
        )
        row: dict[str, Any] = {
            "recipe": name,
            "maps": count,
            "seconds_per_map": seconds * scale,
            "first_seconds": first * count,
            "scaled_up": scale > 1,
            "peak": peak,
            "share_of_peak": per_pass * passes / seconds / peak,
            "over_loop": seconds * loop / passes,
            "p_class": sum(one.p_class for one in maps) / count,
            "micro_batch": engine.micro_batch,
            "profile": shares,
            "kernels": longest,
        }
        if count > 1 and not compiled:
            _, (alone,) = make(engine, pool, recipe, 1)
            row["likeness"] = float(functional.cosine_similarity(alone.nu.flatten(), maps[0].nu.flatten(), 0))
    return row


def main() -> None:
    """Measure the network that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec")
    parser.add_argument("precision")
    parser.add_argument("case", metavar="RECIPE:MAPS")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    row = measure(load(arguments.spec), arguments.precision, arguments.case, quick=arguments.quick)
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
