"""A scan as SARIF 2.1.0, which code-scanning dashboards read (OASIS, "Static Analysis Results Interchange Format").

A clean network has no results, so that an alert of an earlier scan is closed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from phosphene.backdoor.verdict import BACKDOORED, INCONCLUSIVE
from phosphene.runs.directory import RunDirectory
from phosphene.runs.scans import NAME
from phosphene.version import __version__

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
SUSPECTED, UNDECIDED = "backdoor-suspected", "scan-inconclusive"


def _rule(rule: str, name: str, text: str, fix: str, level: str, severity: str) -> dict[str, Any]:
    """Return a SARIF rule; severity is a CVSS-like number from 0 to 10, as text."""
    return {
        "id": rule,
        "name": name,
        "shortDescription": {"text": text},
        "fullDescription": {"text": text},
        "help": {"text": fix},
        "defaultConfiguration": {"level": level},
        "properties": {"security-severity": severity, "tags": ["security", "machine-learning"]},
    }


RULES = [
    _rule(
        SUSPECTED,
        "BackdoorSuspected",
        "A class of the network deviates further than all but a share alpha of clean networks' classes.",
        "Look at the candidate trigger before this network is deployed; train it again from data that you trust.",
        *("error", "8.5"),
    ),
    _rule(
        UNDECIDED,
        "ScanInconclusive",
        "The scan for backdoors could not decide.",
        "Give clean networks of the same kind with --reference, and natural samples with --samples.",
        *("warning", "4.0"),
    ),
]


def sarif(found: Mapping[str, Any], place: "str | None") -> dict[str, Any]:
    """Write a scan as SARIF.

    Args:
        found: Content of ``scan.json``.
        place: The file that the results point at, relative to the working directory, as a URI; ``None`` if there is
            none.
    """
    notes = [{"level": "note", "message": {"text": f"Not tested: {line}"}} for line in found["not_tested"]]
    driver = {"name": "phosphene", "version": __version__, "semanticVersion": __version__, "rules": RULES}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
        "columnKind": "unicodeCodePoints",
        "results": _results(found, place),
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _results(found: Mapping[str, Any], place: "str | None") -> list[dict[str, Any]]:
    """Return the SARIF results of a scan: one per suspect, one for a pattern of pairs, or one if it is inconclusive."""
    name = found["model"]["name"]
    results = []
    if found["verdict"] == BACKDOORED:
        for one in found["suspects"]:
            sends = f"the candidate trigger sends {one['asr']:.0%} of {one['tried']} held-out samples"
            begins = (
                f"Network {name} very likely has a backdoor" if one["works"] else f"Network {name} may have another"
            )
            text = f"{begins}: {sends} to {one['label']!r} (class {one['index']}, p = {one['p_value']:.2g})."
            results.append(_result(SUSPECTED, "error" if one["works"] else "note", text, found, place, one))
        if found["pairs"] is not None and found["pairs"]["pattern"]:
            text = f"Network {name} very likely has an all-to-all backdoor (p = {found['pairs']['p_value']:.2g})."
            results.append(_result(SUSPECTED, "error", text, found, place, None))
    elif found["verdict"] == INCONCLUSIVE:
        text = f"The scan of network {name} for backdoors could not decide: {' '.join(found['reasons'])}"
        results.append(_result(UNDECIDED, "warning", text, found, place, None))
    return results


def _result(
    rule: str, level: str, text: str, found: Mapping[str, Any], place: "str | None", one: "Mapping[str, Any] | None"
) -> dict[str, Any]:
    """Return one SARIF result, with the class of a suspect if there is one."""
    logical = {"name": found["model"]["name"], "kind": "resource"}
    location: dict[str, Any] = {"logicalLocations": [logical]}
    if place is not None:
        location["physicalLocation"] = {"artifactLocation": {"uri": place}, "region": {"startLine": 1}}
    properties: dict[str, Any] = {"p_value": found["p_value"], "alpha": found["alpha"], "verdict": found["verdict"]}
    target = ""
    if one is not None:
        target = str(one["index"])
        properties |= {"p_value": one["p_value"], "asr": one.get("asr"), "target_class": one["index"]}
        properties |= {"target_label": one["label"]}
    return {
        "ruleId": rule,
        "ruleIndex": [one["id"] for one in RULES].index(rule),
        "level": level,
        "message": {"text": text},
        "locations": [location],
        # The same finding of the same network is the same alert, whatever else changes.
        "partialFingerprints": {"phosphene/v1": f"{rule}:{found['model']['name']}:{target}"},
        "properties": properties,
    }


def place_of(spec: str, run: RunDirectory) -> "str | None":
    """Return the file that dashboards point at, relative to the working directory: the model's, or else the scan's."""
    here = Path.cwd().resolve()
    for candidate in (spec, spec.rpartition(":")[0], str(run.path / NAME)):
        path = Path(candidate)
        inside = path.resolve().is_relative_to(here)
        if candidate and inside and (path.is_file() or path.name == NAME):
            return quote(path.resolve().relative_to(here).as_posix())
    return None
