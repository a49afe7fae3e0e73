"""The paper's table 1, every network as source and as target: `python -m benchmarks.maps.table1 [SPEC ...]`.

Without SPEC: the four ImageNet networks of the zoo, each recipe, 2 seeds (about two hours on 2 cores). The paper's own
networks, where pretrained weights can be downloaded and a GPU is at hand:

    python -m benchmarks.maps.table1 torchvision:vgg16 torchvision:resnet50 torchvision:densenet121 --seeds 10 --full

(docs/results.md has the whole command and its cost.)

`paper` is shortened (batch 8, 20 steps, 10 refinement steps, 2 rounds: 1,600 passes instead of 742,400) unless --full
is given. Maps go to run directories below runs/table1/, so that a stopped benchmark continues where it was. Prints the
tables; without SPEC it also writes benchmarks/results/table1-RECIPE.json and the sections `table1-RECIPE` of docs/results.md.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.common import (
    CONCEPTS,
    DOCS,
    NETWORKS,
    PHOTOGRAPHS,
    SHARED,
    hardware,
    make_maps,
    markdown_table,
    write_maps_sheet,
    write_result,
    write_section,
)
from phosphene.mapper import passes_per_map
from phosphene.metrics.scorecard import Score
from phosphene.recipe import CHANGED, RECIPES, Recipe, resolve
from phosphene.runs import RunDirectory
from phosphene.sources import load
from phosphene.workflows.plan import run_name
from phosphene.workflows.score import RunScore, score_sources

ZOO = [str(SHARED / "zoo" / f"{name}.toml") for name in NETWORKS]
# The published method at a cost that 2 cores can bear; radius, step size, sign test and both rounds are the paper's.
SHORT = {"batch_size": 8, "steps": 20, "refine_steps": 10}


def table(scores: Sequence[Score], runs: Sequence[RunDirectory]) -> str:
    """Return a recipe's table: a row per source, a column per target; M_score with its interval / top-1."""
    targets = list(dict.fromkeys(one.target for one in scores))
    rows = []
    for run, source in zip(runs, dict.fromkeys(one.source for one in scores), strict=True):
        maps = list(run.maps())
        own = {one.target: one for one in scores if one.source == source}
        rows.append([source, *(cell(own[target]) for target in targets), f"{maps[0].passes:,}"])
    return markdown_table(["source \\ target", *targets, "passes per map"], rows)


def cell(score: Score) -> str:
    """Return a score as text: M_score (95 % interval) / top-1 over all classes."""
    low, high = score.interval
    return f"{score.m_score:.2f} ({low:.2f} to {high:.2f}) / {score.top1_all:.2f}"


def result_row(score: RunScore) -> dict[str, Any]:
    """Return a score's row for a result: without the path that the target was loaded from."""
    return {key: value for key, value in score.to_dict().items() if key != "target_spec"}


def title(recipe: Recipe) -> str:
    """Return the recipe's name and how it differs from the published one of that name."""
    name = recipe.name.removesuffix(CHANGED)
    published = RECIPES[name].to_dict()
    changes = [f"{key} {value}" for key, value in recipe.to_dict().items() if key != "name" and value != published[key]]
    return f"`{name}`" + (f", shortened ({', '.join(changes)})" if changes else "")


def main() -> None:
    """Make the maps, have every network classify them, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*", default=ZOO, metavar="SPEC")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--samples", default=PHOTOGRAPHS)
    parser.add_argument("--full", action="store_true", help="the paper's recipe as published")
    arguments = parser.parse_args()
    sources = [load(spec, trust=True) for spec in arguments.specs]
    for name in arguments.recipes:
        recipe = resolve(name, SHORT if name == "paper" and not arguments.full else None)
        runs = [
            make_maps(source, recipe, CONCEPTS, seeds=arguments.seeds, samples=arguments.samples) for source in sources
        ]
        scores = score_sources(runs, arguments.specs, trust=True)
        section = f"{title(recipe)}:\n\n{table(scores, runs)}"
        print(f"{section}\n", flush=True)
        links = []
        for source, run in zip(sources, runs, strict=True):
            figure = f"table1-{run_name(source, recipe)}"
            links.append(f"[{source.name}](figures/{figure}.webp)")
            if arguments.specs == ZOO:
                write_maps_sheet(figure, list(run.maps()))
        if arguments.specs == ZOO:
            rows = [
                result_row(score) | {"recipe": recipe.to_dict(), "passes": passes_per_map(recipe)} for score in scores
            ]
            write_result(f"table1-{name}", {"seeds": arguments.seeds, "scores": rows})
            text = f"{section}\n\nMaps of seed 0: {', '.join(links)}."
            write_section(DOCS / "results.md", f"table1-{name}", text)
    print(hardware())


if __name__ == "__main__":
    main()
