"""The cost of running many maps: `python -m benchmarks.engine.executors [planner] [overhead] [throughput]`.

planner: plan, resume and list 10,000, 100,000 and 1,000,000 jobs of one run, half of which are there; seconds, memory.
overhead: what a map costs beyond making it, in this process and in a worker process; a map written.
throughput: 2 workers of one thread each against 1 worker of one thread, in turns.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.common import markdown_table, write_result
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.executors import Executor, LocalExecutor, pick_executor
from phosphene.executors.base import MapPlan, MapSummary
from phosphene.recipe import Recipe, resolve
from phosphene.runs import RunDirectory, run_facts
from phosphene.samples import load_samples
from phosphene.samples.pool import make_pool
from phosphene.sources import load
from phosphene.workflows.group_queue import GroupQueue
from phosphene.workflows.map import execute
from phosphene.workflows.plan import plan

SIZES = (10_000, 100_000, 1_000_000)
MODEL, SAMPLES, MAPS, PAIRS = "demo:shapes", "demo:shapes", 24, 3


# --- a million jobs


def planner(jobs: int) -> dict[str, float]:
    """Time the planner in this process, which does nothing else, so that its peak memory is the planner's."""
    torch.manual_seed(0)
    classes = 1000
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
    classifier = Classifier(net, size=8, name="thousand")
    pool = make_pool(torch.zeros((4, 3, 8, 8), dtype=torch.uint8), "none")
    found: dict[str, float] = {"jobs": jobs, "memory_before": _memory()}
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        clock = _Clock(found)
        todo = plan(classifier, Recipe(), pool, Path(folder) / "run", None, range(jobs // classes))
        labels = classifier.labels
        facts = run_facts(classifier, Recipe(), pool)
        todo.run.begin(facts, ((job, labels[job.index]) for job in todo.jobs))
        clock("plan")
        for job in todo.jobs[::2]:  # what a run looks like that was stopped half-way; making it is not the planner's
            place = todo.run.folder(job, labels[job.index])
            place.mkdir(parents=True)
            (place / "map.json").touch()
        clock("")
        again = plan(classifier, Recipe(), pool, todo.run.path, None, range(jobs // classes), device="cpu")
        again.run.begin(facts, ((job, labels[job.index]) for job in again.jobs))
        queue, groups = GroupQueue([again], LocalExecutor()), 0
        while queue.take() is not None:
            groups += 1
        clock("resume")
        rows, there = todo.run.facts()["jobs"], todo.run.listing()
        found |= {"rows": len(rows), "there": sum(map(len, there.values())), "groups": groups}
        clock("list")
        found["memory"] = _memory()
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(exist_ok=True)
    return found


class _Clock:
    def __init__(self, found: dict[str, float]) -> None:
        self.found, self.last, self.worked = found, time.perf_counter(), time.process_time()

    def __call__(self, name: str) -> None:
        now, worked = time.perf_counter(), time.process_time()
        if name:  # on a busy machine the processor's own time is what stays the same
            self.found |= {name: round(now - self.last, 2), f"{name}_cpu": round(worked - self.worked, 2)}
        self.last, self.worked = now, worked


def _memory() -> float:
    """Peak memory of this process in GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)


def _scratch() -> "str | None":
    """A file system in memory, where there is one: the planner is measured, not the disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


def planners() -> list[dict[str, float]]:
    """Run :func:`planner` for every size, in processes of their own."""
    rows = []
    for jobs in SIZES:
        words = [sys.executable, "-m", "benchmarks.engine.executors", "--planner-of", str(jobs)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    names = ["jobs", "plan", "resume", "list", "memory"]
    print(
        markdown_table(
            [*names[:1], "plan, s", "resume, s", "list, s", "peak, GB"], [[row[name] for name in names] for row in rows]
        )
    )
    return rows


# --- maps


def demo_plan(folder: str, maps: int, recipe: "Recipe | None" = None) -> MapPlan:
    """Plan some maps of a demo network."""
    classifier = load(MODEL)
    seeds = range(-(-maps // classifier.num_classes))
    pool = load_samples(SAMPLES, classifier.input.shape)
    return plan(classifier, recipe or resolve("vivid"), pool, Path(folder) / "run", None, seeds, device="cpu")


def run(executor: "Callable[[], Executor] | None", maps: int = MAPS) -> tuple[list[float], list[float]]:
    """Make maps; return when each was there, and what making it took by the worker's own clock."""
    when, seconds = [], []

    def done(note: MapSummary) -> None:
        when.append(time.perf_counter())
        seconds.append(note.seconds)

    with tempfile.TemporaryDirectory() as folder:
        execute(demo_plan(folder, maps), executor=executor() if executor else None, on_map=done)
    return when, seconds


def overhead() -> dict[str, Any]:
    """Measure what passes between two maps beyond making the second one."""
    rows: dict[str, list[float]] = {"this process": [], "a worker": []}
    for _ in range(PAIRS):
        for name, executor in (("this process", None), ("a worker", lambda: pick_executor(workers=1, threads=1))):
            when, seconds = run(executor, 12)
            beyond = [later - earlier - own for earlier, later, own in zip(when, when[1:], seconds[1:], strict=False)]
            rows[name].append(statistics.median(beyond) / statistics.median(seconds))
    with tempfile.TemporaryDirectory() as folder:
        written = write_seconds(Path(folder) / "run")
    lines = [[name, *(f"{100 * share:.2f} %" for share in shares)] for name, shares in rows.items()]
    print(markdown_table(["overhead of", *(f"run {number + 1}" for number in range(PAIRS))], lines))
    print(f"a map of 224 x 224 written, synced and renamed: {1000 * statistics.median(written):.1f} ms (median)")
    return {**rows, "write_seconds": statistics.median(written)}


def write_seconds(path: Path) -> list[float]:
    """Time the writing of maps of 224 x 224."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 30))
    classifier = Classifier(net, size=224, name="thirty")
    directory = RunDirectory(path)
    pool = make_pool(torch.zeros((4, 3, 224, 224), dtype=torch.uint8), "none")
    labels = classifier.labels
    directory.begin(run_facts(classifier, Recipe(), pool), [(Job(index), labels[index]) for index in range(30)])
    times = []
    for index in range(30):
        nu, xi = 0.1 * torch.randn(3, 224, 224), torch.rand(1, 224, 224)
        facts: dict[str, Any] = {"recipe_sha256": "", "contrast": 0.2, "p_class": 1.0, "targeting_rate": 1.0}
        one = ConceptMap(nu, xi, index, labels[index], 0, loss=(1.0,) * 120, passes=1920, seconds=1.0, **facts)
        began = time.perf_counter()
        directory.write(one)
        times.append(time.perf_counter() - began)
    return times


def throughput() -> dict[str, Any]:
    """Measure 2 workers against 1, one thread each, in turns: a busy machine is busy in another way a minute later."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for number in range(PAIRS):
        for workers in (1, 2) if number % 2 else (2, 1):
            when, _ = run(lambda workers=workers: pick_executor(workers=workers, threads=1))  # type: ignore[misc]
            inner = when[workers : len(when) - workers]  # neither while workers start nor when one has nothing left
            rates[workers].append((len(inner) - 1) / (inner[-1] - inner[0]))
            print(f"{workers} worker(s): {60 * rates[workers][-1]:.1f} maps a minute", file=sys.stderr, flush=True)
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    print(f"2 workers over 1, one thread each: {', '.join(f'{ratio:.2f}' for ratio in ratios)} in {PAIRS} pairs")
    return {"maps_a_second": rates, "ratios": ratios, "median_ratio": statistics.median(ratios)}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["planner", "overhead", "throughput", []])
    parser.add_argument("--planner-of", type=int)
    asked = parser.parse_args()
    if asked.planner_of:
        print(json.dumps(planner(asked.planner_of)))
        return
    measured = {"planner": planners, "overhead": overhead, "throughput": throughput}
    results = {name: measured[name]() for name in asked.parts or measured}  # type: ignore[operator]
    write_result("executors" + ("-" + "-".join(asked.parts) if asked.parts else ""), results)


if __name__ == "__main__":
    main()
