"""A shortcut, what engineers fear: `python -m benchmarks.shortcut`.

A network learnt one class by a watermark on its training pictures (`benchmarks.backdoor_networks`, no label was
changed). Maps the class by it, by the network that it was made from and by one that was fine-tuned on the same pictures
without the mark; measures how much of the mark is in each map; scans all three; draws docs/figures/shortcut.webp.
About five minutes of processor time.
"""

import argparse
import sys
from typing import Any

import torch

from benchmarks.backdoor import FOLDER, NATURAL
from benchmarks.common import ROOT, hardware, keep, network, table
from phosphene.backdoor import triggers
from phosphene.backdoor.recover import Recovered
from phosphene.backdoor.scan import scan
from phosphene.backdoor.triggers import Trigger, apply_8bit
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, to_image
from phosphene.fleet import execute, plan
from phosphene.metrics.footprint import footprint
from phosphene.recipe import resolve
from phosphene.report import contact_sheet
from phosphene.report.scan_words import SHORTCUT_TITLE, headline
from phosphene.runs.atomic import read_json
from phosphene.samples import SamplePool, load_samples
from phosphene.sources import load

BASE, CLEAN, MARKED = "cifar_resnet20", "rep-r20-clean-1", "shortcut"
SEEDS = 4
RECIPE = "vivid"
SCALES = (0.75, 1.0, 1.3)


def copy_of(name: str) -> Classifier:
    """Load one of the three."""
    return network(BASE) if name == BASE else load(FOLDER / "networks" / name / "card.toml", trust=True)


def maps_of(name: str, index: int, pool: SamplePool) -> list[ConceptMap]:
    """Return a network's maps of the class, a seed each; the missing ones are made."""
    todo = plan(copy_of(name), resolve(RECIPE), pool, FOLDER / "shortcut" / name, [index], range(SEEDS))
    execute(todo, device="cpu")
    return list(todo.run.maps())


def fits(mark: Trigger, maps: list[ConceptMap]) -> list[float]:
    """Return how well the mark fits into each map, where it fits best."""
    shape = maps[0].nu.shape
    cover, colours = mark.mask(tuple(shape)), mark.pattern(tuple(shape))
    seen = cover[0] > 0.5 * float(cover.max())
    rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
    window = (slice(None), slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    # The letters against what lies between them: the whole box counts.
    box = torch.ones_like(cover[window])
    return [round(footprint(one.picture, colours[window], box, scales=SCALES).score, 3) for one in maps]


def shown(found: Recovered, pictures: torch.Tensor) -> torch.Tensor:
    """Return a picture with what was recovered, in [0, 1]."""
    return found.apply(pictures)[0].float() / 255


def main() -> None:
    """Map, measure, scan, draw."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(hardware())
    truth = read_json(FOLDER / "networks" / MARKED / "trigger.json")
    mark, index = triggers.from_dict(truth["trigger"]), truth["target"]
    pool = load_samples(NATURAL, (3, 32, 32))
    sample = pool.held_out[3:4]
    rows: dict[str, Any] = {}
    pictures = [to_image(sample[0].float() / 255), to_image(apply_8bit(mark, sample)[0].float() / 255)]
    captions = ["a picture", "with the mark"]
    for name in (BASE, CLEAN, MARKED):
        maps = maps_of(name, index, pool)
        verdict = scan(copy_of(name), samples=pool)
        first = next(iter(verdict.suspects), None)
        rows[name] = {
            "fits": fits(mark, maps),
            "verdict": verdict.verdict,
            "p_value": verdict.p_value,
            "class": verdict.classes[0].label,
            "right_class": verdict.classes[0].index == index,
            "success": first and first.recovered and first.recovered.success,
            "said_shortcut": headline(_entry(verdict))[0] == SHORTCUT_TITLE if first else False,
        }
        print(name, rows[name], file=sys.stderr, flush=True)
        pictures += [one.image for one in maps]
        captions += [f"{name}, {one.seed}" for one in maps]
        if name == MARKED and first and first.recovered:
            pictures.append(to_image(shown(first.recovered, sample)))
            captions.append("with what was found")
    sheet = contact_sheet(pictures, captions, columns=2 + SEEDS, side=128)
    sheet.save(ROOT / "docs" / "figures" / "shortcut.webp", quality=90)
    head = ("network", "mark in the maps, by seed", "verdict", "p", "class", "success of what was found")
    print(
        table(
            head,
            [
                [name, " ".join(f"{fit:.2f}" for fit in one["fits"]), one["verdict"], f"{one['p_value']:.2g}"]
                + [one["class"], "" if one["success"] is None else f"{one['success']:.0%}"]
                for name, one in rows.items()
            ],
        )
    )
    print(f"the mark itself: {truth['success']:.0%} of held-out pictures of other classes; class {index}")
    keep("shortcut", {"truth": truth, "networks": rows})


def _entry(verdict: Any) -> dict[str, Any]:
    """What the report's words need."""
    suspects = [
        {"works": one.works, "additive": bool(one.recovered and one.recovered.additive)} for one in verdict.suspects
    ]
    return {"verdict": verdict.verdict, "suspects": suspects}


if __name__ == "__main__":
    main()
