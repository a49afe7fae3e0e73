"""What others do to find a backdoor, as their papers describe it.

Each takes an open engine and the samples with their predicted classes, and returns a score (the higher, the more
suspicious), the class that it points at, and whether its own rule calls the network backdoored.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from phosphene.engine import Engine


class Answer(NamedTuple):
    """What a method finds in a network."""

    score: float
    target: int
    called: bool


class Samples(NamedTuple):
    """Samples, uint8 (n, c, h, w), and the classes (n,) that the network predicts."""

    pixels: Tensor
    predicted: Tensor

    def draw(self, classes: Tensor, batch: int, draw: torch.Generator) -> Tensor:
        """Return samples of other classes for each class, (classes, batch, c, h, w) in [0, 1]."""
        rows = []
        for index in classes.tolist():
            others = (self.predicted != index).nonzero()[:, 0]
            others = others if len(others) else torch.arange(len(self.predicted))
            rows.append(others[torch.randint(len(others), (batch,), generator=draw)])
        return self.pixels[torch.stack(rows)].float() / 255


def neural_cleanse(engine: Engine, samples: Samples, *, steps: int = 100, batch: int = 16, seed: int = 0) -> Answer:
    """Wang et al., "Neural Cleanse" (S&P 2019): masks of least l1 norm, and the median absolute deviation of the norms.

    Mask and pattern are tanh-coded and optimised by Adam (0.1, betas 0.5 and 0.9) on cross-entropy plus lambda times
    the norm; lambda grows by 1.5 after five steps above 99 % success, and falls by 1.5 ** 1.5 after five below. An
    anomaly index above 2 on the side of small norms is called. The paper takes up to 1,000 steps per class.
    """
    classes = torch.arange(engine.classifier.num_classes)
    count, (c, h, w) = len(classes), engine.classifier.input.shape
    draw = torch.Generator().manual_seed(seed)
    parts = [torch.randn(count, 1, h, w, generator=draw), torch.randn(count, c, h, w, generator=draw)]
    means, squares = [torch.zeros_like(p) for p in parts], [torch.zeros_like(p) for p in parts]
    weight, up, down = torch.full((count,), 1e-3), torch.zeros(count), torch.zeros(count)
    best = torch.full((count,), float(h * w))
    for k in range(1, steps + 1):
        x = samples.draw(classes, batch, draw)
        leaves = [part.detach().requires_grad_() for part in parts]
        mask, paint = (leaf.tanh() / 2 + 0.5 for leaf in leaves)
        pasted = x + mask[:, None] * (paint[:, None] - x)
        slopes = engine.gradients(pasted.detach().flatten(0, 1), classes.repeat_interleave(batch))
        norm = mask.flatten(1).sum(1)
        pull = (pasted * slopes.gradient.view_as(pasted) / batch).sum() + (weight * norm).sum()
        gradients = torch.autograd.grad(pull, leaves)
        good = slopes.hits.view(count, batch).float().mean(1) >= 0.99
        best = torch.where(good & (norm < best), norm.detach(), best)
        up, down = torch.where(good, up + 1, 0), torch.where(good, 0, down + 1)
        weight = torch.where(up >= 5, weight * 1.5, torch.where(down >= 5, weight / 1.5**1.5, weight))
        up, down = torch.where(up >= 5, 0, up), torch.where(down >= 5, 0, down)
        for i, slope in enumerate(gradients):
            means[i] = 0.5 * means[i] + 0.5 * slope
            squares[i] = 0.9 * squares[i] + 0.1 * slope**2
            step = (means[i] / (1 - 0.5**k)) / ((squares[i] / (1 - 0.9**k)).sqrt() + 1e-8)
            parts[i] = (parts[i] - 0.1 * step).detach()
    deviation = best.median() - best
    index = deviation / (1.4826 * deviation.abs().median()).clamp_min(1e-6)
    return Answer(float(index.max()), int(index.argmax()), bool(index.max() > 2))


def mm_bd(engine: Engine, samples: Samples, *, steps: int = 60, starts: int = 8, seed: int = 0) -> Answer:
    """Wang et al., "MM-BD" (S&P 2024): the largest margin of every class, a gamma null of the others, p < 0.05.

    The paper takes 30 starts.
    """
    count, shape = engine.classifier.num_classes, engine.classifier.input.shape
    classes = torch.arange(count).repeat_interleave(starts)
    x = torch.rand(len(classes), *shape, generator=torch.Generator().manual_seed(seed))
    x.requires_grad_()
    optimiser = torch.optim.Adam([x], lr=0.05)
    best = torch.full((len(classes),), -torch.inf)
    for _ in range(steps):
        slopes = engine.gradients(x.detach(), classes, "margin")
        best = torch.maximum(best, -slopes.loss)
        x.grad = slopes.gradient
        optimiser.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    margins = best.view(count, starts).amax(1).double()
    top = int(margins.argmax())
    others = torch.cat([margins[:top], margins[top + 1 :]]).clamp_min(1e-3)
    p = 1 - gamma_cdf(float(margins[top]), others) ** count
    return Answer(-math.log10(max(p, 1e-300)), top, p < 0.05)


def gamma_cdf(value: float, sample: Tensor) -> float:
    """Fit a gamma distribution by moments to positive numbers; the chance that one lies below ``value``."""
    mean, variance = float(sample.mean()), max(float(sample.var()), 1e-12)
    shape, scale = mean**2 / variance, variance / mean
    at = torch.tensor(max(value, 0.0) / scale, dtype=torch.double)
    return float(torch.special.gammainc(torch.tensor(shape, dtype=torch.double), at))


# Dixon's Q at 95 %, two-sided, for 3 to 10 values (Rorabacher, Analytical Chemistry 1991); beyond, the last.
DIXON = {3: 0.970, 4: 0.829, 5: 0.710, 6: 0.625, 7: 0.568, 8: 0.526, 9: 0.493, 10: 0.466}


def trojan_signatures(engine: Engine, samples: Samples, *, seed: int = 0) -> Answer:
    """Fields et al., "Trojan signatures in DNN weights" (ICCV workshops 2021, arXiv 2109.02836).

    The mean of each class's row in the last linear layer; an outlier to the right by Dixon's Q test is called.
    """
    layers = [module for module in engine.classifier.module.modules() if isinstance(module, nn.Linear)]
    rows = layers[-1].weight.detach().double().mean(1)
    ordered = rows.sort(descending=True).values
    q = float((ordered[0] - ordered[1]) / (ordered[0] - ordered[-1]).clamp_min(1e-12))
    return Answer(q, int(rows.argmax()), q > DIXON.get(len(rows), DIXON[10]))


BASELINES: dict[str, Callable[..., Answer]] = {
    "Neural Cleanse": neural_cleanse,
    "MM-BD": mm_bd,
    "last-layer weights": trojan_signatures,
}
