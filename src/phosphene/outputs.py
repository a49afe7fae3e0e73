"""Kinds of network output, and how each becomes logits: logits, probabilities, log-probabilities, or one number.

One number is the evidence for the second of two classes: logits ``[0, z]`` have ``sigmoid(z)`` as their softmax. Outputs of
a multi-label network are independent: each has a probability ``sigmoid(z)`` of its own, and they need not sum to 1.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from itertools import chain, pairwise
from typing import Any

import torch
from torch import Tensor

from phosphene.errors import CardError, nearest

# kind -> a note for the user; none for logits
OUTPUT_KINDS = {
    "logits": "",
    "probabilities": "the network returns probabilities; their logarithms are used as logits",
    "log-probabilities": "the network returns log-probabilities; they are used as logits",
    "logit": "the network returns one number, used as the logit of the second class",
    "probability": "the network returns one number in [0, 1], used as the probability of the second class",
    "multi-label": "the outputs are independent logits: each class is mapped and scored by its own probability",
    "multi-label-probabilities": (
        "the network returns independent probabilities (multi-label): each class is mapped and scored by its own"
    ),
    "regression": "the outputs are measurements (regression): each is mapped by its own value, relative to the samples",
}
ONE_NUMBER_KINDS = ("logit", "probability")
LOGITS_NEEDED = "logits of shape (n, classes) are needed"
MULTI_LABEL = ("multi-label", "multi-label-probabilities")
REGRESSION = "regression"


def parse_output(declared: "str | int") -> tuple["str | int | None", "slice | None", str]:
    """Split a card's ``output`` into the position or key of an output, the part of its values, and its kind.

    The first two are ``None`` if they are not given.

    Args:
        declared: A kind or ``auto``; a position or key, such as ``1`` or ``out``; a part, ``[3:7]``; or several of
            these, ``out[3:7]:probabilities``.
    """
    kinds = ("auto", *OUTPUT_KINDS)
    if declared in kinds:
        return None, None, str(declared)
    which, colon, kind = str(declared).rpartition(":")
    if not colon or kind not in kinds:
        which, kind = str(declared), "auto"
    match = re.fullmatch(r"(.*)\[(\d{0,9}):(\d{0,9})\]", which)
    if match is None:
        return int(which) if which.isdecimal() else which, None, kind
    which, start, stop = match.groups()
    part = slice(int(start or 0), int(stop) if stop else None)
    return int(which) if which.isdecimal() else which or None, part, kind


def write_output(which: "str | int | None", part: "slice | None", kind: str = "") -> str:
    """Return the text of a card's ``output`` that has this position or key, part and kind; an empty kind is left out."""
    place = "" if which is None else str(which)
    if part is not None:
        place += f"[{part.start}:{'' if part.stop is None else part.stop}]"
    return ":".join(filter(None, (place, kind)))


def select(output: Any, which: "str | int | None", classes: "int | None") -> tuple[Tensor, "str | int | None"]:
    """Return the tensor of logits in a network's output, and its position or key, ``None`` if unneeded.

    Of several tensors it is the one called ``logits`` or ``logit``, or the only one of shape (1, classes) or (1, 1).

    Args:
        output: A tensor; or a tuple, list, mapping, named tuple or dataclass; or an object with ``logits``.
        which: Position or key of the tensor; ``None`` to find it, from the output for one image.
        classes: Number of classes, if it is known.

    Raises:
        CardError: no tensor, or more than one, can be the logits, or there is none of this position or key.
    """
    if isinstance(output, Tensor) and which is not None:
        names = ["auto", *OUTPUT_KINDS]
        raise CardError(
            f"returns one tensor, and output {which!r} is unknown: use {', '.join(names)}, or a part such as [3:7]."
            f"{nearest(str(which), names)}"
        )
    if isinstance(output, Tensor):
        return output, None
    if which is None and isinstance(getattr(output, "logits", None), Tensor):
        return output.logits, None
    fields = output._asdict() if hasattr(output, "_asdict") else output  # of a named tuple
    if is_dataclass(fields) and not isinstance(fields, Mapping):
        fields = vars(fields)
    if isinstance(fields, list | tuple):
        fields = dict(enumerate(fields))
    values = fields if isinstance(fields, Mapping) else {}
    tensors = {key: value for key, value in values.items() if isinstance(value, Tensor)}
    if which is None and len(tensors) == 1:
        return next(iter(tensors.values())), None
    candidates = [key for key, value in tensors.items() if _may_be_logits(value, classes)]
    if which is None:
        which = next((key for key in candidates if key in ("logits", "logit") or len(candidates) == 1), None)
    if which not in tensors:
        listing = ", ".join(f"{key!r}: {tuple(value.shape)}" for key, value in tensors.items())
        what = f"several outputs ({listing})" if tensors else type(output).__name__
        choices = " or ".join(map(repr, candidates))
        fix = (
            f"choose one by its position or key: output = {choices}"
            if candidates
            else f"{LOGITS_NEEDED}: have forward return them"
        )
        raise CardError(f"returns {what}; {fix}.")
    return tensors[which], which


def part_of(output: Tensor, part: "slice | None", which: "str | int | None") -> Tensor:
    """Return the columns ``part`` of an output (n, values); all of it if ``None``.

    Args:
        output: The tensor that :func:`select` gives; one of another shape is returned as it is.
        part: The columns.
        which: Position or key of the output, for the message.

    Raises:
        CardError: not all of the columns are there.
    """
    if part is None or output.ndim != 2:
        return output
    stop = output.shape[1] if part.stop is None else part.stop
    if not part.start < stop <= output.shape[1]:
        raise CardError(
            f"returns {output.shape[1]} values: none, or not all, of {write_output(which, part)} are there; give a "
            f"part within [0:{output.shape[1]}], [START:END] with START below END."
        )
    return output[:, part]


def _may_be_logits(output: Tensor, classes: "int | None") -> bool:
    """Return whether a tensor, the output for one image, has the shape and type of logits.

    ``classes`` is their number, if it is known. A single number may be the logit of the second of two classes, or a
    measurement.
    """
    if not output.is_floating_point() or output.ndim != 2 or len(output) != 1:
        return False
    return classes in ((None, 1, 2) if is_single(output) else (None, output.shape[1]))


def is_single(output: Tensor) -> bool:
    """Return whether a network's output for one image is a single number, of shape (1, 1), (1,) or ()."""
    return output.ndim <= 2 and output.numel() == 1


def refuse_wrong_count(kind: str, output: Tensor) -> None:
    """Raise CardError if an output for one image, (1, values), has one value and ``kind`` several, or reversely.

    Raises:
        CardError: it has; the message lists the kinds that are possible.
    """
    has_one_value = is_single(output)
    if kind != REGRESSION and (kind in ONE_NUMBER_KINDS) != has_one_value:
        alternatives = [one for one in OUTPUT_KINDS if one == REGRESSION or (one in ONE_NUMBER_KINDS) == has_one_value]
        raise CardError(
            f"has {output.numel()} output(s), which cannot be {kind}: leave output out, or declare "
            f"{', '.join(alternatives[:-1])} or {alternatives[-1]}."
        )


def run_beside_another(
    run: Callable[[Tensor], Tensor], image: Tensor, output: Tensor, batch: "int | None"
) -> tuple[bool, "int | None"]:
    """Return whether a network gives an image the same output each time, and its ``batch``, 1 if it does not take two images.

    Args:
        run: The network.
        image: (1, c, h, w).
        output: What the network gives for the image alone.
        batch: The largest number of images that it takes, ``None`` for any, as far as that is known.

    Raises:
        CardError: the output depends on the image beside it.
    """
    beside, alone = None, output.flatten()
    if batch != 1:
        with suppress(Exception):  # the network is the user's: it may raise anything
            both = run(torch.cat([noise_like(image), image]))
            beside = both[1].flatten() if len(both) == 2 and both.numel() == 2 * output.numel() else None
    if beside is not None and torch.allclose(alone, beside, rtol=1e-3, atol=1e-5, equal_nan=True):
        return True, batch
    is_repeatable = torch.allclose(output, run(image), rtol=1e-3, atol=1e-5, equal_nan=True)
    if is_repeatable and beside is not None:  # against two again, as sums of one image may be rounded otherwise
        beside_black = run(torch.cat([torch.zeros_like(image), image]))[1].flatten()
        if (beside_black - beside).abs().amax() > 0.02 * alone.abs().amax():
            raise CardError(
                "gives an image other logits when another image is beside it, as batch normalisation does in training mode or "
                "without running statistics: call .eval() before exporting; a BatchNorm needs track_running_stats=True."
            )
    return is_repeatable, 1 if beside is None else batch


def noise_like(image: Tensor) -> Tensor:
    """Return an image of uniform noise in [0, 1], always the same, of the shape, type and device of ``image``."""
    return torch.rand(image.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(image)


def detect_kind(outputs: Iterable[Tensor], extreme: Iterable[Tensor] = ()) -> str:
    """Return the kind of output (``logits``, ...) that fits ``outputs`` (1, classes) of several images.

    Probabilities lie in [0, 1] and sum to 1; log-probabilities do so after ``exp``. One number is a probability, and
    several that do not sum to 1 are independent ones, if they stay in [0, 1] for every image and vary. Outputs are
    requested only while a kind other than logits is possible; those for ``extreme`` images, far outside the range of
    pixels, only where the others leave one of the latter two.

    Raises:
        CardError: they are several softmaxes side by side.
    """
    candidates, values = set(OUTPUT_KINDS), []
    for output in chain(outputs, _needed_extremes(candidates, extreme)):
        candidates &= set(_fitting_kinds(output))
        values.append(output.detach().double().flatten())
        if not candidates:
            return "logit" if is_single(output) else "logits"
    kinds = [kind for kind in OUTPUT_KINDS if kind in candidates]  # of both kinds of probabilities, those that sum to 1
    is_constant = all(torch.equal(one, values[0]) for one in values)
    if kinds[0] in MULTI_LABEL and not is_constant:
        _refuse_levels(torch.stack(values), _slack(output))
    return "logits" if is_constant and kinds[0] in MULTI_LABEL else kinds[0]


def _refuse_levels(values: Tensor, slack: float) -> None:
    """Raise CardError if outputs in [0, 1], (images, values), are several softmaxes side by side.

    Then their sum is the same whole number above 1 for every image. The message names the part of each, which ends
    where the sum of the values up to there is a whole number for every image.
    """
    sums = values.cumsum(1)
    levels = round(float(sums[0, -1]))
    if levels < 2 or (sums[:, -1] - levels).abs().max() > slack:
        return
    level_ends = [((sums - level).abs().amax(0) < slack).nonzero().flatten().tolist() for level in range(1, levels)]
    ends = [0, *(place + 1 for places in level_ends for place in places), values.shape[1]]
    parts = [f'output = "[{start}:{end}]"' for start, end in pairwise(ends)]
    # Classes that are never likely blur the ends.
    fix = f"choose one, {' or '.join(parts)}" if len(parts) == levels else 'choose one, such as output = "[3:7]"'
    raise CardError(
        f"returns {values.shape[1]} values in [0, 1] whose sum is {levels} for every image, as that of {levels} softmaxes "
        f'side by side, one per level of labels: {fix}; if they are independent, output = "multi-label-probabilities".'
    )


def _slack(output: Tensor) -> float:
    """Return by how much a sum of probabilities may differ from a whole number: more in half precision."""
    return 1e-2 if output.dtype in (torch.float16, torch.bfloat16) else 1e-4


def _needed_extremes(candidates: set[str], extreme: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the finite outputs of ``extreme`` images, if no kind in ``candidates`` sums to 1.

    The caller narrows ``candidates`` in place before it asks. Some networks overflow on images far outside the
    range of pixels, so infinite outputs are skipped.
    """
    if not candidates & {"probabilities", "log-probabilities"}:
        yield from (output for output in extreme if output.isfinite().all())


def _fitting_kinds(output: Tensor) -> Iterator[str]:
    """Yield each kind of probabilities that an output for one image may be, by its range and sum."""
    values = output.detach().double().flatten()
    slack = _slack(output)
    if is_single(output):
        if 0 <= float(values) <= 1:
            yield "probability"
    elif values.amin() >= 0 and values.amax() <= 1 + slack:
        if abs(float(values.sum()) - 1) < slack:
            yield "probabilities"
        if values.amax() <= 1:
            yield "multi-label-probabilities"
    elif values.amax() <= slack and abs(float(values.exp().sum()) - 1) < slack:
        yield "log-probabilities"


def to_logits(output: Tensor, kind: str) -> Tensor:
    """Return outputs of a known kind as logits (n, classes).

    A single number, (n, 1) or (n,), gives two logits, but a measurement remains one.
    """
    if kind == "probabilities":
        return _bounded_log(output)
    if kind == "multi-label-probabilities":
        return _bounded_log(output) - _bounded_log(1 - output)
    if kind in ONE_NUMBER_KINDS:
        z = output.reshape(-1, 1)
        return torch.cat([torch.zeros_like(z), z] if kind == "logit" else [_bounded_log(1 - z), _bounded_log(z)], 1)
    return output.reshape(-1, 1) if kind == REGRESSION and output.ndim < 2 else output


def _bounded_log(p: Tensor) -> Tensor:
    """Return the logarithm of probabilities, with 0 replaced by the smallest normal number."""
    return p.clamp_min(torch.finfo(p.dtype).tiny).log()
