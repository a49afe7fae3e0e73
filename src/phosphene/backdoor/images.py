"""Images of a candidate trigger: one that can be pasted, and held-out samples before and after."""

import math

import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from phosphene.backdoor.all_to_all import AllToAll
from phosphene.backdoor.boxes import mask_of
from phosphene.backdoor.candidate import Candidate
from phosphene.concept_map import to_image
from phosphene.image_files import encode

LEAST_SIDE = 96  # pixels of a sample in an image of several; small ones are enlarged without smoothing
GAP = 4


def candidate_image(candidate: Candidate) -> Image.Image:
    """Return a candidate trigger as a PIL image of a sample's size: pasted colours with the mask as alpha, or an added change on mid-grey.

    Of what is pasted: its colours, with the mask as alpha, so that the file can be pasted on any image. Of what is
    added: middle grey and the change.
    """
    return added_image(candidate.paint) if candidate.additive else pasted_image(candidate.mask, candidate.paint)


def added_image(change: Tensor) -> Image.Image:
    """Return a change (c, h, w) that is added to samples as an RGB PIL image, 0.5 + change clipped to [0, 1]: mid-grey is no change."""
    return _rgb((0.5 + change).clamp(0, 1))


def pasted_image(mask: Tensor, colours: Tensor) -> Image.Image:
    """Return colours (c, h, w) that are pasted on samples as a PIL image, with the mask (1, h, w) in [0, 1] as its alpha channel."""
    image = _rgb(colours.clamp(0, 1))
    image.putalpha(to_image(mask))
    return image


def before_and_after(candidate: Candidate) -> "Image.Image | None":
    """Return an image of the candidate's example samples, unchanged above and with the trigger below; ``None`` if it has no examples."""
    count = len(candidate.before)
    if not count:
        return None
    high, wide = candidate.before.shape[2:]
    factor = max(1, math.ceil(LEAST_SIDE / max(high, wide)))
    across, down = wide * factor + GAP, high * factor + GAP
    sheet = Image.new("RGB", (count * across - GAP, 2 * down - GAP), (255, 255, 255))
    for line, samples in enumerate((candidate.before, candidate.apply(candidate.before))):
        for column, one in enumerate(samples):
            shown = _rgb(one.float() / 255).resize((wide * factor, high * factor), Image.Resampling.NEAREST)
            sheet.paste(shown, (column * across, line * down))
    return sheet


def candidate_files(candidate: Candidate) -> dict[str, bytes]:
    """Return a candidate's files as name -> bytes: ``trigger.safetensors``, ``trigger.png`` and, if it has examples, ``pasted.png``."""
    notes = {"class": str(candidate.index), "additive": str(candidate.additive).lower()}
    files = trigger_files(candidate.mask, candidate.paint, candidate_image(candidate), notes)
    sheet = before_and_after(candidate)
    return files if sheet is None else {**files, "pasted.png": encode(sheet, optimize=True)}


def all_to_all_files(found: AllToAll) -> dict[str, bytes]:
    """Return, for an all-to-all candidate trigger, ``trigger.safetensors`` and ``trigger.png`` as name -> bytes; nothing is written."""
    return trigger_files(*_mask_and_colours(found), all_to_all_image(found), {"additive": "false"})


def all_to_all_image(found: AllToAll) -> Image.Image:
    """Return a PIL image with an all-to-all candidate trigger, whose content has the network's input size, transparent outside its box."""
    return pasted_image(*_mask_and_colours(found))


def _mask_and_colours(found: AllToAll) -> tuple[Tensor, Tensor]:
    """Return an all-to-all candidate trigger as mask (1, h, w) and colours (c, h, w), float32 in [0, 1], on the CPU."""
    return mask_of([found.box], found.content).float().cpu(), found.content.float().cpu()


def trigger_files(mask: Tensor, paint: Tensor, image: Image.Image, notes: dict[str, str]) -> dict[str, bytes]:
    """Return name -> bytes, unwritten: ``trigger.safetensors`` of ``mask``, ``paint``, metadata ``notes``; ``trigger.png`` of ``image``."""
    tensors = {"mask": mask.contiguous(), "paint": paint.contiguous()}
    return {"trigger.safetensors": save(tensors, notes), "trigger.png": encode(image, optimize=True)}


def _rgb(pixels: Tensor) -> Image.Image:
    """Return pixels (c, h, w) in [0, 1] as an RGB PIL image; channels other than three are averaged to grey."""
    return to_image(pixels.to(torch.float32)).convert("RGB")
