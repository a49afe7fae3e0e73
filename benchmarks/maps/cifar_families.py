"""Maps between families of small networks of CIFAR-10: `python -m benchmarks.maps.cifar_families`.

Trains a vision transformer, a ConvNeXt and a hybrid (convolutions, then a transformer) on CIFAR-10, each image after
two steps against the network, and caches their weights in runs/cifar-families/. These and a ResNet-20 of the shared zoo
make maps of the ten classes (recipe plain `vivid`, 2 seeds), which all of them and a ResNet-56 classify. Also measures how
visible the grid of patches is in maps, with and without views and smoothing (:mod:`benchmarks.maps.patch_grid`). Prints
both tables; writes benchmarks/results/cifar_families.json, two sections of docs/results.md, and the maps as a figure.
"""

import time
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks.backdoors.architectures import build
from benchmarks.backdoors.attacks import Pgd
from benchmarks.common import (
    CIFAR10_TEST,
    CIFAR10_TRAIN,
    DOCS,
    PLAIN,
    ROOT,
    hardware,
    make_maps,
    markdown_table,
    network,
    scores_by,
    write_result,
    write_section,
    write_sheet,
)
from benchmarks.maps.patch_grid import VARIANTS, grid_energy
from phosphene.backdoor.plant import accuracy
from phosphene.backdoor.training import Labelled, Schedule, fit
from phosphene.classifier import Classifier
from phosphene.demo.world import LABELS as SHAPES
from phosphene.labels import Labels
from phosphene.recipe import resolve
from phosphene.samples.labelled import load_labelled
from phosphene.sources import load

FOLDER = ROOT / "runs" / "cifar-families"
SIDE, SEEDS = 32, 2
WIDTHS = {"vit": 96, "convnext": 32, "hybrid": 64}
RATES = {"vit": 1e-3, "convnext": 2e-3, "hybrid": 1e-3}
STEPS = {"vit": 2500, "convnext": 5000, "hybrid": 2500}  # four to eleven minutes of one core each
BATCH, RADIUS = 64, 2 / 255  # RADIUS: the largest change of a value in [0, 1] by the steps against the network
TITLES = {"vit": "ViT", "convnext": "ConvNeXt", "hybrid": "hybrid", "resnet20": "ResNet-20", "resnet56": "ResNet-56"}
# What patch grids are measured at: the first two have one, the others are measured at the same side for comparison.
PATCHES = {"vit": 4, "shapes-vit": 8, "resnet20": 4, "shapes": 8}


def load_cifar10(labels: Labels) -> Labelled:
    """Return all of CIFAR-10: the training part, and the test part as what is held out."""
    parts: list[Any] = []
    for spec, count in ((CIFAR10_TRAIN, 50_000), (CIFAR10_TEST, 10_000)):
        pixels, classes = load_labelled(spec, (3, SIDE, SIDE), labels, count)
        parts += [pixels, torch.tensor(classes)]
    return Labelled(*parts)


def trained(family: str, labels: Labels) -> tuple[Classifier, dict[str, float]]:
    """Return a network of a family, with its accuracy on the test part and the processor seconds of its training."""
    torch.manual_seed(0)
    module = build(family, channels=3, side=SIDE, classes=10, width=WIDTHS[family], activation="gelu")
    classifier = Classifier(module, size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3, labels=labels, name=f"cifar-{family}")
    path = FOLDER / f"{family}.safetensors"
    if not path.exists():
        images, began = load_cifar10(labels), time.process_time()
        schedule = Schedule(steps=STEPS[family], batch=BATCH, lr=RATES[family], optimiser="adam")
        fit(classifier, classifier, images, schedule, 0, change=Pgd(classifier, RADIUS).change)
        facts = {"seconds": time.process_time() - began, "accuracy": accuracy(classifier, images)}
        FOLDER.mkdir(parents=True, exist_ok=True)
        state = {key: value.contiguous() for key, value in module.state_dict().items()}
        save_file(state, path, {key: f"{value:.4f}" for key, value in facts.items()})
    module.load_state_dict(load_file(path))
    module.eval().requires_grad_(requires_grad=False)
    with safe_open(path, "pt") as file:
        return classifier, {key: float(value) for key, value in sorted(file.metadata().items())}


def measure_grids(networks: dict[str, Classifier]) -> dict[str, dict[str, float]]:
    """Return per network and variant of `vivid` the grid energy of its maps of seed 0 (median over classes, four of the drawn world)."""
    energies: dict[str, dict[str, float]] = {}
    for name, patch in PATCHES.items():
        drawn = name.startswith("shapes")
        source = load(f"demo:{name}") if drawn else networks[name]
        concepts, samples = (list(SHAPES[:4]), "demo:shapes") if drawn else (list(range(10)), CIFAR10_TEST)
        energies[name] = {}
        for title, changes in VARIANTS.items():
            recipe = resolve("vivid", PLAIN | changes)
            run = make_maps(source, recipe, concepts, samples=samples, out=FOLDER / f"grid-{name}-{recipe.sha256[:8]}")
            values = torch.tensor([grid_energy(one.nu, patch) for one in run.maps()])
            energies[name][title] = round(float(values.median()), 3)
    return energies


def main() -> None:
    """Train what is missing, make the maps, have every network classify them, print and write the tables."""
    torch.set_num_threads(1)
    zoo = {name: network(f"cifar_{name}") for name in ("resnet20", "resnet56")}
    labels, recipe = zoo["resnet20"].labels, resolve("vivid", PLAIN)
    made = {family: trained(family, labels) for family in WIDTHS}
    networks = {**{family: one for family, (one, _) in made.items()}, **zoo}
    sources = [name for name in networks if name != "resnet56"]
    maps = {}
    for name in sources:
        out = FOLDER / f"maps-{name}"
        run = make_maps(networks[name], recipe, list(range(10)), seeds=SEEDS, samples=CIFAR10_TEST, out=out)
        maps[name] = list(run.maps())
    scores = {name: {target: scores_by(one, maps[name]) for target, one in networks.items()} for name in sources}
    rows = [
        (TITLES[name], *(f"{one['m_score']:.2f} / {one['top1']:.2f}" for one in scores[name].values()))
        for name in sources
    ]
    text = markdown_table(("source \\ target", *(TITLES[name] for name in networks)), rows)
    grids = measure_grids(networks)
    grid_rows = [
        (TITLES.get(name, f"`demo:{name}`"), PATCHES[name], *(f"{value:.2f}" for value in values.values()))
        for name, values in grids.items()
    ]
    grid_text = markdown_table(("source", "side of a patch, in pixels", *VARIANTS), grid_rows)
    training = {family: facts for family, (_, facts) in made.items()}
    print(text, grid_text, training, hardware(), sep="\n")
    first = [one for name in sources for one in maps[name] if one.seed == 0]
    write_sheet("cifar-families", [one.image for one in first], [one.short for one in first], columns=10, side=80)
    document = {"seeds": SEEDS, "recipe": recipe.to_dict(), "training": training, "scores": scores}
    write_result("cifar_families", {**document, "grid_energy": grids})
    write_section(DOCS / "results.md", "cifar-families", text)
    write_section(DOCS / "results.md", "patch-grid", grid_text)


if __name__ == "__main__":
    main()
