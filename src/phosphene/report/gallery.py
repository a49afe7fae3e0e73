"""The part of the report that shows the maps themselves."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from phosphene.concept_map import ConceptMap, Job, render, to_image
from phosphene.contact_sheet import SIDE
from phosphene.labels import first_synonym
from phosphene.report.curves import curve
from phosphene.report.formats import count, percent, probability
from phosphene.report.images import MOST_PIXELS, data_url, scale_for, signed, strength, webp_url
from phosphene.runs import RunDirectory
from phosphene.runs.atomic import read_json
from phosphene.runs.frames import NAME as FRAMES
from phosphene.runs.predictions import ClassifierPredictions, read_predictions

# Faint enough that next to nothing is clipped: the page computes contrasts below a map's own from this image.
FAINT = 0.07
# Bytes of a page's images and animations before they are written as text, which makes them 14 MB. The bytes per pixel
# of a map, in its four images together, are an upper bound, measured on noise; animations get the rest of the budget,
# and those that do not fit stay beside their maps.
MOST_BYTES = 10_500_000
BYTES_PER_PIXEL = 1.3
# Image viewers refuse a sheet of more maps, because of its height.
MOST_ON_SHEET = 1000
Place = tuple[int, int]  # class and seed


class Gallery:
    """The maps of a run, one after the other, so that a page of a thousand maps never holds all their arrays at once.

    Args:
        run: A run directory.
        facts: Content of the run's ``run.json``.

    Attributes:
        maps: Content of each finished map's ``map.json``, by class and seed.
        thumbnails: Small images of the maps that :meth:`cards` has yielded, with captions.
    """

    def __init__(self, run: RunDirectory, facts: dict[str, Any]) -> None:
        self.run, self.facts = run, facts
        self.maps = {place: _map_facts(folder) for place, folder in run.finished_folders().items()}
        self.thumbnails: list[tuple[Image.Image, str]] = []
        classifiers = read_predictions(run)
        self.own = next((one for one in classifiers if one.sha256 == facts["model"]["sha256"]), None)
        self.others = [one for one in classifiers if one is not self.own]
        self.scale = scale_for(max(1, len(self.maps)), tuple(facts["model"]["input"]["size"]))
        pixels = max(1, len(self.maps)) * math.prod(facts["model"]["input"]["size"])
        self.quality = 88 if pixels > MOST_PIXELS / 4 else 94
        self.bytes_for_frames = MOST_BYTES - BYTES_PER_PIXEL * pixels * self.scale**2

    @property
    def several(self) -> bool:
        """Whether a class has more than one map."""
        return len({index for index, _ in self.maps}) < len(self.maps)

    def glance(self) -> list[dict[str, str]]:
        """Return one line on how the source classifies its own maps, and one on what they do to samples."""
        total = len(self.maps)
        right = sum(self._is_recognised(place, facts) for place, facts in self.maps.items())
        lines = [
            {
                "mark": "good" if right >= 0.9 * total else "unsure",
                "text": f"{self.facts['model']['name']} recognises the class in {right} of its {count(total, 'map')}.",
            }
        ]
        rates = sorted(facts["targeting_rate"] for facts in self.maps.values() if facts["targeting_rate"] is not None)
        if rates:
            median = rates[len(rates) // 2]
            text = (
                f"Targeting rate: a map moves {percent(median)} of held-out samples to its class (median). So the maps "
                "contain what the network looks for. This is not a sign of a backdoor, whose trigger is far smaller."
            )
            lines.append({"mark": "good" if median >= 0.5 else "unsure", "text": text})
        return lines

    def _is_recognised(self, place: Place, facts: dict[str, Any]) -> bool:
        """Whether the source classifies its own map as the class; of old runs, only the confidence is known."""
        if self.own is not None and place in self.own.maps:
            return bool(self.own.maps[place]["top"][0]["index"] == place[0])
        return bool(facts["p_class"] >= 0.5)

    def cards(self) -> Iterator[dict[str, Any]]:
        """Yield what ``card.html`` shows of each map."""
        for one in self.run.maps():
            yield self._card(one)
            if len(self.thumbnails) < MOST_ON_SHEET:
                small = one.image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                self.thumbnails.append((small, f"{one.short}, {one.seed}" if self.several else one.short))

    def _card(self, one: ConceptMap) -> dict[str, Any]:
        """Return what the page shows of one map."""
        place = (one.index, one.seed)
        own = None if self.own is None else _classification(self.own, place)
        animation = self.run.folder(Job(*place), one.label) / FRAMES
        frames = self._frames(animation)
        return {
            "map": one,
            "sentence": _sentence(one, own),
            "own": own,
            "others": [found for found in (_classification(other, place) for other in self.others) if found],
            "image": data_url(one.image, self.scale, self.quality),
            "faint": data_url(to_image(render(one.nu, FAINT)), self.scale, 85),
            "faint_contrast": FAINT,
            "signed": data_url(signed(one.nu), self.scale, 75),
            "xi": data_url(strength(one.xi), min(self.scale, 112 / max(one.xi.shape[-2:])), 75),
            "loss": curve(one.loss, "Loss"),
            "hits": curve(one.hits, "Samples classified as the class", top=1.0, share=True),
            "frames": frames,
            "frames_elsewhere": animation.relative_to(self.run.path) if animation.is_file() and not frames else None,
        }

    def _frames(self, path: Path) -> "str | None":
        """Return the animation of how a map grew, if there is one and the page still has room for it."""
        if not path.is_file() or path.stat().st_size > self.bytes_for_frames:
            return None
        data = path.read_bytes()
        self.bytes_for_frames -= len(data)
        return webp_url(data)


def _map_facts(folder: Path) -> dict[str, Any]:
    """Read a finished map's map.json, without its arrays."""
    data = read_json(folder / "map.json", fix="Run the map again.")
    complete = isinstance(data, dict) and "p_class" in data and "targeting_rate" in data
    return data if complete else {"p_class": 0.0, "targeting_rate": None}


def _classification(classifier: ClassifierPredictions, place: Place) -> "dict[str, Any] | None":
    """Return the most probable classes of a map for one classifier, and whether the first is the map's class."""
    found = classifier.maps.get(place)
    if not found or not found["top"]:
        return None
    return {**found, "name": classifier.name, "right": found["top"][0]["index"] == found["class"]}


def _sentence(one: ConceptMap, own: "dict[str, Any] | None") -> str:
    """Say how the source classifies its own map."""
    confidence = _spelled(one.p_class)
    if own is None and one.p_class < 0.5:
        return f"The network's confidence in {one.short}, for its own map, is only {confidence}."
    if own is None or own["right"]:
        return f"The network classifies its own map as {one.short} with a confidence of {confidence}."
    first = own["top"][0]
    return (
        f"The network classifies its own map as {first_synonym(first['label'])} with a confidence of "
        f"{_spelled(first['p'])}; {one.short} gets {_spelled(own['p_class'])}."
    )


def _spelled(p: float) -> str:
    """Return a probability as text, ``more than 0.999`` in place of ``> 0.999``."""
    return probability(p).replace(">", "more than").replace("<", "less than")
