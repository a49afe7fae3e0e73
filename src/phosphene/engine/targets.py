"""What each row of logits is meant to show: a class, or a set of classes that is to be told from another set.

Targets are a tensor: int64 (n,) for single classes, against all others; or int8 (n, classes) with 1 for a row's classes
that are pulled up, -1 for those that are pushed down, and 0 for those that do not matter. For the latter, a row's logits
are replaced by virtual ones: first the log-sum-exp of those that are pulled up, which is the target, then those that are
pushed down. Every loss, and the probability, is defined on these as on the logits of one class and the others.

For a multi-label network, and for units, whose columns follow those of the classes, targets have one more class, "none of
these", whose logit is 0: what is told from it alone has the probability ``sigmoid(logit)``, its own.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.concepts import Sides


def targets_of(
    sides: Sequence[Sides], classes: int, device: "torch.device | str" = "cpu", *, multi_label: bool = False
) -> Tensor:
    """Return targets of Sides: indices (n,) of single classes (not multi-label), or int8 (n, columns): 1 for, -1 against.

    The columns are the classes, the units, and for a multi-label network or with units "none of these". Sides without
    classes stand for units, in the order of their columns. A multi-label network gets int8 targets for single classes, too.
    """
    units = sum(not up for up, _ in sides)
    if not multi_label and all(len(up) == 1 and not against for up, against in sides):
        return torch.tensor([up[0] for up, _ in sides], device=device)
    targets = torch.zeros((len(sides), classes + units + (multi_label or units > 0)), dtype=torch.int8)
    columns, none_column, class_columns = iter(range(classes, classes + units)), slice(-1, None), slice(classes)
    for row, (up, against) in zip(targets, sides, strict=True):
        row[list(against) or (class_columns if up and not multi_label else none_column)] = -1
        row[list(up) or [next(columns)]] = 1
    return targets.to(device)


def virtual_logits(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits and class indices (n,) whose cross-entropy is that of the targets.

    Targets that are class indices are returned as they are, with the logits. For sets, the target is always column 0, the
    log-sum-exp of the logits marked 1. All other columns follow it, -inf but for those marked -1.
    """
    if targets.ndim == 1:
        return logits, targets
    logits = _with_none(logits, targets)
    union = logits.masked_fill(targets <= 0, -math.inf).logsumexp(1, keepdim=True)
    virtual = torch.cat([union, logits.masked_fill(targets >= 0, -math.inf)], 1)
    return virtual, torch.zeros(len(logits), dtype=torch.int64, device=logits.device)


def target_probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the confidence of each row of logits, (n,) in [0, 1]: the softmax of its target class, or of one side against the other."""
    virtual, classes = virtual_logits(logits, targets)
    return virtual.softmax(1).gather(1, classes[:, None])[:, 0]


def predicted(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the index (n,) of each row's largest logit: among all if targets are indices, else among the columns marked 1 or -1.

    For a multi-label network, the number of its classes stands for none of these.
    """
    return (logits if targets.ndim == 1 else _with_none(logits, targets).masked_fill(targets == 0, -math.inf)).argmax(1)


def _with_none(logits: Tensor, targets: Tensor) -> Tensor:
    """Return logits, with a column of zeros for "none of these" if ``targets`` have one more (multi-label network, units)."""
    return functional.pad(logits, (0, targets.shape[1] - logits.shape[1]))


def hits(logits: Tensor, targets: Tensor) -> Tensor:
    """Return, bool (n,), whether the class that :func:`predicted` returns is the row's target or, for sets, one of the target classes."""
    predictions = predicted(logits, targets)
    return predictions == targets if targets.ndim == 1 else targets.gather(1, predictions[:, None])[:, 0] > 0
