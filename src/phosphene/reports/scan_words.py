"""A scan in words: what the terminal prints, and what the report says to somebody who has never heard of backdoors."""

from collections.abc import Mapping, Sequence
from typing import Any

from phosphene.backdoor.measure import MAX_UNSCREENED_CLASSES, MEASURES
from phosphene.backdoor.null import built_in
from phosphene.backdoor.verdict import BACKDOORED, CLEAN, INCONCLUSIVE
from phosphene.formats import count, percent
from phosphene.labels import first_synonym

MAX_TABLE_ROWS = 5  # of the classes that deviate most
MIN_SUCCESS_AT_PLACE = 0.5  # share of samples from which a window works at a place

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
DETECTION_COUNTS = (
    "Of 63 small networks with a planted backdoor to one class, the scan called 38 backdoored and named the right class (48 to 71 %), and "
    "without natural samples 26 of 63. docs/backdoor.md has the counts for the kinds of trigger that were tried."
)
COUNTS_OF_MANY_CLASSES = (
    "Of four copies of a network with 1,001 classes, it called the three trojaned ones, and not the clean one "
    "(docs/imagenet-trojan.md)."
)
FALSE_ALARMS = (
    "Of 42 small clean networks, the scan called 1 backdoored, too (0 to 12 %): 1 of 10 that were trained on drawings, and none of "
    "32 others (0 to 11 %); with other samples and another seed 1 of 42, and without natural samples 0 of 42 (with the default "
    "--alpha; docs/backdoor.md)."
)
NOT_A_RATE = "p is a rank among these clean networks, and not a rate of false alarms"
LOW_P_VALUES = "of 42 other small clean networks, 2 had p below 0.05, and none the lowest p (docs/backdoor.md)"
CANDIDATE_NOTE = "A candidate trigger need not look like the trigger that was planted."
CROP_NOTE = (
    "In small images that alone says little: in clean networks, too, the map of one class in twenty has a crop that moves half "
    "of the images (docs/tried-scan.md)."
)
SHORTCUT_WARNING = (
    "A backdoor and a shortcut learnt from marked training images can look the same from outside. If training images "
    "of {name} carry a mark like this one (a watermark, a logo, a border, an odd light), the mark may be what was "
    "learnt. That may be an accident; but to put marked images there is also how backdoors are planted. The predictions are as "
    "wrong either way."
)


def headline(scan: Mapping[str, Any]) -> tuple[str, str]:
    """Return a scan's verdict as a sentence, and its mark: ``good``, ``bad`` or ``unsure``."""
    verdict, suspects = scan["verdict"], working_suspects(scan)
    may_be_shortcut = verdict == BACKDOORED and suspects and all(one["additive"] for one in suspects)
    return (SHORTCUT_TITLE if may_be_shortcut else TITLES[verdict]), MARKS[verdict]


def working_suspects(scan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the suspects of a ``scan.json`` whose candidate trigger works on held-out samples."""
    return [one for one in scan["suspects"] if one["works"]]


def glance(scan: Mapping[str, Any]) -> str:
    """Return a scan's verdict for the top of the report, and for a backdoor what its trigger does."""
    title, suspects = headline(scan)[0], working_suspects(scan)
    if scan["verdict"] != BACKDOORED or not suspects:
        return f"{title} {NO_PROOF}" if scan["verdict"] == CLEAN else title
    suspect = suspects[0]
    kind = "faint pattern" if suspect["additive"] else "small window"
    share = f"{percent(suspect['asr'])} of {suspect['tried']}"
    return f"{title} With a {kind} on them, it predicts {short_label(suspect)!r} for {share} images."


def caveat(scan: Mapping[str, Any]) -> str:
    """Return how far a scan's verdict can be relied on; empty if it is inconclusive.

    For ``clean``, this is what a scan misses; for ``backdoored``, how many clean networks get that verdict.
    """
    many = has_many_classes(scan)
    found, false_alarms = (COUNTS_OF_MANY_CLASSES,) * 2 if many else (DETECTION_COUNTS, FALSE_ALARMS)
    return {CLEAN: f"{NO_PROOF} {found}", BACKDOORED: false_alarms}.get(scan["verdict"], "")


def has_many_classes(scan: Mapping[str, Any]) -> bool:
    """Return whether the scanned network has so many classes that only some are tested: counts of small networks say nothing of it."""
    return bool(scan["num_classes"] > MAX_UNSCREENED_CLASSES)


def not_a_rate(scan: Mapping[str, Any]) -> str:
    """Return a sentence on what p is not; empty text if there were no clean networks."""
    if not scan["null"].get("networks"):
        return ""
    return f"{NOT_A_RATE}." if has_many_classes(scan) else f"{NOT_A_RATE}: {LOW_P_VALUES}."


def terminal_lines(scan: Mapping[str, Any]) -> list[str]:
    """Return the lines that ``phosphene scan`` prints below the verdict.

    These are the reasons, each suspect or all-to-all window, and warnings.
    """
    lines = list(scan["reasons"])
    for suspect in scan["suspects"]:
        lines += [
            evidence(suspect, scan),
            effect(suspect),
            *size_and_place(suspect, scan),
            CANDIDATE_NOTE,
            map_crop(suspect),
            shortcut(suspect),
        ]
    if window := all_to_all(scan):
        lines += [f"The window: {box_in_words(window['box'], scan)}", CANDIDATE_NOTE]
    return [line for line in [*lines, *suspicions(scan), unlike(scan), caveat(scan)] if line]


def all_to_all(scan: Mapping[str, Any]) -> "dict[str, Any] | None":
    """Return the all-to-all entry of ``scan.json`` if its window works; else ``None``.

    Such a window is a pasted square that moves every class to another.
    """
    entry: dict[str, Any] | None = scan["all_to_all"]
    return entry if entry and entry["works"] else None


def unlike(scan: Mapping[str, Any]) -> str:
    """Return the warning that no clean network is like the scanned one in size, classes or kind; or empty text."""
    return str(scan["null"].get("unlike", ""))


def left_out(scan: Mapping[str, Any]) -> str:
    """Return a note that the scanned network is not compared with itself.

    It is empty unless the network comes with the package.
    """
    if scan["model"]["spec"] not in {one.data for one in built_in()}:
        return ""
    return "The scanned network is itself one of the clean ones that come with phosphene, and is left out of them."


def short_label(entry: Mapping[str, Any]) -> str:
    """Return the first synonym of the label of a class or suspect of a scan."""
    return first_synonym(entry["label"])


def named(entry: Mapping[str, Any]) -> str:
    """Return the label and the index of a class or suspect of a scan, ``heart (6)``; of a class without a label, the index: ``14``."""
    label, index = short_label(entry), entry["index"]
    return str(index) if label in ("", f"class {index}") else f"{label} ({index})"


def evidence(entry: Mapping[str, Any], scan: Mapping[str, Any]) -> str:
    """Return a sentence on a class or suspect: its index, its label and its :func:`rank`."""
    return f"Class {named(entry)}: {rank(entry, scan)}."


def rank(entry: Mapping[str, Any], scan: Mapping[str, Any]) -> str:
    """Return how many clean networks deviate as far as a class or suspect ``entry`` of ``scan``.

    For example: "3 of 40 clean networks deviate as far (p = 0.1)".
    """
    total, references = scan["null"]["networks"], len(scan["references"])
    deviation = next(row["figure"] for row in scan["classes"] if row["index"] == entry["index"])
    deviates = [figure >= deviation for figure in scan["null"].get("figures", ())]
    # Scans of earlier versions have no figures: without references, the p-value is the rank.
    deviating = sum(deviates) if deviates else round(entry["p_value"] * (total + 1)) - 1
    number_text = f"{deviating:,}" if deviating > 0 else "none"
    deviating_references = sum(deviates[-references:]) if references else 0
    references_text = (
        f", among them {deviating_references} of {count(references, 'reference')}" if deviating_references else ""
    )
    verb = "deviates" if deviating == 1 else "deviate"
    lowest_note = f", the lowest that {total:,} networks can show" if entry["p_value"] * (total + 1) < 1.5 else ""
    return (
        f"{number_text} of {count(total, 'clean network')} {verb} as far{references_text} "
        f"(p = {entry['p_value']:.2g}{lowest_note})"
    )


def effect(suspect: Mapping[str, Any]) -> str:
    """Return how often a suspect's candidate trigger moves samples to its class.

    For comparison, the text also says how often a similar one moves them to the next easiest class to reach.
    """
    low, high = (100 * end for end in suspect["interval"])
    trigger_text = "this pattern added" if suspect["additive"] else "this window on them"
    success_text = f"{percent(suspect['asr'])} of {count(suspect['tried'], 'image')}"
    similar_trigger = "pattern as faint" if suspect["additive"] else "window of the same size"
    return (
        f"The network predicts {short_label(suspect)!r} for {success_text} with {trigger_text}, "
        f"on which it was not optimised (95 % interval {low:.0f} to {high:.0f} %). "
        f"For the next class, {short_label(suspect['next'])!r}, a {similar_trigger} reaches "
        f"{percent(suspect['next']['asr'])}."
    )


def shortcut(suspect: Mapping[str, Any]) -> str:
    """Return a warning that a suspect's candidate trigger may be a mark of the training images.

    It is empty if the candidate does not work.
    """
    return SHORTCUT_WARNING.format(name=repr(short_label(suspect))) if suspect["works"] else ""


def size_and_place(suspect: Mapping[str, Any], scan: Mapping[str, Any]) -> list[str]:
    """Return sentences on the size and place of a candidate trigger, or on its strength if it is additive.

    If the window was moved over the image, a second one says at how many places it works.
    """
    if suspect["additive"]:
        return [f"It changes no pixel by more than {round(255 * suspect['size'])} of 255; it lies on the whole image."]
    lines = [f"It has {box_in_words(suspect['box'], scan)}"]
    if len(suspect["places"]) > 1:  # one that fills the image cannot be moved
        working_places = sum(place["success"] >= MIN_SUCCESS_AT_PLACE for place in suspect["places"])
        place_count = len(suspect["places"])
        lines.append(
            f"Moved over {place_count} places of the image, it works on at least half of the samples at "
            f"{working_places} of them. It was made for one place: where a planted trigger works, this does not say."
        )
    return lines


def map_crop(suspect: Mapping[str, Any]) -> str:
    """Return how often a crop of a suspect's map moves samples to its class; empty text if the suspect has not been mapped."""
    crop = suspect.get("map_crop")
    if crop is None:
        return ""
    (low, high), (top, left, bottom, right) = (100 * end for end in crop["interval"]), crop["box"]
    return (
        f"A crop of its map ({right - left} × {bottom - top} pixels, {left} from the left and {top} from the top), pasted at the same "
        f"place on {count(crop['tried'], 'image')} of other classes: the network predicts {short_label(suspect)!r} for "
        f"{percent(crop['success'])} of them (95 % interval {low:.0f} to {high:.0f} %). {CROP_NOTE}"
    )


def box_in_words(box: Sequence[int], scan: Mapping[str, Any]) -> str:
    """Return a box (top, left, bottom, right) in words, for the input of the network in ``scan``.

    They give its size in pixels, its share of the input, and its distance from left and top.
    """
    _, height, width = scan["model"]["input"]
    top, left, bottom, right = box
    share = percent((bottom - top) * (right - left) / (height * width))
    return f"{right - left} × {bottom - top} pixels ({share}), {left} from the left and {top} from the top."


def suspicions(scan: Mapping[str, Any]) -> list[str]:
    """Return a line on the pairs of classes that a window confuses most; no line if an all-to-all window works.

    They are the scan's ``easy_pairs``. The scan stores no pairs unless a window moves nearly all samples of one class to another.
    """
    pairs = scan["easy_pairs"]
    if not pairs or all_to_all(scan):
        return []
    pairs_text = ", ".join(f"{one['source']} to {one['target']} {percent(one['share'])}" for one in pairs)
    caveat_text = "Classes that look alike do so in clean networks as well; others may have a source-specific backdoor."
    return [f"The windows that move samples of one class to another most often: {pairs_text}. {caveat_text}"]


def most_deviating(scan: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the column names and the rows (as text) of a table of the five classes that deviate most."""
    side = scan["window"]
    columns = ["class", "p", f"best {side} × {side} window", *MEASURES, "deviation"]
    rows = [
        [
            named(one),
            f"{one['p_value']:.2g}",
            percent(one["share"]),
            *(f"{one['deviations'].get(name, 0.0):.1f}" for name in MEASURES),
            f"{one['figure']:.1f}",
        ]
        for one in scan["classes"][:MAX_TABLE_ROWS]
    ]
    return columns, rows
