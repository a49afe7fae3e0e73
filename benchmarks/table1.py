"""The paper's table 1: every network makes maps, every network reads them: `python -m benchmarks.table1 [SPEC ...]`.

Without SPEC: the four ImageNet networks of the zoo, each recipe, 2 seeds (about two hours on 2 cores). The paper's own table,
where pretrained weights can be had and a GPU is at hand:

    python -m benchmarks.table1 torchvision:vgg16 torchvision:resnet50 torchvision:densenet121 --seeds 10 --full

`paper` runs shortened (batch 8, 30 steps, 15 refinement steps, 2 rounds: 2,400 passes instead of 742,400) unless --full is
given. Maps go to run directories below runs/table1/, so that a stopped benchmark goes on where it was; --read only has the
maps read that are there. Writes docs/results.md between its markers, and benchmarks/results/table1.json.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import CONCEPTS, NETWORKS, ROOT, SHARED, hardware, images, keep, table
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.fleet import execute, plan, run_name
from phosphene.recipe import RECIPES, Recipe, resolve
from phosphene.samples import load_samples
from phosphene.sources import load

PAGE = ROOT / "docs" / "results.md"
# The published method at a cost that 2 cores bear: the ball, the step, the sign test and both rounds stay.
SHORT = {"batch_size": 8, "steps": 30, "refine_steps": 15}


def recipe_of(name: str, *, full: bool) -> Recipe:
    """Return a named recipe; ``paper`` is shortened unless it is to run in full."""
    return resolve(name, SHORT if name == "paper" and not full else None)


def make(source: Classifier, recipe: Recipe, seeds: int, samples: str) -> list[ConceptMap]:
    """Make, or read, the maps of a source by a recipe."""
    out = ROOT / "runs" / "table1" / f"{run_name(source, recipe)}-{recipe.sha256[:8]}"
    pool = load_samples(samples, source.input.shape)
    todo = plan(source, recipe, pool, out, list(CONCEPTS), range(seeds))

    def say(one: ConceptMap) -> None:
        print(f"{source.name} {recipe.name} {one.short} {one.seed}: {one.p_class:.2f}", file=sys.stderr, flush=True)

    return execute(todo, done=say)


def main() -> None:
    """Make the maps, have every network read them, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*", default=[str(SHARED / "zoo" / f"{name}.toml") for name in NETWORKS])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--samples", default=images())
    parser.add_argument("--full", action="store_true", help="the paper's recipe as published")
    arguments = parser.parse_args()
    networks = [load(spec, trust=True) for spec in arguments.specs]
    for name in arguments.recipes:
        for source in networks:
            make(source, recipe_of(name, full=arguments.full), arguments.seeds, arguments.samples)


if __name__ == "__main__":
    main()
