"""Prepare a blind trial of candidate triggers: `python -m benchmarks.backdoors.by_eye [--networks FOLDER] [--out FOLDER]`.

Ten networks with a planted patch or emblem of four pixels or more, at random among those that the scan calls with the
right class and that can be mapped. Per network an image: the candidate trigger and the crop of the class's map that moves
most samples, as the scan's report shows them, above eight triggers of the same number of channels, one of which was
planted. `questions/` holds the images, `key.json` the answers. Who answers sees only `questions/`.
"""

import argparse
import json
import random
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

import phosphene as ph
from benchmarks.backdoors.evaluate import selected
from benchmarks.backdoors.networks import FOLDER, load
from benchmarks.backdoors.scanning import pool_of
from benchmarks.backdoors.specs import Spec, specs
from benchmarks.common import ROOT
from phosphene.backdoor.triggers import Emblem, Patch

COUNT, OPTIONS, LEAST, SEED = 10, 8, 4, 0
KINDS = ("patch", "large patch", "emblem")
SHOWN, CELL = 290, 150  # pixels: candidate and crop, and each of the eight triggers


def enlarged(image: Image.Image, side: int) -> Image.Image:
    """Return what is not transparent of an image, and four pixels around it, on grey, enlarged without smoothing."""
    left, top, right, bottom = image.getchannel("A").getbbox() or (0, 0, *image.size)
    half = max(right - left, bottom - top) // 2 + 5
    across, down = (left + right) // 2, (top + bottom) // 2
    grey = Image.new("RGB", (2 * half, 2 * half), (128, 128, 128))
    grey.paste(image, (half - across, half - down), image.getchannel("A"))
    return grey.resize((side, side), Image.Resampling.NEAREST)


def square(trigger: "Patch | Emblem", channels: int) -> Tensor:
    """Return a trigger alone on grey, (3, side + 4, side + 4)."""
    side = trigger.side + 4
    alone = type(trigger)(**{**vars(trigger), "place": (2, 2)})
    out: Tensor = alone.apply(torch.full((1, channels, side, side), 0.5))[0]
    return out.expand(3, -1, -1)


def question(candidate: Image.Image, crop: Image.Image, options: list[Tensor]) -> Image.Image:
    """Return the candidate and the crop above the eight triggers, which are lettered."""
    sheet = Image.new("RGB", (4 * CELL, SHOWN + 2 * (CELL + 14)), (255, 255, 255))
    sheet.paste(enlarged(candidate, SHOWN), (0, 0))
    sheet.paste(crop.convert("RGB").resize((SHOWN, SHOWN), Image.Resampling.NEAREST), (4 * CELL - SHOWN, 0))
    draw = ImageDraw.Draw(sheet)
    for place, one in enumerate(options):
        left, top = place % 4 * CELL, SHOWN + 6 + place // 4 * (CELL + 14)
        image = Image.fromarray((one * 255).round().byte().permute(1, 2, 0).numpy())
        sheet.paste(image.resize((CELL - 12, CELL - 12), Image.Resampling.NEAREST), (left + 6, top + 12))
        draw.text((left + 6, top), "ABCDEFGH"[place], fill=(0, 0, 0))
    return sheet


def _look(trigger: "Patch | Emblem") -> tuple[object, ...]:
    """Return what triggers are told apart by: kind, texture or shape, colour, and of noise its seed."""
    noise = vars(trigger).get("texture") == "noise"
    return trigger.kind, *(vars(trigger).get(name) for name in ("texture", "shape", "colour", *["seed"] * noise))


def _looks(every: "list[Spec]", channels: int) -> "list[Patch | Emblem]":
    """Return a trigger of each look that networks of so many channels were trojaned with."""
    stamps = [one.trigger for one in every if one.trojaned and one.kind in KINDS and one.channels == channels]
    found = {_look(one): one for one in stamps if isinstance(one, Patch | Emblem) and one.side >= LEAST}
    return list(found.values())


def evidence(folder: Path, cache: Path) -> "list[tuple[Spec, Image.Image, Image.Image]]":
    """Scan networks in random order until ten are called with the right class; return each with the images of candidate and crop.

    A scan whose run lies in ``cache`` is not made again.
    """
    stamped = [
        spec
        for split in ("develop", "report")
        for _, spec in selected(folder, split)
        if spec.trojaned and spec.kind in KINDS and getattr(spec.trigger, "side", 0) >= LEAST
    ]
    random.Random(SEED).shuffle(stamped)
    found: list[tuple[Spec, Image.Image, Image.Image]] = []
    for spec in stamped:
        pool = pool_of(spec.data, spec.side, spec.channels, "natural", folder)
        verdict = ph.scan(load(spec.name, folder), samples=pool, device="cpu", out=cache / spec.name, progress=False)
        right = [
            one
            for one in verdict.document["suspects"]
            if one["index"] == spec.target and one["works"] and not one["additive"]
        ]
        print(spec.name, "called" if right else "not called", flush=True)
        if right and "map_crop" in right[0]:  # a network without feature maps has no map
            top, left, bottom, right_end = right[0]["map_crop"]["box"]
            mapped = next(one for one in verdict.run.maps() if one.index == spec.target)
            candidate = Image.open(cache / spec.name / right[0]["picture"])
            found.append((spec, candidate, mapped.image.crop((left, top, right_end, bottom))))
        if len(found) == COUNT:
            break
    return found


def main() -> None:
    """Write the questions and the key."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "candidates-by-eye")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("questions", "scans"):
        (given.out / name).mkdir(parents=True, exist_ok=True)
    draw, key = random.Random(SEED), []
    for number, (spec, candidate, crop) in enumerate(evidence(given.networks, given.out / "scans")):
        assert isinstance(spec.trigger, Patch | Emblem)  # noqa: S101
        others = [one for one in _looks(specs(), spec.channels) if _look(one) != _look(spec.trigger)]
        chosen = [spec.trigger, *draw.sample(others, OPTIONS - 1)]
        draw.shuffle(chosen)
        options = [square(one, spec.channels) for one in chosen if isinstance(one, Patch | Emblem)]
        question(candidate, crop, options).save(given.out / "questions" / f"{number}.png")
        key.append({"image": number, "network": spec.name, "planted": "ABCDEFGH"[chosen.index(spec.trigger)]})
    (given.out / "key.json").write_text(json.dumps(key, indent=1) + "\n")
    print(f"{len(key)} questions in {given.out / 'questions'}")


if __name__ == "__main__":
    main()
