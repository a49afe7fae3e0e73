"""Networks made by hand, whose classes and whose backdoor are known: no training, milliseconds a batch."""

from typing import Any

import torch
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.samples.pool import SamplePool, make_pool

SIDE, PATCH, TARGET, CLASSES = 16, 3, 2, 8


class Templates(nn.Module):
    """Every class is as likely as its own coarse template is alike; a patch in the corner may add to one class.

    With ``shift``, the patch adds to the class after the one that is predicted instead: an all-to-all backdoor.
    """

    def __init__(
        self, classes: int = CLASSES, channels: int = 3, boost: float = 0.0, seed: int = 1, *, shift: bool = False
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.randn((classes, channels, 4, 4), generator=generator)
        templates = nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="nearest")
        self.register_buffer("templates", templates / templates.flatten(1).norm(dim=1)[:, None, None, None])
        patch = (torch.arange(PATCH)[:, None] + torch.arange(PATCH)) % 2
        self.register_buffer("patch", patch.float().expand(channels, PATCH, PATCH).clone())
        self.boost, self.shift = boost, shift

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of pixels (n, channels, SIDE, SIDE) in [0, 1]."""
        logits = 4 * torch.einsum("nchw,kchw->nk", x - 0.5, self.templates)
        if not self.boost:
            return logits
        corner = x[:, :, :PATCH, :PATCH]
        unlike = (corner - self.patch).abs().mean((1, 2, 3))  # 0 for the patch itself, about 0.5 for anything else
        push = self.boost * torch.exp(-6 * unlike)
        if self.shift:
            return logits + push[:, None] * (8 * logits).softmax(1).roll(1, 1)
        return logits + push[:, None] * nn.functional.one_hot(torch.tensor(TARGET), logits.shape[1])


def classifier(boost: float = 0.0, **changes: Any) -> Classifier:
    """A clean classifier, or one with a backdoor: the patch adds ``boost`` to the logit of class ``TARGET``."""
    own = {key: changes.pop(key) for key in ("classes", "channels", "seed", "shift") if key in changes}
    channels = own.get("channels", 3)
    facts: dict[str, Any] = {"size": SIDE, "mean": (0.0,) * channels, "std": (1.0,) * channels, "name": "hand-made"}
    return Classifier(Templates(boost=boost, **own).eval(), **(facts | changes))


def pool(count: int = 120, channels: int = 3) -> SamplePool:
    """Smooth random samples that are classified as every class."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, channels, 5, 5), generator=generator)
    samples = nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return make_pool((samples * 255).to(torch.uint8), "hand-made samples")
