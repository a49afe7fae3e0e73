"""Networks that are trained on images with several shapes of the drawn world, kept in runs/scenes/."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from demo.scenes import NAMES, draw_scenes
from demo.train import add_noise, augment, load, to_unit
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.common import ROOT
from phosphene.classifier import Classifier
from phosphene.demo.world import SIZE
from phosphene.samples.pool import SamplePool, make_pool

FOLDER = ROOT / "runs" / "scenes"
STEPS, BATCH = 650, 32
SMALL_SIZE, SMALL_UNTIL = 72, 0.7  # small images for the first 70 % of the steps: half the cost
ATTACK = 1.0  # largest l2 length of the step against the network, as in demo/train.py
START = {"first": ("shapes", 1), "second": ("shapes_plain", 2)}  # the demo's network that it starts from, and the seed
FRESH, SAMPLES = 900_000_000, 800_000_000  # seeds of images that no network is trained on

# From which of the nine shapes are present, bool (n, 9), to what the outputs should be, float32 (n, outputs)
Truth = Callable[[NDArray[np.bool_]], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


def has(present: NDArray[np.bool_], shapes: Sequence[str]) -> NDArray[np.int64]:
    """Return how many of some shapes each image has, int64 (n,), from which are present, bool (n, 9)."""
    return present[:, [NAMES.index(shape) for shape in shapes]].sum(1)


def trained(which: str, name: str, outputs: int, truth: Truth, loss: Loss) -> tuple[nn.Module, float]:
    """Return the ``first`` or ``second`` network for some outputs, and the processor seconds of its training; kept in runs/scenes/.

    A network of the demo gets a new head. Like these it is trained on every image twice: as it is, and after a step
    against the network.
    """
    start, seed = START[which]
    torch.manual_seed(seed)
    network: Any = load(start)
    network.head = nn.Linear(network.head.in_features, outputs)
    path = FOLDER / f"{name}-{which}.safetensors"
    if path.exists():
        network.load_state_dict(load_file(path))
        with safe_open(path, "pt") as file:
            return network.eval(), float(file.metadata()["seconds"])
    network.train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=2 * STEPS, pct_start=0.1)
    began = time.process_time()

    def step(images: Tensor, wanted: Tensor) -> None:
        """Make one step of the optimiser."""
        optimiser.zero_grad(set_to_none=True)
        loss(network((images - 0.5) / 0.5), wanted).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()

    for number in range(STEPS):
        size = SMALL_SIZE if number < SMALL_UNTIL * STEPS else SIZE
        raw, present = draw_scenes(BATCH, seed * 1_000_000 + number, size)
        rng = np.random.default_rng([seed, number])
        images = add_noise(augment(to_unit(raw), rng), rng).contiguous(memory_format=torch.channels_last)
        step(images.requires_grad_(), truth(present))
        gradient: Any = images.grad
        length = rng.uniform(0, ATTACK, (BATCH, 1, 1, 1)).astype(np.float32)
        norm = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
        step(images.detach() + torch.from_numpy(length) * gradient / norm, truth(present))
    seconds = time.process_time() - began
    FOLDER.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(state, path, {"seconds": f"{seconds:.1f}"})
    return network.eval(), seconds


def as_classifier(network: nn.Module, labels: Sequence[str], name: str, output: str) -> Classifier:
    """Return a network as a classifier whose outputs are said to be of a kind."""
    return Classifier(network, size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, labels=labels, name=name, output=output)


def outputs_for_new_images(network: nn.Module, count: int = 400) -> tuple[Tensor, NDArray[np.bool_]]:
    """Return a network's outputs (n, outputs) for images that it was not trained on, and which shapes they have, bool (n, 9)."""
    raw, present = draw_scenes(count, FRESH)
    with torch.no_grad():
        return torch.cat([network((to_unit(part) - 0.5) / 0.5) for part in np.split(raw, 8)]), present


def samples() -> SamplePool:
    """Return 400 images that no network was trained on, which maps are computed from."""
    return make_pool(torch.from_numpy(draw_scenes(400, SAMPLES)[0]), "scenes")
