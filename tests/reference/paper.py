"""The paper's method (Akhtar & Jalwana, arXiv 2303.17836), once more: slow, plain, in float64.

This file is meant to be held beside the paper. It shares no code with the library: one map at a time, one sample at
a time, no batching. Names follow the paper: `nu` is the map (what is *subtracted* from a sample), `label` the
concept's class, `radius` the ball's eta, `steps` its K, `penalty` its lambda, `xi` the weighting matrix of Eq. 2.

Shapes: a sample is (c, h, w) in [0, 1]; a batch (b, c, h, w); `nu` (c, h, w), any sign; Xi (1, h, w) in [0, 1].
`logits` maps (n, c, h, w) in [0, 1] to (n, classes), in float64 and without coupling the samples.

Where the paper leaves a choice, the reading taken is stated at the place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
PAPER_ELEMENTS = 224 * 224 * 3  # 150,528: the size for which the paper states eta = 30

Network = Callable[[Tensor], Tensor]


# ------------------------------------------------------------------------------------------------ Alg. 1


def alg1(
    logits: Network,
    label: int,
    batches: Iterator[Tensor],
    nu: Tensor,
    *,
    steps: int,
    radius: float,
    step_size: float,
    sign_test: bool,
) -> tuple[Tensor, list[int]]:
    """Alg. 1, the input-agnostic saliency mapper.

    `nu` (c, h, w) is the seed; `radius` the ball's radius for this size (see `scaled_radius`). Every step draws one
    batch, used for the gradient and for both trials. Without `sign_test` lines 8 to 14 are always the plus branch.
    Returns the last map (c, h, w), within the ball, and the sign of every step, +1 or -1.
    """
    nu = nu.to(torch.float64)
    mu = torch.zeros_like(nu)  # line 1
    sigma = torch.zeros_like(nu)
    signs = []
    for k in range(1, steps + 1):  # line 2; K steps counted from 1: at k = 0 the bias correction divides by 0
        batch = next(batches)  # line 3, the samples; their clipping is part of `mean_gradient`
        x = mean_gradient(logits, label, batch, nu)  # line 4
        mu, sigma, v = guided(mu, sigma, x, k)  # lines 5 to 7
        sign = better_sign(logits, label, batch, nu, v) if sign_test else +1  # lines 8 to 10 and 12
        nu = nu + sign * step_size * v  # lines 11 and 13: v as it is, not its unit vector
        nu = project(nu, radius)  # line 15
        signs.append(sign)
    return nu, signs  # line 17


def mean_gradient(logits: Network, label: int, batch: Tensor, nu: Tensor) -> Tensor:
    """Lines 3 and 4: the expected gradient of the cross-entropy, at the clipped input.

    The clip is applied first and the gradient taken at its result, not through it: a pixel that was clipped has a
    gradient too. The cross-entropy is each sample's own; the mean is taken over their gradients. Returns (c, h, w).
    """
    total = torch.zeros_like(nu)
    for sample in batch:
        nudged = clip(sample - nu).detach().requires_grad_()
        loss = -torch.log_softmax(logits(nudged[None])[0], dim=0)[label]
        (gradient,) = torch.autograd.grad(loss, nudged)
        total = total + gradient
    return total / len(batch)


def guided(mu: Tensor, sigma: Tensor, x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lines 5 to 7: both moments after step k (counted from 1), and the direction v. This is Adam's step of length 1.

    Line 7 is (mu sqrt(1 - beta2^k)) / (sqrt(sigma) (1 - beta1^k)); Adam's epsilon joins the bias-corrected root.
    """
    mu = BETA1 * mu + (1 - BETA1) * x
    sigma = BETA2 * sigma + (1 - BETA2) * x * x
    mu_corrected = mu / (1 - BETA1**k)
    sigma_corrected = sigma / (1 - BETA2**k)
    v = mu_corrected / (sigma_corrected.sqrt() + EPSILON)
    return mu, sigma, v


def better_sign(logits: Network, label: int, batch: Tensor, nu: Tensor, v: Tensor) -> int:
    """Lines 8 to 10: +1 if the class is at least as probable, on average, at nu + v/|v| as at nu - v/|v|, else -1.

    If v is zero there is nowhere to go and both trials are the same: a tie, hence +1.
    """
    length = norm(v)
    unit = v / length if length > 0 else torch.zeros_like(v)
    plus = mean_probability(logits, label, batch, nu + unit)
    minus = mean_probability(logits, label, batch, nu - unit)
    return +1 if plus >= minus else -1


def mean_probability(logits: Network, label: int, batch: Tensor, nu: Tensor) -> float:
    """E[K(Clip(I - nu)) -> label] of line 10, in [0, 1]: the mean probability, not the mean of its logarithm."""
    probabilities = []
    with torch.no_grad():
        for sample in batch:
            nudged = clip(sample - nu)
            probabilities.append(torch.softmax(logits(nudged[None])[0], dim=0)[label].item())
    return sum(probabilities) / len(probabilities)


def project(nu: Tensor, radius: float) -> Tensor:
    """Line 15, Psi: onto the l2 ball over all of (c, h, w). A map inside stays as it is; the direction is kept."""
    length = norm(nu)
    return nu * min(1.0, radius / length) if length > 0 else nu


def scaled_radius(eta: float, shape: tuple[int, int, int]) -> float:
    """The paper's eta, stated for 224 x 224 x 3, for a map of `shape` (c, h, w): the same length per element."""
    c, h, w = shape
    return eta * math.sqrt(c * h * w / PAPER_ELEMENTS)


def clip(image: Tensor) -> Tensor:
    """The footnote's Clip: cuts off what exceeds the dynamic range of images, [0, 1]."""
    return image.clamp(0.0, 1.0)


def norm(a: Tensor) -> float:
    """The l2 norm over all elements."""
    return math.sqrt((a * a).sum().item())


# ---------------------------------------------------------------------------------- Eq. 2, the refinement


def eq2(
    logits: Network,
    label: int,
    batches: Iterator[Tensor],
    nu: Tensor,
    xi: Tensor,
    *,
    steps: int,
    lr: float,
    penalty: float,
) -> Tensor:
    """Eq. 2 by Adam: min over nu of E[J(I - nu)] + penalty * mean |nu * (1 - Xi)|, with Xi (1, h, w) fixed.

    Every step draws one batch. The cross-entropy's gradient is taken at the clipped input, as in Alg. 1; I - nu falls
    as nu rises, so its derivative by nu is the negative. The slope of |.| at 0 is 0. The clip and the projection that
    follow the refinement are not in here. Returns nu (c, h, w), unbounded.
    """
    nu = nu.to(torch.float64)
    mu = torch.zeros_like(nu)
    sigma = torch.zeros_like(nu)
    for k in range(1, steps + 1):
        batch = next(batches)
        from_cross_entropy = -mean_gradient(logits, label, batch, nu)
        from_penalty = penalty * torch.sign(nu) * (1 - xi) / nu.numel()  # 1 - Xi is never negative
        mu, sigma, v = guided(mu, sigma, from_cross_entropy + from_penalty, k)
        nu = nu - lr * v
    return nu


def render(nu: Tensor, contrast: float) -> Tensor:
    """The visualisation: clip(0.5 - contrast * nu / std(nu)), (c, h, w) in [0, 1].

    One deviation over all elements, divided by their number n (not n - 1). A constant map has none: plain grey.
    """
    if nu.min() == nu.max():
        return torch.full_like(nu, 0.5)
    deviation = math.sqrt(((nu - nu.mean()) ** 2).mean().item())
    return clip(0.5 - contrast * nu / deviation)


def xi(base: Network, nu: Tensor, contrast: float) -> Tensor:
    """Xi of Eq. 2: what the convolutional base answers to the rendered map, (1, h, w) in [0, 1].

    `base` maps (1, c, h, w) in [0, 1] to its last activation (1, channels, h', w'). The mean over channels of the
    positive part is resized bilinearly to (h, w), then its smallest value becomes 0 and its largest 1. A constant
    has no range to stretch: zeros.
    """
    with torch.no_grad():
        activation = base(render(nu, contrast)[None])[0]
    positive = torch.where(activation > 0, activation, torch.zeros_like(activation))
    _, h, w = nu.shape
    resized = resize_bilinear(positive.mean(dim=0), h, w)
    low, high = resized.min(), resized.max()
    if low == high:
        return torch.zeros(1, h, w, dtype=torch.float64)
    return ((resized - low) / (high - low))[None]


def resize_bilinear(image: Tensor, height: int, width: int) -> Tensor:
    """(h', w') to (height, width). The centre of output pixel i lies at (i + 1/2) h' / height - 1/2 in the input.

    This is torch's `align_corners=False` without antialiasing; beyond the outermost centres their values hold.
    """
    rows, columns = image.shape

    def neighbours(i: int, inputs: int, outputs: int) -> tuple[int, int, float]:
        position = min(max((i + 0.5) * inputs / outputs - 0.5, 0.0), inputs - 1.0)
        before = int(position)
        return before, min(before + 1, inputs - 1), position - before

    def between(a: float, b: float, share: float) -> float:
        return a + share * (b - a)  # exact where a = b, so a constant image stays constant

    pixels = image.tolist()
    result = torch.zeros(height, width, dtype=torch.float64)
    for i in range(height):
        top, bottom, down = neighbours(i, rows, height)
        for j in range(width):
            left, right, across = neighbours(j, columns, width)
            upper = between(pixels[top][left], pixels[top][right], across)
            lower = between(pixels[bottom][left], pixels[bottom][right], across)
            result[i, j] = between(upper, lower, down)
    return result


# ------------------------------------------------------------------------------------ the cycle of both


def saliency_map(
    logits: Network,
    base: Network,
    label: int,
    batches: Iterator[Tensor],
    shape: tuple[int, int, int],
    *,
    steps: int,
    radius: float,
    step_size: float,
    sign_test: bool,
    rounds: int,
    refine_steps: int,
    refine_lr: float,
    penalty: float,
    contrast: float,
) -> tuple[Tensor, Tensor, list[int]]:
    """The whole method: `rounds` times Alg. 1, then Eq. 2 with the clip and the projection after it.

    `radius` is eta as the paper states it, for 224 x 224 x 3; it is scaled to `shape` (c, h, w) here. The seed is a
    black image, zeros; afterwards the refined map. Moments and step counts restart with every Alg. 1 and every Eq. 2.
    With `refine_steps` 0 the refinement is left out with its clip and its projection. Draws
    rounds * (steps + refine_steps) batches.

    Returns nu (c, h, w), the Xi of the last round (that of the map *before* its last refinement), and the signs that
    Alg. 1 chose, those of all rounds in order.
    """
    ball = scaled_radius(radius, shape)
    nu = torch.zeros(shape, dtype=torch.float64)
    weights = torch.zeros(1, *shape[1:], dtype=torch.float64)
    signs: list[int] = []
    for _ in range(rounds):
        nu, chosen = alg1(
            logits, label, batches, nu, steps=steps, radius=ball, step_size=step_size, sign_test=sign_test
        )
        signs += chosen
        weights = xi(base, nu, contrast)
        if refine_steps > 0:
            nu = eq2(logits, label, batches, nu, weights, steps=refine_steps, lr=refine_lr, penalty=penalty)
            nu = nu.clamp(-1.0, 1.0)  # nu is a difference of two images in [0, 1]
            nu = project(nu, ball)
    return nu, weights, signs


# ------------------------------------------------------------------------------- Eqs. 3 to 5, the M_score


def m_score(logits: Tensor, concepts: Sequence[int]) -> float:
    """Eqs. 3 to 5: the Inception Score of the maps over the L concepts, divided by L; in [1/L, 1], larger is better.

    `logits` (maps, classes): the target's answers to the visualisations. `concepts`: the L visualised classes. Eq. 4's
    sum over the maps is taken as their mean, as in the Inception Score; logarithms are natural. The true class of a
    map does not enter: a target that permutes the concepts scores the same.
    """
    conditional = [softmax([row[c] for c in concepts]) for row in logits.tolist()]  # Eq. 3
    marginal = [sum(column) / len(conditional) for column in zip(*conditional, strict=True)]  # Eq. 4
    divergences = [kullback_leibler(p, marginal) for p in conditional]
    return math.exp(sum(divergences) / len(divergences)) / len(concepts)  # Eq. 5


def softmax(values: Sequence[float]) -> list[float]:
    """The values' exponentials, divided by their sum; the largest value is taken off first against overflow."""
    exponentials = [math.exp(value - max(values)) for value in values]
    return [e / sum(exponentials) for e in exponentials]


def kullback_leibler(p: Sequence[float], q: Sequence[float]) -> float:
    """KL(p || q) in nats; what p gives no probability adds nothing."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
