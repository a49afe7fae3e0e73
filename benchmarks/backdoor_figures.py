"""Figures and tables of `benchmarks.backdoor`."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, markdown_table, write_result
from phosphene.metrics.bootstrap import wilson

PAGE = ROOT / "docs" / "backdoor.md"
OURS = "phosphene scan"
LOCAL = ("patch", "emblem")
GOOD = 0.9


def auroc(clean: Sequence[float], trojaned: Sequence[float]) -> float:
    """Share of pairs in which the trojaned network scores higher; a tie counts half."""
    a, b = np.array(clean), np.array(trojaned)
    return float(((b[:, None] > a).mean() + (b[:, None] >= a).mean()) / 2)


def auroc_interval(clean: Sequence[float], trojaned: Sequence[float], times: int = 2000) -> tuple[float, float]:
    """Bootstrap over networks, 95 %."""
    rng = np.random.default_rng(0)
    a, b = np.array(clean), np.array(trojaned)
    draws = [
        auroc(a[rng.integers(len(a), size=len(a))], b[rng.integers(len(b), size=len(b))])  # type: ignore[arg-type]
        for _ in range(times)
    ]
    return float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))


def tpr_at(clean: Sequence[float], trojaned: Sequence[float], rate: float = 0.05) -> float:
    """Share of trojaned networks above the score that ``rate`` of the clean ones exceed."""
    limit = sorted(clean)[::-1][int(rate * len(clean))]
    return float(np.mean([score > limit for score in trojaned]))


def share(hits: int, count: int) -> str:
    """A count with its 95 % interval."""
    if not count:
        return "none"
    low, high = wilson(hits, count)
    return f"{hits} of {count} ({low:.0%} to {high:.0%})"


def load_scans(folder: Path, part: str, kind: str) -> list[dict[str, Any]]:
    """Return what was found, of the networks of a part."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob(f"*-{kind}.json"))]
    return [one for one in found if one["truth"]["part"] == part]


def split(scans: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Clean networks, those with an all-to-one trojan, and those with another kind, which are reported apart."""
    clean = [one for one in scans if not one["truth"]["trojaned"] and one["truth"]["kind"] != "shortcut"]
    trojaned = [one for one in scans if one["truth"]["trojaned"]]
    return (
        clean,
        [one for one in trojaned if one["truth"]["kind"] == "all-to-one"],
        [one for one in trojaned if one["truth"]["kind"] != "all-to-one"],
    )


def ours(one: dict[str, Any]) -> dict[str, Any]:
    """Our answer in the form of the baselines'."""
    score = -float(np.log10(max(one["p_value"], 1e-300)))
    return {
        "score": score,
        "target": one["first"],
        "called": one["verdict"] == "backdoored",
        "core_seconds": one["core_seconds"],
    }


def judge(scans: list[dict[str, Any]], method: str) -> dict[str, Any]:
    """All figures of one method on one part."""
    clean, trojaned, _ = split(scans)
    answer = ours if method == OURS else (lambda one: one["baselines"][method])
    a, b = [answer(one)["score"] for one in clean], [answer(one)["score"] for one in trojaned]
    local = [one for one in trojaned if one["truth"]["trigger"]["kind"] in LOCAL]

    def called(ones: list[dict[str, Any]], *, right: bool = False) -> int:
        return sum(
            answer(one)["called"] and (not right or answer(one)["target"] == one["truth"]["target"]) for one in ones
        )

    return {
        "auroc": auroc(a, b),
        "auroc_interval": auroc_interval(a, b),
        "tpr_at_5": tpr_at(a, b),
        "false_alarms": (called(clean), len(clean)),
        "called": (called(trojaned, right=True), len(trojaned)),
        "called_local": (called(local, right=True), len(local)),
        "target_first": (sum(answer(one)["target"] == one["truth"]["target"] for one in trojaned), len(trojaned)),
        "core_seconds": statistics.median(answer(one)["core_seconds"] for one in scans),
    }


def triggers_found(scans: list[dict[str, Any]]) -> dict[str, Any]:
    """How well the recovered triggers of detected trojans work, and whether they lie where the true ones do."""
    _, trojaned, _ = split(scans)
    hit = [
        (one, suspect)
        for one in trojaned
        for suspect in one["suspects"]
        if one["verdict"] == "backdoored" and suspect["index"] == one["truth"]["target"]
    ]
    patch = [suspect for one, suspect in hit if one["truth"]["trigger"]["kind"] in LOCAL]
    overlaps = [
        suspect["overlap"] for _, suspect in hit if suspect["overlap"] is not None and suspect["shown"] == "sparse"
    ]
    anywhere = [
        one["anywhere"] for one, suspect in hit if suspect["overlap"] is not None and one["anywhere"] is not None
    ]
    return {
        "anywhere_median": statistics.median(anywhere) if anywhere else None,
        "patch_success": (sum(suspect["success"] >= GOOD for suspect in patch), len(patch)),
        "all_success": (sum(suspect["success"] >= GOOD for _, suspect in hit), len(hit)),
        "overlap_median": statistics.median(overlaps) if overlaps else None,
        "overlap_some": (sum(value > 0.1 for value in overlaps), len(overlaps)),
    }


def write_table(folder: Path) -> None:
    """Write docs/backdoor.md and benchmarks/results/backdoor.json from what was found."""
    document: dict[str, Any] = {}
    lines = [HEAD]
    for part, kind, title in PARTS:
        scans = load_scans(folder, part, kind)
        clean, trojaned, other = split(scans)
        if not clean or not trojaned:
            continue
        methods = [OURS, *(scans[0]["baselines"] if (part, kind) == ("report", "natural") else ())]
        figures = {name: judge(scans, name) for name in methods}
        found = triggers_found(scans)
        document[f"{part}-{kind}"] = {"methods": figures, "triggers": found}
        lines += ["", f"## {title}", "", _methods(figures), "", _found(found)]
        if part == "report":
            lines += ["", _each(clean + trojaned + other, kind)]
    PAGE.write_text("\n".join(lines) + "\n")
    write_result("backdoor", document)


HEAD = """# The scan on networks with and without a backdoor

Written by `python -m benchmarks.backdoor table`. The networks are made by `python -m benchmarks.backdoor_networks`:
most are fine-tuned from four clean CIFAR-10 ResNets of others (weights we did not train), the rest are tiny ones
trained from nothing. The clean ones went through the same training without a trigger; some were trained against
attacks, and some carried a trojan that was then trained away, because those cause false alarms. The development part
set the null model and every threshold. Nineteen of the reported networks had been scanned before the last change of the
recovery (one place instead of pieces), which their figures did not suggest; nothing else was changed after the first of
them was scanned. The baselines are our implementations of what their papers describe, with about the same budget of
passes each.

A fifth statistic, how little of a class's row in the last layer is negative (after Fields et al., the last baseline
below), was tried when 24 reported networks had been seen, on the development part's evidence, and given up: most of
these networks share a few clean heads, so a null model of it rests on those few; a clean ImageNet network has a class
far out; and in trojaned ImageNet networks the target does not come first. What the last baseline reaches here may be a
property of small networks that were fine-tuned with many stamped pictures."""
PARTS = (
    ("report", "natural", "The reported part, with natural samples"),
    ("report", "synthetic", "The same without any data (`synthetic:mixed`)"),
    ("develop", "natural", "The development part (looked at while the scan was made)"),
)


def _methods(figures: dict[str, dict[str, Any]]) -> str:
    head = (
        *("method", "AUROC (95 %)", "TPR at 5 % FPR", "clean called", "trojans called, right class"),
        *("of patches and emblems", "right class first", "core s a network"),
    )
    rows = [
        (
            name,
            f"{one['auroc']:.3f} ({one['auroc_interval'][0]:.2f} to {one['auroc_interval'][1]:.2f})",
            f"{one['tpr_at_5']:.2f}",
            share(*one["false_alarms"]),
            share(*one["called"]),
            share(*one["called_local"]),
            share(*one["target_first"]),
            f"{one['core_seconds']:.0f}",
        )
        for name, one in figures.items()
    ]
    return markdown_table(head, rows)


def _found(found: dict[str, Any]) -> str:
    overlap = "none" if found["overlap_median"] is None else f"{found['overlap_median']:.2f}"
    anywhere = "none" if found["anywhere_median"] is None else f"{found['anywhere_median']:.0%}"
    return (
        f"Recovered triggers that reach 90 % on held-out samples: {share(*found['patch_success'])} of detected patches "
        f"and emblems, {share(*found['all_success'])} of all detected. Overlap with the true mask (intersection over "
        f"union, fixed places): median {overlap}; above 0.1 in {share(*found['overlap_some'])}. The true triggers of "
        f"these networks, moved to random places, work on {anywhere} of the samples (median): where that is much, the "
        "place is not in the network, and no scan can find it."
    )


def _each(scans: list[dict[str, Any]], kind: str) -> str:
    head = ("network", "truth", "accuracy", "verdict", "p", "class", "recovered", "success", "overlap")
    rows = []
    for one in scans:
        truth = one["truth"]
        what = truth["training"] if not truth["trojaned"] else f"{truth['trigger']['kind']} -> {truth['target']}"
        what += f" ({truth['kind']})" if truth["trojaned"] and truth["kind"] != "all-to-one" else ""
        first = next(iter(one["suspects"]), None)
        shown = first if first and first["shown"] else None
        rows.append(
            (
                one["name"],
                what,
                f"{truth['accuracy']:.2f}",
                one["verdict"],
                f"{one['p_value']:.2g}",
                one["first"],
                shown["shown"] if shown else "",
                f"{shown['success']:.0%}" if shown else "",
                "" if not shown or shown["overlap"] is None else f"{shown['overlap']:.2f}",
            )
        )
    return markdown_table(head, rows)
