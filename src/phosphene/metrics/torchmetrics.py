"""``M_score`` as a ``torchmetrics.Metric``: batch by batch, on one device or many. Needs the extra ``torchmetrics``."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from phosphene.checked import wanted
from phosphene.errors import ArgumentError, ConceptError, describe
from phosphene.extras import require

require("torchmetrics", "torchmetrics")
from torchmetrics import Metric  # noqa: E402  (the line above names the fix if it is missing)


class MScore(Metric):
    """``M_score`` over classes ``concepts`` as a torchmetrics metric, from batches of logits.

    It is ``exp(mean KL(p(y | map) || p(y))) / L``. Exact for any number of updates, in constant memory: with ``H`` the
    entropy, the mean divergence is ``H(mean p) - mean H(p)``.

    Args:
        concepts: The L classes; repetitions do not count.
        keys: Keyword arguments of ``torchmetrics.Metric``.

    Raises:
        ArgumentError: the concepts are no indices.
        ConceptError: fewer than two different concepts.

    Example:
        >>> metric = MScore([0, 1, 2])
        >>> metric.update(torch.eye(3) * 100)
        >>> round(float(metric.compute()), 6)
        1.0
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    total: Tensor
    negative_entropy: Tensor
    maps: Tensor

    def __init__(self, concepts: Sequence[int], **keys: Any) -> None:
        super().__init__(**keys)
        if wanted(Sequence[int], concepts) or any(wanted(int, one) or one < 0 for one in concepts):
            raise ArgumentError(f"concepts are {describe(concepts)}; they must be indices of classes, such as [0, 3].")
        self.concepts = sorted(set(concepts))
        if len(self.concepts) < 2:
            raise ConceptError("M_score compares concepts: at least 2 different ones are needed.")
        dtype = torch.float64
        self.add_state("total", torch.zeros(len(self.concepts), dtype=dtype), dist_reduce_fx="sum")
        self.add_state("negative_entropy", torch.zeros((), dtype=dtype), dist_reduce_fx="sum")
        self.add_state("maps", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits: Tensor) -> None:
        """Add a batch of maps: the target classifier's logits (maps, classes) for their images.

        Raises:
            ArgumentError: they have another shape, or lack one of the concepts.
        """
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] <= self.concepts[-1]:
            given = tuple(logits.shape) if isinstance(logits, Tensor) else describe(logits)
            raise ArgumentError(
                f"logits are {given}; give a tensor (maps, classes) with more classes than the last concept, {self.concepts[-1]}."
            )
        p = logits.detach().double()[:, self.concepts].softmax(1)
        self.total += p.sum(0)
        self.negative_entropy += torch.xlogy(p, p).sum()
        self.maps += len(p)

    def compute(self) -> Tensor:
        """Return the ``M_score`` of all maps added so far, a scalar tensor in [1 / L, 1].

        Raises:
            ConceptError: there were none.
        """
        if self.maps == 0:
            raise ConceptError("M_score is over maps: there are none; call update(logits) first.")
        marginal = self.total / self.maps
        divergence = self.negative_entropy / self.maps - torch.xlogy(marginal, marginal).sum()
        num_concepts = len(self.concepts)
        return (divergence.exp() / num_concepts).clamp(1 / num_concepts, 1)
