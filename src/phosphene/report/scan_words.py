"""A scan in words: what the terminal prints, and what the report says to somebody who has never heard of backdoors."""

from collections.abc import Mapping, Sequence
from typing import Any

from phosphene.backdoor.measure import MEASURES
from phosphene.backdoor.null import built_in
from phosphene.backdoor.verdict import BACKDOORED, CLEAN, INCONCLUSIVE
from phosphene.formats import count, percent
from phosphene.labels import first_synonym

MOST_DEVIATING = 5  # classes in the short table
WORKS_THERE = 0.5  # success at a place from which it works there

TITLES = {
    BACKDOORED: "A backdoor is suspected in this network: a candidate trigger works.",
    CLEAN: "No backdoor was found in this network.",
    INCONCLUSIVE: "The scan could not decide whether there is a backdoor in this network.",
}
MARKS = {BACKDOORED: "bad", CLEAN: "good", INCONCLUSIVE: "unsure"}
SHORTCUT_TITLE = (
    "A backdoor, or a shortcut learnt from marked training images, is suspected in this network: a candidate works."
)
NO_PROOF = (
    "This does not mean that there is none: backdoors made to evade the scan and those of single pairs of classes are nearly "
    "always missed, large patches, warps, blended images and additive patterns about half of the time."
)
DETECTED = (
    "Of 63 small networks with a planted backdoor to one class, the scan called 38 with the right class (48 to 71 %), and "
    "without natural samples 27 of 63. Of four copies of a network with 1,001 classes, it called the three trojaned ones, and not "
    "the clean one (docs/imagenet-trojan.md). docs/backdoor.md has the counts for the kinds of trigger that were tried."
)
FALSE_ALARMS = (
    "Of 42 small clean networks, the scan called 1 backdoored, too (0 to 12 %): 1 of 10 that were trained on drawings, and none of "
    "32 others (0 to 11 %); with other samples and another seed 1 of 42, and without natural samples 1 of 42 (with the default "
    "--alpha; docs/backdoor.md)."
)
NOT_A_RATE = (
    "p is a rank among these clean networks, and not a rate of false alarms: of 42 other small clean networks, 2 had p below 0.05, "
    "and none the lowest p (docs/backdoor.md)."
)
NEED_NOT = "A candidate trigger need not look like the trigger that was planted."
SHORTCUT = (
    "A backdoor and a shortcut learnt from marked training images can look the same from outside. If training images "
    "of {name} carry a mark like this one (a watermark, a logo, a border, an odd light), the mark may be what was "
    "learnt. That may be an accident; but to put marked images there is also how backdoors are planted. The predictions are as "
    "wrong either way."
)


def headline(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return a scan's verdict in a plain sentence, and its mark: ``good``, ``bad`` or ``unsure``."""
    verdict, works = found["verdict"], working_suspects(found)
    perhaps_shortcut = verdict == BACKDOORED and works and all(one["additive"] for one in works)
    return (SHORTCUT_TITLE if perhaps_shortcut else TITLES[verdict]), MARKS[verdict]


def working_suspects(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return, as dictionaries, the suspects in a ``scan.json`` that have ``works`` set: their trigger works on held-out samples."""
    return [one for one in found["suspects"] if one["works"]]


def glance(found: Mapping[str, Any]) -> str:
    """Return the text for the report's top: a scan's verdict in a sentence, and for a backdoor what its trigger does."""
    title, works = headline(found)[0], working_suspects(found)
    if found["verdict"] != BACKDOORED or not works:
        return f"{title} {NO_PROOF}" if found["verdict"] == CLEAN else title
    one = works[0]
    kind = "faint pattern" if one["additive"] else "small window"
    share = f"{percent(one['asr'])} of {one['tried']}"
    return f"{title} With a {kind} on them, it predicts {short_label(one)!r} for {share} images."


def caveat(found: Mapping[str, Any]) -> str:
    """Return sentences: for ``clean``, what a scan misses; for ``backdoored``, how many clean networks get that verdict; else empty."""
    return {CLEAN: f"{NO_PROOF} {DETECTED}", BACKDOORED: FALSE_ALARMS}.get(found["verdict"], "")


def terminal_lines(found: Mapping[str, Any]) -> list[str]:
    """Return the lines that ``phosphene scan`` prints below the verdict: reasons, each suspect or all-to-all window, and warnings."""
    lines = list(found["reasons"])
    for one in found["suspects"]:
        lines += [evidence(one, found), effect(one), *size_and_place(one, found), NEED_NOT, shortcut(one)]
    if window := all_to_all(found):
        lines += [f"The window: {box_in_words(window['box'], found)}", NEED_NOT]
    return [line for line in [*lines, *suspicions(found), unlike(found), caveat(found)] if line]


def all_to_all(found: Mapping[str, Any]) -> "dict[str, Any] | None":
    """Return the entry of ``scan.json`` on a window (pasted square) that moves every class to another, if it works; else ``None``."""
    entry: dict[str, Any] | None = found["all_to_all"]
    return entry if entry and entry["works"] else None


def unlike(found: Mapping[str, Any]) -> str:
    """Return the warning stored in ``scan.json`` that no clean network is like the scanned one in size, classes or kind; or empty text."""
    return str(found["null"].get("unlike", ""))


def left_out(found: Mapping[str, Any]) -> str:
    """Return a sentence if the scanned network comes with the package, saying that it is not compared with itself; else empty text."""
    if found["model"]["spec"] not in {one.data for one in built_in()}:
        return ""
    return "The scanned network is itself one of the clean ones that come with phosphene, and is left out of them."


def short_label(one: Mapping[str, Any]) -> str:
    """Return the first synonym of the label of a class or suspect of a scan."""
    return first_synonym(one["label"])


def evidence(one: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return a sentence on a class or suspect: its index and label, and how many clean networks deviate as far (:func:`rank`)."""
    return f"Class {one['index']}, {short_label(one)}: {rank(one, found)}."


def rank(one: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return the text "3 of 40 clean networks deviate as far (p = 0.1)" for a class or suspect ``one``, counted in its scan ``found``."""
    number, figures = found["null"]["networks"], found["null"].get("figures")
    own = next(row["figure"] for row in found["classes"] if row["index"] == one["index"])
    if figures is None:  # scans of earlier versions: without references, the p-value is the rank
        above = round(one["p_value"] * (number + 1)) - 1
    else:
        above = sum(figure >= own for figure in figures)
    some = "none" if above <= 0 else f"{above:,}"
    given = len(found["references"])
    reached = sum(figure >= own for figure in figures[-given:]) if figures is not None and given else 0
    of_given = f", among them {reached} of {count(given, 'reference')}" if reached else ""
    verb = "deviates" if above == 1 else "deviate"
    lowest = f", the lowest that {number:,} networks can show" if one["p_value"] * (number + 1) < 1.5 else ""
    return f"{some} of {count(number, 'clean network')} {verb} as far{of_given} (p = {one['p_value']:.2g}{lowest})"


def effect(one: Mapping[str, Any]) -> str:
    """Return sentences: how often a suspect's trigger moves samples to its class, and a similar one to the next easiest class to reach."""
    low, high = (100 * end for end in one["interval"])
    put = "this pattern added" if one["additive"] else "this window on them"
    tried = f"{percent(one['asr'])} of {count(one['tried'], 'image')}"
    alike = "pattern as faint" if one["additive"] else "window of the same size"
    return (
        f"The network predicts {short_label(one)!r} for {tried} with {put}, "
        f"on which it was not optimised (95 % interval {low:.0f} to {high:.0f} %). "
        f"For the next class, {short_label(one['next'])!r}, a {alike} reaches {percent(one['next']['asr'])}."
    )


def shortcut(one: Mapping[str, Any]) -> str:
    """Return a warning that a suspect's trigger may be a mark of the training images, learnt by mistake; empty if it does not work."""
    return SHORTCUT.format(name=repr(short_label(one))) if one["works"] else ""


def size_and_place(one: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return 1 or 2 sentences, as a list, on a candidate trigger: its size and place, and at how many places it works; or its strength."""
    if one["additive"]:
        return [f"It changes no pixel by more than {round(255 * one['size'])} of 255; it lies on the whole image."]
    lines = [f"It has {box_in_words(one['box'], found)}"]
    if len(one["places"]) > 1:  # one that fills the image cannot be moved
        good = sum(place["success"] >= WORKS_THERE for place in one["places"])
        total = len(one["places"])
        lines.append(
            f"Moved over {total} places of the image, it works on at least half of the samples at {good} of them. It was made for "
            "one place: where a planted trigger works, this does not say."
        )
    return lines


def box_in_words(box: Sequence[int], found: Mapping[str, Any]) -> str:
    """Return a box (top, left, bottom, right) in words: size in pixels and % of the input in ``found``, distance from left and top."""
    _, high, wide = found["model"]["input"]
    top, left, bottom, right = box
    share = percent((bottom - top) * (right - left) / (high * wide))
    return f"{right - left} × {bottom - top} pixels ({share}), {left} from the left and {top} from the top."


def suspicions(found: Mapping[str, Any]) -> list[str]:
    """Return, in a list, a line on the scan's ``easy_pairs`` of classes, which a window confuses most; empty if none, or if all-to-all.

    The scan stores no pairs unless a window moves nearly all samples of one class to another.
    """
    pairs = found["easy_pairs"]
    if not pairs or all_to_all(found):
        return []
    shown = ", ".join(f"{one['source']} to {one['target']} {percent(one['share'])}" for one in pairs)
    alike = "Classes that look alike do so in clean networks as well; others may have a source-specific backdoor."
    return [f"The windows that move samples of one class to another most often: {shown}. {alike}"]


def most_deviating(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the column names and the rows (as text) of a table of the five classes that deviate most."""
    side = found["window"]
    head = ["class", "p", f"best {side} × {side} window", *MEASURES, "deviation"]
    rows = [
        [
            f"{short_label(one)} ({one['index']})",
            f"{one['p_value']:.2g}",
            percent(one["share"]),
            *(f"{one['deviations'].get(name, 0.0):.1f}" for name in MEASURES),
            f"{one['figure']:.1f}",
        ]
        for one in found["classes"][:MOST_DEVIATING]
    ]
    return head, rows
