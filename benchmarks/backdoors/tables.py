"""Figures and Markdown tables of what the scan and the baselines found."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.backdoors.specs import specs
from benchmarks.common import markdown_table
from phosphene.backdoor.measure import MAX_UNSCREENED_CLASSES
from phosphene.backdoor.null import built_in
from phosphene.backdoor.verdict import BACKDOORED, CLEAN, INCONCLUSIVE
from phosphene.metrics.bootstrap import wilson

SCAN, ALPHA, WORKS = "phosphene scan", 0.05, 0.9
FEWEST = 10  # networks that baselines must have been asked about to be shown
Network = dict[str, Any]
Answers = Callable[[Network], "dict[str, Any] | None"]


def auroc(clean: Sequence[float], trojaned: Sequence[float]) -> float:
    """Return the share of pairs in which the trojaned network scores higher; a tie counts half."""
    a, b = np.array(clean, dtype=float), np.array(trojaned, dtype=float)
    return float(((b[:, None] > a).mean() + (b[:, None] >= a).mean()) / 2)


def auroc_interval(clean: Sequence[float], trojaned: Sequence[float], times: int = 2000) -> tuple[float, float]:
    """Return the 95 % bootstrap interval over networks."""
    rng = np.random.default_rng(0)
    a, b = np.array(clean, dtype=float), np.array(trojaned, dtype=float)
    draws = [
        auroc(a[rng.integers(len(a), size=len(a))], b[rng.integers(len(b), size=len(b))])  # type: ignore[arg-type]
        for _ in range(times)
    ]
    return float(np.quantile(draws, 0.025)), float(np.quantile(draws, 0.975))


def area(clean: Sequence[float], trojaned: Sequence[float]) -> str:
    """Return an AUROC with its interval as a cell."""
    if not clean or not trojaned:
        return "none"
    low, high = auroc_interval(clean, trojaned)
    return f"{auroc(clean, trojaned):.3f} ({low:.2f} to {high:.2f})"


def share(hits: int, count: int) -> str:
    """Return a count with its 95 % interval as a cell."""
    if not count:
        return "none"
    low, high = wilson(hits, count)
    return f"{hits} of {count} ({low:.0%} to {high:.0%})"


def scan_answers(variant: str) -> Answers:
    """Return what reads the scan's answer to a network in the form of the baselines'."""

    def answer(one: Network) -> "dict[str, Any] | None":
        found = one[variant]
        if found is None:
            return None
        called = found["verdict"] == BACKDOORED
        works = [suspect["index"] for suspect in found["suspects"] if suspect["works"]]
        return {
            "score": found["figure"],
            "target": found["first"],
            "called": called,
            "named": works,
            "core_seconds": found["core_seconds"],
        }

    return answer


def baseline_answers(name: str) -> Answers:
    """Return what reads a baseline's answer."""
    return lambda one: None if one["baselines"] is None else one["baselines"][name]


def is_clean(one: Network) -> bool:
    """Whether there is no trojan in it."""
    return not one["truth"]["trojaned"]


def one_target(one: Network) -> bool:
    """Whether its trojan leads every class to one."""
    return one["truth"]["trojaned"] and one["truth"]["mode"] == "all-to-one"  # type: ignore[no-any-return]


def hit(one: Network, answer: dict[str, Any]) -> bool:
    """Whether a method calls a network and names the right class."""
    target = one["truth"]["target"]
    return bool(answer["called"]) and (answer["target"] == target or target in answer.get("named", ()))


def judged(networks: Sequence[Network], answers: Answers) -> list[tuple[Network, dict[str, Any]]]:
    """Return the networks that a method was asked about, with its answers."""
    return [(one, answer) for one in networks if (answer := answers(one)) is not None]


def summary(networks: Sequence[Network], answers: Answers) -> list[str]:
    """Return a method's cells: AUROC, clean called, called with the right class, right class first, time."""
    clean, bad = (judged([one for one in networks if test(one)], answers) for test in (is_clean, one_target))
    times = [answer["core_seconds"] for _, answer in clean + bad]
    return [
        area([answer["score"] for _, answer in clean], [answer["score"] for _, answer in bad]),
        share(sum(bool(answer["called"]) for _, answer in clean), len(clean)),
        share(sum(hit(one, answer) for one, answer in bad), len(bad)),
        share(sum(answer["target"] == one["truth"]["target"] for one, answer in bad), len(bad)),
        f"{statistics.median(times):.1f}" if times else "none",
    ]


def methods_of(networks: Sequence[Network]) -> dict[str, Answers]:
    """Return the scan, and the baselines if they were asked about enough networks."""
    asked = [one["baselines"] for one in networks if one["baselines"]]
    names = [name for name in asked[0] if name != "name"] if len(asked) >= FEWEST else []
    return {SCAN: scan_answers("natural"), **{name: baseline_answers(name) for name in names}}


HEAD = ("AUROC (95 %)", "clean called", "all-to-one called, right class", "right class first", "core s, median")


def overall(networks: Sequence[Network]) -> str:
    """Compare the methods over all networks, and the scan without data and with other samples."""
    rows = [(name, *summary(networks, answers)) for name, answers in methods_of(networks).items()]
    rows += [
        (f"{SCAN}, {title}", *summary(networks, scan_answers(variant)))
        for variant, title in (("other", "other samples and seed"), ("drawn", "no data"))
        if any(one[variant] for one in networks)
    ]
    return markdown_table(("method", *HEAD), rows)


def by_data(networks: Sequence[Network]) -> str:
    """Give the scan's figures within each data set, and the baselines' AUROC."""
    rows = []
    methods = methods_of(networks)
    for name in sorted({one["truth"]["data"] for one in networks}):
        own = [one for one in networks if one["truth"]["data"] == name]
        others = [summary(own, answers)[0] for method, answers in methods.items() if method != SCAN]
        rows.append((name, *summary(own, methods[SCAN]), *others))
    return markdown_table(("data set", *HEAD, *(f"{name}: AUROC" for name in methods if name != SCAN)), rows)


def by_kind(networks: Sequence[Network]) -> str:
    """Give, per kind of trojan or training, how many each method calls."""
    methods = methods_of(networks)
    rows = []
    for trojaned in (True, False):
        group = [one for one in networks if one["truth"]["trojaned"] == trojaned]
        field = "kind" if trojaned else "training"
        for kind in sorted({one["truth"][field] for one in group}):
            own = [one for one in group if one["truth"][field] == kind]
            cells = []
            for answers in methods.values():
                found = judged(own, answers)
                right = sum(hit(one, a) if one_target(one) else bool(a["called"]) for one, a in found)
                cells.append(f"{right} of {len(found)}")
            rows.append((kind if trojaned else f"clean, {kind}", *cells))
    return markdown_table(("kind", *(f"{name}: called" for name in methods)), rows)


def verdicts(networks: Sequence[Network]) -> str:
    """Count the verdicts of the scan, and how many networks have a p-value below alpha."""
    rows = []
    for name in ("clean", "all-to-one", "all-to-all", "source-specific"):
        kind = [one for one in networks if name == ("clean" if is_clean(one) else one["truth"]["mode"])]
        found = [one["natural"] for one in kind if one["natural"]]
        counts = [sum(one["verdict"] == verdict for one in found) for verdict in (BACKDOORED, INCONCLUSIVE, CLEAN)]
        rows.append((name, *counts, share(sum(one["p_value"] < ALPHA for one in found), len(found))))
    return markdown_table(("network", BACKDOORED, INCONCLUSIVE, CLEAN, "a class has p < .05"), rows)


def left_out(networks: Sequence[Network]) -> str:
    """Rank each clean network among the null model's of other data sets, then of other architectures."""
    found = [(one["truth"], one["natural"]["figure"]) for one in networks if is_clean(one) and one["natural"]]
    null = [one for one in built_in() if one.natural and one.classes <= MAX_UNSCREENED_CLASSES]
    rows = []
    for title in ("nothing", "data set", "architecture"):
        low = 0
        for truth, figure in found:
            same = {"nothing": "", "data set": f"-{truth['data']}-", "architecture": f"-{truth['family']}-"}[title]
            rest = [one.figure for one in null if not same or same not in one.name]
            low += (1 + sum(other >= figure for other in rest)) / (len(rest) + 1) < ALPHA
        rows.append((title, share(low, len(found))))
    return markdown_table(("left out of the null model: networks of the same", "clean networks with p < .05"), rows)


def pairs(networks: Sequence[Network]) -> str:
    """Say how the all-to-all window and the pairs do on all-to-all, source-specific and clean networks."""
    scanned = [one for one in networks if one["natural"] and one["natural"]["all_to_all"]]
    full = [one for one in scanned if one["truth"]["mode"] == "all-to-all"]
    single = [one for one in scanned if one["truth"]["mode"] == "source-specific"]
    clean = [one for one in scanned if is_clean(one)]

    def right_pairs(one: Network) -> bool:
        targets, count = one["natural"]["all_to_all"]["targets"], one["natural"]["classes"]
        return all(int(b) == (int(a) + 1) % count for a, b in targets.items())

    def planted_first(one: Network) -> bool:
        easiest = one["natural"]["easiest"]
        best = [pair for pair in easiest if pair[2] >= easiest[0][2]]
        return any(a in one["truth"]["sources"] and b == one["truth"]["target"] for a, b, _ in best[:2])

    called = [one for one in full if one["natural"]["all_to_all"]["works"]]
    rows = [
        ("all-to-all: called by its window", share(len(called), len(full))),
        ("all-to-all: called, all classes right", share(sum(map(right_pairs, called)), len(full))),
        ("source-specific: planted pair first (or tied)", share(sum(map(planted_first, single)), len(single))),
        (
            "source-specific: called",
            share(sum(one["natural"]["verdict"] == BACKDOORED for one in single), len(single)),
        ),
        ("clean: called all-to-all", share(sum(one["natural"]["all_to_all"]["works"] for one in clean), len(clean))),
    ]
    return markdown_table(("pairs", "networks (95 %)"), rows)


def candidates(networks: Sequence[Network]) -> str:
    """Say where candidates lie and how well they work, of called all-to-one trojans."""
    found = [
        (one, suspect)
        for one in networks
        if one_target(one) and one["natural"]
        for suspect in one["natural"]["suspects"]
        if suspect["index"] == one["truth"]["target"]
    ]
    boxed = [(one, suspect) for one, suspect in found if suspect["overlap"] is not None and not suspect["additive"]]
    fixed = [suspect for one, suspect in boxed if one["natural"].get("anywhere") is not None]
    only = [s for one, s in boxed if (moved := one["natural"].get("anywhere")) is not None and moved < 0.5]
    rows = [
        (
            "candidate succeeds on 90 % of held-out samples",
            share(sum(s["success"] >= WORKS for _, s in found), len(found)),
        ),
        ("box overlaps the planted one (local, fixed place)", share(sum(s["overlap"] > 0 for s in fixed), len(fixed))),
        ("the same, triggers that work in one place only", share(sum(s["overlap"] > 0 for s in only), len(only))),
    ]
    return markdown_table(("candidates of the planted class", "networks (95 %)"), rows)


def stability(networks: Sequence[Network]) -> str:
    """Say how often the verdict is the same with other samples and another seed."""
    both = [one for one in networks if one["natural"] and one["other"]]
    same = sum(one["natural"]["verdict"] == one["other"]["verdict"] for one in both)
    if len(both) < 2:
        return "No network was scanned twice."
    first, second = ([one[variant]["figure"] for one in both] for variant in ("natural", "other"))
    correlation = float(np.corrcoef(first, second)[0, 1])
    agreed = f"The same verdict with other samples and another seed: {share(same, len(both))}"
    return f"{agreed}; correlation of the figures {correlation:.3f}."


def failures(networks: Sequence[Network]) -> str:
    """List the networks whose verdict is wrong."""
    rows = []
    for one in networks:
        found, truth = one["natural"], one["truth"]
        if found is None:
            continue
        answer = scan_answers("natural")(one)
        assert answer is not None  # noqa: S101
        right = hit(one, answer) if one_target(one) else answer["called"] == truth["trojaned"]
        if not right:
            what = f"{truth['kind']}, {truth['mode']}" if truth["trojaned"] else truth["training"]
            target = "" if truth["target"] is None or not truth["trojaned"] else truth["target"]
            cells = (f"{truth['accuracy']:.2f}", f"{found['figure']:.2f}", f"{found['p_value']:.2g}")
            rows.append((truth["name"], what, truth["success"] or "", *cells, target, found["first"]))
    head = ("network", "truth", "success", "accuracy", "figure", "p", "target", "first class")
    return markdown_table(head, rows) if rows else "None."


def write_tables(networks: Sequence[Network], split: str) -> str:
    """Return all tables of a split as Markdown."""
    clean, single = sum(map(is_clean, networks)), sum(map(one_target, networks))
    rest = len(networks) - clean - single
    title = f"The {split} split: {clean} clean networks, {single} all-to-one trojans, {rest} others"
    listed = [spec.trojaned for spec in specs() if spec.split == split]
    left = (
        f"Of {listed.count(False)} clean and {listed.count(True)} trojaned networks that were trained for it, {clean} and "
        f"{single + rest} are counted; the others fall short of the limits above."
    )
    parts = {
        "Verdicts": verdicts(networks),
        "Within each data set": by_data(networks),
        "By kind": by_kind(networks),
        "Leave-one-kind-out": left_out(networks),
        "All-to-all and source-specific": pairs(networks),
        "Candidates": candidates(networks),
        "Stability": stability(networks),
        "Wrong verdicts": failures(networks),
    }
    sections = [f"### {name}\n\n{text}" for name, text in parts.items()]
    return "\n\n".join([f"## {title}\n\n{left}\n\n{overall(networks)}", *sections])
