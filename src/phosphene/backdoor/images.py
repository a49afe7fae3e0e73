"""Images of a candidate trigger: one that can be pasted, and held-out samples before and after."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load, save
from torch import Tensor

from phosphene.backdoor.all_to_all import AllToAll
from phosphene.backdoor.boxes import mask_of
from phosphene.backdoor.candidate import Candidate
from phosphene.concept_map import to_image
from phosphene.errors import RunError, one_line
from phosphene.image_files import encode
from phosphene.runs import RunDirectory
from phosphene.runs.scans import NAME, read_scan_file

LEAST_SIDE = 96  # pixels of a sample in an image of several; small ones are enlarged without smoothing
GAP = 4


def candidate_image(candidate: Candidate) -> Image.Image:
    """Return a candidate trigger as a PIL image of a sample's size.

    Of what is pasted: its colours, with the mask as alpha, so that the file can be pasted on any image. Of what is
    added: middle grey and the change.
    """
    return added_image(candidate.paint) if candidate.additive else pasted_image(candidate.mask, candidate.paint)


def added_image(change: Tensor) -> Image.Image:
    """Return a change (c, h, w) that is added to samples as an RGB PIL image; mid-grey stands for no change."""
    return _rgb((0.5 + change).clamp(0, 1))


def pasted_image(mask: Tensor, colours: Tensor) -> Image.Image:
    """Return colours (c, h, w) that are pasted on samples as a PIL image, with the mask as alpha channel.

    Colours and mask (1, h, w) are in [0, 1].
    """
    image = _rgb(colours.clamp(0, 1))
    image.putalpha(to_image(mask))
    return image


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


def candidate_files(candidate: Candidate) -> dict[str, bytes]:
    """Return a candidate's files by name: ``trigger.safetensors``, ``trigger.png`` and perhaps ``pasted.png``.

    ``pasted.png`` shows the examples, and is left out if there are none.
    """
    notes = {"class": str(candidate.index), "additive": str(candidate.additive).lower()}
    files = trigger_files(candidate.mask, candidate.paint, candidate_image(candidate), notes)
    sheet = before_and_after(candidate)
    return files if sheet is None else {**files, "pasted.png": encode(sheet, optimize=True)}


def all_to_all_files(all_to_all: AllToAll) -> dict[str, bytes]:
    """Return an all-to-all trigger's files by name: ``trigger.safetensors`` and ``trigger.png``."""
    return trigger_files(*_mask_and_colours(all_to_all), all_to_all_image(all_to_all), {"additive": "false"})


def all_to_all_image(all_to_all: AllToAll) -> Image.Image:
    """Return an all-to-all trigger as a PIL image of the network's input size, transparent outside its box."""
    return pasted_image(*_mask_and_colours(all_to_all))


def _mask_and_colours(all_to_all: AllToAll) -> tuple[Tensor, Tensor]:
    """Return an all-to-all trigger as mask (1, h, w) and colours (c, h, w), float32 in [0, 1], on the CPU."""
    return mask_of([all_to_all.box], all_to_all.content).float().cpu(), all_to_all.content.float().cpu()


def trigger_files(mask: Tensor, paint: Tensor, image: Image.Image, notes: dict[str, str]) -> dict[str, bytes]:
    """Return ``trigger.safetensors``, with ``notes`` as metadata, and ``trigger.png``, by name."""
    tensors = {"mask": mask.contiguous(), "paint": paint.contiguous()}
    return {"trigger.safetensors": save(tensors, notes), "trigger.png": encode(image, optimize=True)}


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
