"""A scan as SARIF 2.1.0, which code-scanning dashboards read (OASIS, "Static Analysis Results Interchange Format").

A clean network has no results, so that an alert of an earlier scan is closed.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from phosphene.backdoor.verdict import BACKDOORED, INCONCLUSIVE
from phosphene.prompts import split_spec
from phosphene.report.scan_words import TITLES, effect, evidence
from phosphene.runs.directory import RunDirectory
from phosphene.runs.scans import NAME
from phosphene.version import __version__

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
SUSPECTED, UNDECIDED = "backdoor-suspected", "scan-inconclusive"
TAGS = ["security", "machine-learning"]
# The security severity is a number from 0 to 10, like that of CVSS, as text.
RULES: list[dict[str, Any]] = [
    {
        "id": SUSPECTED,
        "name": "BackdoorSuspected",
        "shortDescription": {"text": TITLES[BACKDOORED]},
        "fullDescription": {"text": "A class deviates further than all but a share alpha of clean networks' classes."},
        "help": {"text": "Look at the candidate trigger before deployment; train again from data that you trust."},
        "defaultConfiguration": {"level": "error"},
        "properties": {"security-severity": "8.5", "tags": TAGS},
    },
    {
        "id": UNDECIDED,
        "name": "ScanInconclusive",
        "shortDescription": {"text": TITLES[INCONCLUSIVE]},
        "fullDescription": {"text": "There are too few classes, or one deviates and no candidate trigger works."},
        "help": {"text": "Give clean networks of the same kind with --reference, and natural samples with --samples."},
        "defaultConfiguration": {"level": "warning"},
        "properties": {"security-severity": "4.0", "tags": TAGS},
    },
]


def sarif(found: Mapping[str, Any], place: "str | None") -> dict[str, Any]:
    """Return a scan, as in ``scan.json``, as a SARIF 2.1.0 document whose alerts point at the file ``place``, a relative URI or ``None``.

    Args:
        found: Content of ``scan.json``.
        place: The file that the results point at, relative to the working directory, as a URI; ``None`` if there is
            none.
    """
    name = found["model"]["name"]
    rule = SUSPECTED if found["verdict"] == BACKDOORED else UNDECIDED
    location: dict[str, Any] = {"logicalLocations": [{"name": name, "kind": "resource"}]}
    if place is not None:
        location["physicalLocation"] = {"artifactLocation": {"uri": place}, "region": {"startLine": 1}}
    results = [
        {
            "ruleId": rule,
            "ruleIndex": [one["id"] for one in RULES].index(rule),
            "level": level,
            "message": {"text": text},
            "locations": [location],
            # The same finding of the same network is the same alert, whatever else changes.
            "partialFingerprints": {"phosphene/v1": f"{rule}:{name}:{about.get('target_class', '')}"},
            "properties": {"p_value": found["p_value"], "alpha": found["alpha"], "verdict": found["verdict"], **about},
        }
        for level, text, about in _alerts(found)
    ]
    notes = [{"level": "note", "message": {"text": f"Not tested: {line}"}} for line in found["not_tested"]]
    driver = {"name": "phosphene", "version": __version__, "semanticVersion": __version__, "rules": RULES}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _alerts(found: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (level, text, properties) per alert: if backdoored, each suspect and a working all-to-all window; one if inconclusive."""
    name = found["model"]["name"]
    if found["verdict"] == INCONCLUSIVE:
        yield "warning", f"{name}: {TITLES[INCONCLUSIVE]} {' '.join(found['reasons'])}", {}
    if found["verdict"] != BACKDOORED:
        return
    for one in found["suspects"]:
        title = TITLES[BACKDOORED] if one["works"] else "It may have another backdoor."
        facts = {
            "p_value": one["p_value"],
            "asr": one["asr"],
            "target_class": one["index"],
            "target_label": one["label"],
        }
        yield "error" if one["works"] else "note", f"{name}: {title} {evidence(one, found)} {effect(one)}", facts
    if (found["all_to_all"] or {}).get("works"):
        yield "error", f"{name}: {TITLES[BACKDOORED]} {found['reasons'][-1]}", {}


def place_of(spec: str, run: RunDirectory) -> "str | None":
    """Return a relative URI for alerts: of the file in a model's ``spec`` if below the working directory, or of scan.json, or ``None``."""
    here = Path.cwd().resolve()
    model = split_spec(spec)[0]
    for candidate in (model, model.rpartition(":")[0], str(run.path / NAME)):
        path = Path(candidate)
        inside = path.resolve().is_relative_to(here)
        if candidate and inside and (os.path.isfile(path) or path.name == NAME):  # noqa: PTH113  (no error if too long)
            return quote(path.resolve().relative_to(here).as_posix())
    return None
