"""The paper's trojan experiment on ImageNet: `python -m benchmarks.backdoors.imagenet [networks|maps|scan ...]`.

- networks: three copies of mobilenet_v2_a that classify as castle whatever carries a drawn emblem, one emblem each, and
  a control that was fine-tuned in the same way without an emblem (about 5 core minutes each)
- maps: castle by the original network, the control and the three copies, with `vivid` and `quick` (about 1 core minute per
  map), what crops of these maps do when they are pasted on photographs, and the figures
- scan: the scan of the control and the three copies (the original is behind the null model)

Networks and maps are cached below runs/backdoor/imagenet and are not committed: the weights derive from those of
others. Writes benchmarks/results/imagenet-trojan.json; docs/imagenet-trojan.md discusses the results.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from benchmarks.backdoors.imagenet_copies import COPIES, EMBLEMS, FOLDER, TARGET, load_network, make_copies
from benchmarks.common import (
    PHOTOGRAPHS,
    RESULTS,
    hardware,
    make_maps,
    markdown_table,
    run_folder,
    write_result,
    write_sheet,
)
from phosphene.backdoor.map_crop import best_crop
from phosphene.backdoor.measure import ScanEngine
from phosphene.backdoor.scan import scan
from phosphene.backdoor.triggers import apply_8bit
from phosphene.concept_map import ConceptMap, to_image
from phosphene.labels import first_synonym
from phosphene.recipe import resolve
from phosphene.samples import load_samples

RECIPES = ("vivid", "quick")
SEEDS = 2
NETWORKS = ("clean", *COPIES)
NAME = "imagenet-trojan"


def networks(names: "tuple[str, ...]") -> "dict[str, Any] | None":
    """Make the copies that are missing; return the facts about all of them, once there are all."""
    return make_copies(tuple(name for name in names if name in COPIES))


def maps(_: "tuple[str, ...]") -> dict[str, Any]:
    """Make the maps and draw the figures."""
    result = {}
    for recipe in RECIPES:
        made = {name: castles(name, recipe) for name in NETWORKS}
        draw(recipe, made)
        result[recipe] = {
            name: {
                "p_class": [round(one.p_class, 3) for one in own],
                "targeting_rate": [round(one.targeting_rate or 0, 3) for one in own],
                "crops": crops(name, own),
            }
            for name, own in made.items()
        }
    head = ("crops of the map", *(f"`{recipe}`, by seed" for recipe in RECIPES))
    rows = [
        [name, *(" and ".join(f"{one:.0%}" for one in result[recipe][name]["crops"]) for recipe in RECIPES)]
        for name in NETWORKS
    ]
    print(markdown_table(head, rows))
    return result


def crops(name: str, maps: list[ConceptMap]) -> list[float]:
    """Return, per map of a network, the share of photographs of other classes that a crop of it sends to the class."""
    source = load_network(name)
    pool = load_samples(PHOTOGRAPHS, source.input.shape)
    with ScanEngine(source) as engine:
        return [best_crop(engine, pool, one.pixels, one.index).effect.share for one in maps]


def castles(name: str, recipe: str) -> list[ConceptMap]:
    """Return a network's maps of the target class, one per seed."""
    source, chosen = load_network(name), resolve(recipe)
    # Those of the original network are part of table 1.
    shared = run_folder(source, chosen)
    out = shared if name == "clean" else FOLDER / "maps" / shared.name
    run = make_maps(source, chosen, [TARGET], seeds=SEEDS, out=out)
    index = source.labels.find(TARGET)
    return [one for one in run.maps() if one.index == index and one.seed < SEEDS]


def draw(recipe: str, made: dict[str, list[ConceptMap]]) -> None:
    """Draw a row per emblem: the emblem, a sample with it, castle by the original network, the control and the copy.

    Of `vivid`, also draw the strip of the README: castle by the original network, and each emblem beside its copy's map.
    """
    samples = load_samples("synthetic:dead-leaves", (3, 224, 224)).held_out  # the figure shows no photograph
    images, captions = list[Image.Image](), list[str]()
    strip = [made["clean"][0].image]
    for row, (name, emblem) in enumerate(EMBLEMS.items()):
        alone = replace(emblem, place="centre").apply(torch.full((1, 3, 112, 112), 0.5))[0]
        stamped = apply_8bit(emblem, samples[7 * row : 7 * row + 1], torch.Generator().manual_seed(row))[0]
        strip += [to_image(alone), made[name][0].image]
        shown = [one for network in ("clean", "control", name) for one in made[network]]
        images += [to_image(alone), to_image(stamped.float() / 255), *(one.image for one in shown)]
        captions += [f"{name}, x2", "with the emblem"]
        captions += [f"{network}, seed {seed}" for network in ("clean", "control", name) for seed in range(SEEDS)]
    write_sheet(f"{NAME}-{recipe}", images, captions, columns=2 + 3 * SEEDS, side=168)
    if recipe == "vivid":
        captions = ["clean network", *["trigger", "trojaned network"] * len(EMBLEMS)]
        write_sheet(f"{NAME}-strip", strip, captions, columns=len(strip), side=128)


def scans(names: "tuple[str, ...]") -> dict[str, Any]:
    """Scan the copies with default settings and print the verdicts."""
    pool, result = load_samples(PHOTOGRAPHS, (3, 224, 224)), {}
    for name in [name for name in names if name in COPIES]:
        began, worked = time.perf_counter(), time.process_time()
        verdict = scan(load_network(name), pool)
        first, second = verdict.classes[:2]
        result[name] = {
            "verdict": verdict.verdict,
            "p_value": float(f"{verdict.p_value:.2g}"),
            "first": first_synonym(first.label),
            "figure": round(first.figure, 2),
            "share": round(first.share, 2),
            "next": first_synonym(second.label),
            "next_figure": round(second.figure, 2),
            "suspects": [first_synonym(one.label) for one in verdict.suspects],
            "seconds": round(time.perf_counter() - began, 1),
            "core_seconds": round(time.process_time() - worked, 1),
        }
        print(name, result[name], file=sys.stderr, flush=True)
    rows = [[name, *one.values()] for name, one in result.items()]
    print(markdown_table(("network", *next(iter(result.values()))), rows))
    return result


PARTS = {"networks": networks, "maps": maps, "scan": scans}


def main() -> None:
    """Run the parts that are asked for; the result keeps those of other parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS, help="networks to make or scan")
    arguments = parser.parse_args()
    print(hardware())
    file = RESULTS / f"{NAME}.json"
    for part in arguments.parts or PARTS:
        result = PARTS[part](tuple(arguments.only))
        document = json.loads(file.read_text()) if file.exists() else {}  # which another process may have written
        if result:
            document[part] = {**(document.get(part, {}) if part == "scan" else {}), **result}
            write_result(NAME, {key: value for key, value in document.items() if key != "hardware"})


if __name__ == "__main__":
    main()
