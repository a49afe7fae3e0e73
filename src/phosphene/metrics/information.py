"""How much a network's predictions reveal about which sample was shown.

A network that receives samples in the range it was trained with predicts different classes for different samples, and
the same class for two views of one.
"""

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.engine import Engine


def information(predictions: Tensor) -> Tensor:
    """Return how much predictions reveal about which sample was shown, in nats per sample, (n,).

    The mutual information ``H(mean p) - mean H(p)`` of sample and class, with ``p`` the mean prediction over the views
    of a sample. It is high for a network that is sure, predicts different classes for different samples, and does not
    change its prediction with the view; 0 for one that ignores its input. At most log min(samples, classes).

    Args:
        predictions: Probabilities (views, n, classes).

    Returns:
        (n,): the part of each sample; their mean is the information.
    """
    means = predictions.mean(0)
    nats: Tensor = (torch.special.xlogy(means, means) - torch.special.xlogy(means, means.mean(0))).sum(1)
    return nats


def blurred(samples: Tensor) -> Tensor:
    """Return samples (n, c, h, w) blurred by a 3 x 3 binomial filter, edges repeated, as a second view of them."""
    row = samples.new_tensor([1.0, 2.0, 1.0]) / 4
    kernel = (row[:, None] * row).expand(samples.shape[1], 1, 3, 3)
    padded = functional.pad(samples, (1, 1, 1, 1), mode="replicate")
    with torch.autocast(samples.device.type, enabled=False):  # of the caller
        filtered: Tensor = functional.conv2d(padded, kernel, groups=samples.shape[1])
    return filtered


def try_sizes(engine: Engine, samples: Tensor) -> "dict[tuple[int, int], float | None]":
    """Return input size (h, w) -> nats that predictions reveal, at 1/2, 1 and 2 times the declared size.

    It is ``None`` where the network fails.
    """
    height, width = engine.classifier.input.size
    nats_by_size: dict[tuple[int, int], float | None] = {}
    for size in ((height // 2, width // 2), (height, width), (2 * height, 2 * width)):
        if min(size) < 1:
            continue
        resized = functional.interpolate(samples, size, mode="bilinear", antialias=True)
        try:
            predictions = [
                probabilities(torch.cat([engine.logits(one[None]) for one in view]))
                for view in (resized, blurred(resized))
            ]
            nats_by_size[size] = float(information(torch.stack(predictions)).mean())
        except Exception:  # noqa: BLE001  (the network is the user's: it may raise anything)
            nats_by_size[size] = None
    return nats_by_size


def probabilities(logits: Tensor) -> Tensor:
    """Return softmax probabilities of logits (n, classes), float64 on the CPU; uniform where not finite."""
    values = logits.cpu().double().softmax(1)
    finite = values.isfinite().all(1, keepdim=True)
    return values.where(finite, torch.full_like(values, 1 / logits.shape[1]))
