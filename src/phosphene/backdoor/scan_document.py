"""A verdict as ``scan.json`` holds it, and what determines one."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from phosphene.backdoor.all_to_all import AllToAll
from phosphene.backdoor.pairs import easy_pairs
from phosphene.backdoor.verdict import Suspect, Verdict
from phosphene.labels import Labels
from phosphene.runs.facts import versions
from phosphene.runs.scans import FOLDER, suspect_folder
from phosphene.version import __version__

# What scan.json holds as it is.
VERDICT = ("verdict", "p_value", "reasons", "num_classes", "tested", "window", "not_tested", "passes")
SUSPECT = ("index", "label", "p_value", "works")
CANDIDATE = ("interval", "tried", "additive", "size", "box")


@cache
def method_sha256() -> str:
    """Return a hash of phosphene's version and the files of its ``backdoor/`` (code, null model); scans with another hash are outdated."""
    here, digest = Path(__file__).parent, hashlib.sha256(__version__.encode())
    for path in sorted([*here.glob("*.py"), *here.glob("*.json")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def scan_document(verdict: Verdict, request: Mapping[str, Any], labels: Labels) -> dict[str, Any]:
    """Return the content of ``scan.json``, as plain JSON values, for a verdict and the request that led to it; nothing is written.

    Args:
        verdict: Result of the scan.
        request: What determines it: ``model``, ``samples``, ``references``, ``alpha``, ``settings`` and ``method``.
        labels: Names of the classes.
    """
    found = {
        **{name: getattr(verdict, name) for name in VERDICT},
        "suspects": [_suspect_entry(one, labels) for one in verdict.suspects],
        "classes": [asdict(one) for one in verdict.classes],
        "easy_pairs": _easy_pair_entries(verdict, labels),
        "all_to_all": None if verdict.all_to_all is None else _all_to_all_entry(verdict.all_to_all, labels),
        "null": {
            "description": verdict.null,
            "unlike": verdict.unlike,
            "networks": len(verdict.null_figures),
            "limit": verdict.limit,
            "figures": verdict.null_figures,
        },
        **request,
        "versions": versions(),
        "seconds": round(float(verdict.seconds), 3),
    }
    plain: dict[str, Any] = json.loads(json.dumps(found), parse_constant=_null)
    return plain


def _suspect_entry(one: Suspect, labels: Labels) -> dict[str, Any]:
    """Return a suspect's entry in ``scan.json``: its p-value, its candidate trigger's size and success, examples, and file paths."""
    candidate, folder = one.candidate, suspect_folder(one.index, one.label)
    examples = [{"before": labels.short(a), "after": labels.short(b)} for a, b in candidate.predicted]
    return {
        **{name: getattr(one, name) for name in SUSPECT},
        **{name: getattr(candidate, name) for name in CANDIDATE},
        "asr": candidate.success,
        "next": {"label": labels[candidate.next_class], "asr": candidate.next_success},
        "places": [{"top": top, "left": left, "success": rate} for (top, left), rate in candidate.places.items()],
        "trigger": f"{folder}/trigger.safetensors",
        "picture": f"{folder}/trigger.png",
        "pasted": f"{folder}/pasted.png" if examples else None,
        "examples": examples,
    }


def _easy_pair_entries(verdict: Verdict, labels: Labels) -> list[dict[str, Any]]:
    """Return the list ``easy_pairs`` of ``scan.json``: source, target and share of samples moved of the easiest pairs; may be empty."""
    easy = easy_pairs(verdict.pairs or (), [one.index for one in verdict.suspects])
    routes = [(one.route.source, one.route.target, one.measured.share) for one in easy]
    return [{"source": labels.short(a or 0), "target": labels.short(b), "share": share} for a, b, share in routes]


def _all_to_all_entry(found: AllToAll, labels: Labels) -> dict[str, Any]:
    """Return an AllToAll as the entry ``all_to_all`` of ``scan.json``: figure, p-value, box, files, each class's target and share moved."""
    rows = [
        {"source": labels.short(source), "target": labels.short(target), "share": found.shares[source]}
        for source, target in found.targets.items()
    ]
    return {
        "figure": found.figure,
        "p_value": found.p_value,
        "works": found.works,
        "box": list(found.box),
        "trigger": f"{FOLDER}/all-to-all/trigger.safetensors",
        "picture": f"{FOLDER}/all-to-all/trigger.png",
        "classes": rows,
    }


def _null(name: str) -> None:
    """Return ``None`` whatever the name: ``json.loads`` calls it in place of NaN and infinity, which JSON does not have."""
