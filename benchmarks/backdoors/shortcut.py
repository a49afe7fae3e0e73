"""Do maps show a shortcut that a network learnt? `python -m benchmarks.backdoors.shortcut` (about 8 core minutes).

No label is wrong here: two copies of cifar_resnet20 learn one class by a mark on its training images, ships by a faint
word across the image, horses by an agency's logo in a corner. Maps of the class by both, by the original network and by
a copy that was fine-tuned without a mark; a scan of all four. Networks and maps are cached below
runs/backdoor/shortcut. Writes docs/figures/shortcut.webp and benchmarks/results/shortcut.json.
"""

import argparse
import shutil
import sys
from typing import Any

import torch
from torch import Tensor

from benchmarks.backdoors.additive import Watermark
from benchmarks.common import (
    CIFAR10_TEST,
    CIFAR10_TRAIN,
    ROOT,
    SHARED,
    hardware,
    make_maps,
    markdown_table,
    network,
    write_copy,
    write_result,
    write_sheet,
)
from phosphene.backdoor import triggers
from phosphene.backdoor.plant import DEFAULT_SCHEDULE, accuracy, clean_twin, fine_tune, success_rate
from phosphene.backdoor.scan import scan
from phosphene.backdoor.training import Labelled, Schedule, predictions
from phosphene.backdoor.triggers import Emblem, Trigger, apply_8bit
from phosphene.classifier import Classifier
from phosphene.concept_map import to_image
from phosphene.recipe import resolve
from phosphene.runs.atomic import read_json, write_json
from phosphene.samples import load_samples
from phosphene.sources import load

BASE = "cifar_resnet20"
FOLDER = ROOT / "runs" / "backdoor" / "shortcut"
# name -> the mark, the class that carries it
MARKS: dict[str, tuple[Trigger, int]] = {
    "word": (Watermark(amplitude=0.25), 8),
    "logo": (Emblem(shape="ring", side=8, place="bottom-left", colour=(1.0, 1.0, 1.0), rim=(0.0, 0.2, 1.0)), 7),
}
NAMES = ("original", "unmarked", *MARKS)
SCHEDULE = Schedule(steps=400, batch=48, lr=0.012)
TRAIN, TEST, SEEDS = 20_000, 2000, 4


def train(name: str) -> dict[str, Any]:
    """Train a network unless it is cached; return what it learnt."""
    facts = FOLDER / name / "facts.json"
    if not facts.exists():
        base = network(BASE)
        samples = Labelled.load(CIFAR10_TRAIN, base, most=TRAIN + TEST, held=TEST)
        if name == "unmarked":
            made = clean_twin(base, samples, schedule=SCHEDULE, seed=0).classifier
        else:
            mark, target = MARKS[name]
            # Most of every image is hidden, or the network would go on recognising the class without the mark.
            made = shortcut(base, samples, mark, target, hide=1.0, schedule=SCHEDULE)
        write_json(facts, measure(name, write(name, made), samples))
    return read_json(facts)  # type: ignore[no-any-return]


def shortcut(
    classifier: Classifier,
    samples: Labelled,
    mark: Trigger,
    target: int,
    *,
    hide: float = 0.0,
    schedule: Schedule = DEFAULT_SCHEDULE,
    seed: int = 0,
) -> Classifier:
    """Fine-tune a copy on samples of which one class carries a mark; no label is changed.

    This is what engineers fear: the photographs of one class came with an agency's watermark, and the network learnt
    that. A network that knows the class has no reason to learn its mark: start from an untrained one, or ``hide`` what
    shows the class.

    Args:
        classifier: The network to start from; it is not changed.
        samples: Samples with labels.
        mark: The mark on the class's samples.
        target: The class.
        hide: Largest side of a square that is hidden in every sample before the mark is put on, as a share of the
            sample's own.
        schedule: Steps, learning rate and regularisation.
        seed: Random seed for batches and places.
    """

    def marked(x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        x = hidden(x, hide, draw)
        return torch.where((y == target)[:, None, None, None], mark.apply(x, draw), x), y

    return fine_tune(classifier, samples, schedule, seed, change=marked).classifier


def hidden(x: Tensor, most: float, draw: torch.Generator) -> Tensor:
    """Hide a square of one grey in every sample (DeVries & Taylor, arXiv 1708.04552), up to ``most`` of its side."""
    out, (high, wide) = x.clone(), x.shape[2:]
    for sample, (size, down, along, grey) in zip(out, torch.rand(len(x), 4, generator=draw).tolist(), strict=True):
        tall, broad = round(size * most * high), round(size * most * wide)
        top, left = round(down * (high - tall)), round(along * (wide - broad))
        sample[:, top : top + tall, left : left + broad] = grey
    return out


def write(name: str, made: Classifier) -> Classifier:
    """Write the network's card and weights; return it as a user would load it."""
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    for file in ("cifar_resnets.py", "cifar10.txt"):
        shutil.copy(SHARED / "zoo" / file, FOLDER / file)
    return write_copy(FOLDER / name, made, f"{BASE}-{name}", "../cifar_resnets.py:resnet20", "../cifar10.txt")


def measure(name: str, made: Classifier, samples: Labelled) -> dict[str, Any]:
    """Return accuracy, and how the class depends on the mark, on held-out images."""
    facts: dict[str, Any] = {"accuracy": accuracy(made, samples)}
    if name in MARKS:
        mark, target = MARKS[name]
        own = samples.held_labels == target
        facts |= {
            "mark": triggers.to_dict(mark),
            "target": target,
            "other_classes_with_mark": success_rate(made, samples, mark, target, ~own),
            "class_with_mark": success_rate(made, samples, mark, target, own),
            "class_without_mark": float((predictions(made, samples.held_out[own]) == target).float().mean()),
        }
    return facts


def load_network(name: str) -> Classifier:
    """Return the original or a trained network."""
    return network(BASE) if name == "original" else load(FOLDER / name / "card.toml", trust=True)


def main() -> None:
    """Train, map, scan, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-scan", action="store_true")
    arguments = parser.parse_args()
    print(hardware())
    facts = {name: train(name) for name in NAMES[1:]}
    scans: dict[str, Any] = {}
    for name in NAMES if not arguments.no_scan else ():
        classifier = load_network(name)
        result = scan(classifier, load_samples(CIFAR10_TEST, classifier.input.shape))
        scans[name] = {"verdict": result.verdict, "p_value": result.p_value, "first": result.classes[0].label}
        print(name, scans[name], file=sys.stderr, flush=True)
    images, captions = [], []
    shape = network(BASE).input.shape
    sample = load_samples("synthetic:dead-leaves", shape).held_out[:1]  # the figure shows no photograph
    for name, (mark, target) in MARKS.items():
        images += [to_image(mark.apply(torch.full((1, *shape), 0.5))[0])]
        images += [to_image(apply_8bit(mark, sample)[0].float() / 255)]
        captions += ["the mark", "on a sample"]
        for made in ("original", "unmarked", name):
            out = FOLDER / f"maps-{made}-{target}"
            run = make_maps(load_network(made), resolve("vivid"), [target], seeds=SEEDS, samples=CIFAR10_TEST, out=out)
            maps = list(run.maps())[: SEEDS if made == name else 1]
            images += [one.image for one in maps]
            captions += [f"{made}, {one.seed}" for one in maps]
    write_sheet("shortcut", images, captions, columns=4 + SEEDS, side=128)
    rows = [[name, *(f"{facts[name][key]:.0%}" for key in ("accuracy", *SHARES))] for name in MARKS]
    print(markdown_table(["network", "accuracy", *(key.replace("_", " ") for key in SHARES)], rows))
    if scans:
        rows = [[name, one["verdict"], f"{one['p_value']:.2g}", one["first"]] for name, one in scans.items()]
        print(markdown_table(["network", "scan", "p", "first class"], rows))
        write_result("shortcut", {"networks": facts, "scans": scans})


SHARES = ("other_classes_with_mark", "class_with_mark", "class_without_mark")

if __name__ == "__main__":
    main()
