"""The paper's table 1: every network makes maps, every network classifies them: `python -m benchmarks.maps.table1`.

Without SPEC: the four ImageNet networks of the zoo, each recipe, 2 seeds (about two hours on 2 cores). The paper's own
table, where pretrained weights can be had and a GPU is at hand:

    python -m benchmarks.maps.table1 torchvision:vgg16 torchvision:resnet50 torchvision:densenet121 --seeds 10 --full

`paper` runs shortened (batch 8, 20 steps, 10 refinement steps, 2 rounds: 1,600 passes instead of 742,400) unless --full
is given. Maps go to run directories below runs/table1/, so that a stopped benchmark goes on where it was. Prints the
matrices and writes benchmarks/results/table1.json; without SPEC, also docs/results.md between its markers.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.common import CONCEPTS, NETWORKS, ROOT, SHARED, TABLE1, hardware, images, keep, run_folder, table
from phosphene.classifier import Classifier
from phosphene.contact_sheet import contact_sheet
from phosphene.mapper import passes_per_map
from phosphene.metrics.scorecard import Score
from phosphene.recipe import RECIPES, Recipe, resolve
from phosphene.runs import RunDirectory
from phosphene.samples import load_samples
from phosphene.sources import load
from phosphene.workflows import execute, plan, run_name, score_runs
from phosphene.workflows.protocol import MapNote

PAGE = ROOT / "docs" / "results.md"
FIGURES = ROOT / "docs" / "figures"
ZOO = [str(SHARED / "zoo" / f"{name}.toml") for name in NETWORKS]
# The published method at a cost that 2 cores bear: the ball, the step, the sign test and both rounds stay.
SHORT = {"batch_size": 8, "steps": 20, "refine_steps": 10}


def recipe_of(name: str, *, full: bool) -> Recipe:
    """Return a named recipe; ``paper`` is shortened unless it is to run in full."""
    return resolve(name, SHORT if name == "paper" and not full else None)


def make(source: Classifier, recipe: Recipe, seeds: int, samples: str) -> RunDirectory:
    """Make the maps of a source by a recipe that are not there yet."""
    todo = plan(
        source,
        recipe,
        load_samples(samples, source.input.shape),
        run_folder(TABLE1, source, recipe),
        list(CONCEPTS),
        range(seeds),
    )

    def say(one: MapNote) -> None:
        print(f"{source.name} {recipe.name} {one.short} {one.seed}: {one.p_class:.2f}", file=sys.stderr, flush=True)

    execute(todo, done=say)
    return todo.run


def matrix(scores: Sequence[Score], runs: Sequence[RunDirectory]) -> str:
    """Return a recipe's matrix: a row a source, a column a target; M_score with its interval / top-1 of all classes."""
    targets = list(dict.fromkeys(one.target for one in scores))
    rows = []
    for run, source in zip(runs, dict.fromkeys(one.source for one in scores), strict=True):
        maps = list(run.maps())
        own = {one.target: one for one in scores if one.source == source}
        seconds = statistics.median(one.seconds for one in maps)
        rows.append([source, *(_cell(own[target]) for target in targets), f"{maps[0].passes:,}", f"{seconds:.1f}"])
    return table(["maps of \\ read by", *targets, "passes", "s a map (median)"], rows)


def _cell(score: Score) -> str:
    low, high = score.interval
    return f"{score.m_score:.2f} ({low:.2f} to {high:.2f}) / {score.top1_all:.2f}"


def sheet(run: RunDirectory, name: str) -> None:
    """Keep a contact sheet of a run's maps of seed 0."""
    shown = [one for one in run.maps() if one.seed == 0]
    picture = contact_sheet([one.image for one in shown], [one.short for one in shown], columns=10, side=112)
    FIGURES.mkdir(parents=True, exist_ok=True)
    picture.save(FIGURES / f"{name}.webp", quality=85)


def write_page(text: str) -> None:
    """Put the matrices into docs/results.md, between their markers."""
    begin, end = "<!-- table1: begin -->", "<!-- table1: end -->"
    before, _, rest = PAGE.read_text().partition(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")
    print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)


def main() -> None:
    """Make the maps, have every network read them, print and keep the matrices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*", default=ZOO)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--samples", default=images())
    parser.add_argument("--full", action="store_true", help="the paper's recipe as published")
    arguments = parser.parse_args()
    sources = [load(spec, trust=True) for spec in arguments.specs]
    parts: list[str] = []
    rows: list[dict[str, Any]] = []
    for name in arguments.recipes:
        recipe = recipe_of(name, full=arguments.full)
        runs = [make(source, recipe, arguments.seeds, arguments.samples) for source in sources]
        found = score_runs([run.path for run in runs], arguments.specs, trust=True)
        scores = [one.score for one in found]
        links = []
        for source, run in zip(sources, runs, strict=True):
            figure = f"table1-{run_name(source, recipe)}"
            links.append(f"[{source.name}](figures/{figure}.webp)")
            if arguments.specs == ZOO:
                sheet(run, figure)
        text = f"`{recipe.name}`{_shortened(recipe)}:\n\n{matrix(scores, runs)}"
        print(f"{text}\n", flush=True)
        parts.append(f"{text}\n\nMaps of seed 0: {', '.join(links)}.")
        rows += [{"recipe": recipe.to_dict(), "passes": passes_per_map(recipe), **score.to_dict()} for score in scores]
    print(hardware())
    if arguments.specs == ZOO and arguments.recipes == list(RECIPES):
        keep("table1", {"seeds": arguments.seeds, "scores": rows})
        write_page("\n\n".join(parts))


def _shortened(recipe: Recipe) -> str:
    known = RECIPES[recipe.name][1].to_dict()
    changed = [f"{key} {value}" for key, value in recipe.to_dict().items() if value != known[key]]
    return f", shortened ({', '.join(changed)})" if changed else ""


if __name__ == "__main__":
    main()
