"""Images of a candidate trigger: one that can be pasted, and held-out samples before and after."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load, save
from torch import Tensor

from phosphene.backdoor.all_to_all import AllToAll
from phosphene.backdoor.candidate import Candidate
from phosphene.concept_map import to_image
from phosphene.errors import RunError, one_line
from phosphene.image_files import encode
from phosphene.runs import RunDirectory
from phosphene.runs.scans import NAME, read_scan_file

LEAST_SIDE = 96  # pixels of a sample in an image of several; small ones are enlarged without smoothing
GAP = 4


def trigger_image(mask: Tensor, paint: Tensor, *, additive: bool) -> Image.Image:
    """Return a trigger as a PIL image of a sample's size.

    Args:
        mask: Where it acts, (1, h, w) in [0, 1].
        paint: Colours in [0, 1] that are pasted, or changes in [-1, 1] that are added, (c, h, w).
        additive: Whether ``paint`` is changes. Middle grey then stands for no change; colours get the mask as alpha
            channel, so that the image can be pasted on any other.
    """
    if additive:
        return _rgb((0.5 + paint).clamp(0, 1))
    image = _rgb(paint.clamp(0, 1))
    image.putalpha(to_image(mask))
    return image


def candidate_image(candidate: "Candidate | AllToAll") -> Image.Image:
    """Return a candidate trigger as a PIL image of a sample's size: see :func:`trigger_image`."""
    return trigger_image(candidate.mask, candidate.paint, additive=candidate.additive)


def close_up(candidate: "Candidate | AllToAll") -> Image.Image:
    """Return the window of a candidate trigger alone, enlarged if it is small; of an additive pattern the whole image."""
    top, left, bottom, right = candidate.box
    factor = max(1, math.ceil(LEAST_SIDE / (right - left)))
    window = candidate_image(candidate).crop((left, top, right, bottom))
    return window.resize((window.width * factor, window.height * factor), Image.Resampling.NEAREST)


def before_and_after(candidate: Candidate) -> "Image.Image | None":
    """Return an image of the candidate's example samples, without the trigger above and with it below.

    It is ``None`` if there are no examples.
    """
    count = len(candidate.before)
    if not count:
        return None
    height, width = candidate.before.shape[2:]
    factor = max(1, math.ceil(LEAST_SIDE / max(height, width)))
    column_width, row_height = width * factor + GAP, height * factor + GAP
    sheet = Image.new("RGB", (count * column_width - GAP, 2 * row_height - GAP), (255, 255, 255))
    for row, samples in enumerate((candidate.before, candidate.apply(candidate.before))):
        for column, sample in enumerate(samples):
            tile = _rgb(sample.float() / 255).resize((width * factor, height * factor), Image.Resampling.NEAREST)
            sheet.paste(tile, (column * column_width, row * row_height))
    return sheet


def candidate_files(candidate: "Candidate | AllToAll") -> dict[str, bytes]:
    """Return a candidate's files by name: ``trigger.safetensors``, ``trigger.png`` and, with examples, ``pasted.png``."""
    tensors = {"mask": candidate.mask.contiguous(), "paint": candidate.paint.contiguous()}
    notes = {"additive": str(candidate.additive).lower()}
    sheet = None
    if isinstance(candidate, Candidate):
        notes["class"], sheet = str(candidate.index), before_and_after(candidate)
    files = {
        "trigger.safetensors": save(tensors, notes),
        "trigger.png": encode(candidate_image(candidate), optimize=True),
    }
    return files if sheet is None else {**files, "pasted.png": encode(sheet, optimize=True)}


def read_trigger(run: RunDirectory, entry: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return mask (1, h, w) and paint (c, h, w) of the candidate trigger whose file an entry of ``scan.json`` names.

    Raises:
        RunError: the file is missing or damaged.
    """
    damaged, fix = f"{run.path / entry['trigger']} is damaged", f"Delete {run.path / NAME} and scan again."
    with one_line(RunError, damaged, fix):
        tensors = load(read_scan_file(run, entry["trigger"]))
        mask, paint = tensors["mask"], tensors["paint"]
    if paint.ndim != 3 or mask.shape != (1, *paint.shape[1:]):
        raise RunError(f"{damaged} (mask {tuple(mask.shape)}, paint {tuple(paint.shape)}): {fix}")
    return mask, paint


def _rgb(pixels: Tensor) -> Image.Image:
    """Return pixels (c, h, w) in [0, 1] as an RGB PIL image; channels other than three are averaged to grey."""
    return to_image(pixels.to(torch.float32)).convert("RGB")
