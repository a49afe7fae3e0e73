"""The recipes at full size on a GPU: `python -m benchmarks.engine.gpu`, in parts (`--recipes`, `--maps`, ...).

VGG-16, ResNet-50 and DenseNet-121 with random weights (the cost does not depend on them) at 224 pixels: `paper` as
published (b 128, K 650, 150 steps of Eq. 2, 2 rounds) and `vivid`, for one map and for ten made together, in single
precision, with bf16 autocast, and with that compiled (torch.compile; its time is not counted). Seconds a map, share of
the matrix peak that this machine reaches in bf16, memory; and whether bf16 hurts: how alike its maps are to those in
single precision. Rows that were measured before stay.
`--steps` shortens the recipes, to try it anywhere; nothing of that is kept:
`python -m benchmarks.engine.gpu --networks demo:shapes --recipes vivid --maps 1 2 --steps 3`.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import ROOT, hardware, keep, table
from benchmarks.maps.weak_dependence.likeness import correlation
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.engine import Engine
from phosphene.mapper import in_groups, map_jobs, passes_per_map
from phosphene.recipe import Recipe, resolve
from phosphene.runs.atomic import read_json
from phosphene.samples import load_samples
from phosphene.samples.pool import SamplePool
from phosphene.sources import load

NETWORKS = ("torchvision:vgg16@random", "torchvision:resnet50@random", "torchvision:densenet121@random")
RECIPES = ("paper", "vivid")
MAPS = (1, 10)
PRECISIONS = ("fp32", "bf16", "bf16 compiled")  # a precision, and whether torch.compile comes first
SIDE, REPEATS = 8192, 10  # of the matrices whose product is the peak, and how often
WARM = 3  # steps that come before the clock
KEYS = ("network", "recipe", "precision", "maps")  # of a row
RESULT = ROOT / "benchmarks" / "results" / "gpu.json"


def peak(device: torch.device) -> float:
    """Return the operations a second of a large bf16 matrix product, the best of several."""
    side = SIDE if device.type == "cuda" else SIDE // 16
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    seconds = []
    for _ in range(REPEATS):
        wait(device)
        began = time.perf_counter()
        one @ one
        wait(device)
        seconds.append(time.perf_counter() - began)
    best: float = 2 * side**3 / min(seconds)
    return best


def wait(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def operations(classifier: Classifier) -> float:
    """Return the operations of one picture, forward and backward to the input, over its two passes."""
    with Engine(classifier, device="cpu") as engine, FlopCounterMode(display=False) as counter:
        engine.gradients(torch.rand(1, *classifier.input.shape), torch.zeros(1, dtype=torch.int64))
    return counter.get_total_flops() / 2


def make(classifier: Classifier, pool: SamplePool, recipe: Recipe, count: int, precision: str) -> dict[str, Any]:
    """Make maps of the first classes together; return what it cost, and the maps."""
    jobs = [Job(index) for index in range(count)]
    kind, _, compiled = precision.partition(" ")
    with Engine(classifier, precision=kind, compile_network=bool(compiled)) as engine:
        cuda = engine.device.type == "cuda"
        pool = pool.to(engine.device)
        first = next(iter(in_groups(jobs, engine, recipe)))
        map_jobs(engine, pool, first, recipe.replace(steps=WARM, rounds=1, refine_steps=0))
        wait(engine.device)
        if cuda:
            torch.cuda.reset_peak_memory_stats(engine.device)
        began = time.perf_counter()
        maps = [one for group in in_groups(jobs, engine, recipe) for one in map_jobs(engine, pool, group, recipe)]
        wait(engine.device)
        return {
            "seconds": time.perf_counter() - began,
            "micro_batch": engine.micro_batch,
            "gigabytes": torch.cuda.max_memory_allocated(engine.device) / 2**30 if cuda else None,
            "maps": maps,
        }


def likeness(some: list[ConceptMap], others: list[ConceptMap]) -> float:
    """Return the mean correlation between the maps of the same class."""
    pairs = zip(some, others, strict=True)
    return sum(correlation(one.nu, other.nu) for one, other in pairs) / len(some)


def measure(
    spec: str, recipe: Recipe, counts: Sequence[int], precisions: Sequence[str], top: float
) -> list[dict[str, Any]]:
    """Measure a recipe on a network: a row for every number of maps and every precision."""
    classifier = load(spec)
    pool = load_samples("synthetic:mixed", classifier.input.shape)
    each, rows = operations(classifier), []
    for count in counts:
        single: list[ConceptMap] = []
        for precision in precisions:
            found = make(classifier, pool, recipe, count, precision)
            maps = found.pop("maps")
            single = maps if precision == "fp32" else single
            rows.append(
                {
                    "network": classifier.name,
                    "recipe": recipe.name,
                    "precision": precision,
                    "maps": count,
                    "seconds_a_map": found.pop("seconds") / count,
                    "passes": passes_per_map(recipe),
                    "p_class": sum(one.p_class for one in maps) / count,
                    "like_fp32": likeness(single, maps) if single else None,  # none: it was not asked for
                    **found,
                }
            )
            rows[-1]["share_of_peak"] = each * passes_per_map(recipe) / rows[-1]["seconds_a_map"] / top
            print({key: round(v, 3) if isinstance(v, float) else v for key, v in rows[-1].items()}, flush=True)
    return rows


def main() -> None:
    """Measure every network with every recipe; write benchmarks/results/gpu.json if it was at full size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--maps", nargs="+", type=int, default=list(MAPS))
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    parser.add_argument("--steps", type=int, help="instead of the recipe's; nothing is kept")
    asked = parser.parse_args()
    print(hardware())
    top = peak(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    print(f"bf16 matrix product: {top / 1e12:.1f} TFLOP/s")
    rows = []
    for spec in asked.networks:
        for name in asked.recipes:
            recipe = resolve(name)
            if asked.steps:
                recipe = recipe.replace(steps=asked.steps, refine_steps=min(asked.steps, recipe.refine_steps))
            rows += measure(spec, recipe, asked.maps, asked.precisions, top)
    if not asked.steps and torch.cuda.is_available():
        known = read_json(RESULT)["rows"] if RESULT.exists() else []
        new = [[row[key] for key in KEYS] for row in rows]
        rows = [row for row in known if [row[key] for key in KEYS] not in new] + rows
        keep(RESULT.stem, {"peak": top, "rows": rows})
    head = (*KEYS, "s a map", "share of peak", "GB", "map like fp32's")
    cells = [
        [
            *(row[key] for key in KEYS),
            f"{row['seconds_a_map']:.2f}",
            f"{row['share_of_peak']:.2f}",
            "" if row["gigabytes"] is None else f"{row['gigabytes']:.1f}",
            f"{row['like_fp32']:.3f}" if row["like_fp32"] is not None else "",
        ]
        for row in rows
    ]
    print(table(head, cells))


if __name__ == "__main__":
    main()
