"""What a part of a map does: the square crop of it that sends most samples to the class when it is pasted on them.

In the map of a class with a trigger, the trigger often shows, whole and repeated; then a crop of it works as the trigger
does. A crop of a clean class's map moves few samples. Nothing is optimised, so the crop looks as the map does.
"""

import torch
from torch import Tensor

from phosphene.backdoor.probes import Probes
from phosphene.backdoor.routes import Route
from phosphene.backdoor.window import Window, WindowSearch
from phosphene.engine import Engine

SIDE = 1 / 4  # of a crop, relative to the image's shorter side


def best_crop(engine: Engine, search: Probes, held_out: Probes, image: Tensor, index: int) -> Window:
    """Return the crop of a map that sends most samples to its class, with its effect on held-out samples of other classes.

    The crop is pasted at the place that it is cut from. Places are compared on ``search``.

    Args:
        engine: An open engine.
        search: Samples that the place is chosen on.
        held_out: Samples that the effect is counted on, a hundred at most.
        image: The map as an image, (c, h, w) in [0, 1].
        index: The class.
    """
    side = max(1, round(SIDE * min(image.shape[1:])))
    contents = image[None].to(engine.device, engine.dtype).clamp(0, 1)
    with torch.inference_mode():
        windows = WindowSearch(engine, search, contents, side)
        (best,) = windows.best([Route(index)], held_out, refined=False)
    return best
