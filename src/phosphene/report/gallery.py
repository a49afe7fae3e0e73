"""The part of the report that shows the maps themselves."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from phosphene.concept_map import ConceptMap, Job, render, to_image
from phosphene.labels import first_synonym
from phosphene.report.curves import curve
from phosphene.report.pictures import MOST_PIXELS, data_url, scale_for, signed, strength, webp_url
from phosphene.report.words import count, percent, probability
from phosphene.runs import RunDirectory
from phosphene.runs.atomic import read_json
from phosphene.runs.frames import NAME as FRAMES
from phosphene.runs.readings import Reader, read_readings

# Clipped so little that the page can show every fainter contrast from it; the stronger ones come from the picture.
FAINT = 0.07
# A page's pictures and animations, before they are written as text: 14 MB then. What a pixel of a map takes in its four
# pictures is an upper end, measured on noise; animations get what is left, and the rest of them stay beside their maps.
MOST_BYTES = 10_500_000
BYTES_A_PIXEL = 1.3


class Gallery:
    """The maps of a run, one after the other: a page of a thousand maps never holds their arrays at once.

    Args:
        run: A run directory.
        facts: Its run.json.
        examples: Classes that a natural picture stands for.
        keep: Called with every map that has been shown, for those who want its picture too.
    """

    def __init__(
        self,
        run: RunDirectory,
        facts: dict[str, Any],
        examples: "Mapping[int, Any] | None" = None,
        keep: "Callable[[ConceptMap], None] | None" = None,
    ) -> None:
        self.run, self.facts, self.keep = run, facts, keep
        self.examples = examples or {}
        self.notes = _notes(run, facts)
        own = facts["model"]["sha256"]
        self.readers = sorted(read_readings(run), key=lambda one: one.sha256 != own)
        self.scale = scale_for(max(1, len(self.notes)), tuple(facts["model"]["input"]["size"]))
        pixels = max(1, len(self.notes)) * math.prod(facts["model"]["input"]["size"])
        self.quality = 88 if pixels > MOST_PIXELS / 4 else 94
        self.frames_left = MOST_BYTES - BYTES_A_PIXEL * pixels * self.scale**2

    @property
    def several(self) -> bool:
        """Whether a class has more than one map."""
        return len({index for index, _ in self.notes}) < len(self.notes)

    @property
    def others(self) -> list[Reader]:
        """Readers other than the source itself."""
        return [one for one in self.readers if one.sha256 != self.facts["model"]["sha256"]]

    def glance(self) -> list[dict[str, str]]:
        """Say in a line how the source reads its own pictures, and what its maps do to samples."""
        total = len(self.notes)
        right = sum(self._reads_right(place, note) for place, note in self.notes.items())
        name = self.facts["model"]["name"]
        lines = [
            {
                "mark": "good" if right >= 0.9 * total else "unsure",
                "text": f"{name} recognises the class in {right} of its {count(total, 'picture')}.",
            }
        ]
        rates = sorted(note["targeting_rate"] for note in self.notes.values() if note["targeting_rate"] is not None)
        if rates:
            middle = rates[len(rates) // 2]
            text = (
                f"A class's whole picture, added to unseen samples, turns {percent(middle)} of them into the class "
                "(median): the pictures hold what the network looks for. That is no backdoor, which needs far less."
            )
            lines.append({"mark": "good" if middle >= 0.5 else "unsure", "text": text})
        return lines

    def _reads_right(self, place: tuple[int, int], note: dict[str, Any]) -> bool:
        for reader in self.readers:
            if reader.sha256 == self.facts["model"]["sha256"] and place in reader.maps:
                return bool(reader.maps[place]["top"][0]["index"] == place[0])
        return bool(note["p_class"] >= 0.5)

    def cards(self) -> Iterator[dict[str, Any]]:
        """Yield what ``card.html`` shows of each map."""
        for one in self.run.maps():
            yield self._card(one)
            if self.keep is not None:
                self.keep(one)

    def _card(self, one: ConceptMap) -> dict[str, Any]:
        place = (one.index, one.seed)
        readings = [_reading(reader, place, own=reader not in self.others) for reader in self.readers]
        shown = [found for found in readings if found]
        others = [found for found in shown if not found["own"]]
        right = sum(found["right"] for found in others)
        folder = self.run.folder(Job(*place), one.label)
        film = folder / FRAMES
        frames = self._frames(film)
        return {
            "id": f"map-{one.index}-{one.seed}",
            "label": one.label,
            "short": one.short,
            "index": one.index,
            "seed": one.seed,
            "p": one.p_class,
            "p_text": probability(one.p_class),
            "sentence": _sentence(one, next((found for found in shown if found["own"]), None)),
            "targeting": -1.0 if one.targeting_rate is None else one.targeting_rate,
            "targeting_text": "not measured" if one.targeting_rate is None else percent(one.targeting_rate),
            "others": sum(found["p_class"] for found in others) / len(others) if others else -1.0,
            "others_text": f"{right} of {len(others)}" if others else "",
            "readings": shown,
            "contrast": one.contrast,
            "faint_contrast": FAINT,
            "picture": data_url(one.image, self.scale, self.quality),
            "faint": data_url(to_image(render(one.nu, FAINT)), self.scale, 85),
            "signed": data_url(signed(one.nu), self.scale, 75),
            "xi": data_url(strength(one.xi), min(self.scale, 112 / max(one.xi.shape[-2:])), 75),
            "loss": curve(one.loss, "Loss"),
            "hits": curve(one.hits, "Samples read as the class", top=1.0, share=True),
            "frames": frames,
            "frames_elsewhere": f"{folder.parent.name}/{folder.name}/{FRAMES}" if film.is_file() and not frames else "",
            "example": one.index if one.index in self.examples else None,
            "passes": f"{one.passes:,}",
            "seconds": f"{one.seconds:.1f}",
        }

    def _frames(self, path: Path) -> "str | None":
        """Return the animation of how a map grew, where there is one and the page still has room for it."""
        if not path.is_file() or path.stat().st_size > self.frames_left:
            return None
        data = path.read_bytes()
        self.frames_left -= len(data)
        return webp_url(data)


def _notes(run: RunDirectory, facts: dict[str, Any]) -> dict[tuple[int, int], dict[str, Any]]:
    """Read every finished map's map.json, without its arrays."""
    notes = {}
    for row in facts["jobs"]:
        path = run.folder(Job(row["index"], row["seed"]), row["label"]) / "map.json"
        if path.exists():
            note = read_json(path, fix="Run the map again.")
            known = isinstance(note, dict) and "p_class" in note and "targeting_rate" in note
            notes[row["index"], row["seed"]] = note if known else {"p_class": 0.0, "targeting_rate": None}
    return notes


def _reading(reader: Reader, place: tuple[int, int], *, own: bool) -> "dict[str, Any] | None":
    found = reader.maps.get(place)
    if not found or not found["top"]:
        return None
    rows = [
        {
            "label": first_synonym(one["label"]),
            "p": probability(one["p"]),
            "share": one["p"],
            "bar": round(100 * one["p"], 1),
            "right": one["index"] == found["class"],
        }
        for one in found["top"]
    ]
    return {
        "name": reader.name,
        "own": own,
        "rows": rows,
        "right": rows[0]["right"],
        "p_class": found["p_class"],
        "p_text": probability(found["p_class"]),
        "listed": any(row["right"] for row in rows),
    }


def _sentence(one: ConceptMap, own: "dict[str, Any] | None") -> str:
    if own is None and one.p_class < 0.5:
        return f"The network gives its own picture no more than {probability(one.p_class)} of {one.short}."
    if own is None or own["right"]:
        return f"The network reads its own picture as {one.short} with {_said(one.p_class)}."
    first = own["rows"][0]
    said = f"The network reads its own picture as {first['label']} with {_said(first['share'])}"
    return f"{said}; {one.short} gets {own['p_text']}."


def _said(p: float) -> str:
    return probability(p).replace(">", "more than").replace("<", "less than")
