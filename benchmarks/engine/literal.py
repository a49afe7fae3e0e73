"""Algorithm 1 as one would type it off the paper: what `benchmarks.engine` measures our recipe `paper` against."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def algorithm_1(
    network: nn.Module, samples: Tensor, label: int, b: int, K: int, eta: float, *, one_by_one: bool = False
) -> Tensor:
    """Return nu, (c, h, w), after K steps of Algorithm 1 from zeros.

    Args:
        network: From pictures (n, c, h, w) in [0, 1] to logits.
        samples: float (n, c, h, w) in [0, 1].
        label: The class.
        b: Samples a step.
        K: Steps.
        eta: Radius of the ball.
        one_by_one: Send the pictures of a batch through the network one after another ("unbatched"), not together.
    """
    nu = torch.zeros_like(samples[0])
    mu, sigma = torch.zeros_like(nu), torch.zeros_like(nu)
    wanted = torch.full((b,), label)

    def forward(pictures: Tensor) -> Tensor:
        return torch.cat([network(one[None]) for one in pictures]) if one_by_one else network(pictures)

    def fooled(moved: Tensor) -> Tensor:
        with torch.no_grad():
            return forward((batch - moved).clamp(0, 1)).softmax(1)[:, label].mean()

    for k in range(1, K + 1):
        batch = samples[torch.randint(len(samples), (b,))]
        pictures = (batch - nu).clamp(0, 1).requires_grad_()
        functional.cross_entropy(forward(pictures), wanted, reduction="sum").backward()
        xi = pictures.grad.mean(0)
        mu = 0.9 * mu + 0.1 * xi
        sigma = 0.999 * sigma + 0.001 * xi * xi
        v = (mu / (1 - 0.9**k)) / ((sigma / (1 - 0.999**k)).sqrt() + 1e-8)
        unit = v / v.norm()
        nu = nu + v if fooled(nu + unit) >= fooled(nu - unit) else nu - v
        nu = nu * min(1.0, eta / float(nu.norm()))
    return nu
