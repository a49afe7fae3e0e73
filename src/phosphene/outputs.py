"""What a network answers with, and how logits come of it: logits, probabilities, their logarithms, or one number.

One number is the evidence for the second of two classes: logits ``[0, z]`` have the softmax that ``sigmoid(z)`` says.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from phosphene.errors import CardError, nearest

# kind -> what to say of it; nothing where there is nothing to say
KINDS = {
    "logits": "",
    "probabilities": "the network answers with probabilities: their logarithms are taken for logits",
    "log-probabilities": "the network answers with log-probabilities: they are taken for logits as they are",
    "logit": "the network answers with one number, taken for the second class's logit",
    "probability": "the network answers with one number in [0, 1], taken for the second class's probability",
}
ONE = ("logit", "probability")


def check_kind(kind: str) -> str:
    """Return ``kind``.

    Raises:
        CardError: it is neither ``auto`` nor a kind of output.
    """
    if kind != "auto" and kind not in KINDS:
        raise CardError(f"output {kind!r} is unknown: use auto, {', '.join(KINDS)}.{nearest(kind, list(KINDS))}")
    return kind


def tensor_of(answer: object) -> object:
    """Return the ``logits`` of an answer that is an object with several fields; any other answer as it is."""
    return answer if isinstance(answer, Tensor) else getattr(answer, "logits", answer)


def is_one(answer: Tensor) -> bool:
    """Say whether the answer to one picture is one number: (1, 1), (1,) or ()."""
    return answer.ndim <= 2 and answer.numel() == 1


def detect(answers: Iterable[Tensor]) -> str:
    """Return the kind of output that all answers, each to one picture, (1, classes), agree on.

    Probabilities lie in [0, 1] and sum to 1; log-probabilities do so after ``exp``. One number is a probability if it
    stays in [0, 1] whatever the picture. Answers are asked for only while a kind other than logits is possible.
    """
    possible: set[str] = set()
    for number, answer in enumerate(answers):
        fits = set(_fitting(answer))
        possible = possible & fits if number else fits
        if not possible:
            return "logit" if is_one(answer) else "logits"
    return possible.pop() if possible else "logits"


def _fitting(answer: Tensor) -> Iterator[str]:
    values = answer.detach().double().flatten()
    slack = 1e-2 if answer.dtype in (torch.float16, torch.bfloat16) else 1e-4
    if is_one(answer):
        if 0 <= float(values) <= 1:
            yield "probability"
        return
    if values.amin() >= 0 and values.amax() <= 1 + slack and abs(float(values.sum()) - 1) < slack:
        yield "probabilities"
    elif values.amax() <= slack and abs(float(values.exp().sum()) - 1) < slack:
        yield "log-probabilities"


def to_logits(answer: Tensor, kind: str) -> Tensor:
    """Turn answers of a kind, (n, classes), or (n, 1) or (n,) for one number, into logits (n, classes)."""
    if kind == "probabilities":
        return _log(answer)
    if kind in ONE:
        z = answer.reshape(-1, 1)
        return torch.cat([torch.zeros_like(z), z] if kind == "logit" else [_log(1 - z), _log(z)], 1)
    return answer


def _log(p: Tensor) -> Tensor:
    return p.clamp_min(torch.finfo(p.dtype).tiny).log()
