"""Which networks, images and recipes are compared: those of the zoo, or the small drawn world."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import CONCEPTS, DOCS, PHOTOGRAPHS, PLAIN, ROOT, network
from benchmarks.maps.weak_dependence.similarity import DEPTHS
from phosphene.checks.randomised import blocks, few_depths, randomised
from phosphene.classifier import Classifier
from phosphene.recipe import Recipe, resolve
from phosphene.samples.images import decode
from phosphene.sources import load


@dataclass(frozen=True)
class Setting:
    """What is compared.

    Attributes:
        name: Of its folder.
        networks: The one that is randomised, another training of it, another architecture.
        target: A further network that makes no maps, only classifies ours.
        load: From a network's name to a classifier.
        images: (n, c, h, w) in [0, 1], each of another class.
        truth: The classes of the images.
        classes: The classes that are mapped and that every image is explained for: the first of ``truth``.
        samples: Two sample specs; our maps from them stand where other methods have two images.
        steps: Steps of our recipes.
    """

    name: str
    networks: tuple[str, str, str]
    target: str
    load: Callable[[str], Classifier]
    images: Tensor
    truth: list[int]
    classes: list[int]
    samples: tuple[str, str]
    steps: int

    @property
    def folder(self) -> Path:
        """Where maps are cached."""
        return ROOT / "runs" / "weak-dependence" / self.name

    @property
    def page(self) -> Path:
        """The page that the tables are written into."""
        return self.folder / "page.md" if self.name == "demo" else DOCS / "weak-dependence.md"

    @property
    def figures(self) -> Path:
        """Where figures go."""
        return self.page.parent / "figures"

    @property
    def recipes(self) -> dict[str, Recipe]:
        """The published method and ours, both shortened to the same cost."""
        refine = 3 * self.steps // 10
        return {
            "phosphene: short quick": resolve("quick", {"steps": self.steps - refine, "refine_steps": refine}),
            "phosphene: short plain vivid, colour 0": resolve("vivid", PLAIN | {"colour": 0.0, "steps": self.steps}),
        }

    @cached_property
    def base(self) -> Classifier:
        """The network that is randomised."""
        return self.load(self.networks[0])

    @cached_property
    def depths(self) -> list[int]:
        """How many blocks are randomised at each depth."""
        depths = few_depths(len(blocks(self.base)))
        # A small network has fewer depths: the last but one stands in for those between.
        return [*depths[:-1], *[depths[-2]] * (len(DEPTHS) - len(depths)), depths[-1]]

    def randomised(self, draw: int) -> Iterator[tuple[str, Classifier]]:
        """Yield the first network, randomised deeper and deeper with one draw of new weights."""
        for number, depth in enumerate(self.depths):
            yield f"depth {number}", randomised(self.base, depth, seed=draw, samples=self.images)


def zoo(steps: int) -> Setting:
    """Return the ImageNet networks, and the one image that the sample holds of each of the ten concepts."""
    networks = ("mobilenet_v2_a", "mobilenet_v2_b", "mobilenet_v1_075")
    first = network(networks[0])
    truth = [first.labels.find(name) for name in CONCEPTS]
    files = sorted(Path(PHOTOGRAPHS).glob("*.jpg"))  # in class order, without "background"
    for index in truth:
        label = files[index - 1].stem.split("_", 1)[1].replace("_", " ")
        if not first.labels[index].lower().startswith(label.lower()):
            raise SystemExit(f"{files[index - 1].name} does not show {first.labels[index]}")
    images = torch.stack([torch.from_numpy(decode(files[index - 1], first.input.shape)) for index in truth])

    def at_one_size(name: str) -> Classifier:
        """Give every network the first one's input size, so that maps compare pixel by pixel; these take any size."""
        own = network(name)
        size, space = first.input.size, own.input
        return Classifier(own.module, size=size, mean=space.mean, std=space.std, labels=own.labels, name=name)

    samples = (PHOTOGRAPHS, "synthetic:mixed")
    return Setting(
        "zoo", networks, "mobilenet_v1_050", at_one_size, images.float() / 255, truth, truth[:5], samples, steps
    )


def demo(steps: int) -> Setting:
    """Return the drawn world, to try the benchmark on; its networks stand for trainings and architectures."""
    from phosphene.demo import world  # noqa: PLC0415

    networks = ("demo:shapes", "demo:shapes-trojan", "demo:shapes-plain")
    pixels, labels = world.draw_images(len(world.LABELS), 1)
    images = torch.from_numpy(pixels[labels.argsort()[:6]]).float() / 255
    samples = ("demo:shapes", "synthetic:mixed")
    return Setting("demo", networks, networks[2], load, images, [*range(6)], [*range(3)], samples, steps)
