"""The part of the report that says how its maps and its scan were made, down to the commands that make them again."""

import dataclasses
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from phosphene.backdoor.scan import ALPHA
from phosphene.checks import CHECKS
from phosphene.concepts import Concept
from phosphene.engine.device import way_of_computing
from phosphene.formats import count, exact
from phosphene.recipe import CHANGED, DEFAULT_RECIPE, RECIPES, Recipe
from phosphene.runs import RunDirectory
from phosphene.runs.checks import read_checks
from phosphene.runs.map_json import read_map_json
from phosphene.runs.scans import scan_of
from phosphene.runs.scores import count_scored, read_scores
from phosphene.samples import MEMORY

MOST_CHECKED = 4  # concepts that `phosphene check` makes maps of again by default
MEANINGS = {field.name: field.metadata.get("meaning", "") for field in dataclasses.fields(Recipe)}


def made_section(run: RunDirectory, facts: dict[str, Any]) -> "dict[str, Any] | None":
    """Return what the template shows of how a run was made; ``None`` without finished maps and without a scan of its network.

    Returns:
        ``maps`` (how many), ``scan`` (the content of its ``scan.json``, maybe ``None``), ``commands`` (shell
        commands), ``unnamed`` (what was made in Python, so that no spec loads it, and what commands have in its place),
        ``settings`` (``name``, ``value``, ``meaning`` and ``changed`` per recipe field),
        ``other_ways`` (how many maps were made on another kind of device, or in another precision, as text), and
        ``seeds`` (first and last of each stretch without a gap).
    """
    scanned = scan_of(run, facts["model"]["sha256"])
    maps = len(run.finished_folders())
    if not maps and not scanned:
        return None
    changed = _changed_fields(facts["recipe"])
    model, samples = facts["model"], facts["samples"]["spec"]
    unnamed = {"a network": model["name"]} if model["spec"] == model["name"] else {}
    unnamed |= {"samples": samples} if samples == MEMORY else {}
    out = path_to_paste(run)
    commands = [] if scanned is None or scanned[1]["samples"]["spec"] == MEMORY != samples else [scan_command(*scanned)]
    commands += map_commands(facts, out)
    commands += score_commands(run, facts)
    commands += check_commands(read_checks(run), facts, out)
    return {
        "nav": "How it was made",
        "glance": [{"mark": "unsure", "text": note}] if (note := scores_note(run, facts)) else [],
        "maps": maps,
        "scan": scanned and scanned[1],
        "commands": commands,
        "unnamed": unnamed,
        "settings": [
            {"name": key, "value": _setting_text(value), "meaning": MEANINGS.get(key, ""), "changed": key in changed}
            for key, value in facts["recipe"].items()
            if key not in ("name", "sha256")
        ],
        "other_ways": _other_ways(run, facts),
        "seeds": _ranges(sorted({row["seed"] for row in facts["jobs"]})),
    }


def _other_ways(run: RunDirectory, facts: dict[str, Any]) -> list[str]:
    """Return how maps were made that a later command added in another way than run.json says, each as text: ``2 maps on cpu in fp32``."""
    usual = _way(facts)
    ways = Counter(
        " ".join(now for now, was in zip(_way(row), usual, strict=True) if now and now != was)
        for row in map(read_map_json, run.finished_folders().values())
    )
    return [f"{count(number, 'map')} {way}" for way, number in ways.items() if way]


def _way(facts: dict[str, Any]) -> tuple[str, str]:
    """Return on what a run.json or map.json says that maps were made, and by which version; empty text if it does not."""
    way = way_of_computing(facts.get("device", ""), facts.get("precision", ""))
    return way and f"on {way}", f"by phosphene {facts['versions']['phosphene']}" if "versions" in facts else ""


def map_commands(facts: dict[str, Any], out: str) -> list[str]:
    """Return shell commands that make a run's maps again into ``out``: one per block of consecutive seeds, for classes that share it."""
    seeds: dict[int, list[int]] = {}
    concepts = {row["index"]: Concept.of_facts(row) for row in facts["jobs"]}
    for row in facts["jobs"]:
        seeds.setdefault(row["index"], []).append(row["seed"])
    groups: dict[tuple[int, int], list[int]] = {}  # (first seed, last seed) -> classes
    for index, own in seeds.items():
        for stretch in _ranges(sorted(own)):
            groups.setdefault(stretch, []).append(index)
    recipe = facts["recipe"]
    settings = [
        word for key, value in _changed_fields(recipe).items() for word in ("--set", f"{key}={_setting_text(value)}")
    ]
    commands = []
    for (first, last), indices in groups.items():
        every = sorted(indices) == list(range(len(indices))) and len(indices) == facts["model"]["classes"]
        named = [word for index in indices for word in ("-c", concepts[index].expression)]
        chosen = ["--all"] if every else named
        words = ["phosphene", "map", facts["model"]["spec"], *chosen, "--samples", facts["samples"]["spec"]]
        words += ["--recipe", _built_in(recipe), *settings]
        words += ["--seeds", str(last - first + 1)] if last > first else []
        words += ["--seed", str(first)] if first else []
        words += ["--precision", facts["precision"]] if facts.get("precision") not in (None, "", "auto") else []
        commands.append(shlex.join([*words, *_trust_option(facts), "--out", out]))
    return commands


def scan_command(run: RunDirectory, scan: dict[str, Any]) -> str:
    """Return the shell command that makes a run's ``scan`` again, and maps of its suspects by a built-in recipe if there are any."""
    settings, recipe = scan["settings"], run.facts()["recipe"]["name"]
    words = ["phosphene", "scan", scan["model"]["spec"], "--samples", scan["samples"]["spec"]]
    words += [word for one in scan["references"] for word in ("--reference", one["spec"])]
    words += ["--alpha", exact(scan["alpha"])] if scan["alpha"] != ALPHA else []
    words += ["--pairs"] if settings["pairs"] else []
    words += ["--seed", str(settings["seed"])] if settings["seed"] else []
    words += ["--precision", settings["precision"]] if settings["precision"] != "auto" else []
    if suspects := {(one["index"], 0) for one in scan["suspects"]}:
        mapped = suspects & run.finished_folders().keys()
        # `map` alone takes the settings of another recipe: its command follows.
        words += ["--no-map"] if not mapped or recipe not in RECIPES else []
        words += ["--recipe", recipe] if "--no-map" not in words and recipe != DEFAULT_RECIPE else []
    return shlex.join([*words, *_trust_option(scan), "--out", path_to_paste(run)])


def score_commands(run: RunDirectory, facts: dict[str, Any]) -> list[str]:
    """Return the shell command that scores a run again on the targets of its scores.json, as a list; empty if it was not scored."""
    rows = read_scores(run, changed=True)
    words = [word for row in rows for word in ("--target", str(row.get("target_spec", row["target"])))]
    others = {str(row["samples"]) for row in rows if row.get("samples")} - {facts["samples"]["spec"], MEMORY}
    words += ["--samples", *others] if len(others) == 1 else []
    return [shlex.join(["phosphene", "score", path_to_paste(run), *words, *_trust_option(facts)])] if rows else []


def scores_note(run: RunDirectory, facts: dict[str, Any]) -> str:
    """Return a sentence if a run has grown or changed since it was scored; empty text if its scores are of all its maps."""
    rows, hashes = read_scores(run, changed=True), run.map_hashes()
    scored = min((count_scored(hashes, row) for row in rows), default=len(hashes))
    if scored == len(hashes):
        return ""
    (command,) = score_commands(run, facts)
    if not scored:
        return (
            f"The scores of this run are left out, because its maps have changed since: `{command}` scores them again."
        )
    return f"The scores are of {scored} of {count(len(hashes), 'map')} in this run: `{command}` scores all of them."


def check_commands(entries: dict[str, dict[str, Any]], facts: dict[str, Any], out: str) -> list[str]:
    """Return shell commands that repeat the ``entries`` of checks.json: one for all with the same samples and number of concepts."""
    default = min(MOST_CHECKED, len({row["index"] for row in facts["jobs"]}))
    groups: dict[tuple[str, int], list[str]] = {}  # (samples, number of concepts) -> checks
    for name, entry in entries.items():
        if name in CHECKS:
            subject = entry["subject"]
            groups.setdefault((subject["samples"]["spec"], len(subject["concepts"])), []).append(name)
    commands = []
    for (samples, concepts), names in groups.items():
        if samples == MEMORY != facts["samples"]["spec"]:  # given in Python: no command has them
            continue
        words = ["phosphene", "check", out]
        words += [] if len(names) == len(CHECKS) else [word for name in names for word in ("--only", name)]
        words += ["--most", str(concepts)] if concepts != default else []
        words += ["--samples", samples] if samples != facts["samples"]["spec"] else []
        commands.append(shlex.join([*words, *_trust_option(facts)]))
    return commands


def path_to_paste(run: RunDirectory) -> str:
    """Return a RunDirectory's path as text for commands: relative to the working directory if below it, else the folder's name alone."""
    path = run.path.absolute()
    below = path.is_relative_to(Path.cwd()) and path != Path.cwd()
    return str(path.relative_to(Path.cwd())) if below else path.name or "RUN"


def _trust_option(facts: dict[str, Any]) -> list[str]:
    """Return ``["--trust"]`` if the run was made with that option, else an empty list."""
    return ["--trust"] if facts["model"].get("trust") else []


def _changed_fields(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return field -> this recipe's value where it differs from the built-in recipe of that name, or from ``paper`` if there is none."""
    built_in = RECIPES[_built_in(recipe)].to_dict()
    return {key: value for key, value in recipe.items() if key != "name" and built_in.get(key, value) != value}


def _built_in(recipe: dict[str, Any]) -> str:
    """Return the name of the built-in recipe that a recipe was changed from, or ``paper`` if its name names none."""
    name = recipe["name"].removesuffix(CHANGED)
    return name if name in RECIPES else "paper"


def _setting_text(value: Any) -> str:
    """Return the value of a recipe field as ``--set`` takes it: ``true``, ``0.05``, ``layer4``."""
    if isinstance(value, bool):
        return str(value).lower()
    return exact(value) if isinstance(value, float) else str(value)


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Return (first, last) of each block of consecutive numbers in ``numbers``, which are in rising order."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
