"""A verdict as ``scan.json`` holds it, written and read, and what determines one."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from phosphene.backdoor.all_to_all import AllToAll
from phosphene.backdoor.candidate import Candidate
from phosphene.backdoor.images import read_trigger
from phosphene.backdoor.pairs import easy_pairs
from phosphene.backdoor.verdict import ClassRow, Suspect, Verdict
from phosphene.backdoor.window import Window
from phosphene.labels import Labels, first_synonym
from phosphene.metrics.bootstrap import wilson
from phosphene.runs import RunDirectory
from phosphene.runs.facts import versions
from phosphene.runs.scans import CLASS_FIELDS, FOLDER, SCAN, suspect_folder
from phosphene.version import __version__

# What scan.json holds as it is; a tuple is a list there.
VERDICT_FIELDS = ("verdict", "p_value", "reasons", "num_classes", "tested", "window", "not_tested", "passes")
SUSPECT_FIELDS = ("index", "label", "p_value", "works", "contested_by")
CANDIDATE_FIELDS = ("interval", "tried", "additive", "box")


@cache
def method_sha256() -> str:
    """Return a hash of phosphene's version and of the files of ``backdoor/``: its code and null model.

    Scans with another hash are outdated.
    """
    here, digest = Path(__file__).parent, hashlib.sha256(__version__.encode())
    for path in sorted([*here.glob("*.py"), *here.glob("*.json")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def scan_document(verdict: Verdict, request: Mapping[str, Any], labels: Labels) -> dict[str, Any]:
    """Return the content of ``scan.json`` for a verdict, as plain JSON values; nothing is written.

    Args:
        verdict: Result of the scan.
        request: What determines it: ``model``, ``samples``, ``references``, ``alpha``, ``settings`` and ``method``.
        labels: Names of the classes.
    """
    document = {
        "schema": SCAN.schema,
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: getattr(verdict, name) for name in VERDICT_FIELDS},
        "warnings": verdict.warnings,
        "suspects": [_suspect_entry(one, labels) for one in verdict.suspects],
        "classes": [asdict(one) for one in verdict.classes],
        "labels": list(labels),
        "easy_pairs": _easy_pair_entries(verdict, labels),
        "all_to_all": None if verdict.all_to_all is None else _all_to_all_entry(verdict.all_to_all, labels),
        "null": {
            "description": verdict.null,
            "unlike": verdict.unlike,
            "networks": len(verdict.null_figures),
            "limit": verdict.limit,
            "figures": verdict.null_figures,
            "left_out": verdict.left_out,
        },
        **request,
        "seconds": round(float(verdict.seconds), 3),
    }
    # JSON does not have infinity, which a limit can be: null stands for it.
    values: dict[str, Any] = json.loads(json.dumps(document), parse_constant=lambda _: None)
    return values


def _suspect_entry(suspect: Suspect, labels: Labels) -> dict[str, Any]:
    """Return the entry of a suspect in ``scan.json``: p-value, candidate trigger, examples and file paths."""
    candidate, folder = suspect.candidate, suspect_folder(suspect.index, suspect.label)
    examples = [{"before": labels.short(a), "after": labels.short(b)} for a, b in candidate.predicted]
    return {
        **{name: getattr(suspect, name) for name in SUSPECT_FIELDS},
        **{name: getattr(candidate, name) for name in CANDIDATE_FIELDS},
        "size": candidate.size,
        "asr": candidate.success,
        "next": {"label": labels[candidate.next_class], "asr": candidate.next_success},
        "places": [{"top": top, "left": left, "success": rate} for (top, left), rate in candidate.places.items()],
        "trigger": f"{folder}/trigger.safetensors",
        "picture": f"{folder}/trigger.png",
        "pasted": f"{folder}/pasted.png" if examples else None,
        "examples": examples,
    }


def map_crop_entry(crop: Window, map_sha256: str) -> dict[str, Any]:
    """Return the entry ``map_crop`` of a suspect in ``scan.json``: the crop's box, how many samples it moves, and the map's hash."""
    effect = crop.effect
    return {
        "box": list(crop.box),
        "success": effect.share,
        "interval": list(wilson(effect.hits, effect.tried)),
        "tried": effect.tried,
        "map_sha256": map_sha256,
    }


def _easy_pair_entries(verdict: Verdict, labels: Labels) -> list[dict[str, Any]]:
    """Return the entry ``easy_pairs`` of ``scan.json``: source, target and share of samples moved per pair."""
    windows = easy_pairs(verdict.pairs or (), [one.index for one in verdict.suspects])
    routes = [(one.route.source, one.route.target, one.effect.share) for one in windows]
    return [{"source": labels.short(a or 0), "target": labels.short(b), "share": share} for a, b, share in routes]


def _all_to_all_entry(all_to_all: AllToAll, labels: Labels) -> dict[str, Any]:
    """Return the entry ``all_to_all`` of ``scan.json``: figure, p-value, box, files and target per class."""
    rows = [
        {"source": labels.short(source), "target": labels.short(target), "share": all_to_all.shares[source]}
        for source, target in all_to_all.targets.items()
    ]
    return {
        "figure": all_to_all.figure,
        "p_value": all_to_all.p_value,
        "works": all_to_all.works,
        "box": list(all_to_all.box),
        "trigger": f"{FOLDER}/all-to-all/trigger.safetensors",
        "picture": f"{FOLDER}/all-to-all/trigger.png",
        "classes": rows,
    }


def read_verdict(run: RunDirectory, document: Mapping[str, Any]) -> Verdict:
    """Return the verdict that the ``scan.json`` of a run holds, with the triggers from the files that it names.

    What a run does not hold is missing: ``pairs`` is ``None``, candidates have no samples that they are shown on, and an
    all-to-all window has the targets among the measured classes alone.

    Args:
        run: The run.
        document: Content of its ``scan.json``.

    Raises:
        RunError: the file of a trigger is damaged.
    """
    null, samples = document["null"], document["samples"]
    return Verdict(
        **_fields(document, (*VERDICT_FIELDS, "alpha", "seconds")),
        classes=tuple(ClassRow(**_fields(one, CLASS_FIELDS)) for one in document["classes"]),
        suspects=tuple(_read_suspect(run, one, document) for one in document["suspects"]),
        pairs=None,
        all_to_all=_read_all_to_all(run, document),
        null=null["description"],
        unlike=str(null.get("unlike", "")),
        null_figures=tuple(null.get("figures", ())),
        limit=math.inf if null["limit"] is None else null["limit"],
        model=document["model"]["name"],
        samples=samples["spec"],
        natural=samples["natural"],
        references=tuple(one["name"] for one in document["references"]),
        left_out=tuple(null.get("left_out", ())),
        warnings=tuple(document.get("warnings", ())),
    )


def _fields(entry: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the named fields of an entry of ``scan.json``, lists as tuples."""
    return {name: tuple(entry[name]) if isinstance(entry[name], list) else entry[name] for name in names}


def _read_suspect(run: RunDirectory, entry: Mapping[str, Any], document: Mapping[str, Any]) -> Suspect:
    """Return the suspect of an entry of ``scan.json``."""
    _, paint = read_trigger(run, entry)
    candidate = Candidate(
        **_fields(entry, ("index", *CANDIDATE_FIELDS)),
        paint=paint,
        success=entry["asr"],
        next_class={one["label"]: one["index"] for one in document["classes"]}[entry["next"]["label"]],
        next_success=entry["next"]["asr"],
        places={(one["top"], one["left"]): one["success"] for one in entry["places"]},
        before=torch.empty(0, *paint.shape, dtype=torch.uint8),
        predicted=(),
    )
    return Suspect(
        entry["index"],
        entry["label"],
        entry["p_value"],
        candidate,
        far_below_alpha=entry["p_value"] < document["alpha"] / 2,
        contested_by=tuple(entry.get("contested_by", ())),
    )


def _read_all_to_all(run: RunDirectory, document: Mapping[str, Any]) -> "AllToAll | None":
    """Return the all-to-all window of a ``scan.json``; ``None`` without one, or if a scan of an earlier version kept no file of it."""
    entry = document["all_to_all"]
    if entry is None or "trigger" not in entry:
        return None
    indices = {first_synonym(one["label"]): one["index"] for one in document["classes"]}
    routes = [one for one in entry["classes"] if {one["source"], one["target"]} <= indices.keys()]
    return AllToAll(
        box=tuple(entry["box"]),
        paint=read_trigger(run, entry)[1],
        targets={indices[one["source"]]: indices[one["target"]] for one in routes},
        shares={indices[one["source"]]: one["share"] for one in routes},
        figure=entry["figure"],
        p_value=entry["p_value"],
        works=entry["works"],
    )
