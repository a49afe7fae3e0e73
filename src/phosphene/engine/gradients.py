"""What the engine returns when it differentiates a loss with respect to the input of a network."""

from typing import NamedTuple

from torch import Tensor


class MeanGradients(NamedTuple):
    """What :meth:`Engine.mean_gradients` returns per map: loss gradient, cross-entropy and hit rate, averaged over the map's samples.

    Attributes:
        gradient: (m, c, h, w): gradient of the loss at the clipped inputs (Alg. 1, line 4).
        loss: (m,): cross-entropy of the map's class, whichever loss was differentiated.
        hits: (m,): share of samples that the network classifies as the map's class, in [0, 1].
    """

    gradient: Tensor
    loss: Tensor
    hits: Tensor


class Gradients(NamedTuple):
    """What :meth:`Engine.gradients` returns per image: the loss gradient, the loss, and whether the network predicts its class.

    Attributes:
        gradient: (n, c, h, w): gradient of the image's loss at the image.
        loss: (n,): the loss that was differentiated.
        hits: (n,): whether the network classifies the image as the class, bool.
    """

    gradient: Tensor
    loss: Tensor
    hits: Tensor
