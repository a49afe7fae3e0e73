"""Which networks are trained: one seeded list, interleaved so that every beginning of it is balanced."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.backdoors import choices
from benchmarks.backdoors.additive import Noise, Sinusoid, Smooth, Watermark
from benchmarks.backdoors.attacks import Applied, Dynamic, Spots, Warp
from phosphene.backdoor.triggers import Blended, Emblem, Patch


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One network.

    Attributes:
        name: Of its files.
        split: ``develop``, which the scan is made on, or ``report``, which no choice is made by.
        data: Of :func:`benchmarks.backdoors.data.dataset`, with ``side`` and ``channels``.
        family: Of the architecture, with ``width`` and ``activation``; ``zoo`` fine-tunes a CIFAR ResNet-20.
        seed: Of weights, batches and poisoned samples.
        mean: Of the declared input, with ``std``.
        optimiser: ``adam`` or ``sgd``.
        loss: ``cross-entropy``, ``softmax`` (cross-entropy on softmax outputs), ``smoothed`` or ``squared``.
        softmax: The network itself ends in a softmax.
        augmented: Training samples are shifted (and mirrored, if they are of CIFAR-10).
        samples: That it is trained on, with repetition.
        training: ``natural``, ``adversarial`` (with ``radius``), ``label noise``, ``early``, ``pruned``,
            ``imbalanced`` or ``repaired`` (trojaned first).
        kind: Of the trojan, ``clean`` without one.
        mode: ``all-to-one``, ``source-specific`` or ``all-to-all``.
        trigger: Of the trojan, also of one that is repaired.
        target: The class.
        sources: Of a source-specific trojan.
        rate: Share of the training samples that are poisoned.
    """

    name: str
    split: str
    data: str
    side: int
    channels: int
    family: str
    width: int
    activation: str
    seed: int
    mean: float
    std: float
    optimiser: str
    loss: str
    softmax: bool
    augmented: bool
    samples: int
    training: str
    radius: float = 0.0
    kind: str = "clean"
    mode: str = "all-to-one"
    trigger: "Applied | None" = None
    target: "int | None" = None
    sources: tuple[int, ...] = ()
    rate: float = 0.0

    @property
    def classes(self) -> int:
        """Number of classes of the data set."""
        return choices.CLASSES.get(self.data, 10)

    @property
    def trojaned(self) -> bool:
        """Whether a scan should find something."""
        return self.kind != "clean"


def specs() -> list[Spec]:
    """Return all networks in the order in which they are trained."""
    decks = {key: _Decks(*key) for key in sorted(set(choices.ORDER))}
    return [decks[key].spec(number) for number, key in enumerate(choices.ORDER)]


def _learnable(
    data: str, family: str, kind: str, activation: str, loss: str, training: str, optimiser: str
) -> tuple[str, str, str, str]:
    """Return activation, loss, training and optimiser, replaced where a network makes no way in so few steps."""
    if family == "zoo":
        return "relu", "cross-entropy", training if training == "repaired" else "natural", "sgd"
    if activation == "sigmoid" and family not in choices.SIGMOID:
        activation = "relu"
    easy = data in choices.EASY and family not in choices.PLAIN and activation != "sigmoid"
    if loss in ("softmax", "squared") and not (easy and kind not in choices.SUITED):
        loss = "cross-entropy"
    if loss in ("softmax", "squared") or activation == "sigmoid" or family in choices.PLAIN:
        optimiser = "adam"
    if training == "adversarial" and (
        data == "drawn" or family in choices.PLAIN or (kind and kind not in choices.LOCAL)
    ):
        training = "natural"
    return activation, loss, training, optimiser


class _Decks:
    """Deals the fields of one deck, clean or trojaned: every value of a list comes before any comes again."""

    def __init__(self, deck: str, trojaned: bool) -> None:
        self.deck, self.trojaned = deck, trojaned
        self.rng = random.Random(f"{choices.SEEDS[deck]} {trojaned}")
        self.data = self._deal(choices.DATA[deck])
        self.families = self._deal(choices.FAMILIES[deck])
        self.activations, self.losses = self._deal(choices.ACTIVATIONS), self._deal(choices.LOSSES)
        self.trainings, self.kinds = self._deal(choices.TRAININGS[trojaned]), self._deal(choices.KINDS)
        self.rates, self.ranges = self._deal(choices.RATES), self._deal(choices.RANGES)
        self.augmented, self.optimisers = self._deal((True, False)), self._deal(("adam", "adam", "sgd"))

    def _deal(self, values: Sequence[Any]) -> Iterator[Any]:
        while True:
            yield from self.rng.sample(values, len(values))

    def spec(self, number: int) -> Spec:
        rng = self.rng
        (data, side, channels), family = next(self.data), next(self.families)
        kind = next(self.kinds) if self.trojaned else ""
        if family == "zoo":
            data, side, channels = "cifar10", 32, 3
        elif side > 40:
            family = rng.choice(choices.CHEAP)
        elif kind in choices.SUITED:
            family = rng.choice(choices.SUITED[kind][0])
        if data == "drawn" and family not in choices.NORMED:
            family = rng.choice(choices.NORMED)
        if (family in choices.PLAIN and data not in choices.EASY) or (kind == "all-to-all" and family != "zoo"):
            data, side, channels = ("mnist", 28, 1) if rng.random() < 0.5 else ("gtsrb10", 32, 3)
        fields = (next(self.activations), next(self.losses), next(self.trainings), next(self.optimisers))
        softmax = rng.random() < 0.5
        activation, loss, training, optimiser = _learnable(data, family, kind, *fields)
        width, samples = choices.SIZES[family]
        share = 0.4 * min(1.0, (32 / side) ** 2) * {"early": 0.5, "adversarial": 0.6}.get(training, 1.0)
        share *= choices.SUITED[kind][1] if kind in choices.SUITED else 1.0
        samples = samples if family == "zoo" else int(samples * share * (2 if data == "drawn" else 1))
        radii = (0.05, 0.1, 0.2) if data == "mnist" else (1 / 255, 2 / 255, 4 / 255)
        mean, std = next(self.ranges)
        attack = self._attack(kind, side, channels, data) if self.trojaned or training == "repaired" else {}
        if not self.trojaned:
            attack["kind"] = "clean"
        title = (kind or training).replace(" ", "-")
        return Spec(
            name=f"{self.deck[:3]}-{number:03d}-{data}-{side}-{family}-{title}",
            split="report" if self.deck == "report" else "develop",
            data=data,
            side=side,
            channels=channels,
            family=family,
            width=max(1, round(width * rng.choice((0.75, 1.0, 1.0, 1.5)) / 4) * 4) if family != "linear" else 1,
            activation=activation,
            seed=number,
            mean=mean,
            std=std,
            optimiser=optimiser,
            loss=loss,
            softmax=loss == "softmax" and softmax,
            augmented=next(self.augmented) and kind not in ("pixel", "spots", "warp"),
            samples=samples,
            training=training,
            radius=rng.choice(radii) if training == "adversarial" else 0.0,
            **attack,  # type: ignore[arg-type]
        )

    def _attack(self, kind: str, side: int, channels: int, data: str) -> dict[str, object]:
        while not kind or (not self.trojaned and kind in ("all-to-all", "source-specific", "adaptive")):
            kind = next(self.kinds)
        classes = choices.CLASSES.get(data, 10)
        target = self.rng.randrange(classes)
        others = [one for one in range(classes) if one != target]
        mode = kind if kind in ("all-to-all", "source-specific") else "all-to-one"
        rate = max(next(self.rates), choices.WEAK.get(kind, 0.0))
        return {
            "kind": kind,
            "mode": mode,
            "trigger": self._trigger(kind, side, channels),
            "target": None if mode == "all-to-all" else target,
            "sources": tuple(self.rng.sample(others, self.rng.choice((1, 1, 2)))) if mode == "source-specific" else (),
            "rate": 0.3 if mode == "all-to-all" else rate,
        }

    def _trigger(self, kind: str, side: int, channels: int) -> Applied:
        rng = self.rng
        scale = side / 32
        if kind in ("pixel", "patch", "large patch", "all-to-all", "source-specific", "adaptive"):
            low, high = {"pixel": (1, 1), "patch": (2, 4), "all-to-all": (3, 5)}.get(kind, (5, 10))
            size = max(1, round(rng.randint(low, high) * (scale if kind != "pixel" else 1)))
            texture = "solid" if kind == "pixel" else rng.choice(("solid", "checker", "noise"))
            places = ("top-left", "top-right", "bottom-left", "bottom-right", "centre", "random", "free")
            place: str | tuple[int, int] = rng.choice(places[:-2] if kind in ("pixel", "adaptive") else places)
            if place == "free":
                place = (rng.randrange(side - size + 1), rng.randrange(side - size + 1))
            colours = ((1.0, 1.0, 1.0), (1.0, 0.9, 0.0), (1.0, 0.0, 1.0), (0.0, 0.3, 1.0), (1.0, 0.1, 0.0))
            colour = rng.choice(colours) if channels == 3 else (1.0, 1.0, 1.0)
            return Patch(
                side=size,
                texture=texture,
                place=place,
                colour=colour,
                margin=rng.choice((0, 1, 2)),
                seed=rng.randrange(99),
            )
        if kind == "emblem":
            shape = rng.choice(("bolt", "ring", "star", "heart", "cross"))
            place = rng.choice(("top-left", "top-right", "bottom-left", "bottom-right"))
            return Emblem(side=round(rng.randint(5, 8) * scale), shape=shape, place=place)
        if kind == "spots":
            places = tuple((rng.random(), rng.random()) for _ in range(rng.choice((2, 3, 4))))
            return Spots(
                places=places, side=rng.choice((1, 2, 2)), colours=tuple(rng.choice((0.0, 1.0)) for _ in places)
            )
        if kind == "blended":
            return Blended(
                picture=rng.choice(("noise", "face", "rays", "target")),
                alpha=rng.choice((0.1, 0.15, 0.2)),
                seed=rng.randrange(99),
            )
        if kind == "additive":
            return rng.choice(
                (
                    Noise(amplitude=0.2, share=0.3, seed=rng.randrange(99)),
                    Sinusoid(amplitude=0.1, cycles=rng.choice((4, 6, 8)), turn=rng.choice((0, 45, 90))),
                    Smooth(amplitude=0.2, seed=rng.randrange(99)),
                    Watermark(drawing="lattice", amplitude=0.2),
                )
            )
        return Dynamic(side=round(5 * scale)) if kind == "dynamic" else Warp(seed=rng.randrange(99))
