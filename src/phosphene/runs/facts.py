"""What a run is made from, and what readers of its ``run.json`` rely on."""

import platform
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import torch

from phosphene.classifier import Classifier
from phosphene.labels import first_synonym
from phosphene.recipe import Recipe
from phosphene.samples.pool import SamplePool
from phosphene.version import __version__

SCHEMA = 1
# what readers of run.json rely on
NEEDED: dict[str, Any] = {
    "model": {"name": str, "spec": str, "sha256": str, "classes": int, "input": {"size": list}},
    "recipe": {"name": str, "sha256": str},
    "samples": {"spec": str, "sha256": str, "count": int, "held_out": int, "skipped": list},
    "versions": dict,
    "device": str,
    "jobs": list,
}


@dataclass(frozen=True)
class RunFacts:
    """What a run is made from: with the class and the seed, this determines every map."""

    model: dict[str, Any]
    recipe: dict[str, Any]
    samples: dict[str, Any]
    device: str
    precision: str

    @classmethod
    def of(
        cls, classifier: Classifier, recipe: Recipe, pool: SamplePool, device: str = "", precision: str = ""
    ) -> "RunFacts":
        """Collect the facts of a run that is about to begin."""
        space = classifier.input
        return cls(
            model={
                "name": classifier.name,
                "spec": classifier.spec,
                "sha256": classifier.sha256,
                "classes": classifier.num_classes,
                "input": {"size": list(space.size), "mean": list(space.mean), "std": list(space.std)},
                **({"trust": True} if classifier.trusted else {}),
            },
            recipe={**recipe.to_dict(), "sha256": recipe.sha256},
            samples={
                "spec": pool.spec,
                "sha256": pool.sha256,
                "count": len(pool.pixels),
                "held_out": len(pool.held_out),
                "skipped": list(pool.skipped),
            },
            device=device,
            precision=precision,
        )


def missing(data: Any, needed: dict[str, Any], where: str = "") -> str:
    """Name the first of the ``needed`` entries that ``data`` lacks or holds in another type; empty if there is none."""
    for key, wanted in needed.items():
        value = data.get(key) if isinstance(data, dict) else None
        if isinstance(wanted, dict):
            inner = missing(value, wanted, f"{where}{key}.")
            if inner:
                return inner
        elif not isinstance(value, wanted):
            return where + key
    return ""


def slug(label: str) -> str:
    """Turn a label into a safe file name: the first synonym in lower-case ASCII letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", first_synonym(label)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60] or "class"


def versions() -> dict[str, str]:
    """Return the versions that shape a result."""
    return {"phosphene": __version__, "torch": torch.__version__, "python": platform.python_version()}
