"""A classifier small enough to map in milliseconds, its card, and a folder of samples for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.recipe import Recipe
from phosphene.runs import RunDirectory, run_facts
from phosphene.samples.pool import make_pool

SIDE = 16
# "crane" names two classes, and "maillot" is one class and a synonym of another: as in ImageNet.
LABELS = ("lion, king of beasts, Panthera leo", "crane", "crane", "maillot", "maillot, tank suit")
# A recipe that leaves nothing out and costs nothing.
SHORT = {"batch_size": 4, "steps": 3, "refine_steps": 2, "rounds": 1}


def settings(**changes: Any) -> list[str]:
    """The same recipe as ``--set`` options of the command line, with changes."""
    return [f"--set={field}={value}" for field, value in (SHORT | changes).items()]


SETTINGS = settings()

FACTORY = """\
from pathlib import Path

from torch import nn

Path(__file__).with_name("it_ran").touch()


def tiny():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )
"""


def network(seed: int = 0) -> nn.Sequential:
    """The network of ``FACTORY`` with weights that differ from class to class."""
    made = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return made.eval()


def classifier(seed: int = 0, **changes: Any) -> Classifier:
    """A classifier around :func:`network`, made without a card."""
    facts: dict[str, Any] = {"size": SIDE, "mean": (0.5,) * 3, "std": (0.25,) * 3, "labels": LABELS, "name": "tiny"}
    return Classifier(network(seed), **(facts | changes))


def limit_memory(part: nn.Module, most: int) -> None:
    """Let a GPU's memory run out whenever more than ``most`` images reach a part of a network."""

    def refuse(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) > most:
            raise torch.cuda.OutOfMemoryError

    part.register_forward_pre_hook(refuse)


@dataclass
class Card:
    """A card on disk and what lies beside it."""

    path: Path
    fields: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def mark(self) -> Path:
        """The file that the factory leaves behind when its code runs."""
        return self.folder / "it_ran"

    def state(self) -> dict[str, Tensor]:
        return network().state_dict()

    def write(self, **changes: Any) -> "Card":
        """Rewrite the card with some fields changed; ``None`` leaves a field out."""
        self.fields = {key: value for key, value in (self.fields | changes).items() if value is not None}
        self.path.write_text(tomli_w.dumps(self.fields), encoding="utf-8")
        return self

    def weigh(self, state: dict[str, Tensor]) -> "Card":
        """Rewrite the weights."""
        save_file({key: value.contiguous() for key, value in state.items()}, self.folder / "tiny.safetensors")
        return self


def make_card(folder: Path, *, half: bool = False, seed: int = 0) -> Card:
    """Write a card with factory, weights and labels into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nets.py").write_text(FACTORY, encoding="utf-8")
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    fields = {
        "name": "tiny",
        "factory": "nets.py:tiny",
        "weights": "tiny.safetensors",
        "labels": "labels.txt",
        "input": {"size": [SIDE, SIDE], "mean": [0.5] * 3, "std": [0.25] * 3},
    }
    card = Card(folder / "tiny.toml", fields)
    state = network(seed).state_dict()
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    return card.weigh(state).write()


def make_samples(folder: Path, count: int = 12, size: tuple[int, int] = (20, 24)) -> Path:
    """Write ``count`` small PNG images into ``folder``, every one different."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"sample{number:02}.png")
    return folder


def concept_map(index: int = 0, seed: int = 0, **changes: Any) -> ConceptMap:
    """A finished map of random numbers."""
    generator = torch.Generator().manual_seed(index * 100 + seed)
    facts: dict[str, Any] = {
        "nu": 0.1 * torch.randn((3, SIDE, SIDE), generator=generator),
        "xi": torch.rand((1, SIDE, SIDE), generator=generator),
        "index": index,
        "label": LABELS[index],
        "seed": seed,
        "recipe_sha256": "0" * 64,
        "contrast": 0.2,
        "p_class": 0.75,
        "targeting_rate": 0.5,
        "loss": (2.0, 1.0, 0.5),
        "passes": 40,
        "seconds": 0.25,
    }
    return ConceptMap(**(facts | changes))


def add_maps(run: RunDirectory, *maps: ConceptMap) -> None:
    """Put finished maps into a run."""
    pool = make_pool(torch.zeros((4, 3, SIDE, SIDE), dtype=torch.uint8), "samples")
    run.begin(run_facts(classifier(), Recipe(), pool), [(one.job, one.label) for one in maps])
    for one in maps:
        run.write(one)
