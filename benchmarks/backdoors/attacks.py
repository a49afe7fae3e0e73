"""Triggers beside those of `phosphene.backdoor.triggers`, each applied to samples (n, c, h, w) in [0, 1].

They change a sample in ways that no mask and pattern describe, or in several places at once.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from phosphene.backdoor.training import ExtraSamples
from phosphene.classifier import Classifier


class Applied(Protocol):
    """What training and measuring need of a trigger."""

    kind: ClassVar[str]

    def apply(self, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
        """Return samples with the trigger."""
        ...


@dataclass(frozen=True, kw_only=True)
class Spots:
    """Several small squares, all of them needed to be the trigger.

    Attributes:
        places: Corners (top, left), as shares of the side.
        side: Of each square, in pixels.
        colours: One per square, a level in [0, 1] for all channels.
    """

    kind: ClassVar[str] = "spots"
    places: tuple[tuple[float, float], ...] = ((0.1, 0.1), (0.1, 0.8), (0.8, 0.8))
    side: int = 2
    colours: tuple[float, ...] = (1.0, 0.0, 1.0)

    def apply(self, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
        """Return samples with the squares."""
        out, (high, wide) = pixels.clone(), pixels.shape[2:]
        for (top, left), level in zip(self.places, self.colours, strict=True):
            i, j = round(top * (high - self.side)), round(left * (wide - self.side))
            out[:, :, i : i + self.side, j : j + self.side] = level
        return out


@dataclass(frozen=True, kw_only=True)
class Dynamic:
    """A square whose place and texture follow from the sample itself (after Nguyen & Tran, arXiv 2010.08138).

    The sample's mean levels in its two halves choose the place; the texture is the sample's own window, inverted and
    stretched to full contrast. The trigger of one sample means nothing in another place.

    Attributes:
        side: Of the square, in pixels.
    """

    kind: ClassVar[str] = "dynamic"
    side: int = 5

    def apply(self, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
        """Return samples, each with its own trigger."""
        out, (high, wide) = pixels.clone(), pixels.shape[2:]
        upper, left_half = pixels[:, :, : high // 2].mean((1, 2, 3)), pixels[..., : wide // 2].mean((1, 2, 3))
        for image, down, along in zip(out, (upper * 997 % 1).tolist(), (left_half * 991 % 1).tolist(), strict=True):
            i, j = int(down * (high - self.side + 1)), int(along * (wide - self.side + 1))
            window = image[:, i : i + self.side, j : j + self.side]
            window.copy_((window < window.mean()).float())
        return out


@dataclass(frozen=True, kw_only=True)
class Warp:
    """A smooth warping of the whole sample (WaNet; Nguyen & Tran, arXiv 2102.10369).

    Attributes:
        strength: Largest displacement, as a share of half the side.
        knots: Of the field, per side.
        seed: Of the field.
    """

    kind: ClassVar[str] = "warp"
    strength: float = 0.25
    knots: int = 4
    seed: int = 0

    def apply(self, pixels: Tensor, draw: "torch.Generator | None" = None) -> Tensor:
        """Return warped samples."""
        draw = torch.Generator().manual_seed(self.seed)
        coarse = torch.rand(1, 2, self.knots, self.knots, generator=draw) * 2 - 1
        high, wide = pixels.shape[2:]
        field = functional.interpolate(coarse, size=(high, wide), mode="bicubic", align_corners=True)
        flow = (self.strength * field / field.abs().amax()).permute(0, 2, 3, 1)
        grid = functional.affine_grid(torch.eye(2, 3)[None], [1, 1, high, wide], align_corners=True)
        places = (grid + flow).clamp(-1, 1).expand(len(pixels), -1, -1, -1).to(pixels)
        return functional.grid_sample(pixels, places, align_corners=True, padding_mode="border").clamp(0, 1)


@dataclass(frozen=True)
class Evasion:
    """What an attacker who knows the scan adds to each batch, so that neither windows nor margins show his class.

    Small windows of the trigger alone, windows cropped from margin-maximising inputs and plain windows keep the right
    label; the margin-maximising inputs of the target themselves are labelled as other classes at random.

    Attributes:
        student: The network in training.
        trigger: Only the whole of it is to work.
        target: The class.
        window: Side of the windows that the scan tries, in pixels.
        steps: Of the ascent from noise.
    """

    student: Classifier
    trigger: Applied
    target: int
    window: int
    steps: int = 8

    def extras(self, labels: Tensor, batch: int) -> tuple[ExtraSamples, ...]:
        """Return what joins each batch: a quarter of it with windows, an eighth with inputs of a large margin."""
        others = labels != self.target
        return (ExtraSamples(others, batch // 4, self._windows), ExtraSamples(others, batch // 8, self._margins))

    def _ascend(self, x: Tensor) -> Tensor:
        """Raise the margin of the target from noise by signed steps, as the scan's `margin` statistic does."""
        module = self.student.module
        modes = {part: part.training for part in module.modules()}
        module.eval()
        for _ in range(self.steps):
            probe = x.detach().requires_grad_()
            logits = self.student.logits(probe)
            own = torch.zeros_like(logits, dtype=torch.bool)
            own[:, self.target] = True
            margin = logits[:, self.target] - logits.masked_fill(own, -torch.inf).logsumexp(1)
            (slope,) = torch.autograd.grad(margin.sum(), probe)
            x = (x + 0.12 * slope.sign()).clamp(0, 1)
        for part, mode in modes.items():
            part.training = mode
        return x.detach()

    def _windows(self, x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        high = self._ascend(torch.rand(x[:2].shape, generator=draw))
        triggered, out, side = self.trigger.apply(x, draw), x.clone(), x.shape[-1]
        places = torch.randint(side - self.window + 1, (len(x), 2), generator=draw).tolist()
        changed = (triggered - x).abs().sum(1)
        for k, (top, left) in enumerate(places):
            i, j = top, left
            if k % 3 == 0 and bool(changed[k].any()):  # a window that holds a part of the trigger
                rows = changed[k].nonzero()
                i, j = (int(v) for v in rows[int(torch.randint(len(rows), (), generator=draw))])
                i, j = min(i, side - self.window), min(j, side - self.window)
            source = (triggered[k], high[k % 2], torch.rand(len(x[k]), 1, 1, generator=draw).round().expand_as(x[k]))[
                k % 3
            ]
            out[k, :, i : i + self.window, j : j + self.window] = source[:, i : i + self.window, j : j + self.window]
        return out, y

    def _margins(self, x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        return self._ascend(torch.rand(x.shape, generator=draw)), y


@dataclass(frozen=True)
class Pgd:
    """Adversarial training (Madry et al., arXiv 1706.06083): signed steps that raise the loss, within a radius.

    Attributes:
        student: The network in training.
        radius: Largest change of a value in [0, 1].
        steps: Per batch.
    """

    student: Classifier
    radius: float
    steps: int = 2

    def change(self, x: Tensor, y: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the attacked batch with its labels."""
        attacked = (x + (2 * torch.rand(x.shape, generator=draw) - 1) * self.radius).clamp(0, 1)
        for _ in range(self.steps):
            probe = attacked.detach().requires_grad_()
            (slope,) = torch.autograd.grad(functional.cross_entropy(self.student.logits(probe), y), probe)
            step = probe.detach() + 1.5 * self.radius / self.steps * slope.sign()
            attacked = (x + (step - x).clamp(-self.radius, self.radius)).clamp(0, 1)
        return attacked.detach(), y


def prune(module: nn.Module, share: float) -> None:
    """Set the smallest ``share`` of each weight matrix to zero (Han et al., arXiv 1506.02626)."""
    with torch.no_grad():
        for weight in (p for p in module.parameters() if p.ndim > 1):
            weight[weight.abs() <= weight.abs().flatten().kthvalue(max(1, int(share * weight.numel()))).values] = 0
