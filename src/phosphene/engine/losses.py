"""The losses ``J(theta, c)`` whose gradient is accumulated: from logits (n, classes) and classes (n,) to losses (n,).

To add one, write the function here and enter it in ``LOSSES``; to let recipes choose it, enter its name in
``phosphene.recipe.LOSSES`` too.
"""

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]

# Of soft log-odds: 2 and 5 did as well on one network (docs/ablations.md).
TEMPERATURE = 3.0


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the paper's loss ``-log p``, (n,), from logits (n, classes) and class indices (n,), no sets; its gradient fades near p = 1."""
    return functional.cross_entropy(logits, classes, reduction="none")


def log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the loss ``log((1 - p) / p)``, (n,), from logits (n, classes) and class indices (n,), no sets; its gradient lasts near p = 1.

    It is the log-sum-exp of the other logits, minus the logit of the class. Zhao, Liu, Larson, "On Success and Simplicity"
    (NeurIPS 2021), found that targeted perturbations transfer once the loss does not saturate. Their loss, the bare logit,
    lets the other classes grow along; this one does not (docs/ablations.md).
    """
    target_logit, other_logits = _target_and_others(logits, classes)
    return other_logits.logsumexp(1) - target_logit


def soft_log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """Return log-odds whose log-sum-exp is taken of the others divided by 3, and multiplied by 3, (n,), from logits and indices (n,).

    Many classes are pushed down a little, in place of the few likeliest: maps of most networks then transfer better
    (docs/ablations.md). What all logits have in common changes nothing, as with log-odds.
    """
    target_logit, other_logits = _target_and_others(logits, classes)
    return TEMPERATURE * (other_logits / TEMPERATURE).logsumexp(1) - target_logit


def margin(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the largest other logit minus the class's, (n,), from logits and class indices (n,), no sets; below 0 if it is predicted."""
    target_logit, other_logits = _target_and_others(logits, classes)
    return other_logits.amax(1) - target_logit


def _target_and_others(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return each row's logit of its class, (n,), and its logits with that one replaced by -inf, (n, classes)."""
    column = classes[:, None]
    return logits.gather(1, column)[:, 0], logits.scatter(1, column, -math.inf)


LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "log-odds": log_odds,
    "soft-log-odds": soft_log_odds,
    "margin": margin,
}
