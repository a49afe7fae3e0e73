"""The part of the report that says how its run was made, down to the command that makes it again."""

import dataclasses
import shlex
from typing import Any

from phosphene.recipe import RECIPES, Recipe
from phosphene.runs import RunDirectory

MEANINGS = {field.name: field.metadata.get("meaning", "") for field in dataclasses.fields(Recipe)}


def made_section(run: RunDirectory, facts: dict[str, Any], targets: "list[str] | None" = None) -> dict[str, Any]:
    """Return what ``made.html`` shows.

    Args:
        run: A run directory.
        facts: Its run.json.
        targets: Specs of the classifiers that have read its maps.
    """
    recipe = {key: value for key, value in facts["recipe"].items() if key not in ("name", "sha256")}
    changed = _changed(facts["recipe"])
    commands = map_commands(facts, run.path.name or "RUN")
    name = shlex.quote(run.path.name or "RUN")
    if targets:
        commands.append(f"phosphene score {name} " + " ".join(f"--target {shlex.quote(one)}" for one in targets))
    return {
        "commands": commands,
        "knobs": [
            {"name": key, "value": _plain(value), "meaning": MEANINGS.get(key, ""), "changed": key in changed}
            for key, value in recipe.items()
        ],
        "samples": facts["samples"],
        "model": facts["model"],
        "recipe": facts["recipe"],
        "versions": facts["versions"],
        "device": facts["device"] or "not noted",
        "precision": facts.get("precision") or "not noted",
        "seeds": _ranges(sorted({row["seed"] for row in facts["jobs"]})),
    }


def map_commands(facts: dict[str, Any], out: str) -> list[str]:
    """Return the commands that make a run's maps again: one, unless its classes have different seeds."""
    seeds: dict[int, set[int]] = {}
    for row in facts["jobs"]:
        seeds.setdefault(row["index"], set()).add(row["seed"])
    groups: dict[tuple[int, int], list[int]] = {}  # (first seed, how many) -> classes
    for index, own in seeds.items():
        for first, last in _runs(sorted(own)):
            groups.setdefault((first, last - first + 1), []).append(index)
    recipe = facts["recipe"]
    base = recipe["name"] if recipe["name"] in RECIPES else "paper"
    settings = [word for key, value in _changed(recipe).items() for word in ("--set", f"{key}={_plain(value)}")]
    commands = []
    for (first, number), indices in groups.items():
        every = len(indices) == facts["model"]["classes"]
        chosen = ["--all"] if every else [word for index in indices for word in ("-c", str(index))]
        words = ["phosphene", "map", facts["model"]["spec"], *chosen, "--samples", facts["samples"]["spec"]]
        words += ["--recipe", base, *settings]
        words += ["--seeds", str(number)] if number > 1 else []
        words += ["--seed", str(first)] if first else []
        words += ["--precision", facts["precision"]] if facts.get("precision") not in (None, "", "auto") else []
        commands.append(shlex.join([*words, "--out", out]))
    return commands


def _changed(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the fields in which a recipe differs from the one whose name it bears, or from the paper's."""
    known = RECIPES.get(recipe["name"], RECIPES["paper"])[1].to_dict()
    return {
        key: value
        for key, value in recipe.items()
        if key not in ("name", "sha256") and key in known and known[key] != value
    }


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Split rising numbers into stretches without a gap: first and last of each."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _ranges(numbers: list[int]) -> str:
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in _runs(numbers))
