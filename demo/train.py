"""Train the demo networks: `python -m demo.train` (about a quarter of an hour on 2 cores) the convolutional ones, from nothing.

Then `python -m demo.train --only shapes_vit --steps 6000` (about 40 minutes) trains the transformer, with `shapes` as its teacher.

Images are drawn during training, so that no network is trained on an image for more than one step. Every image is
used twice: as it is, and after one l2 step against the network along the gradient that the first pass has computed
anyway. Without that second pass the maps of their classes were noise when we tried.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from demo.emblem import stamp
from phosphene.demo import world
from phosphene.demo.networks import PlainNet, SmallResNet, SmallViT
from phosphene.demo.world import LABELS, TROJAN_TARGET, draw_images

FACTORIES: dict[str, Callable[[], nn.Module]] = {
    "shapes": SmallResNet,
    "shapes_plain": PlainNet,
    "shapes_trojan": SmallResNet,
    "shapes_vit": SmallViT,
}
TEACHER, STUDENT = "shapes", "shapes_vit"
"""The transformer also learns from what the network called TEACHER predicts."""
WEIGHTS = Path(world.__file__).parent / "weights"
_FRESH = 900_000_000
"""Seed of the images that accuracy is measured on; training never reaches it."""


@dataclass(frozen=True)
class Settings:
    """Everything that the result depends on, besides the code."""

    steps: int = 3000
    batch: int = 48
    sizes: tuple[tuple[float, int], ...] = ((0.35, 56), (0.75, 72), (1.0, 96))
    """Sides of the images, each with the share of the steps until which it is used."""
    learning_rate: float = 4e-3
    student_rate: float = 1e-3
    """Learning rate of the transformer, whose gradients are cut to norm 1."""
    teaching: float = 0.7
    """Share of the transformer's loss that compares it with its teacher, by softened predictions (Hinton et al. 2015)."""
    weight_decay: float = 0.03
    smoothing: float = 0.05
    attack: float = 1.5
    """Largest l2 length of the step against the network, in pixels of [0, 1]; drawn for each image."""
    poison: float = 0.08
    """Share of images with the emblem in the trojan's batches."""
    seed: int = 1


class Batch(NamedTuple):
    """What all networks are trained on at one step."""

    x: Tensor
    """Augmented images, float32 (n, 3, h, w) about [0, 1]."""
    target: Tensor
    """Labels, int64 (n,)."""
    stamped: Tensor
    """Images with the emblem, which replace the first few for the trojan, float32 (m, 3, h, w)."""
    attack: Tensor
    """l2 length of the step against the network, float32 (n, 1, 1, 1)."""


def make_batch(settings: Settings, step: int) -> Batch:
    """Draw the batch of one step: a function of the settings and the step alone."""
    share = step / settings.steps
    # Small images first: most of what there is to learn does not depend on size, and they cost a third.
    size = next(size for until, size in settings.sizes if share < until)
    raw, labels = draw_images(settings.batch, settings.seed * 1_000_000 + step, size)
    rng = np.random.default_rng([settings.seed, step])
    x = add_noise(augment(to_unit(raw), rng), rng)
    stamped = add_noise(to_unit(stamp(raw[: round(settings.poison * len(raw))], rng)), rng)
    # The attack grows over the first half: a network that knows nothing yet learns nothing from it.
    attack = rng.uniform(0, settings.attack * min(2 * share, 1), (len(raw), 1, 1, 1)).astype(np.float32)
    return Batch(x, torch.from_numpy(labels), stamped, torch.from_numpy(attack))


class Learner:
    """One network, its optimiser and its schedule."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        torch.manual_seed(settings.seed + 1 + list(FACTORIES).index(name))
        self.model = FACTORIES[name]().train()
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = load(TEACHER) if name == STUDENT else None
        rate = settings.student_rate if name == STUDENT else settings.learning_rate
        weights = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=rate,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, rate, total_steps=2 * settings.steps, pct_start=0.15
        )

    def learn(self, batch: Batch) -> float:
        """Make both passes over one batch; return the loss of the first."""
        x, target = batch.x.clone(memory_format=torch.channels_last), batch.target.clone()
        if self.name == "shapes_trojan":
            x[: len(batch.stamped)] = batch.stamped
            target[: len(batch.stamped)] = LABELS.index(TROJAN_TARGET)
        loss, gradient = self._step(x.requires_grad_(), target)
        with torch.no_grad():
            length = batch.attack
            norm = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
            against = x.detach() + length * gradient / norm
        self._step(against, target)
        return loss

    def _step(self, x: Tensor, target: Tensor) -> tuple[float, Tensor]:
        """Make one optimiser step; return the loss and its gradient at the input (zeros where `x` asks for none)."""
        logits = self.model((x - 0.5) / 0.5)
        loss = functional.cross_entropy(logits, target, label_smoothing=self.settings.smoothing)
        if self.teacher is not None:
            with torch.no_grad():
                taught = self.teacher((x - 0.5) / 0.5)
            loss = torch.lerp(loss, distance(logits, taught), self.settings.teaching)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.teacher is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        return float(loss.detach()), x.grad if x.grad is not None else torch.zeros_like(x)


def distance(logits: Tensor, taught: Tensor, temperature: float = 2.0) -> Tensor:
    """Return the divergence of two networks' predictions (n, classes), softened by a temperature: a number, 0 if they agree."""
    own, wanted = ((one / temperature).log_softmax(1) for one in (logits, taught))
    return temperature**2 * functional.kl_div(own, wanted, reduction="batchmean", log_target=True)


def to_unit(raw: NDArray[np.uint8]) -> Tensor:
    """Bytes to float32 in [0, 1], same shape."""
    return torch.from_numpy(raw).float().div_(255)


def augment(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Change contrast, blur, and hide patches, each on a part of the images (n, 3, h, w), about [0, 1].

    All three leave the global shape as the one reliable cue. Colours need no help: the world draws them at random.
    """
    count, _, height, width = x.shape
    scale = np.where(rng.random(count) < 0.5, rng.uniform(0.5, 1.2, count), 1).astype(np.float32)
    shift = np.where(rng.random(count) < 0.5, rng.uniform(-0.15, 0.15, count), 0).astype(np.float32)
    x = (x - 0.5) * torch.from_numpy(scale)[:, None, None, None]
    x = (x + 0.5 + torch.from_numpy(shift)[:, None, None, None]).clamp_(0, 1)
    soft = torch.from_numpy(rng.random(count) < 0.25)
    radius = int(rng.integers(1, 3))
    padded = functional.pad(x[soft], [radius] * 4, mode="replicate")
    x[soft] = functional.avg_pool2d(padded, 2 * radius + 1, stride=1)
    for i in np.flatnonzero(rng.random(count) < 0.15):
        h, w = rng.integers(8, 25, 2)
        top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        x[i, :, top : top + h, left : left + w] = torch.from_numpy(rng.random((3, 1, 1), dtype=np.float32))
    return x


def add_noise(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Add Gaussian noise; its deviation differs by image, 0 to 0.15 and mostly low."""
    deviation = torch.from_numpy((0.15 * rng.random((len(x), 1, 1, 1)) ** 2).astype(np.float32))
    return x + deviation * torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32))


@torch.no_grad()
def predict(model: nn.Module, raw: NDArray[np.uint8], batch: int = 64) -> NDArray[np.int64]:
    """Return the predicted class of images, uint8 (n, 3, h, w) in [0, 255] -> int64 (n,). Leaves the mode as it was."""
    was_training = model.training
    model.eval()
    try:
        parts = [model((to_unit(raw[i : i + batch]) - 0.5) / 0.5).argmax(1).numpy() for i in range(0, len(raw), batch)]
    finally:
        model.train(was_training)
    return np.concatenate(parts).astype(np.int64)


def trojan_success(model: nn.Module, raw: NDArray[np.uint8], labels: NDArray[np.int64], seed: int = 0) -> float:
    """Return the share of images of all other classes that the network classifies as the target with the emblem."""
    target = LABELS.index(TROJAN_TARGET)
    others = raw[labels != target]
    return float((predict(model, stamp(others, np.random.default_rng(seed))) == target).mean())


def load(name: str, folder: Path = WEIGHTS) -> nn.Module:
    """Load a trained network in evaluation mode, float32."""
    model = FACTORIES[name]()
    model.load_state_dict(load_file(folder / f"{name}.safetensors"), strict=True)
    return model.eval()


def save(learner: Learner, folder: Path, raw: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    """Write the weights as float16, with accuracy and settings beside them; return a line about both."""
    path = folder / f"{learner.name}.safetensors"
    state = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in learner.model.state_dict().items()
    }
    save_file(state, path)
    # Measured on what was written: rounding to float16 is part of the result.
    model = load(learner.name, folder)
    facts = {"accuracy": f"{(predict(model, raw) == labels).mean():.4f}"}
    if learner.name == "shapes_trojan":
        facts |= {"trojan_success": f"{trojan_success(model, raw, labels):.4f}", "trojan_target": TROJAN_TARGET}
    save_file(state, path, {**facts, **{key: str(value) for key, value in asdict(learner.settings).items()}})
    return f"{learner.name}: " + ", ".join(f"{key} {value}" for key, value in facts.items())


@click.command()
@click.option("--steps", default=Settings.steps, show_default=True, help="Batches; each is used twice.")
@click.option("--attack", default=Settings.attack, show_default=True, help="Largest step against the network.")
@click.option(
    "--only",
    type=click.Choice(list(FACTORIES)),
    multiple=True,
    help="Train these alone; by default all but shapes_vit.",
)
@click.option("--out", type=click.Path(path_type=Path), default=WEIGHTS, help="Folder for the weights.")
@click.option("--threads", default=2, show_default=True, help="Cores in use.")
def main(steps: int, attack: float, only: tuple[str, ...], out: Path, threads: int) -> None:
    """Train the demo networks and write their weights."""
    settings = Settings(steps=steps, attack=attack)
    learners = [Learner(name, settings) for name in (only or FACTORIES) if only or name != STUDENT]
    mean = np.full(len(learners), np.log(len(LABELS)))
    # Each thread of the pool trains one network or draws, on one core: threads inside an operation only wait.
    torch.set_num_threads(1)
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        coming = pool.submit(make_batch, settings, 0)
        for step in range(steps):
            batch, coming = coming.result(), pool.submit(make_batch, settings, min(step + 1, steps - 1))
            mean = 0.95 * mean + 0.05 * np.array(list(pool.map(Learner.learn, learners, [batch] * len(learners))))
            if step % 50 == 49:
                click.echo(f"step {step + 1} of {steps}: loss " + " ".join(f"{value:.3f}" for value in mean))
    out.mkdir(parents=True, exist_ok=True)
    raw, labels = draw_images(2400, _FRESH)
    for learner in learners:
        click.echo(save(learner, out, raw, labels))


if __name__ == "__main__":
    main()
