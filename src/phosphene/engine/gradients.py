"""What the engine returns when it differentiates a loss with respect to the input of a network."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.engine.modules import forward_hooks, hookable
from phosphene.errors import CardError

MAX_STEPS_WITHOUT_GRADIENT = 5  # steps of a map without any gradient before the network is refused


class MeanGradients(NamedTuple):
    """What :meth:`Engine.mean_gradients` returns per map, as means over its samples.

    Attributes:
        gradient: (m, c, h, w): gradient of the loss at the clipped inputs (Alg. 1, line 4).
        loss: (m,): cross-entropy of the map's class, whichever loss was differentiated.
        hits: (m,): share of samples that the network classifies as the map's class, in [0, 1].
        weight: (m,): the weight that the divergence of a Prior had beside the loss; 0 without one.
    """

    gradient: Tensor
    loss: Tensor
    hits: Tensor
    weight: Tensor


class Gradients(NamedTuple):
    """What :meth:`Engine.gradients` returns per image.

    Attributes:
        gradient: (n, c, h, w): gradient of the image's loss at the image.
        loss: (n,): the loss that was differentiated.
        hits: (n,): whether the network classifies the image as the class, bool.
    """

    gradient: Tensor
    loss: Tensor
    hits: Tensor


def norm(images: Tensor) -> Tensor:
    """Return the l2 norm of each image, map or gradient (n, c, h, w) over channels and pixels, as (n, 1, 1, 1)."""
    norms: Tensor = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True)
    return norms


def input_gradient(losses: Tensor, images: Tensor, classifier: Classifier) -> Tensor:
    """Return the gradient, in the shape of ``images``, of the sum of ``losses`` (n,); CardError that names the cause if there is none.

    Args:
        losses: (n,), computed from ``images`` by the network.
        images: (n, c, h, w) in [0, 1], which require gradients.
        classifier: The network, run once more where it has to be searched for the cause.

    Raises:
        CardError: the network gives no gradient: it is quantised, detached, or ends in argmax.
    """
    gradient = torch.autograd.grad(losses.sum(), images, allow_unused=True)[0] if losses.requires_grad else None
    if gradient is None:
        refuse_quantised(classifier)
        cause = _why_no_gradient(classifier, images)
        raise CardError(f"network {classifier.name} has no gradient with respect to its input: {cause}.")
    return gradient


def zero_gradient(classifier: Classifier) -> CardError:
    """Return the CardError to raise for a network whose gradient with respect to its input is 0 for all images that were tried."""
    return CardError(
        f"network {classifier.name} has a gradient of exactly zero with respect to every image that was tried: it rounds "
        "(round, sign, a comparison), or its output is saturated for all of them."
    )


def refuse_quantised(classifier: Classifier) -> None:
    """Raise CardError that names the first layer of a Classifier's network that torch has quantised; torch would warn before it fails."""
    script = getattr(classifier.module, "script", None)  # whose layers do not tell
    if "quantized::" in str(getattr(script, "inlined_graph", "")):
        raise CardError(f"network {classifier.name} has no gradient: it is quantised: give the network from before.")
    for path, part in classifier.module.named_modules():
        if "quantized" in type(part).__module__:
            layer = f"layer {path!r} ({type(part).__name__})"
            raise CardError(
                f"network {classifier.name} has no gradient: {layer} is quantised: give the network from before."
            )


def _why_no_gradient(classifier: Classifier, images: Tensor) -> str:
    """Run the network on ``images`` with hooks and return, as text, which module stops the gradient and why."""
    names = hookable(classifier.module)
    causes: list[str] = []

    def hook(part: nn.Module, inputs: "tuple[Any, ...]", output: Any) -> None:
        name = f"layer {names[part]!r} ({type(part).__name__})" if names[part] else "its own forward"
        if not torch.is_grad_enabled():  # also in inference mode
            causes.append("it runs under torch.no_grad or torch.inference_mode: remove that")
        elif not _require_gradients(inputs):
            causes.append(f"what {name} takes is detached before it: remove .detach(), .data or .numpy()")
        elif not _require_gradients([output]):
            causes.append(f"{name} passes none on: it detaches, rounds or ends in argmax")

    with torch.enable_grad(), forward_hooks(list(names), hook):
        classifier.logits(images)
    return causes[0] if causes else "something in it is detached or rounded"


def _require_gradients(values: Iterable[Any]) -> bool:
    """Return whether any of the values is a tensor that requires gradients; true as well if one is no tensor, which may hide some."""
    return any(not isinstance(value, Tensor) or value.requires_grad for value in values)
