"""Train the demo's two-tower model: `python -m demo.train_text` (about 20 minutes on one core), from nothing.

Images and captions are drawn during training. A caption names the shape, its colour, or both, in one of several forms.
An image and a caption belong together if nothing in the caption is wrong, so that "a star" and "a red star" both fit the
image of a red star. The loss asks for captions that fit an image among all of the batch, and for images that fit a
caption (Radford et al. 2021, with several right answers). Each batch is used twice, the second time after a step against the
network, as in `demo.train`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from demo.train import WEIGHTS, add_noise, augment, to_unit
from phosphene.demo.shapes import SHAPES
from phosphene.demo.towers import COLOURS, SmallTwoTower, word_numbers
from phosphene.demo.world import LABELS, paint

BATCH, RATE, ATTACK = 64, 3e-3, 3.0
SIZES = ((0.35, 56), (0.75, 72), (1.0, 96))
PALETTE = np.array(list(COLOURS.values()), np.float32)
NONE = -1
_FRESH = 900_000_000
"""Seed of the images that accuracy is measured on; training never reaches it."""
FORMS = {
    "both": ("a {colour} {shape}", "{colour} {shape}", "a picture of a {colour} {shape}", "a {shape} that is {colour}"),
    "shape": ("a {shape}", "{shape}", "an image of a {shape}"),
    "colour": ("something {colour}", "a drawing of something {colour}"),
    "texture": ("{shape}", "a picture of {shape}", "an image of {shape}"),
}


class Scenes(NamedTuple):
    """Images with what they show."""

    images: NDArray[np.uint8]
    """uint8 (n, 3, size, size)."""
    shapes: NDArray[np.int64]
    """Indices in LABELS, (n,)."""
    colours: NDArray[np.int64]
    """Indices in COLOURS, (n,); NONE for textures, which may have two colours."""


def draw(count: int, seed: int, size: int) -> Scenes:
    """Draw `count` random images of shapes in named colours, and of textures in any."""
    rng = np.random.default_rng(seed)
    shapes = rng.integers(0, len(LABELS), count)
    images, ink = paint(rng, shapes, size, PALETTE)
    colours = np.linalg.norm(ink[:, None] - PALETTE, axis=2).argmin(1)
    return Scenes(images, shapes, np.where(shapes < len(SHAPES), colours, NONE))


def captions(scenes: Scenes, rng: np.random.Generator) -> tuple[list[str], Tensor]:
    """Return a random caption per image, and which captions fit which images, bool (images, captions)."""
    texts, names = [], list(COLOURS)
    named = np.full((2, len(scenes.shapes)), NONE)  # the shape and the colour that each caption names
    for i, (shape, colour) in enumerate(zip(scenes.shapes, scenes.colours, strict=True)):
        kind = "texture" if colour == NONE else rng.choice(["both", "shape", "colour"], p=[0.7, 0.2, 0.1])
        form = str(rng.choice(FORMS[kind]))
        texts.append(form.format(shape=LABELS[shape], colour=names[colour]))
        named[0, i] = NONE if kind == "colour" else shape
        named[1, i] = NONE if kind in ("shape", "texture") else colour
    shown = np.stack([scenes.shapes, scenes.colours])[:, :, None]
    fits = ((named[:, None, :] == NONE) | (named[:, None, :] == shown)).all(0)
    return texts, torch.from_numpy(fits)


def loss_of(images: Tensor, texts: Tensor, scale: Tensor, fits: Tensor) -> Tensor:
    """Return the loss of embeddings (n, d) of images and texts: -log of the probability of all that fit, both ways."""
    logits = scale * functional.normalize(images, dim=1) @ functional.normalize(texts, dim=1).T
    right = logits.masked_fill(~fits, -torch.inf)
    return -sum(((right.logsumexp(axis) - logits.logsumexp(axis)).mean() for axis in (0, 1)), torch.zeros(())) / 2


def step(model: SmallTwoTower, x: Tensor, words: Tensor, fits: Tensor) -> Tensor:
    """Compute the loss and all gradients of one pass; return the loss."""
    loss = loss_of(model.images((x - 0.5) / 0.5), model.texts(words), model.log_scale.exp(), fits)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def train(steps: int, seed: int) -> SmallTwoTower:
    """Train a new model and return it in evaluation mode."""
    torch.manual_seed(seed)
    model = SmallTwoTower().train()
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=2 * steps, pct_start=0.15)
    mean = 0.0
    for number in range(steps):
        share = number / steps
        size = next(size for until, size in SIZES if share < until)
        rng = np.random.default_rng([seed, number])
        scenes = draw(BATCH, seed * 1_000_000 + number, size)
        texts, fits = captions(scenes, rng)
        words = word_numbers(texts)
        x = add_noise(augment(to_unit(scenes.images), rng), rng).requires_grad_()
        length = torch.from_numpy(rng.uniform(0, ATTACK * min(2 * share, 1), (BATCH, 1, 1, 1)).astype(np.float32))
        for _ in range(2):
            optimiser.zero_grad(set_to_none=True)
            x.grad = None
            loss = step(model, x, words, fits)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            gradient = x.grad if x.grad is not None else torch.zeros_like(x)
            x = (x.detach() + length * functional.normalize(gradient.flatten(1), dim=1).view_as(x)).requires_grad_()
        mean = 0.95 * mean + 0.05 * float(loss)
        if number % 50 == 49:
            click.echo(f"step {number + 1} of {steps}: loss {mean:.3f}")
    return model.eval()


@torch.no_grad()
def accuracy(model: SmallTwoTower, count: int = 2400) -> float:
    """Return the share of new images whose text, among all of "a red star" and so on and the textures, is the right one."""
    scenes = draw(count, _FRESH, SIZES[-1][1])
    names = list(COLOURS)
    pairs = [(shape, colour) for shape in range(len(SHAPES)) for colour in range(len(COLOURS))]
    pairs += [(shape, NONE) for shape in range(len(SHAPES), len(LABELS))]
    texts = [LABELS[shape] if colour == NONE else f"a {names[colour]} {LABELS[shape]}" for shape, colour in pairs]
    rows = functional.normalize(model.embed_texts(texts), dim=1)
    x = (to_unit(scenes.images) - 0.5) / 0.5
    found = torch.cat(
        [(functional.normalize(model.images(part), dim=1) @ rows.T).argmax(1) for part in torch.split(x, 64)]
    )
    truth = [pairs.index(pair) for pair in zip(scenes.shapes.tolist(), scenes.colours.tolist(), strict=True)]
    return float((found == torch.tensor(truth)).double().mean())


def save(model: SmallTwoTower, path: Path, steps: int) -> float:
    """Write the weights as float16, with the accuracy of what was written, as metadata too; return it."""
    state = {
        key: value.half().contiguous() if value.is_floating_point() else value
        for key, value in model.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    written = SmallTwoTower()
    written.load_state_dict(load_file(path))
    right = accuracy(written.eval())
    save_file(state, path, {"accuracy": f"{right:.4f}", "steps": str(steps)})
    return right


@click.command()
@click.option("--steps", default=4000, show_default=True, help="Batches; each is used twice.")
@click.option("--seed", default=1, show_default=True, help="Seed of weights, images and captions.")
@click.option("--out", type=click.Path(path_type=Path), default=WEIGHTS, help="Folder for the weights.")
def main(steps: int, seed: int, out: Path) -> None:
    """Train the two-tower model and write its weights."""
    torch.set_num_threads(1)
    right = save(train(steps, seed), out / "shapes_text.safetensors", steps)
    click.echo(f"shapes_text: accuracy {right:.4f} of 66 texts")


if __name__ == "__main__":
    main()
