"""``demo:shapes``: images of the demo's shapes, newly drawn."""

import torch
from torch import Tensor

from phosphene.errors import SamplesError

COUNT = 512
SEED = 20230331  # not a seed that training or accuracy uses


def read(where: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Return 512 shapes, always the same, uint8 (n, 3, h, h), and no skipped files.

    Raises:
        SamplesError: there are no such samples, or the network's input does not fit them.
    """
    from phosphene.demo import world  # noqa: PLC0415  (the demo is above this module; only its own models need it)

    if where != "shapes":
        raise SamplesError(f"no demo samples are called {where!r}. Use demo:shapes.")
    if shape[0] != 3 or shape[1] != shape[2]:
        raise SamplesError(f"demo:shapes draws square images with 3 channels; the network's input is {shape}.")
    images, _ = world.draw_images(COUNT, SEED, shape[1])
    return torch.from_numpy(images), []
