"""A verdict as ``scan.json`` holds it, and what determines one."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from phosphene.backdoor.measure import STATISTICS
from phosphene.backdoor.recover import Recovered
from phosphene.backdoor.search import Effort
from phosphene.backdoor.verdict import Suspect, Verdict
from phosphene.classifier import Classifier
from phosphene.metrics.range_doubt import is_natural
from phosphene.runs.facts import versions
from phosphene.runs.scans import suspect_folder
from phosphene.samples import SamplePool
from phosphene.version import __version__


@cache
def method() -> str:
    """Hash what computes a verdict: the version, this package's files, and the null model that lies beside them."""
    digest = hashlib.sha256(__version__.encode())
    here = Path(__file__).parent
    for path in sorted([*here.rglob("*.py"), *here.glob("*.json")]):
        digest.update(path.relative_to(here).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def question(
    classifier: Classifier,
    pool: SamplePool,
    reference: Sequence[Classifier],
    *,
    alpha: float,
    families: Sequence[str],
    effort: Effort,
    seed: int,
    precision: str,
) -> dict[str, Any]:
    """Return everything that determines a verdict, as ``scan.json`` holds it."""
    return {
        "model": {
            "name": classifier.name,
            "spec": classifier.spec,
            **({"trust": True} if classifier.trusted else {}),
            "sha256": classifier.sha256,
            "classes": classifier.num_classes,
            "input": list(classifier.input.shape),
        },
        "samples": {
            "spec": pool.spec,
            "sha256": pool.sha256,
            "count": len(pool.pixels),
            "held_out": len(pool.held_out),
            "natural": is_natural(classifier, pool.spec),
        },
        "references": [{"name": one.name, "spec": one.spec, "sha256": one.sha256} for one in reference],
        "alpha": alpha,
        "settings": {
            "families": list(families),
            "effort": {**asdict(effort), "shrink": list(effort.shrink)},
            "seed": seed,
            "precision": precision,
        },
        "method": method(),
    }


def entry(verdict: Verdict, asked: Mapping[str, Any], examples: Mapping[int, list[dict[str, str]]]) -> dict[str, Any]:
    """Return what ``scan.json`` holds of a verdict.

    Args:
        verdict: What was found.
        asked: From :func:`question`.
        examples: Class -> what the network reads in the samples of ``pasted.png``: ``before``, ``after``.
    """
    found = {
        "verdict": verdict.verdict,
        "p_value": verdict.p_value,
        "alpha": verdict.alpha,
        "reasons": list(verdict.reasons),
        "suspects": [_suspect(one, examples.get(one.index, [])) for one in verdict.suspects],
        "classes": [asdict(one) for one in verdict.classes],
        "num_classes": verdict.num_classes,
        "tested": verdict.tested,
        "families": verdict.families,
        "not_tested": list(verdict.not_tested),
        **{key: asked[key] for key in ("model", "samples", "references", "settings", "method")},
        "versions": versions(),
        "passes": verdict.passes,
        "seconds": round(float(verdict.seconds), 3),
    }
    plain = _plain(found)
    assert isinstance(plain, dict)  # noqa: S101  (for the type checker)
    return plain


def _suspect(one: Suspect, examples: list[dict[str, str]]) -> dict[str, Any]:
    found = {
        "index": one.index,
        "label": one.label,
        "p_value": one.p_value,
        "family": one.family,
        "works": one.works,
        "asr": None,
        "trigger": None,
    }
    return found if one.recovered is None else {**found, **_recovered(one.recovered, one.label, examples)}


def _recovered(trigger: Recovered, label: str, examples: list[dict[str, str]]) -> dict[str, Any]:
    folder = suspect_folder(trigger.index, label)
    title, unit = STATISTICS[trigger.family]
    return {
        "asr": trigger.success,
        "interval": list(trigger.interval),
        "tried": trigger.tried,
        "kind": trigger.family,
        "title": title,
        "additive": trigger.additive,
        "size": trigger.size,
        "unit": unit,
        "box": list(trigger.box),
        "places": [{"top": top, "left": left, "success": rate} for (top, left), rate in trigger.places.items()],
        "trigger": f"{folder}/trigger.safetensors",
        "picture": f"{folder}/trigger.png",
        "pasted": f"{folder}/pasted.png" if examples else None,
        "examples": examples,
    }


def _plain(value: Any) -> Any:
    """Leave out what JSON cannot hold: a size that is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
