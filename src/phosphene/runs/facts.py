"""What a run is made from, and what readers of its ``run.json`` rely on."""

import platform
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any

import torch

from phosphene.classifier import Classifier
from phosphene.errors import RunError
from phosphene.input_space import InputSpace
from phosphene.labels import first_synonym
from phosphene.recipe import Recipe
from phosphene.runs.atomic import writing
from phosphene.samples.pool import SamplePool
from phosphene.textfile import nearby
from phosphene.two_tower import PromptClassifier
from phosphene.version import __version__

MOST_BYTES = 100  # of each part of a name; file systems take 255 in all
UNIT = {"layer?": str, "channel?": int, "file?": str, "direction?": str, "output?": str, "low?": bool}
# what commands on a run write into its directory, and what is in its folders: other output goes elsewhere
OWN_NAMES = {
    *("run.json", "scores.json", "readings.json", "checks.json", "scan.json", "scan.sarif", "failures.json"),
    *("report.html", "sheet.png", "maps", "scan", "scans", "live", ".checkpoints", ".lock", ".lock.json"),
}
# of a concept beyond one class, in the rows of run.json and in map.json
SIDES = {"up?": {"*": str}, "against?": {"*": str}, "groups?": {"*": [int]}, "unit?": UNIT}
# what readers of run.json rely on
NEEDED: dict[str, Any] = {
    "model": {
        "name": str,
        "spec": str,
        "sha256": str,
        "classes": int,
        "noise_logits?": [int | float],
        "output?": str,
        "texts?": [str],
        "notes?": [str],
        "input": {"size": [int, int]},
    },
    "recipe": {"name": str, "sha256": str},
    "samples": {"spec": str, "sha256": str, "count": int, "held_out": int, "skipped": list},
    "versions": {"phosphene": str},
    "device": str,
    "precision?": str,
    "jobs": [{"index": int, "seed": int, "label": str, **SIDES}],
}


def run_facts(
    classifier: Classifier, recipe: Recipe, pool: SamplePool, device: str = "", precision: str = ""
) -> dict[str, Any]:
    """Return what a run is made from, as ``run.json`` holds it: with the class and the seed, it determines every map."""
    return {
        "model": {
            "name": classifier.name,
            "spec": classifier.spec,
            "sha256": classifier.sha256,
            "classes": classifier.num_classes,
            "noise_logits": classifier.noise_logits,
            **({"output": classifier.output} if classifier.multi_label or classifier.regression else {}),
            **({"texts": list(classifier.labels)} if isinstance(classifier.module, PromptClassifier) else {}),
            "input": input_facts(classifier.input),
            **({"trust": True} if classifier.trusted else {}),
            **({"notes": list(classifier.notes)} if classifier.notes else {}),
        },
        "recipe": {**recipe.to_dict(), "sha256": recipe.sha256},
        "samples": {
            "spec": pool.spec,
            "sha256": pool.sha256,
            "count": len(pool.pixels),
            "held_out": len(pool.held_out),
            "skipped": list(pool.skipped),
        },
        "device": device,
        "precision": precision,
    }


def input_facts(space: InputSpace) -> dict[str, Any]:
    """Return what a network declares of its input, as ``run.json`` holds it."""
    return {"size": list(space.size), "mean": list(space.mean), "std": list(space.std)}


def changed_input(was: Mapping[str, Any], now: Mapping[str, Any]) -> "tuple[str, Any, Any] | None":
    """Return the first of ``size``, ``mean`` and ``std`` in which two ``input`` entries differ, and both values; ``None`` without one."""
    return next(((name, was[name], value) for name, value in now.items() if was.get(name, value) != value), None)


def computes_otherwise(model: Mapping[str, Any], noise_logits: Sequence[float]) -> bool:
    """Return whether a ``model`` entry has other ``noise_logits`` than these, by more than rounding on another device can explain."""
    stored = model.get("noise_logits", ())  # none in runs of earlier versions, and of networks that vary by themselves
    if not stored or not noise_logits:
        return False
    tolerance = 0.05 * max(1e-3, *map(abs, stored))
    pairs = zip(stored, noise_logits, strict=False)
    return len(stored) != len(noise_logits) or any(abs(was - now) > tolerance for was, now in pairs)


def refuse_another_run(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise RunError if two facts of the run at ``path``, ``old`` ones in its run.json and ``new`` ones, differ in what makes its maps.

    Raises:
        RunError: model, recipe or samples are others.
    """
    if old["model"]["sha256"] == new["model"]["sha256"] and computes_otherwise(
        old["model"], new["model"]["noise_logits"]
    ):
        raise RunError(
            f"{path} belongs to a network with the same weights but other outputs (was the code of {old['model']['name']} "
            "changed?): choose another run directory."
        )
    for what, called in (("model", "name"), ("recipe", "name"), ("samples", "spec")):
        was, now = old[what], new[what]
        if was["sha256"] != now["sha256"]:
            other = "other samples" if what == "samples" else f"another {what}"
            values = [one["sha256"][:8] for one in (was, now)]
            if what == "model" and (declared := changed_input(was["input"], now["input"])):
                values = [f"{declared[0]} {value}" for value in declared[1:]]
            first, second = (
                ", ".join([one[called], value, *([one["output"]] if "output" in one else [])])
                for one, value in zip((was, now), values, strict=True)
            )
            raise RunError(f"{path} belongs to {other} ({first}; this one is {second}): choose another run directory.")


def missing_entry(data: Any, needed: Any, where: str = "") -> str:
    """Return the dotted name of the first ``needed`` entry that ``data`` lacks or holds in another type; empty if none.

    A whole number of more than 64 bits, which no tensor holds, is of another type.

    Args:
        data: Value that was read from JSON.
        needed: A type; or what each entry of a table must be, by its name, where ``*`` stands for all names, and a
            name with a question mark may be missing; or a list of one such requirement, which every row of a list must
            meet, or of several, for a list of just as many rows; or a tuple of requirements, one of which must be met.
        where: Text before the name of an entry.
    """
    if isinstance(needed, tuple):
        lacks = [missing_entry(data, one, where) for one in needed]
        return "" if "" in lacks else lacks[-1]
    if isinstance(needed, dict) and isinstance(data, dict):
        entries = dict.fromkeys(data, needed["*"]) if "*" in needed else needed
        for name, one in entries.items():
            key = name.removesuffix("?")
            if key != name and key not in data:
                continue
            lacking = missing_entry(data[key], one, f"{where}{key}.") if key in data else where + key
            if lacking:
                return lacking
        return ""
    if isinstance(needed, list) and isinstance(data, list) and len(needed) in (1, len(data)):
        for number, row in enumerate(data):
            lacking = missing_entry(row, needed[number % len(needed)], f"{where}{number}.")
            if lacking:
                return lacking
        return ""
    fits = isinstance(needed, type | UnionType) and isinstance(data, needed)
    fits = fits and not (isinstance(data, int) and data.bit_length() > 63)
    return "" if fits else where.removesuffix(".") or "a table"


def empty_input(run: Mapping[str, Any]) -> str:
    """Return, for messages, that the network of a ``run.json`` takes images without pixels, which none does; else empty text."""
    return "" if min(run["model"]["input"]["size"]) > 0 else "its network takes empty images"


def slug(label: str) -> str:
    """Return a label as a safe file name: its first synonym in lower-case ASCII letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", first_synonym(label)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60] or "class"


def directory_name(*names: str) -> str:
    """Return names, which a card may choose at will, joined by dashes as a valid name of a file or directory."""
    short = (re.sub(r"[^\w.-]+", "-", name).encode()[:MOST_BYTES] for name in names)
    return "-".join(name.decode(errors="ignore") for name in short).lstrip(".-")


def refuse_own_file(path: Path) -> None:
    """Raise RunError if ``path`` is that of a file or folder that belongs to a run directory, written already or not.

    Raises:
        RunError: it is, or it is no path.
    """
    with writing(path):
        place = path.resolve()
        run = next((one for one in place.parents if (one / "run.json").is_file()), None)
        if run is not None and place.relative_to(run).parts[0] in OWN_NAMES:
            raise RunError(f"{path} is among the files of the run {run} itself: choose another path.")


def runs_nearby(path: Path) -> str:
    """Return the end of an error message: which runs lie in or beside ``path``, or, if there are none, how a run is made."""
    for where, place in (("in it", path / "run"), ("beside it", path)):
        names = nearby(place, lambda one: (one / "run.json").is_file())
        if names:
            return f"The runs {where}: {names}."
    return "`phosphene map` makes one."


def versions() -> dict[str, str]:
    """Return the versions of phosphene, torch and Python by name, as run directories record them."""
    return {"phosphene": __version__, "torch": torch.__version__, "python": platform.python_version()}
