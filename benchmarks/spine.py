"""The figures that the spine must reach: `python -m benchmarks.spine` (about 20 minutes on 2 cores).

Quick maps from mobilenet_v2_a, read by every network of the zoo: 10 concepts on natural samples and on the default
synthetic ones, 5 on each other synthetic kind; seconds a map, memory, the share of wall time spent in the network; the
cost of the paper's recipe.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.common import CONCEPTS, NETWORKS, ROOT, SHARED, hardware, images, keep, network, readings, table
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.mapper import map_jobs
from phosphene.mapper.cycle import passes
from phosphene.recipe import resolve
from phosphene.report import contact_sheet
from phosphene.samples import load_samples

SOURCE = "mobilenet_v2_a"


def command_memory() -> float:
    """Return the peak memory in GiB of one `phosphene map` command, `quick` on natural samples, measuring included."""
    with tempfile.TemporaryDirectory() as folder:
        card = SHARED / "zoo" / f"{SOURCE}.toml"
        words = ["map", str(card), "--trust", "-c", "castle", "--recipe", "quick", "--samples", images()]
        command = [sys.executable, "-m", "phosphene", *words, "--out", f"{folder}/run", "--json"]
        subprocess.run(command, check=True, capture_output=True)
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2)


class Stopwatch:
    """Adds up the time inside a call; the engine's two calls of the network are all there is to time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``call``, timed."""

        def timed(*args: Any, **keys: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **keys)
            finally:
                self.seconds += time.perf_counter() - began

        return timed


def measure(samples: str, concepts: tuple[str, ...], recipe: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Map the concepts, one after the other, and have every network read them."""
    classifier = network(SOURCE)
    settings = resolve(recipe, overrides)
    pool = load_samples(samples, classifier.input.shape)
    watch = Stopwatch()
    with Engine(classifier) as engine:
        original, backward = engine._network, torch.autograd.grad  # noqa: SLF001
        engine._network = watch.around(original)  # type: ignore[method-assign]  # noqa: SLF001
        torch.autograd.grad = watch.around(backward)
        try:
            began = time.perf_counter()
            maps = [map_jobs(engine, pool, [Job(classifier.labels.find(name))], settings)[0] for name in concepts]
            wall = time.perf_counter() - began
        finally:
            torch.autograd.grad = backward
    return {
        "concepts": len(concepts),
        "samples": samples if samples.startswith("synthetic") else "imagenet-sample",
        "recipe": settings.name,
        "overrides": overrides,
        "seconds_a_map": round(statistics.median(one.seconds for one in maps), 2),
        "network_share": round(watch.seconds / wall, 3),
        "passes": passes(settings),
        "targeting_rate": round(sum(one.targeting_rate or 0 for one in maps) / len(maps), 3),
        "readings": readings(maps),
        "readings_of_first_5": readings(maps[:5]),  # M_score depends on the number of concepts
        "maps": maps,
    }


def main() -> None:
    """Print the tables and write benchmarks/results/spine.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="quick")
    recipe = parser.parse_args().recipe
    paper = measure(images(), CONCEPTS[:1], "paper", {"steps": 3, "refine_steps": 2})
    rows = []
    kinds = {images(): 10, "synthetic:mixed": 10, "synthetic:noise": 5, "synthetic:pink": 5, "synthetic:dead-leaves": 5}
    for samples, count in kinds.items():
        rows.append(measure(samples, CONCEPTS[:count], recipe, {}))
        print_rows(rows[-1:])
    paper["passes_of_the_full_recipe"] = passes(resolve("paper"))
    peak = command_memory()
    for row in rows:
        found = row.pop("maps")
        sheet = contact_sheet([one.image for one in found], [one.short for one in found])
        sheet.save(ROOT / "docs" / "figures" / f"spine-{slug(row)}.webp", quality=85)
    paper.pop("maps")
    keep("spine", {"peak_memory_gib": peak, "rows": rows, "paper_shortened": paper})
    print(hardware())
    print_rows(rows)
    print(f"peak memory of one map command: {peak} GiB")
    print(f"paper, shortened to 2 x (3 + 2) steps: {paper['passes']:,} passes in {paper['seconds_a_map']} s; ", end="")
    print(f"the full recipe takes {paper['passes_of_the_full_recipe']:,} passes a map")


def slug(row: dict[str, Any]) -> str:
    """Return a file name for a row's samples."""
    return str(row["samples"]).replace(":", "-")


def print_rows(rows: list[dict[str, Any]]) -> None:
    """Print the readings as a table: M_score / top-1 a network."""
    cells = [
        [
            f"{row['samples']} ({count})",
            *(f"{row[which][name]['m_score']:.2f} / {row[which][name]['top1']:.1f}" for name in NETWORKS),
            f"{row['targeting_rate']:.2f}",
            row["seconds_a_map"],
            f"{row['network_share']:.0%}",
        ]
        for row in rows
        for count, which in {row["concepts"]: "readings", 5: "readings_of_first_5"}.items()
    ]
    print(
        table(["samples (concepts)", *NETWORKS, "targeting", "s a map (median)", "in the network"], cells), flush=True
    )


if __name__ == "__main__":
    main()
