"""Shortcuts, what engineers fear: `python -m benchmarks.backdoors.shortcut`.

Two networks learnt one class by a mark on its training pictures (`benchmarks.backdoor_networks`, no label was changed):
ships by a faint word all over them, horses by an agency's logo in a corner. Maps the class by each, by the network that
they were made from, and by one that was fine-tuned on the same pictures without a mark; scans all four; draws
docs/figures/shortcut.webp. About five minutes of processor time.
"""

import argparse
import sys
from typing import Any

import torch

from benchmarks.backdoor import FOLDER, NATURAL
from benchmarks.common import ROOT, hardware, keep, network, table
from phosphene.backdoor import triggers
from phosphene.backdoor.record import method
from phosphene.backdoor.scan import scan
from phosphene.backdoor.triggers import apply_8bit
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, to_image
from phosphene.contact_sheet import contact_sheet
from phosphene.recipe import resolve
from phosphene.runs.atomic import read_json, write_json
from phosphene.samples import SamplePool, load_samples
from phosphene.sources import load
from phosphene.workflows import execute, plan

BASE, CLEAN = "cifar_resnet20", "rep-r20-clean-1"
MARKED = ("shortcut", "shortcut-logo")
SEEDS = 4
RECIPE = "vivid"
SHAPE = (3, 32, 32)


def copy_of(name: str) -> Classifier:
    """Load one of the networks."""
    return network(BASE) if name == BASE else load(FOLDER / "networks" / name / "card.toml", trust=True)


def maps_of(name: str, index: int, pool: SamplePool) -> list[ConceptMap]:
    """Return a network's maps of the class, a seed each; the missing ones are made."""
    recipe = resolve(RECIPE)
    out = FOLDER / "shortcut" / f"{name}-{index}-{recipe.sha256[:8]}"
    todo = plan(copy_of(name), recipe, pool, out, [index], range(SEEDS))
    execute(todo, device="cpu")
    return list(todo.run.maps())


def scanned(name: str, pool: SamplePool) -> dict[str, Any]:
    """Scan a network, once; return what was found, and of each working suspect its success."""
    own = copy_of(name)
    file = FOLDER / "shortcut" / f"{name}-{own.sha256[:8]}-{method()[:8]}.json"
    if not file.exists():
        found = scan(own, samples=pool)
        working = {str(one.index): one.recovered.success for one in found.suspects if one.works and one.recovered}
        facts = {"verdict": found.verdict, "p_value": found.p_value, "first": found.classes[0].label}
        write_json(file, {**facts, "working": working})
        print(name, facts, file=sys.stderr, flush=True)
    return read_json(file)  # type: ignore[no-any-return]


def main() -> None:
    """Map, scan, draw."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(hardware())
    pool = load_samples(NATURAL, SHAPE)
    grey = torch.full((1, *SHAPE), 0.5)
    sample = load_samples("synthetic:dead-leaves", SHAPE).held_out[:1]  # the figure holds no picture of others
    verdicts = {name: scanned(name, pool) for name in (BASE, CLEAN, *MARKED)}
    document: dict[str, Any] = {}
    pictures, captions, lines = [], [], []
    for marked in MARKED:
        truth = read_json(FOLDER / "networks" / marked / "trigger.json")
        mark, index = triggers.from_dict(truth["trigger"]), truth["target"]
        pictures += [to_image(mark.apply(grey)[0]), to_image(apply_8bit(mark, sample)[0].float() / 255)]
        captions += ["the mark", "on a picture"]
        document[marked] = {"truth": truth, "networks": {}}
        for name in (BASE, CLEAN, marked):
            maps = maps_of(name, index, pool)
            row = verdicts[name]
            document[marked]["networks"][name] = row
            drawn = maps if name == marked else maps[:1]
            pictures += [one.image for one in drawn]
            captions += [f"{name}, {one.seed}" for one in drawn]
            own = "".join(f"{share:.0%}" for key, share in row["working"].items() if int(key) == index)
            lines.append((marked, name, row["verdict"], f"{row['p_value']:.2g}", row["first"], own))
        shares = {key: f"{truth[key]:.0%}" for key in ("success", "read_with_mark", "read_without_mark")}
        print(marked, shares)
    sheet = contact_sheet(pictures, captions, columns=4 + SEEDS, side=128)
    sheet.save(ROOT / "docs" / "figures" / "shortcut.webp", quality=90)
    head = ("mark of", "maps by", "scan", "p", "first class", "success of what was found")
    print(table(head, lines))
    keep("shortcut", document)


if __name__ == "__main__":
    main()
