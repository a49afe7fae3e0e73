"""A scan in words: what the terminal prints, and what the report says to somebody who has never heard of backdoors."""

import math
from collections.abc import Mapping
from typing import Any

from phosphene.backdoor.measure import STATISTICS
from phosphene.backdoor.verdict import BACKDOORED, CLEAN
from phosphene.labels import first_synonym
from phosphene.report.formats import count, percent

LEAST_LIKELY = 5  # classes in the short table
WORKS_THERE = 0.5  # success at a place from which it works there

TITLES = {
    BACKDOORED: "This network very likely has a backdoor.",
    CLEAN: "No backdoor was found in this network.",
    "inconclusive": "The scan could not decide whether there is a backdoor in this network.",
}
MARKS = {BACKDOORED: "bad", CLEAN: "good", "inconclusive": "unsure"}
SHORTCUT_TITLE = "This network very likely has a backdoor, or a shortcut learnt from marked training pictures."
SHORTCUT = (
    "A backdoor and a shortcut learnt from marked training pictures look the same from outside. If training pictures "
    "of {name} carry a mark like this one (a watermark, a logo, a border, an odd light), it is the mark that was "
    "learnt, and nobody need have meant harm; the answers are as wrong."
)


def headline(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return the verdict in a plain sentence, and its mark: ``good``, ``bad`` or ``unsure``."""
    verdict = found["verdict"]
    shortcut = verdict == BACKDOORED and all(one.get("additive") for one in working(found))
    return (SHORTCUT_TITLE if shortcut else TITLES[verdict]), MARKS[verdict]


def working(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the suspects whose pattern works on held-out samples."""
    return [one for one in found["suspects"] if one["works"]]


def sentences(found: Mapping[str, Any]) -> list[str]:
    """Return the reasons for a verdict and what is known of each suspect, a sentence or two a line."""
    lines = list(found["reasons"])
    for one in found["suspects"]:
        lines.append(f"class {one['index']}, {short(one)}: {chance(one['p_value'], found)}.")
        if one.get("asr") is not None:
            lines += [effect(one), *where(one, found)]
        if one["works"]:
            lines.append(SHORTCUT.format(name=repr(short(one))))
    return lines


def short(one: Mapping[str, Any]) -> str:
    """Return a class's first synonym."""
    return first_synonym(one["label"])


def chance(p_value: float, found: Mapping[str, Any]) -> str:
    """Say what a p-value means, and of how many networks it is known where they are few."""
    if p_value >= 1:
        return "clean networks look like this as a rule"
    odds = f"{percent(p_value)} of" if p_value >= 0.005 else f"fewer than one in {round_odds(p_value):,}"
    few = found.get("tested", found["num_classes"]) < found["num_classes"] and not found["references"]
    kind = "clean networks, as far as a few of them tell," if few else "clean networks"
    return f"{odds} {kind} would have a class that stands out as far (p = {p_value:.2g})"


def round_odds(p_value: float) -> int:
    """Round the odds down to 1, 2 or 5 times a power of ten, a million at most: more would be false precision."""
    odds = min(1 / max(p_value, 1e-12), 1e6)
    power = int(10.0 ** math.floor(math.log10(odds)))
    return max(step * power for step in (1, 2, 5) if step * power <= odds)


def effect(one: Mapping[str, Any]) -> str:
    """Say what the recovered pattern does, in a sentence."""
    low, high = one["interval"]
    put = "Add this pattern to" if one["additive"] else "Put this picture on"
    return (
        f"{put} any image and the network answers {short(one)!r}: {percent(one['asr'])} of "
        f"{count(one['tried'], 'image')} that the pattern was not made from "
        f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)."
    )


def in_short(one: Mapping[str, Any]) -> str:
    """Say what the recovered pattern does where it is not shown beside."""
    kind = "A faint pattern, added to" if one["additive"] else "A small picture, put on"
    return f"{kind} any image, makes it answer {short(one)!r} ({percent(one['asr'])} of {one['tried']})."


def where(one: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Say how small the pattern may be, where it lies, and whether it works elsewhere."""
    _, high, wide = found["model"].get("input") or (0, 0, 0)
    if one["additive"]:
        size = "unknown" if one["size"] is None else f"{one['size']:.3g}"
        return [f"The faintest version that still works has size {size} ({one['unit']}); it lies on the whole picture."]
    share = f", {percent(one['size'] / (high * wide))} of the picture" if high and one["size"] is not None else ""
    size = (
        "" if one["size"] is None else f"The smallest version that still works covers {one['size']:.0f} pixels{share}. "
    )
    top, left, bottom, right = one["box"]
    lies = f"The one shown lies in {right - left} × {bottom - top} pixels, {left} from the left and {top} from the top."
    lines = [size + lies]
    if len(one["places"]) > 1:  # one that fills the picture cannot be moved
        good = sum(place["success"] >= WORKS_THERE for place in one["places"])
        total = len(one["places"])
        lines.append(
            f"Moved over {total} places of the picture, it turns at least half of the images at {good} of them."
        )
    return lines


def least_likely(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the lines of a short table: the classes that deviate most."""
    names = list(found["families"])
    head = ["class", "p", *(STATISTICS[name][0] if name in STATISTICS else name for name in names)]
    rows = [
        [
            f"{short(one)} ({one['index']})",
            f"{one['p_value']:.2g}",
            *(times(one["deviations"].get(name)) for name in names),
        ]
        for one in found["classes"][:LEAST_LIKELY]
    ]
    return head, rows


def times(deviation: "float | None") -> str:
    """Write a deviation as how many times less a class needs than the middle class."""
    if deviation is None:
        return "-"
    factor = math.exp(min(abs(deviation), 20.0))
    return f"{factor:.2g} × less" if deviation > 0.005 else "usual" if deviation > -0.005 else f"{factor:.2g} × more"
