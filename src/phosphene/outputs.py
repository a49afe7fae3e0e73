"""Kinds of network output, and how each becomes logits: logits, probabilities, log-probabilities, or one number.

One number is the evidence for the second of two classes: logits ``[0, z]`` have ``sigmoid(z)`` as their softmax.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from phosphene.errors import CardError, nearest

# kind -> a note for the user; none for logits
KINDS = {
    "logits": "",
    "probabilities": "the network returns probabilities; their logarithms are used as logits",
    "log-probabilities": "the network returns log-probabilities; they are used as logits",
    "logit": "the network returns one number, used as the logit of the second class",
    "probability": "the network returns one number in [0, 1], used as the probability of the second class",
}
SINGLE = ("logit", "probability")


def check_kind(kind: str) -> str:
    """Return a declared kind of network output (``logits``, ``probabilities``, ``auto``, ...); CardError if there is no such kind.

    Raises:
        CardError: it is neither ``auto`` nor a kind of output.
    """
    if kind != "auto" and kind not in KINDS:
        raise CardError(f"output {kind!r} is unknown: use auto, {', '.join(KINDS)}.{nearest(kind, list(KINDS))}")
    return kind


def is_single(output: Tensor) -> bool:
    """Return whether a network's output for one image is a single number, of shape (1, 1), (1,) or (): a two-class network."""
    return output.ndim <= 2 and output.numel() == 1


def detect_kind(outputs: Iterable[Tensor]) -> str:
    """Return the kind of output (``logits``, ``probabilities``, ...) that fits a network's outputs for several images, (1, classes) each.

    Probabilities lie in [0, 1] and sum to 1; log-probabilities do so after ``exp``. One number is a probability if it
    stays in [0, 1] for every image. Outputs are requested only while a kind other than logits is possible.
    """
    possible = set(KINDS)
    for output in outputs:
        possible &= set(_fitting_kinds(output))
        if not possible:
            return "logit" if is_single(output) else "logits"
    return possible.pop()


def _fitting_kinds(output: Tensor) -> Iterator[str]:
    """Yield the kind of probabilities that a network's output for one image may be, by range and sum; nothing if only logits fit."""
    values = output.detach().double().flatten()
    slack = 1e-2 if output.dtype in (torch.float16, torch.bfloat16) else 1e-4
    if is_single(output):
        if 0 <= float(values) <= 1:
            yield "probability"
    elif values.amin() >= 0 and values.amax() <= 1 + slack and abs(float(values.sum()) - 1) < slack:
        yield "probabilities"
    elif values.amax() <= slack and abs(float(values.exp().sum()) - 1) < slack:
        yield "log-probabilities"


def to_logits(output: Tensor, kind: str) -> Tensor:
    """Return a network's outputs of a known kind, (n, classes), or (n, 1) or (n,) for single numbers, as logits (n, classes)."""
    if kind == "probabilities":
        return _bounded_log(output)
    if kind in SINGLE:
        z = output.reshape(-1, 1)
        return torch.cat([torch.zeros_like(z), z] if kind == "logit" else [_bounded_log(1 - z), _bounded_log(z)], 1)
    return output


def _bounded_log(p: Tensor) -> Tensor:
    """Return the natural logarithm of probabilities, with 0 replaced by the smallest normal number so that it is finite."""
    return p.clamp_min(torch.finfo(p.dtype).tiny).log()
