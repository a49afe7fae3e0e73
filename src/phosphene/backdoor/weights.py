"""What the last layer says of each class, without a single picture: after Fields et al. (arXiv 2109.02836)."""

import torch
from torch import Tensor, nn

LEAST = 1e-12


def weight_against(module: nn.Module, num_classes: int) -> "Tensor | None":
    """Return how much weight speaks against each class, over what speaks for it, (classes,): above 0.

    Training on stamped pictures lifts the target's row of the last layer as a whole: more of its weight is positive.
    "Trojan signatures in DNN weights" (ICCV workshops 2021) takes the mean of the row; the ratio of its negative to its
    positive part has no unit, so that networks compare. An attacker who knows of it can avoid it.

    Args:
        module: The network.
        num_classes: Of its answers.

    Returns:
        ``None`` where no last layer can be found: a linear one, or a convolution of 1 x 1, with a row a class.
    """
    rows = None
    for part in module.modules():
        weight = getattr(part, "weight", None)
        if isinstance(part, (nn.Linear, nn.Conv2d)) and isinstance(weight, Tensor) and weight.shape[0] == num_classes:
            rows = weight.detach() if weight[0, 0].numel() == 1 else rows
    if rows is None:
        return None
    rows = rows.flatten(1).double()
    return torch.clamp(-rows, min=0).sum(1).clamp_min(LEAST) / rows.clamp_min(0).sum(1).clamp_min(LEAST)
