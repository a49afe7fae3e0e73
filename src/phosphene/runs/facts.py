"""What a run is made from: what its ``run.json`` says, what readers of that rely on, and what makes it another run."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from phosphene.classifier import Classifier
from phosphene.concepts import Concept
from phosphene.errors import RunError
from phosphene.input_space import InputSpace
from phosphene.labels import Labels
from phosphene.recipe import Recipe
from phosphene.samples.pool import SamplePool
from phosphene.two_tower import PromptClassifier
from phosphene.version import __version__

UNIT = {"layer?": str, "channel?": int, "file?": str, "direction?": str, "output?": str, "low?": bool}
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
        "range_doubt?": str,
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


def refuse_other_labels(path: Path, rows: Iterable[Mapping[str, Any]], labels: Labels) -> None:
    """Raise RunError if a row of a run has other labels or groups than ``labels``.

    Rows are those of the ``run.json`` or ``scan.json`` in ``path``.

    Raises:
        RunError: the labels have been changed since; the message names the first of them.
    """
    label_of = dict(enumerate(labels))
    for row in {(one["index"], one["label"]): one for one in rows}.values():  # once for all seeds
        was = Concept.of_facts(row)
        unit, pairs = was.unit, was.up + was.against
        if unit is not None and unit.is_output and unit.channel is not None:
            pairs = ((unit.channel, unit.output),)
        changed = [
            f"{index} was {label!r} and is {label_of.get(index)!r}"
            for index, label in pairs
            if label_of.get(index) != label
        ]
        if not changed and dict(Concept.of_sides(was.sides, label_of, labels.groups).groups) != dict(was.groups):
            changed = [f"the groups in {was.label!r}"]
        if changed:
            raise RunError(
                f"{path} was made with other labels ({changed[0]}): bring those back, or map it again into another directory."
            )


def empty_input(run: Mapping[str, Any]) -> str:
    """Return, for messages, that the network of a ``run.json`` takes images without pixels, which none does; else empty text."""
    return "" if min(run["model"]["input"]["size"]) > 0 else "its network takes empty images"


def versions() -> dict[str, str]:
    """Return the versions of phosphene, torch and Python by name, as run directories record them."""
    return {"phosphene": __version__, "torch": torch.__version__, "python": platform.python_version()}
