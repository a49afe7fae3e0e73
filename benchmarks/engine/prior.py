"""What natural statistics of the features cost: `python -m benchmarks.engine.prior` (2 minutes).

One map by `vivid` and one by plain `vivid`, of every network of the zoo, take steps in turn in one process. A figure is
the lower quartile of a step's milliseconds. Prints the table, and writes benchmarks/results/prior.json and the section
`prior` of docs/performance.md.
"""

import time

import numpy as np

from benchmarks.common import DOCS, PHOTOGRAPHS, PLAIN, hardware, markdown_table, network, write_result, write_section
from benchmarks.maps.families import FAMILIES
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.mapper import MapOptimization, passes_per_map
from phosphene.recipe import resolve
from phosphene.samples import load_samples

RECIPES = {"plain": resolve("vivid", PLAIN), "vivid": resolve("vivid")}
STEPS = 60


def milliseconds(name: str) -> dict[str, float]:
    """Return, per recipe, what a step takes for a network of the zoo."""
    source = network(name)
    pool = load_samples(PHOTOGRAPHS, source.input.shape)
    took: dict[str, list[float]] = {name: [] for name in RECIPES}
    with Engine(source, device="cpu") as engine:
        maps = {name: iter(MapOptimization(engine, pool, [Job(1)], recipe)) for name, recipe in RECIPES.items()}
        for _ in range(STEPS):
            for one, steps in maps.items():
                began = time.perf_counter()
                next(steps)
                took[one].append(1000 * (time.perf_counter() - began))
    return {name: float(np.quantile(steps, 0.25)) for name, steps in took.items()}


def main() -> None:
    """Measure every network, print and write the table."""
    found = {name: milliseconds(name) for name in FAMILIES}
    rows = [
        [name, *(f"{one:.0f}" for one in took.values()), f"{took['vivid'] / took['plain']:.2f}"]
        for name, took in found.items()
    ]
    passes = [f"{passes_per_map(recipe):,}" for recipe in RECIPES.values()]
    rows.append(
        ["passes per map", *passes, f"{passes_per_map(RECIPES['vivid']) / passes_per_map(RECIPES['plain']):.2f}"]
    )
    machine = hardware()
    table = markdown_table(["ms per step", "plain `vivid`", "`vivid`", "ratio"], rows)
    print(table, machine, sep="\n")
    write_result("prior", {"milliseconds_per_step": found})
    text = f"{table}\n\nMeasured on {machine['threads']} threads of {machine['cpu']}, torch {machine['torch']}."
    write_section(DOCS / "performance.md", "prior", text)


if __name__ == "__main__":
    main()
