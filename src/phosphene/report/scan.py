"""The part of the report that says whether a backdoor was found, and shows its trigger."""

import base64
import io
import shlex
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from phosphene.backdoor.scan import ALPHA
from phosphene.concept_map import Job, to_image
from phosphene.errors import RunError
from phosphene.report.formats import percent
from phosphene.report.images import strength
from phosphene.report.scan_words import (
    SHORTCUT,
    effect,
    headline,
    in_short,
    most_deviating,
    rank,
    sentences,
    short,
    suspicions,
    where,
    working,
)
from phosphene.runs import RunDirectory
from phosphene.runs.scans import NAME, SCAN, read_file, read_scans

__all__ = ["headline", "most_deviating", "scan_section", "sentences"]

MOST_POINTS = 200  # classes on the strip: those that deviate most


def scan_section(run: RunDirectory, facts: "dict[str, Any] | None" = None) -> "dict[str, Any] | None":
    """Return what ``scan.html`` shows, or ``None`` if nothing has been scanned.

    Raises:
        RunError: a scan.json or one of the files that it names is damaged.
    """
    scans = [_view(one, found) for one, found in read_scans(run)]
    if not scans:
        return None
    own = (facts or {}).get("model", {}).get("sha256")
    scans.sort(key=lambda view: view["sha256"] != own)
    for view in scans:
        beside = "" if view["sha256"] == own else ", another network, scanned beside it"
        view["called"] = f"{view['name']}{beside}"
    alone = len(scans) == 1 and scans[0]["sha256"] == own
    glance = [
        {
            "mark": view["mark"],
            "text": view["glance"] if alone else f"{view['called']}: {view['glance']}",
            **({} if view["sha256"] == own else {"beside": "yes"}),
        }
        for view in scans
    ]
    first = (run.path / NAME).exists()  # a scan of the run itself; scans of other runs come below its images
    return {"first": first, "nav": "Backdoor scan", "glance": glance, "scans": scans, "several": len(scans) > 1}


def _view(run: RunDirectory, found: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a scan."""
    title, mark = headline(found)
    head, rows = most_deviating(found)
    works = working(found)
    return {
        "name": found["model"]["name"],
        "sha256": found["model"]["sha256"],
        "verdict": found["verdict"],
        "mark": mark,
        "title": title,
        "glance": f"{title} {in_short(works[0])}" if works and found["verdict"] == "backdoored" else title,
        "reasons": found["reasons"],
        "suspects": [_suspect(run, found, one) for one in found["suspects"]],
        "suspicions": suspicions(found),
        "strip": _strip(found),
        "head": head,
        "rows": rows,
        "classes": len(found["classes"]),
        "num_classes": found["num_classes"],
        "tested": found.get("tested", len(found["classes"])),
        "not_tested": found["not_tested"],
        "rank": rank(min(found["classes"], key=lambda row: row["p_value"]), found),
        "alpha": f"{found['alpha']:g}",
        "samples": found["samples"],
        "references": [one["name"] for one in found["references"]],
        "null": found["null"]["description"],
        "window": found["window"],
        "passes": f"{found['passes']:,}",
        "seconds": f"{found['seconds']:.0f}",
        "command": _command(found, run.path.name or "RUN"),
    }


def _suspect(run: RunDirectory, found: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a suspect."""
    mask, paint = _tensors(run, one["trigger"])
    side = max(mask.shape[-2:])
    return {
        "name": short(one),
        "index": one["index"],
        "works": one["works"],
        "rank": rank(one, found),
        "map": _map(run, one),
        "effect": effect(one),
        "where": where(one, found),
        "additive": one["additive"],
        "shortcut": SHORTCUT.format(name=repr(short(one))) if one["works"] else "",
        "picture": _png(_closer(run, one, paint)),
        "whole": _url(read_file(run, one["picture"])),
        "mask": _png(strength(mask)),
        "hard": side <= 128,  # larger ones are shown smoothed
        "pasted": _url(read_file(run, one["pasted"])) if one.get("pasted") else "",
        "examples": one["examples"],
        "asr": percent(one["asr"]),
        "grid": _grid(one["places"]) if len(one["places"]) > 1 else [],
        "file": one["picture"],
    }


def _closer(run: RunDirectory, one: dict[str, Any], paint: torch.Tensor) -> Image.Image:
    """Return the trigger alone: the visible part of what is pasted, or what is added, stretched."""
    if one["additive"]:
        reach = float(paint.abs().max()) or 1.0
        return to_image((0.5 + 0.5 * paint / reach).clamp(0, 1)).convert("RGB")
    data = read_file(run, one["picture"])
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            image.load()
            top, left, bottom, right = one["box"]
            return image.convert("RGBA").crop((left, top, right, bottom))
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise RunError(f"{run.path / one['picture']} is damaged: {error}. {SCAN.fix}") from None


def _tensors(run: RunDirectory, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Read the mask and the colours of a candidate trigger."""
    try:
        tensors = load_tensors(read_file(run, name))
        return tensors["mask"], tensors["paint"]
    except (KeyError, SafetensorError) as error:
        raise RunError(f"{run.path / name} is damaged: {error}. {SCAN.fix}") from None


def _map(run: RunDirectory, one: dict[str, Any]) -> str:
    """Return the image of the class's ordinary map, if there is one."""
    folder = run.folder(Job(one["index"], 0), one["label"])
    path = folder / "map.png"
    return _url(path.read_bytes()) if (folder / "map.json").exists() and path.exists() else ""


def _grid(places: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the places in rows as they lie on the image; every cell holds the success rate there."""
    lines: dict[int, list[dict[str, Any]]] = {}
    for place in sorted(places, key=lambda one: (one["top"], one["left"])):
        text = percent(place["success"])
        cell = {"heat": round(100 * place["success"]), "text": text}
        lines.setdefault(place["top"], []).append(cell)
    return list(lines.values())


def _strip(found: dict[str, Any]) -> dict[str, Any]:
    """Lay the classes' deviations out on a line, with the limit beyond which one is suspicious."""
    suspects = {one["index"] for one in found["suspects"]}
    rows = found["classes"][:MOST_POINTS]
    values, limit = [row["figure"] for row in rows], found["null"]["limit"]
    low, high = min([0.0, *values]), max([limit or 0.0, *values]) * 1.05
    span = (high - low) or 1.0

    def place(value: float) -> float:
        return round(2 + 96 * float(value - low) / span, 1)

    points = [
        {
            "x": place(row["figure"]),
            "mark": "bad" if row["index"] in suspects else "",
            "text": f"{short(row)}: its best window sends {percent(row['share'])} of the samples",
        }
        for row in reversed(rows)
    ]
    beyond = [short(row) for row in rows if limit is not None and row["figure"] > limit]
    said = f"beyond the limit: {', '.join(beyond[:5])}" if beyond else "no class lies beyond the limit"
    return {
        "points": points,
        "limit": None if limit is None else place(limit),
        "words": f"{len(rows)} classes on a line; {short(rows[0])} deviates most; {said}",
    }


def _command(found: dict[str, Any], out: str) -> str:
    """Return the command that makes the scan again."""
    settings = found["settings"]
    words = ["phosphene", "scan", found["model"]["spec"], "--samples", found["samples"]["spec"]]
    words += [word for one in found["references"] for word in ("--reference", one["spec"])]
    words += ["--alpha", f"{found['alpha']:g}"] if found["alpha"] != ALPHA else []
    words += ["--pairs"] if settings["pairs"] else []
    words += ["--seed", str(settings["seed"])] if settings["seed"] else []
    words += ["--precision", settings["precision"]] if settings["precision"] != "auto" else []
    words += ["--trust"] if found["model"].get("trust") else []
    return shlex.join([*words, "--out", out])


def _png(image: Image.Image) -> str:
    """Return an image as a data URL."""
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return _url(data.getvalue())


def _url(data: bytes) -> str:
    """Return the bytes of a PNG file as a data URL."""
    return "data:image/png;base64," + base64.b64encode(data).decode()
