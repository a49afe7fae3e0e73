"""Algorithm 1 typed in from the paper, line by line: what `benchmarks.engine` compares the recipe `paper` with."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def algorithm_1(
    network: nn.Module, samples: Tensor, label: int, b: int, K: int, eta: float, *, one_by_one: bool = False
) -> Tensor:
    """Return nu, (c, h, w), after K steps of Algorithm 1 from zeros.

    Args:
        network: From images (n, c, h, w) in [0, 1] to logits.
        samples: float (n, c, h, w) in [0, 1].
        label: The class.
        b: Samples per step.
        K: Steps.
        eta: Radius of the ball.
        one_by_one: Send the images of a batch through the network one after another instead of together.
    """
    nu = torch.zeros_like(samples[0])
    mu, sigma = torch.zeros_like(nu), torch.zeros_like(nu)
    labels = torch.full((b,), label)

    def forward(images: Tensor) -> Tensor:
        return torch.cat([network(image[None]) for image in images]) if one_by_one else network(images)

    def confidence(candidate: Tensor) -> Tensor:
        with torch.no_grad():
            return forward((batch - candidate).clamp(0, 1)).softmax(1)[:, label].mean()

    for k in range(1, K + 1):
        batch = samples[torch.randint(len(samples), (b,))]
        images = (batch - nu).clamp(0, 1).requires_grad_()
        functional.cross_entropy(forward(images), labels, reduction="sum").backward()
        xi = images.grad.mean(0)
        mu = 0.9 * mu + 0.1 * xi
        sigma = 0.999 * sigma + 0.001 * xi * xi
        v = (mu / (1 - 0.9**k)) / ((sigma / (1 - 0.999**k)).sqrt() + 1e-8)
        unit = v / v.norm()
        nu = nu + v if confidence(nu + unit) >= confidence(nu - unit) else nu - v
        nu = nu * min(1.0, eta / float(nu.norm()))
    return nu
