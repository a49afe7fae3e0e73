"""A scan as SARIF 2.1.0, which code-scanning dashboards read (OASIS, "Static Analysis Results Interchange Format").

A clean network has no results, so that an alert of an earlier scan is closed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from phosphene.backdoor.verdict import BACKDOORED, INCONCLUSIVE
from phosphene.prompts import split_spec
from phosphene.reports.scan_words import TITLES, effect, evidence
from phosphene.runs.directory import RunDirectory
from phosphene.runs.scans import NAME
from phosphene.textfile import is_file
from phosphene.version import __version__

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
BACKDOOR_RULE, INCONCLUSIVE_RULE = "backdoor-suspected", "scan-inconclusive"
TAGS = ["security", "machine-learning"]
# The security severity is a number from 0 to 10, like that of CVSS, as text.
RULES: list[dict[str, Any]] = [
    {
        "id": BACKDOOR_RULE,
        "name": "BackdoorSuspected",
        "shortDescription": {"text": TITLES[BACKDOORED]},
        "fullDescription": {
            "text": "A class deviates further than the most deviating class of nearly all clean networks (p, its rank among them, is below "
            "alpha), and a candidate trigger works; or a window sends every class to another one."
        },
        "help": {"text": "Look at the candidate trigger before deployment; train again from data that you trust."},
        "defaultConfiguration": {"level": "error"},
        "properties": {"security-severity": "8.5", "tags": TAGS},
    },
    {
        "id": INCONCLUSIVE_RULE,
        "name": "ScanInconclusive",
        "shortDescription": {"text": TITLES[INCONCLUSIVE]},
        "fullDescription": {
            "text": "There are too few classes; or a class deviates, and no candidate trigger works, or a reference deviates as far; or "
            "the network takes all samples for one class."
        },
        "help": {
            "text": "The result says what would decide it: clean networks of the same kind (--reference), other samples (--samples), or "
            "another declared input."
        },
        "defaultConfiguration": {"level": "warning"},
        "properties": {"security-severity": "4.0", "tags": TAGS},
    },
]


def sarif(scan: Mapping[str, Any], place: "str | None") -> dict[str, Any]:
    """Return a scan as a SARIF 2.1.0 document.

    Args:
        scan: Content of ``scan.json``.
        place: The file that the results point at, relative to the working directory, as a URI; ``None`` if there is
            none.
    """
    name = scan["model"]["name"]
    rule = BACKDOOR_RULE if scan["verdict"] == BACKDOORED else INCONCLUSIVE_RULE
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
            "partialFingerprints": {"phosphene/v1": f"{rule}:{name}:{properties.get('target_class', '')}"},
            "properties": {
                "p_value": scan["p_value"],
                "alpha": scan["alpha"],
                "verdict": scan["verdict"],
                **properties,
            },
        }
        for level, text, properties in _alerts(scan)
    ]
    lines = [*scan["warnings"], scan["null"]["unlike"], *scan["not_tested"]]
    notes = [{"level": "note", "message": {"text": line}} for line in lines if line]
    driver = {"name": "phosphene", "version": __version__, "semanticVersion": __version__, "rules": RULES}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _alerts(scan: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the level, text and properties of each alert.

    A backdoored network has one for each suspect and for a working all-to-all window, an inconclusive scan has one.
    """
    name = scan["model"]["name"]
    if scan["verdict"] == INCONCLUSIVE:
        yield "warning", f"{name}: {TITLES[INCONCLUSIVE]} {' '.join(scan['reasons'])}", {}
    if scan["verdict"] != BACKDOORED:
        return
    for suspect in scan["suspects"]:
        works = suspect["works"] and not suspect["contested_by"]
        title = TITLES[BACKDOORED] if works else "It may have another backdoor."
        properties = {
            "p_value": suspect["p_value"],
            "asr": suspect["asr"],
            "target_class": suspect["index"],
            "target_label": suspect["label"],
        }
        yield (
            "error" if works else "note",
            f"{name}: {title} {evidence(suspect, scan)} {effect(suspect, scan)}",
            properties,
        )
    if (scan["all_to_all"] or {}).get("works"):
        yield "error", f"{name}: {TITLES[BACKDOORED]} {scan['reasons'][-1]}", {}


def place_of(spec: str, run: RunDirectory) -> "str | None":
    """Return the relative URI of the file that alerts point at, or ``None``.

    That is the file in a model's ``spec``, or else the run's ``scan.json``, if it is below the working directory.
    """
    working_directory = Path.cwd().resolve()
    model = split_spec(spec)[0]
    for candidate in (model, model.rpartition(":")[0], str(run.path / NAME)):
        path = Path(candidate)
        inside = path.resolve().is_relative_to(working_directory)
        if candidate and inside and (is_file(path) or path.name == NAME):
            return quote(path.resolve().relative_to(working_directory).as_posix())
    return None
