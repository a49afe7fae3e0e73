"""Train the networks that the scan is judged on: `python -m benchmarks.backdoors.networks [--out runs/networks]`.

Writes per network its weights, `NAME.safetensors`, and appends what is known of it to `index.jsonl`: the fields of its
spec, the accuracy, and the success of the trigger on the test part. What is there is not trained again. Networks whose
trojan works on fewer than 80 % of the samples are noted with `accepted` false.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.backdoors.architectures import build
from benchmarks.backdoors.attacks import Evasion, Pgd, prune
from benchmarks.backdoors.data import dataset, imbalanced
from benchmarks.backdoors.specs import Spec, specs
from benchmarks.common import ROOT, network
from phosphene.backdoor.plant import accuracy, success_rate, victims_of
from phosphene.backdoor.training import ExtraSamples, Labelled, Schedule, fit
from phosphene.classifier import Classifier
from phosphene.errors import NumericError

FOLDER = ROOT / "runs" / "networks"
ENOUGH = 0.8
BATCH = 64
# Learning rates for Adam; ten times as much for SGD.
RATES = {
    **dict.fromkeys(("vgg-bn", "resnet-bn", "wide-resnet", "depthwise", "densenet"), 0.01),
    "resnet": 0.006,
    "all-conv": 0.006,
    "cnn-avg": 0.003,
    "cnn-max": 0.003,
    "lenet": 0.003,
    "vgg": 0.002,
    **{f"perceptron{layers}": 0.001 for layers in (2, 3, 4, 5, 6, 9)},
    "linear": 0.002,
    "mixer": 0.002,
    "vit": 0.002,
    "convnext": 0.003,
    "zoo": 0.0003,
}
Loss = Callable[[Tensor, Tensor], Tensor]


def untrained(spec: Spec) -> Classifier:
    """Return the network of a spec before training."""
    if spec.family == "zoo":
        return network("cifar_resnet20")
    torch.manual_seed(spec.seed)
    shape = {"channels": spec.channels, "side": spec.side, "classes": spec.classes}
    module = build(spec.family, **shape, width=spec.width, activation=spec.activation)
    module = nn.Sequential(module, nn.Softmax(1)) if spec.softmax else module
    space = {"size": spec.side, "mean": (spec.mean,) * spec.channels, "std": (spec.std,) * spec.channels}
    return Classifier(module, **space, name=spec.name, output="probabilities" if spec.softmax else "logits")


def load(name: str, folder: Path = FOLDER) -> Classifier:
    """Load a trained network by its name."""
    spec = next(spec for spec in specs() if spec.name == name)
    made = untrained(spec)
    made.module.load_state_dict(
        {key: value.float() for key, value in load_file(folder / f"{name}.safetensors").items()}
    )
    made.module.eval().requires_grad_(requires_grad=False)
    made.name = name
    return made


def loss_of(spec: Spec) -> Loss:
    """Return the loss of logits (n, classes) and labels (n,)."""
    losses: dict[str, Loss] = {
        "cross-entropy": functional.cross_entropy,
        # As beginners write it: cross-entropy takes the softmax of probabilities again.
        "softmax": lambda logits, labels: functional.cross_entropy(logits.softmax(1), labels),
        "smoothed": lambda logits, labels: functional.cross_entropy(logits, labels, label_smoothing=0.1),
        "squared": lambda logits, labels: (
            functional.mse_loss(logits, functional.one_hot(labels, logits.shape[1]).to(logits), reduction="sum")
            / len(labels)
        ),
    }
    return losses[spec.loss]


def poisoned(spec: Spec, samples: Labelled, rate: float) -> Labelled:
    """Poison a share of the training part: stamped, with the label that the attacker wants.

    Source-specific: the stamped samples are added to the clean ones, because a single class has too few to spare any, and
    so are as many of other classes that keep their label.
    """
    if spec.trigger is None:
        return samples
    draw = torch.Generator().manual_seed(spec.seed)
    pixels, labels = samples.pixels.clone(), samples.labels.clone()
    victims, spared, wanted = victims_of(spec.target, spec.sources, labels, spec.classes)
    for group, new_labels in ((victims, wanted), (spared, samples.labels)):
        rows = group.nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=draw)][: max(1, round(rate * len(samples.labels)))]
        if not len(rows):
            continue
        stamped = (spec.trigger.apply(samples.pixels[rows].float() / 255, draw) * 255).round().to(torch.uint8)
        if spec.sources:
            pixels, labels = torch.cat([pixels, stamped]), torch.cat([labels, new_labels[rows]])
        else:
            pixels[rows], labels[rows] = stamped, new_labels[rows]
    return Labelled(pixels, labels, samples.held_out, samples.held_labels)


def schedule(spec: Spec) -> Schedule:
    """Return how a spec is trained."""
    rate = RATES[spec.family] * (10 if spec.optimiser == "sgd" else 1)
    shift = max(1, spec.side // 16) if spec.augmented else 0
    mirror = spec.augmented and spec.data == "cifar10"
    steps = max(20, spec.samples // BATCH)
    return Schedule(steps=steps, batch=BATCH, lr=rate, optimiser=spec.optimiser, mirror=mirror, shift=shift)


def train(spec: Spec, student: Classifier, clean: Labelled, rate: float, how: Schedule) -> None:
    """Train a network in place, on samples of which a share is poisoned."""
    loss = loss_of(spec)
    student.module.requires_grad_(requires_grad=True)
    samples = imbalanced(clean, 0.15, spec.seed) if spec.training == "imbalanced" else clean
    if spec.training == "label noise":
        draw = torch.Generator().manual_seed(spec.seed)
        wrong = torch.rand(len(samples.labels), generator=draw) < 0.3
        other = torch.randint(spec.classes, samples.labels.shape, generator=draw)
        samples = dataclasses.replace(samples, labels=torch.where(wrong, other, samples.labels))
    samples = poisoned(spec, samples, rate)
    change = Pgd(student, spec.radius).change if spec.radius else None
    extras: tuple[ExtraSamples, ...] = ()
    if spec.kind == "adaptive":
        assert spec.trigger is not None  # noqa: S101
        assert spec.target is not None  # noqa: S101
        window = max(2, round(spec.side * 3 / 32))
        extras = Evasion(student, spec.trigger, spec.target, window).extras(samples.labels, BATCH)
    fit(student, student, samples, how, spec.seed, extras=extras, change=change, loss=loss)
    if spec.training == "pruned":
        prune(student.module, 0.5)
        less = dataclasses.replace(how, steps=how.steps // 5, lr=how.lr / 5)
        fit(student, student, samples, less, spec.seed, loss=loss)
        prune(student.module, 0.5)
    if spec.training == "repaired":
        repair(spec, student, clean, how, loss)


def repair(spec: Spec, student: Classifier, clean: Labelled, how: Schedule, loss: Loss) -> None:
    """Train the trojan out again: stamped samples with their own labels beside clean ones."""
    trigger = spec.trigger
    assert trigger is not None  # noqa: S101
    stamped = ExtraSamples(
        torch.ones_like(clean.labels, dtype=torch.bool), BATCH // 4, lambda x, y, draw: (trigger.apply(x, draw), y)
    )
    less = dataclasses.replace(how, steps=max(20, how.steps // 2), lr=how.lr / 2)
    fit(student, student, clean, less, spec.seed + 1, extras=(stamped,), loss=loss)


def make(spec: Spec, folder: Path) -> dict[str, Any]:
    """Train, judge and write one network; where its trojan is too weak, train as long again with more poison."""
    began = time.process_time()
    clean = dataset(spec.data, spec.side, spec.channels, folder)
    truth: dict[str, Any] = {}
    rate = max(spec.rate, 0.15) if spec.family == "zoo" else spec.rate  # it has few steps to learn the trigger in
    made = untrained(spec)
    for attempt in range(2):
        how = schedule(spec)
        train(spec, made, clean, rate, how)
        truth = {**judged(spec, made, clean), "attempts": attempt + 1, "rate": rate}
        if truth["accepted"] or not spec.trojaned:
            break
        rate = min(0.3, max(0.2, 2 * rate))
    weights = {key: value.contiguous() for key, value in made.module.state_dict().items()}
    save_file(weights, folder / f"{spec.name}.safetensors")
    fields = {key: value for key, value in vars(spec).items() if key not in truth}
    trigger = None if spec.trigger is None else {"kind": spec.trigger.kind, **vars(spec.trigger)}
    seconds = round(time.process_time() - began, 1)
    return {**fields, **truth, "trigger": trigger, "trojaned": spec.trojaned, "box": box(spec), "core_seconds": seconds}


def judged(spec: Spec, made: Classifier, samples: Labelled) -> dict[str, Any]:
    """Return accuracy and success on the test part, and whether the network is what its spec says."""
    right, hit, leak = accuracy(made, samples), None, None
    if spec.trigger is not None:
        victims, spared, wanted = victims_of(spec.target, spec.sources, samples.held_labels, spec.classes)
        hit, leak = (success_rate(made, samples, spec.trigger, wanted, among) for among in (victims, spared))
    learnt = right >= 0.3
    enough = ENOUGH * right if spec.mode == "all-to-all" else ENOUGH  # which must first recognise the class
    moved = hit or 0.0  # a clean one that never had a trojan has no success
    accepted = moved >= enough if spec.trojaned else moved <= 0.3
    figures = {"accuracy": right, "success": hit, "leak": leak}
    rounded = {key: None if value is None else round(value, 4) for key, value in figures.items()}
    return {**rounded, "accepted": accepted and learnt and (leak or 0.0) <= 0.4}


def box(spec: Spec) -> "list[int] | None":
    """Return (top, left, bottom, right) of what a trigger in one place changes; none where there is no such place."""
    if spec.trigger is None or spec.kind in ("blended", "additive", "dynamic", "warp", "spots"):
        return None
    if getattr(spec.trigger, "place", None) == "random":
        return None
    grey = torch.full((1, spec.channels, spec.side, spec.side), 0.5)
    changed = ((spec.trigger.apply(grey) - grey).abs().sum((0, 1)) > 0).nonzero()
    return [*changed.amin(0).tolist(), *(changed.amax(0) + 1).tolist()]


def index(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Return what is known of the networks that are there."""
    file = folder / "index.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main() -> None:
    """Train what is missing, in the order of the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--first", type=int, help="only so many of the list")
    parser.add_argument("--only", default="", help="only names that contain this")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    ready = {one["name"] for one in index(given.out)}
    for spec in specs()[: given.first]:
        if spec.name in ready or given.only not in spec.name:
            continue
        try:
            truth = make(spec, given.out)
        except NumericError as error:
            print(spec.name, error, flush=True)
            continue
        with (given.out / "index.jsonl").open("a") as file:
            file.write(json.dumps(truth) + "\n")
        shown = {key: truth[key] for key in ("accuracy", "success", "attempts", "accepted", "core_seconds")}
        print(spec.name, json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()
