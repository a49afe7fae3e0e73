"""The part of the report that says whether a backdoor was found, and shows its trigger."""

import math
import shlex
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from phosphene.backdoor.images import added_image, pasted_image
from phosphene.backdoor.scan import ALPHA
from phosphene.concept_map import Job
from phosphene.errors import RunError
from phosphene.formats import percent
from phosphene.image_files import encode, to_data_url
from phosphene.report import scan_words
from phosphene.report.images import weight_image
from phosphene.report.made import path_to_paste
from phosphene.report.scan_words import short_label
from phosphene.runs import RunDirectory
from phosphene.runs.scans import NAME, OTHERS, PLANTED, SCAN, read_scan_file, read_scans

MOST_POINTS = 200  # classes on the strip: those that deviate most
MOST_TICKS = 7  # numbers below the strip
MOST_HARD = 128  # pixels per side up to which an image is enlarged without smoothing


def scan_section(run: RunDirectory, facts: dict[str, Any]) -> "dict[str, Any] | None":
    """Return, as a dictionary for the template, what the report shows of a run's scans; ``None`` if nothing has been scanned.

    Raises:
        RunError: a scan.json or one of the files that it names is damaged.
    """
    scans, sha256 = read_scans(run), facts["model"]["sha256"]
    if not scans:
        return None
    own = next((_view(one, found) for one, found in scans if found["model"]["sha256"] == sha256), None)
    return {
        "first": (run.path / NAME).exists(),  # else the scan is of a run below, and comes after the maps
        "nav": "Backdoor scan",
        # Clean has no tick: it does not say that all is well.
        "glance": [{"mark": own["mark"].replace("good", ""), "text": own["glance"]}] if own else [],
        "own": own,
        "others": [
            {"name": found["model"]["name"], "verdict": found["verdict"], "folder": f"{OTHERS}/{one.path.name}"}
            for one, found in scans
            if found["model"]["sha256"] != sha256
        ],
        "below": run.path.parent.name == OTHERS and (run.path.parent.parent / "run.json").is_file(),
    }


def _view(run: RunDirectory, found: dict[str, Any]) -> dict[str, Any]:
    """Return, as a dictionary for the template, the content of one ``scan.json``, with words and images made from it."""
    title, mark = scan_words.headline(found)
    return {
        "found": found,
        "title": title,
        "mark": mark,
        "glance": scan_words.glance(found),
        "caveat": scan_words.caveat(found),
        "suspects": [_suspect(run, found, one) for one in found["suspects"]],
        "all_to_all": _all_to_all(run, found),
        "suspicions": scan_words.suspicions(found),
        "unlike": scan_words.unlike(found),
        "left_out": scan_words.left_out(found),
        "not_a_rate": scan_words.NOT_A_RATE if found["null"].get("networks") else "",
        "strip": _deviation_chart(found),
        "most_deviating": scan_words.most_deviating(found),
        "rank": scan_words.rank(min(found["classes"], key=lambda row: row["p_value"]), found),
        "command": _command(found, path_to_paste(run)),
    }


def _suspect(run: RunDirectory, found: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    """Return, as a dictionary for the template, a suspect's entry in ``scan.json``, with words and images made from it."""
    mask, closer = _trigger(run, one)
    planted = f"{one['picture'].rpartition('/')[0]}/{PLANTED}"
    return {
        **one,
        "name": short_label(one),
        "rank": scan_words.rank(one, found),
        "map": _map_image(run, one),
        "effect": scan_words.effect(one),
        "where": scan_words.size_and_place(one, found),
        "shortcut": scan_words.shortcut(one),
        "closer": to_data_url(encode(closer, optimize=True)),
        "whole": to_data_url(read_scan_file(run, one["picture"])),
        "mask": to_data_url(encode(weight_image(mask), optimize=True)),
        "planted": to_data_url(read_scan_file(run, planted)) if (run.path / planted).is_file() else "",
        "hard": max(mask.shape[-2:]) <= MOST_HARD,
        "pasted": to_data_url(read_scan_file(run, one["pasted"])) if one.get("pasted") else "",
    }


def _all_to_all(run: RunDirectory, found: dict[str, Any]) -> "dict[str, Any] | None":
    """Return, as a dictionary for the template, a window that moves every class to another, with images; ``None`` if none works."""
    entry = scan_words.all_to_all(found)
    if entry is None or "trigger" not in entry:  # scans of earlier versions have no file of it
        return entry
    _, closer = _trigger(run, {**entry, "additive": False})
    images = {"closer": encode(closer, optimize=True), "whole": read_scan_file(run, entry["picture"])}
    words = {"where": scan_words.box_in_words(entry["box"], found)}
    return entry | words | {name: to_data_url(image) for name, image in images.items()}


def _trigger(run: RunDirectory, one: dict[str, Any]) -> tuple[torch.Tensor, Image.Image]:
    """Read the file that a suspect's entry names; return mask (1, h, w) and PIL image, window cut out or pattern amplified; or RunError.

    Raises:
        RunError: its file or its entry in ``scan.json`` is damaged.
    """
    try:
        tensors = load_tensors(read_scan_file(run, one["trigger"]))
        mask, paint = tensors["mask"], tensors["paint"]
        if one["additive"]:
            reach = float(paint.abs().max()) or 1.0
            return mask, added_image(0.5 * paint / reach)
        top, left, bottom, right = one["box"]
        return mask, pasted_image(mask, paint).crop((left, top, right, bottom))
    except (KeyError, ValueError, SafetensorError) as error:
        raise RunError(f"{run.path / one['trigger']} is damaged: {error}. {SCAN.fix}") from None


def _map_image(run: RunDirectory, one: dict[str, Any]) -> str:
    """Return the image of a suspect class's ordinary map as a data URL; empty text if there is none."""
    folder = run.folder(Job(one["index"], 0), one["label"])
    path = folder / "map.png"
    return to_data_url(path.read_bytes()) if (folder / "map.json").exists() and path.exists() else ""


def _deviation_chart(found: dict[str, Any]) -> dict[str, Any]:
    """Return a chart for the template: the classes' deviations and the limit beyond which one is a suspect, in percent of its width."""
    suspects = {one["index"] for one in found["suspects"]}
    rows = found["classes"][:MOST_POINTS]
    values, limit = [row["figure"] for row in rows], found["null"]["limit"]
    low, high = min([0.0, *values]), max([limit or 0.0, *values]) * 1.05
    span = (high - low) or 1.0

    def place(value: float) -> float:
        """Return where a deviation lies on the chart's line, in percent of the line's width."""
        return round(2 + 96 * float(value - low) / span, 1)

    points = [
        {
            "x": place(row["figure"]),
            "mark": "bad" if row["index"] in suspects else "",
            "text": f"{short_label(row)}: the best window found sends {percent(row['share'])} of the samples",
        }
        for row in reversed(rows)
    ]
    step = next(size for size in (10.0**k * m for k in range(-3, 9) for m in (1, 2, 5)) if span / size <= MOST_TICKS)
    ticks = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    beyond = [short_label(row) for row in rows if row["p_value"] < found["alpha"]]
    said = f"suspects: {', '.join(beyond[:5])}" if beyond else "no class is a suspect"
    return {
        "points": points,
        "limit": None if limit is None else {"x": place(limit), "text": f"{limit:.1f}"},
        "ticks": [{"x": place(tick), "text": f"{tick:g}"} for tick in ticks],
        "words": f"{len(rows)} classes on a line; {short_label(rows[0])} deviates most; {said}",
    }


def _command(found: dict[str, Any], out: str) -> str:
    """Return the shell command that makes the scan again, into the run directory ``out``."""
    settings = found["settings"]
    words = ["phosphene", "scan", found["model"]["spec"], "--samples", found["samples"]["spec"]]
    words += [word for one in found["references"] for word in ("--reference", one["spec"])]
    words += ["--alpha", f"{found['alpha']:g}"] if found["alpha"] != ALPHA else []
    words += ["--pairs"] if settings["pairs"] else []
    words += ["--seed", str(settings["seed"])] if settings["seed"] else []
    words += ["--precision", settings["precision"]] if settings["precision"] != "auto" else []
    words += ["--trust"] if found["model"].get("trust") else []
    return shlex.join([*words, "--out", out])
