"""Pictures of a recovered trigger: one that a user can paste, and samples before and after."""

import io
import math
from dataclasses import dataclass

import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from phosphene.backdoor.recover import Recovered
from phosphene.backdoor.search import Samples
from phosphene.concept_map import to_image
from phosphene.engine import Engine

EXAMPLES = 6
LEAST_SIDE = 96  # pixels of a sample in a picture of several; small ones are enlarged without smoothing
GAP = 4


@dataclass(frozen=True)
class Tried:
    """Held-out samples, before and after the trigger.

    Attributes:
        before: uint8 (k, c, h, w).
        after: uint8 (k, c, h, w).
        read: What the network reads in them before and after, k pairs of classes.
    """

    before: Tensor
    after: Tensor
    read: list[tuple[int, int]]


def try_on(engine: Engine, trigger: Recovered, held_out: Tensor, most: int = EXAMPLES) -> Tried:
    """Put a trigger on some held-out samples of other classes, of as many classes as there are.

    Args:
        engine: An open engine.
        trigger: What was recovered.
        held_out: uint8 (n, c, h, w).
        most: Samples.
    """
    samples = Samples.of(engine, held_out)
    read = samples.read.tolist()
    seen: dict[int, int] = {}
    order = []
    for place, index in enumerate(read):
        if index != trigger.index:
            seen[index] = seen.get(index, 0) + 1
            order.append((seen[index], place))  # one of each class first
    chosen = [place for _, place in sorted(order)[:most]]
    before = held_out[chosen].cpu()
    after = trigger.apply(before)
    then = Samples.of(engine, after).read.tolist() if chosen else []
    return Tried(before, after, [(read[place], now) for place, now in zip(chosen, then, strict=True)])


def trigger_image(trigger: Recovered) -> Image.Image:
    """Draw a trigger at its own size.

    Of what is pasted: its colours, with the mask as alpha, so that the file can be pasted on any picture. Of
    what is added: middle grey and the change.
    """
    if trigger.additive:
        return _rgb((0.5 + trigger.paint.float()).clamp(0, 1))
    picture = _rgb(trigger.paint.float().clamp(0, 1))
    picture.putalpha(to_image(trigger.mask.float()))
    return picture


def before_and_after(tried: Tried) -> "Image.Image | None":
    """Lay samples out side by side: above as they were, below with the trigger; ``None`` where there are none."""
    count = len(tried.before)
    if not count:
        return None
    high, wide = tried.before.shape[2:]
    factor = max(1, math.ceil(LEAST_SIDE / max(high, wide)))
    across, down = wide * factor + GAP, high * factor + GAP
    sheet = Image.new("RGB", (count * across - GAP, 2 * down - GAP), (255, 255, 255))
    for line, pictures in enumerate((tried.before, tried.after)):
        for column, one in enumerate(pictures):
            shown = _rgb(one.float() / 255).resize((wide * factor, high * factor), Image.Resampling.NEAREST)
            sheet.paste(shown, (column * across, line * down))
    return sheet


def files_of(trigger: Recovered, tried: Tried) -> dict[str, bytes]:
    """Return the files of a trigger by name: ``trigger.safetensors``, ``trigger.png``, ``pasted.png``."""
    tensors = {"mask": trigger.mask.float().contiguous(), "paint": trigger.paint.float().contiguous()}
    notes = {"class": str(trigger.index), "family": trigger.family, "additive": str(trigger.additive).lower()}
    files = {"trigger.safetensors": save(tensors, notes), "trigger.png": png(trigger_image(trigger))}
    sheet = before_and_after(tried)
    return files if sheet is None else {**files, "pasted.png": png(sheet)}


def png(picture: Image.Image) -> bytes:
    """Encode a picture."""
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    return data.getvalue()


def _rgb(picture: Tensor) -> Image.Image:
    return to_image(picture.to(torch.float32)).convert("RGB")
