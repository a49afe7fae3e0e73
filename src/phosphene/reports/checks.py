"""The part of the report that shows the results of the sanity checks."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from phosphene.checks import CHECKS, Finding
from phosphene.checks.finding import two_decimals
from phosphene.concept_map import p_class_name
from phosphene.concepts import is_unit
from phosphene.formats import BEYOND, percent
from phosphene.runs import RunDirectory
from phosphene.runs.checks import FIGURES_ONLY, read_checks

# What the conditions of a check are, and names of its figures.
CONDITIONS = {"fidelity": "contrast", "cascade": "blocks randomised", "samples": "samples from"}
NAMES = {
    "diversity_hog": "1 - HOG",
    "diversity_ssim": "1 - SSIM",
    "diversity_spectrum": "1 - spectrum",
    "hog": "HOG",
    "ssim": "SSIM",
    "p_class": "confidence",
    "top1": "top-1",
    "targeting": "targeting rate",
    "m_score": "M_score",
}
SHARES = {"top1", "targeting", "chance"}
COUNTS = {"blocks", "concepts", "seeds"}


def check_section(run: RunDirectory, facts: dict[str, Any]) -> "dict[str, Any] | None":
    """Return what the template shows of a run's sanity checks; ``None`` if there are none; RunError if checks.json is damaged."""
    entries = read_checks(run)
    if not entries:
        return None
    known = [*CHECKS, *(name for name in entries if name not in CHECKS)]
    rows = [_row(entries[name]) for name in known if name in entries]
    total = len({row["index"] for row in facts["jobs"]})
    chosen = min(len(entry["subject"]["concepts"]) for entry in entries.values())
    return {
        "nav": "Checks",
        "glance": _glance([row["finding"] for row in rows], f" of {chosen} of {total} concepts" * (0 < chosen < total)),
        "total": total,
        "rows": rows,
        "figure_text": _figure_text,
    }


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what the template shows of an entry of ``checks.json``."""
    finding = Finding.from_dict(entry)
    return {
        "finding": finding,
        "question": CHECKS[finding.name].question if finding.name in CHECKS else "",
        "subject": entry["subject"],
        "condition": CONDITIONS.get(finding.name, ""),
        "figure_names": _figure_names([*finding.columns, *finding.plain], entry["subject"]["concepts"]),
    }


def _glance(findings: list[Finding], choice: str) -> list[dict[str, str]]:
    """Return a line (``mark``: good, bad or unsure, and ``text``) that sums up checks; none if none has a rule to pass."""
    findings = [one for one in findings if one.name not in FIGURES_ONLY]
    if not findings:
        return []
    passed, failed = ([found.name for found in findings if found.passed is way] for way in (True, False))
    open_ones = Counter(one.verdict for one in findings if one.passed is None)
    parts = [f"Sanity checks{choice}: {len(passed)} of {len(findings)} passed"]
    parts += [f"{len(failed)} failed ({', '.join(failed)})"] if failed else []
    parts += [f"{number} {verdict}" for verdict, number in open_ones.items()]
    mark = "bad" if failed else "unsure" if open_ones else "good"
    return [{"mark": mark, "text": f"{', '.join(parts)}."}]


def _figure_names(figures: Iterable[str], concepts: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return the names of figures in words: ``1 - HOG`` for ``diversity_hog``, ``confidence`` (of units ``percentile``) for ``p_class``."""
    kinds = [is_unit(one["index"]) for one in concepts]
    p = p_class_name(*(one["index"] for one in concepts)) or NAMES["p_class"]
    top1 = BEYOND if kinds and all(kinds) else f"top-1, or {BEYOND}" if any(kinds) else NAMES["top1"]
    words, names = NAMES | {"p_class": p, "top1": top1}, {}
    for figure in figures:
        key = next((one for one in words if figure == one or figure.startswith(f"{one}_")), "")
        names[figure] = words.get(key, "") + figure[len(key) :].replace("_", " ")
    return names


def _figure_text(name: str, value: float) -> str:
    """Return the value of a check's figure as text: a count, a percentage, or two decimals, as the figure's ``name`` asks."""
    if name in COUNTS:
        return f"{value:.0f}"
    return percent(value) if name in SHARES else two_decimals(value)
