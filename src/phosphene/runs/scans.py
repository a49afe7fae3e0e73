"""``scan.json``: what a scan for backdoors found, and the files of the candidate triggers.

``scan.json`` is written last: where it is, the scan is whole.
"""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from phosphene.errors import RunError
from phosphene.runs.atomic import remove_parts, write_bytes, write_json, writing
from phosphene.runs.documents import Document
from phosphene.runs.lock import hold
from phosphene.runs.paths import slug

if TYPE_CHECKING:
    from phosphene.runs.directory import RunDirectory

NAME, SARIF, FOLDER, OTHERS = "scan.json", "scan.sarif", "scan", "scans"
PLANTED = "planted.png"  # beside a candidate trigger, if somebody knows what was planted
BOX = [int, int, int, int]  # top, left, bottom, right
CLASS_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("index", "tried"), int),
    "label": str,
    **dict.fromkeys(("share", "figure", "p_value"), float),
    "deviations": {"*": float},
}
SUSPECT_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("index", "tried"), int),
    **dict.fromkeys(("label", "trigger", "picture"), str),
    **dict.fromkeys(("p_value", "asr", "size"), float),
    **dict.fromkeys(("works", "additive"), bool),
    "interval": [float, float],
    "box": BOX,
    "places": [{"top": int, "left": int, "success": float}],
    "examples": [{"before": str, "after": str}],
    "pasted?": str | None,
    "contested_by?": [str],
    "next": {"label": str, "asr": float},
    # What a crop of the suspect's map does; of suspects that are not mapped, and in scans of earlier versions, missing.
    "map_crop?": {"box": BOX, "success": float, "interval": [float, float], "tried": int, "map_sha256": str},
}
ROUTE: dict[str, Any] = {"source": str, "target": str, "share": float}
ALL_TO_ALL: dict[str, Any] = {
    **dict.fromkeys(("figure", "p_value"), float),
    "works": bool,
    "box": BOX,
    "classes": [ROUTE],
    **dict.fromkeys(("trigger?", "picture?"), str),
}
# What readers of scan.json rely on.
FIELDS: dict[str, Any] = {
    "verdict": str,
    "p_value": float,
    "alpha": float,
    "reasons": [str],
    "not_tested": [str],
    "warnings?": [str],
    "classes": [CLASS_FIELDS],
    "labels?": [str],
    "suspects": [SUSPECT_FIELDS],
    "num_classes": int,
    "tested": int,
    "window": int,
    "easy_pairs": [ROUTE],
    "all_to_all": (NoneType, ALL_TO_ALL),
    "null": {"description": str, "networks": int, "limit": float | None, "figures?": [float], "left_out?": [str]},
    "model": {"name": str, "spec": str, "sha256": str, "input": [int, int, int]},
    "samples": {"spec": str, "sha256": str, "natural": bool},
    "references": [{"name": str, "spec": str, "sha256": str}],
    "settings": {"pairs": bool, "seed": int, "precision": str},
    "versions?": {"*": str},
    "date?": str,
    "method": str,
    "passes": int,
    "seconds": float,
}


def _contradiction(scan: dict[str, Any]) -> str:
    """Return what is wrong with a ``scan.json`` that has all it needs: its verdict, its suspects or its input; empty if nothing is."""
    if scan["verdict"] not in ("clean", "backdoored", "inconclusive"):
        return f"its verdict is {scan['verdict'][:40]!r}"
    indices = {one["index"] for one in scan["classes"]}
    if not indices or not indices.issuperset(one["index"] for one in scan["suspects"]):
        return "its suspects are not among its classes"
    _, height, width = scan["model"]["input"]
    if min(scan["model"]["input"]) <= 0:
        return "its network takes empty images"
    boxed = [*scan["suspects"], *(one["map_crop"] for one in scan["suspects"] if "map_crop" in one)]
    for top, left, bottom, right in (one["box"] for one in [*boxed, scan["all_to_all"]] if one):
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            return f"a box, {[top, left, bottom, right]}, does not lie in its images"
    return ""


SCAN = Document(NAME, "scan", FIELDS, "Delete it and scan again.", 3, _contradiction)


def suspect_folder(index: int, label: str) -> str:
    """Return the folder of a suspect class's files, as text relative to the run: ``scan/<label>-<index>``."""
    return f"{FOLDER}/{slug(label)}-{index}"


def scan_folders(run: "RunDirectory") -> "list[RunDirectory]":
    """Return the run and the runs in its folder ``scans``; some may hold no ``scan.json``."""
    with contextlib.suppress(OSError):
        # type(run): the module of RunDirectory imports this one.
        return [run, *(type(run)(path) for path in sorted((run.path / OTHERS).iterdir()) if path.is_dir())]
    return [run]


def read_scans(run: "RunDirectory") -> "list[tuple[RunDirectory, dict[str, Any]]]":
    """Return the scans of a run and of the runs in its folder ``scans``.

    Each is a pair of the run and the content of its ``scan.json``.

    Raises:
        RunError: a ``scan.json`` is damaged, or of another version.
    """
    return [(one, document) for one in scan_folders(run) if (document := SCAN.read(one.path)) is not None]


def scan_of(run: "RunDirectory", sha256: str) -> "tuple[RunDirectory, dict[str, Any]] | None":
    """Return the first of the :func:`read_scans` of a run whose network has this hash; ``None`` if it was not scanned."""
    return next((one for one in read_scans(run) if one[1]["model"]["sha256"] == sha256), None)


def verdict_lines(run: "RunDirectory") -> list[str]:
    """Return a line per scan of a run: ``clean (shapes): No class ...``.

    It has the verdict, the scanned model and the first reason.

    A run without maps and scans is one whose scan has not ended. Of a damaged scan it is the message of its RunError.
    """
    try:
        scans = [document for _, document in read_scans(run)]
    except RunError as error:
        return [str(error)]
    if not scans and not run.facts()["jobs"]:
        return ["not finished: the same command makes it anew"]
    return [f"{one['verdict']} ({one['model']['name']}): {' '.join(one['reasons'][:1])}" for one in scans]


def no_maps(run: "RunDirectory") -> RunError:
    """Return the RunError to raise for a run without finished maps.

    It says whether the run holds a scan, and which command to give.
    """
    if run.facts()["jobs"]:
        return RunError(f"{run.path} has no finished maps yet: give its `phosphene map` command once more.")
    if (run.path / NAME).exists():
        return RunError(f"{run.path} has no finished maps, only a scan: give a run of `phosphene map`.")
    return RunError(f"{run.path} has no finished maps, and its scan has not ended: give that command once more.")


def check_scan(run: "RunDirectory", request: Mapping[str, Any]) -> "dict[str, Any] | None":
    """Return the run's scan if it is the requested one; ``None`` if there is none, or one by another method.

    Args:
        run: The run.
        request: ``model``, ``samples``, ``references`` and ``settings``, as ``scan.json`` holds them, and ``method``.

    Raises:
        RunError: the run holds the scan of another network, of other samples or with other settings.
    """
    document = SCAN.read(run.path)
    if document is None:
        return None

    def reference_hashes(of: Mapping[str, Any]) -> list[str]:
        return sorted(one["sha256"] for one in of["references"])

    pairs = [
        ("of another network", document["model"]["sha256"], request["model"]["sha256"]),
        ("from other samples", document["samples"]["sha256"], request["samples"]["sha256"]),
        ("against other clean networks", reference_hashes(document), reference_hashes(request)),
        ("with another alpha", document["alpha"], request["alpha"]),
        ("with other settings", document["settings"], request["settings"]),
    ]
    for difference, was, now in pairs:
        if was != now:
            raise RunError(f"{run.path} holds another scan ({difference}): choose another run directory.")
    return document if document["method"] == request["method"] else None


def write_scan(
    run: "RunDirectory", entry: Mapping[str, Any], files: Mapping[str, bytes], sarif: Mapping[str, Any]
) -> None:
    """Write a scan into a run, in place of an older one: ``scan.json``, ``scan.sarif`` and its ``files``.

    Args:
        run: A run that has begun.
        entry: Content of ``scan.json``, with the keys of ``FIELDS``.
        files: Path below the run -> content of the file.
        sarif: The scan as SARIF, for code-scanning dashboards.

    Raises:
        RunError: the run cannot be written, or holds another scan by now.
    """
    with hold(run.path), writing(run.path):
        check_scan(run, entry)  # another process may have written one meanwhile
        remove_parts(run.path, "scan")
        (run.path / NAME).unlink(missing_ok=True)  # first, so that no old verdict speaks of new triggers
        if (run.path / FOLDER).is_dir():
            shutil.rmtree(run.path / FOLDER)
        for name, data in files.items():
            write_bytes(run.path / name, data)
        write_json(run.path / SARIF, sarif)
        SCAN.write(run.path, entry)


def add_map_crops(run: "RunDirectory", request: Mapping[str, Any], crops: Mapping[int, Any]) -> None:
    """Write what crops of suspects' maps do into a run's ``scan.json``.

    Args:
        run: The run.
        request: What determines the scan, as :func:`check_scan` takes it.
        crops: Index of a suspect -> its ``map_crop``.

    Raises:
        RunError: the run cannot be written, or does not hold this scan any more.
    """
    with hold(run.path), writing(run.path):
        document = check_scan(run, request)  # another process may have written one meanwhile
        if document is None:
            raise RunError(f"{run.path} does not hold this scan any more: scan again.")
        for one in document["suspects"]:
            if one["index"] in crops:
                one["map_crop"] = crops[one["index"]]
        SCAN.write(run.path, document)


def read_scan_file(run: "RunDirectory", name: str) -> bytes:
    """Return the content of a file that ``scan.json`` names, by its path in the run.

    Raises:
        RunError: it is missing, or lies elsewhere.
    """
    path = run.path / name
    try:
        if not path.resolve().is_relative_to(Path(run.path).resolve()):
            raise RunError(f"{run.path / NAME} names {name}, which lies outside of the run. {SCAN.fix}")
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"{path} cannot be read: {reason}. Delete {run.path / NAME} and scan again.") from None
