"""What a part of a map does: the square crop of it that sends most samples to the class when it is pasted on them.

In the map of a class with a trigger, the trigger may show, whole and repeated; then a crop of the map does what the
trigger does, or a part of that. In small images, crops of clean classes' maps move many samples, too. Nothing is
optimised, so the crop looks as the map does.
"""

from torch import Tensor

from phosphene.backdoor.probes import Probes
from phosphene.backdoor.routes import Route
from phosphene.backdoor.window import Effort, Window, WindowSearch
from phosphene.engine import Engine
from phosphene.samples import SamplePool

SIDE = 1 / 4  # of a crop, relative to the image's shorter side
SEARCH = 64  # samples, at most, that places are compared on
EFFORT = Effort(refined=1)  # one place reaches the held-out samples, so that they do not choose it


def best_crop(engine: Engine, pool: SamplePool, image: Tensor, index: int) -> Window:
    """Return the crop of a map that sends most samples to its class, with its effect on samples that no map is made from.

    A crop is pasted at the place that it is cut from. Some 150 places are compared, on samples of other classes.

    Args:
        engine: An open engine.
        pool: Samples of the network's size; the effect is counted on ``held_out``.
        image: The map as an image, (c, h, w) in [0, 1].
        index: The class.
    """
    side = max(1, round(SIDE * min(image.shape[1:])))
    contents = image[None].to(engine.device, engine.dtype).clamp(0, 1)
    windows = WindowSearch(engine, Probes.classify(engine, pool.pixels[:SEARCH]), contents, side, EFFORT)
    (best,) = windows.best([Route(index)], Probes.classify(engine, pool.held_out), refined=False)
    return best
