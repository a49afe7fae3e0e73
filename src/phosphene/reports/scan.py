"""The part of the report that says whether a backdoor was found, and shows its trigger."""

import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from phosphene.backdoor.images import read_trigger, trigger_image
from phosphene.backdoor.probes import HELD_OUT, SEARCH
from phosphene.concept_map import Job
from phosphene.formats import percent
from phosphene.image_files import encode, to_data_url
from phosphene.reports import scan_caveats, scan_words
from phosphene.reports.images import weight_image
from phosphene.reports.scan_words import short_label
from phosphene.runs import RunDirectory
from phosphene.runs.map_json import read_map_json
from phosphene.runs.scans import NAME, OTHERS, PLANTED, read_scan_file, read_scans, scan_of

MOST_POINTS = 200  # classes on the strip: those that deviate most
MOST_TICKS = 7  # numbers below the strip
MAX_PIXELATED_SIDE = 128  # pixels per side up to which an image is enlarged without smoothing


def scan_section(run: RunDirectory, facts: dict[str, Any]) -> "dict[str, Any] | None":
    """Return the template's facts on a run's scans; ``None`` if nothing has been scanned.

    Raises:
        RunError: a scan.json or one of the files that it names is damaged.
    """
    scans, sha256 = read_scans(run), facts["model"]["sha256"]
    if not scans:
        return None
    own = scan_of(run, sha256)
    view = own and _scan_view(*own)
    return {
        "first": (run.path / NAME).exists(),  # else the scan is of a run below, and comes after the maps
        "nav": "Backdoor scan",
        # Clean has no tick: it does not say that all is well.
        "glance": [{"mark": view["mark"].replace("good", ""), "text": view["glance"]}] if view else [],
        "own": view,
        "others": [
            {"name": scan["model"]["name"], "verdict": scan["verdict"], "folder": f"{OTHERS}/{directory.path.name}"}
            for directory, scan in scans
            if scan["model"]["sha256"] != sha256
        ],
        "below": run.path.parent.name == OTHERS and (run.path.parent.parent / "run.json").is_file(),
    }


def _scan_view(run: RunDirectory, scan: dict[str, Any]) -> dict[str, Any]:
    """Return the template's facts on one ``scan.json``: its content, with words and images made from it."""
    title, mark = scan_words.headline(scan)
    return {
        "found": scan,
        "title": title,
        "mark": mark,
        "glance": scan_words.glance(scan),
        "caveat": scan_caveats.caveat(scan),
        "suspects": [_suspect_view(run, scan, one) for one in scan["suspects"]],
        "all_to_all": _all_to_all_view(run, scan),
        "suspicions": scan_words.suspicions(scan),
        "unlike": scan_words.unlike(scan),
        "left_out": scan_words.left_out(scan),
        "most_samples": SEARCH + HELD_OUT,
        "many_classes": scan_caveats.has_many_classes(scan),
        "not_a_rate": scan_caveats.not_a_rate(scan),
        "strip": _deviation_chart(scan),
        "most_deviating": scan_words.most_deviating(scan),
        "rank": scan_words.rank(min(scan["classes"], key=lambda row: row["p_value"]), scan),
    }


def _suspect_view(run: RunDirectory, scan: dict[str, Any], suspect: dict[str, Any]) -> dict[str, Any]:
    """Return the template's facts on a suspect: its entry in ``scan.json``, with words and images made from it."""
    mask, close_up = _trigger(run, suspect)
    map_folder = run.folder(Job(suspect["index"], 0), suspect["label"])
    has_map = (map_folder / "map.json").exists() and (map_folder / "map.png").exists()
    planted_path = f"{suspect['picture'].rpartition('/')[0]}/{PLANTED}"
    return {
        **suspect,
        "name": short_label(suspect),
        "named": scan_words.named(suspect),
        "rank": scan_words.rank(suspect, scan),
        "map": to_data_url((map_folder / "map.png").read_bytes()) if has_map else "",
        "crop": _map_crop_image(map_folder, suspect) if has_map and "map_crop" in suspect else "",
        "crop_effect": scan_words.map_crop(suspect),
        "effect": scan_words.effect(suspect, scan),
        "where": scan_words.size_and_place(suspect, scan),
        "shortcut": scan_words.shortcut(suspect),
        "closer": to_data_url(encode(close_up, optimize=True)),
        "whole": to_data_url(read_scan_file(run, suspect["picture"])),
        "mask": to_data_url(encode(weight_image(mask), optimize=True)) if suspect["additive"] else "",
        "planted": to_data_url(read_scan_file(run, planted_path)) if (run.path / planted_path).is_file() else "",
        "hard": max(mask.shape[-2:]) <= MAX_PIXELATED_SIDE,
        "pasted": to_data_url(read_scan_file(run, suspect["pasted"])) if suspect.get("pasted") else "",
    }


def _all_to_all_view(run: RunDirectory, scan: dict[str, Any]) -> "dict[str, Any] | None":
    """Return the template's facts on a window that moves every class to another; ``None`` if none works."""
    entry = scan_words.all_to_all(scan)
    if entry is None or "trigger" not in entry:  # scans of earlier versions have no file of it
        return entry
    _, close_up = _trigger(run, {**entry, "additive": False})
    images = {"closer": encode(close_up, optimize=True), "whole": read_scan_file(run, entry["picture"])}
    sentences = {"where": scan_words.box_in_words(entry["box"], scan)}
    return entry | sentences | {name: to_data_url(image) for name, image in images.items()}


def _trigger(run: RunDirectory, entry: dict[str, Any]) -> tuple[torch.Tensor, Image.Image]:
    """Return the mask (1, h, w) and an image of the candidate trigger whose file an entry of ``scan.json`` names.

    The image is the window cut out, or an additive pattern amplified.

    Raises:
        RunError: its file or its entry in ``scan.json`` is damaged.
    """
    mask, paint = read_trigger(run, entry)
    if entry["additive"]:
        peak = float(paint.abs().max()) or 1.0
        return mask, trigger_image(mask, 0.5 * paint / peak, additive=True)
    top, left, bottom, right = entry["box"]
    return mask, trigger_image(mask, paint, additive=False).crop((left, top, right, bottom))


def _map_crop_image(folder: Path, suspect: dict[str, Any]) -> str:
    """Return the measured crop of a suspect's map, which is in ``folder``, as a data URL; empty text if the map was made anew since."""
    if suspect["map_crop"]["map_sha256"] != read_map_json(folder)["map_sha256"]:
        return ""
    top, left, bottom, right = suspect["map_crop"]["box"]
    with Image.open(folder / "map.png") as image:
        return to_data_url(encode(image.crop((left, top, right, bottom)), optimize=True))


def _deviation_chart(scan: dict[str, Any]) -> dict[str, Any]:
    """Return a chart of the classes' deviations, and of the limit beyond which a class is a suspect."""
    suspects = {one["index"] for one in scan["suspects"]}
    rows = scan["classes"][:MOST_POINTS]
    values, limit = [row["figure"] for row in rows], scan["null"]["limit"]
    low, high = min([0.0, *values]), max([limit or 0.0, *values]) * 1.05
    span = (high - low) or 1.0

    def percent_of_width(value: float) -> float:
        return round(2 + 96 * float(value - low) / span, 1)

    points = [
        {
            "x": percent_of_width(row["figure"]),
            "mark": "bad" if row["index"] in suspects else "",
            "text": f"{short_label(row)}: the best window found sends {percent(row['share'])} of the samples",
        }
        for row in reversed(rows)
    ]
    step = next(size for size in (10.0**k * m for k in range(-3, 9) for m in (1, 2, 5)) if span / size <= MOST_TICKS)
    ticks = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    suspect_names = [short_label(row) for row in rows if row["p_value"] < scan["alpha"]]
    suspects_text = f"suspects: {', '.join(suspect_names[:5])}" if suspect_names else "no class is a suspect"
    return {
        "points": points,
        "limit": None if limit is None else {"x": percent_of_width(limit), "text": f"{limit:.1f}"},
        "ticks": [{"x": percent_of_width(tick), "text": f"{tick:g}"} for tick in ticks],
        "words": f"{len(rows)} classes on a line; {short_label(rows[0])} deviates most; {suspects_text}",
    }
