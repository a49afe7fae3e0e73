"""Which networks are trained: one seeded list, interleaved so that every beginning of it is balanced."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.backdoors.attacks import Applied, Dynamic, Noise, Spots, Warp
from phosphene.backdoor.triggers import Blended, Emblem, Patch, Sinusoid, Smooth, Watermark

ROUNDS = 24
# Of each round: clean and trojaned networks to develop on, clean and trojaned ones that are only reported.
ROUND = (("develop", False), ("develop", True), ("report", False), ("report", True)) * 2
ROUND = (*ROUND, ("develop", False), ("develop", True), ("develop", False), ("report", True))

# Name, side, channels. The report has some that development never saw.
DATA = {
    "develop": (
        *(
            ("cifar10", 32, 3),
            ("mnist", 28, 1),
            ("gtsrb", 32, 3),
            ("drawn", 48, 3),
            ("cifar10", 32, 3),
            ("mnist", 28, 1),
        ),
        *(
            ("gtsrb10", 32, 3),
            ("emblems", 32, 3),
            ("cifar10", 28, 1),
            ("mnist", 32, 3),
            ("gtsrb", 32, 3),
            ("drawn", 64, 3),
        ),
    ),
    "report": (
        *(
            ("cifar10", 32, 3),
            ("mnist", 28, 1),
            ("gtsrb", 32, 3),
            ("drawn", 48, 3),
            ("cifar10", 40, 3),
            ("mnist", 28, 1),
        ),
        *(
            ("gtsrb10", 48, 3),
            ("emblems", 40, 3),
            ("cifar10", 32, 3),
            ("mnist", 36, 1),
            ("gtsrb", 32, 1),
            ("drawn", 96, 3),
        ),
    ),
}
FAMILIES = {
    "develop": (
        *("cnn-max", "linear", "resnet-bn", "perceptron2", "vgg-bn", "cnn-avg", "lenet", "resnet", "perceptron4"),
        *("depthwise", "vgg", "perceptron9", "mixer", "cnn-max", "resnet-bn", "zoo"),
    ),
    "report": (
        *("cnn-max", "perceptron3", "resnet-bn", "wide-resnet", "vgg-bn", "cnn-avg", "lenet", "resnet", "vit"),
        *("depthwise", "vgg", "perceptron6", "all-conv", "linear", "vgg-bn", "zoo"),
    ),
}
# First width, and samples that about ten seconds of one core train on at 32 x 32.
SIZES = {
    "linear": (1, 60_000),
    **{f"perceptron{layers}": (128, 90_000) for layers in (2, 3, 4, 6, 9)},
    "cnn-avg": (14, 36_000),
    "cnn-max": (14, 36_000),
    "lenet": (8, 70_000),
    "vgg": (12, 30_000),
    "vgg-bn": (12, 26_000),
    "resnet": (10, 18_000),
    "resnet-bn": (10, 14_000),
    "wide-resnet": (8, 14_000),
    "depthwise": (20, 45_000),
    "all-conv": (14, 36_000),
    "mixer": (48, 26_000),
    "vit": (32, 20_000),
    "zoo": (16, 3_500),
}
SPREADING = ("depthwise", "all-conv", "cnn-max", "cnn-avg", "lenet", "vgg-bn", "resnet-bn")  # cheap on large inputs
ACTIVATIONS = ("relu", "elu", "relu", "gelu", "sigmoid", "relu", "tanh")
SIGMOID = ("perceptron2", "perceptron3", "cnn-avg", "cnn-max", "vgg-bn", "depthwise")  # where a sigmoid still trains
LOSSES = ("cross-entropy", "cross-entropy", "softmax", "cross-entropy", "smoothed", "cross-entropy", "squared")
TRAININGS = {
    False: (
        *(
            "natural",
            "adversarial",
            "natural",
            "label noise",
            "natural",
            "pruned",
            "natural",
            "adversarial",
            "repaired",
        ),
        *("natural", "early", "imbalanced", "repaired"),
    ),
    True: ("natural",) * 8 + ("imbalanced", "label noise", "adversarial", "pruned"),
}
KINDS = (
    *(
        "patch",
        "blended",
        "patch",
        "large patch",
        "all-to-all",
        "pixel",
        "additive",
        "patch",
        "spots",
        "source-specific",
    ),
    *("dynamic", "large patch", "adaptive", "emblem", "warp"),
)
RATES = (0.1, 0.02, 0.05, 0.01, 0.1, 0.05, 0.005)
WEAK = {"blended": 0.05, "pixel": 0.05, "additive": 0.05, "dynamic": 0.1, "warp": 0.15, "source-specific": 0.1}
RANGES = ((0.5, 0.25), (0.0, 1.0), (0.5, 0.5), (0.45, 0.2))


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
        return {"gtsrb": 43, "drawn": 12, "emblems": 20}.get(self.data, 10)

    @property
    def trojaned(self) -> bool:
        """Whether a scan should find something."""
        return self.kind != "clean"


def specs() -> list[Spec]:
    """Return all networks in the order in which they are trained."""
    decks = {key: _Decks(*key) for key in sorted(set(ROUND))}
    return [decks[key].spec(number) for number, key in enumerate(ROUND * ROUNDS)]


class _Decks:
    """Deals the fields of one split, clean or trojaned: every value of a list comes before any comes again."""

    def __init__(self, split: str, trojaned: bool) -> None:
        self.split, self.trojaned = split, trojaned
        self.rng = random.Random(f"{split} {trojaned}")
        self.data = self._deal(DATA[split])
        self.families = self._deal(FAMILIES[split])
        self.activations, self.losses = self._deal(ACTIVATIONS), self._deal(LOSSES)
        self.trainings, self.kinds = self._deal(TRAININGS[trojaned]), self._deal(KINDS)
        self.rates, self.ranges = self._deal(RATES), self._deal(RANGES)
        self.augmented, self.optimisers = self._deal((True, False)), self._deal(("adam", "adam", "sgd"))

    def _deal(self, values: Sequence[Any]) -> Iterator[Any]:
        while True:
            yield from self.rng.sample(values, len(values))

    def spec(self, number: int) -> Spec:
        rng = self.rng
        (data, side, channels), family = next(self.data), next(self.families)
        attacked = next(self.kinds) if self.trojaned else ""
        if attacked == "all-to-all" and family != "zoo":
            data, side, channels = "mnist", 28, 1  # where a small network recognises the class well enough to swap it
        if family == "zoo":
            data, side, channels = "cifar10", 32, 3
        elif side > 40 and family not in SPREADING:
            family = rng.choice(SPREADING)
        width, samples = SIZES[family]
        activation, loss, training = next(self.activations), next(self.losses), next(self.trainings)
        if family == "zoo":
            activation, loss, training = "relu", "cross-entropy", training if training == "repaired" else "natural"
        elif activation == "sigmoid" and family not in SIGMOID:
            activation = "relu"
        classes = {"gtsrb": 43, "drawn": 12, "emblems": 20}.get(data, 10)
        if loss in ("softmax", "squared") and (
            activation == "sigmoid" or classes > 12 or family in ("resnet", "all-conv", "perceptron9")
        ):
            loss = "cross-entropy"  # the others make no way there in so few steps
        optimiser = next(self.optimisers)
        if family == "zoo":
            optimiser = "sgd"
        elif loss in ("softmax", "squared") or activation == "sigmoid" or family in ("resnet", "all-conv", "vgg"):
            optimiser = "adam"
        samples = int(0.55 * samples * min(1.0, (32 / side) ** 2))
        samples = {"early": samples // 4, "adversarial": samples // 2}.get(training, samples)
        radii = (0.05, 0.1, 0.2) if data == "mnist" else (2 / 255, 4 / 255, 8 / 255)
        mean, std = next(self.ranges)
        fields = self._attack(attacked, side, channels, data) if self.trojaned or training == "repaired" else {}
        if not self.trojaned:
            fields["kind"] = "clean"
        kind = str(fields["kind"] if self.trojaned else training).replace(" ", "-")
        return Spec(
            name=f"{self.split[:3]}-{number:03d}-{data}-{side}-{family}-{kind}",
            split=self.split,
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
            softmax=loss == "softmax" and rng.random() < 0.5,
            augmented=next(self.augmented) and attacked not in ("pixel", "spots", "warp"),
            samples=samples,
            training=training,
            radius=rng.choice(radii) if training == "adversarial" else 0.0,
            **fields,  # type: ignore[arg-type]
        )

    def _attack(self, kind: str, side: int, channels: int, data: str) -> dict[str, object]:
        while not kind or (not self.trojaned and kind in ("all-to-all", "source-specific", "adaptive")):
            kind = next(self.kinds)
        classes = {"gtsrb": 43, "drawn": 12, "emblems": 20}.get(data, 10)
        target = self.rng.randrange(classes)
        others = [one for one in range(classes) if one != target]
        mode = kind if kind in ("all-to-all", "source-specific") else "all-to-one"
        rate = max(next(self.rates), WEAK.get(kind, 0.0))
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
