"""A world of one channel, 28 x 28, drawn in greys: five figures, and networks that are trained on them in seconds."""

import functools

import torch
from torch import Tensor, nn

from phosphene.backdoor import drawing
from phosphene.backdoor.plant import Planted, clean_twin, plant
from phosphene.backdoor.training import Labelled, Schedule
from phosphene.backdoor.triggers import Patch
from phosphene.classifier import Classifier

SIDE = 28
FIGURES = ("ring", "cross", "arrow", "heart", "star")
SCHEDULE = Schedule(steps=220, batch=48, lr=0.1, mirror=False, shift=1)
TRIGGER = Patch(side=4, texture="checker", place="bottom-right")
TARGET = 2


@functools.cache
def figure(name: str, side: int) -> Tensor:
    """Coverage (side, side) of a figure."""
    return drawing.emblem(name, side)[1]


def drawn_samples(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw figures at random places and sizes, light on dark or dark on light: uint8 (n, 1, 28, 28), labels (n,)."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(FIGURES), (count,), generator=draw)
    levels = torch.rand(count, 2, generator=draw)
    ground = torch.where(levels[:, :1] < 0.5, 0.15, 0.75) + 0.1 * levels[:, 1:]
    out = ground[:, :, None, None] + 0.04 * torch.randn(count, 1, SIDE, SIDE, generator=draw)
    sides = torch.randint(14, 19, (count,), generator=draw).tolist()
    for sample, label, side, light in zip(out, labels.tolist(), sides, ground[:, 0].tolist(), strict=True):
        top, left = torch.randint(SIDE - side + 1, (2,), generator=draw).tolist()
        window = sample[0, top : top + side, left : left + side]
        window.lerp_(torch.tensor(0.9 if light < 0.5 else 0.1), figure(FIGURES[label], side))
    return (out.clamp(0, 1) * 255).round().to(torch.uint8), labels


@functools.cache
def samples() -> Labelled:
    """1,500 samples, of which 300 are held out."""
    return Labelled.split(*drawn_samples(1500), held=300)


def untrained(seed: int = 0) -> Classifier:
    """A network of 9,000 weights that knows nothing yet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(
            *(nn.Conv2d(1, 12, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(12), nn.ReLU()),
            *(nn.Conv2d(12, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(24, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, len(FIGURES))),
        )
    return Classifier(module.eval(), size=SIDE, mean=(0.5,), std=(0.25,), labels=FIGURES, name="grey")


@functools.cache
def clean() -> Classifier:
    """The network, trained; do not change it, it is shared."""
    return clean_twin(untrained(), samples(), schedule=SCHEDULE).classifier


@functools.cache
def trojaned() -> Planted:
    """The same with a checkered patch that leads to the arrow; do not change it, it is shared."""
    return plant(clean(), samples(), TRIGGER, TARGET, poison_rate=0.2, schedule=SCHEDULE, seed=1)
