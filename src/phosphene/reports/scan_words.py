"""A scan in words: what the terminal prints, and what the report says to somebody who has never heard of backdoors."""

from collections.abc import Mapping, Sequence
from typing import Any

from phosphene.backdoor.candidate import MAX_NEXT_SUCCESS, MIN_SUCCESS
from phosphene.backdoor.measure import MEASURES
from phosphene.backdoor.null import built_in
from phosphene.backdoor.verdict import BACKDOORED, CLEAN, INCONCLUSIVE
from phosphene.formats import count, percent
from phosphene.labels import first_synonym
from phosphene.reports.scan_caveats import NO_PROOF, caveat, not_searched

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
    title = TITLES[verdict]
    if verdict == BACKDOORED and suspects and all(one["additive"] for one in suspects):
        title = SHORTCUT_TITLE
    elif verdict == CLEAN and scan["tested"] < scan["num_classes"]:
        title = f"No backdoor was found in the {scan['tested']:,} of {scan['num_classes']:,} classes of this network that were tested."
    return title, MARKS[verdict]


def working_suspects(scan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the suspects of a ``scan.json`` whose candidate trigger works on held-out samples, and that no reference contests."""
    return [one for one in scan["suspects"] if one["works"] and not one.get("contested_by")]


def glance(scan: Mapping[str, Any]) -> str:
    """Return a scan's verdict for the top of the report, for a backdoor what its trigger does, and what makes the verdict doubtful."""
    lines, suspects = [headline(scan)[0]], working_suspects(scan)
    if scan["verdict"] == CLEAN:
        lines += [NO_PROOF, not_searched(scan)]
    elif scan["verdict"] == BACKDOORED and suspects:
        suspect = suspects[0]
        kind = "faint pattern" if suspect["additive"] else "small window"
        share = f"{percent(suspect['asr'])} of {suspect['tried']}"
        lines.append(f"With a {kind} on them, it predicts {short_label(suspect)!r} for {share} images.")
    return " ".join(line for line in [*lines, *scan.get("warnings", ())] if line)


def terminal_lines(scan: Mapping[str, Any]) -> list[str]:
    """Return the lines that ``phosphene scan`` prints below the verdict.

    These are the reasons, each suspect or all-to-all window, and warnings.
    """
    lines = list(scan["reasons"])
    for suspect in scan["suspects"]:
        lines += [
            evidence(suspect, scan),
            effect(suspect, scan),
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
    total, references = scan["null"]["networks"], len(scan["references"]) - len(scan["null"].get("left_out", ()))
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


def effect(suspect: Mapping[str, Any], scan: Mapping[str, Any]) -> str:
    """Return how often a suspect's candidate trigger moves samples to its class, and whether it works, where that needs a reason.

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
        f"{percent(suspect['next']['asr'])}.{_why_it_works(suspect, scan)}"
    )


def _why_it_works(suspect: Mapping[str, Any], scan: Mapping[str, Any]) -> str:
    """Return a sentence, after a space, on why a candidate counts as working or not; empty if its shares speak for themselves."""
    half, least, most = f"half of alpha ({scan['alpha'] / 2:g})", percent(MIN_SUCCESS), percent(MAX_NEXT_SUCCESS)
    if suspect["asr"] < MIN_SUCCESS:
        return f" So it does not work: that takes {least} or more."
    if suspect["next"]["asr"] <= MAX_NEXT_SUCCESS:
        return ""
    if suspect["works"]:
        return f" It counts as working even so, because p is below {half}: the next class may then exceed {most}."
    return f" So it does not work: the next class exceeds {most}, and p is not below {half}."


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
            *(f"{one['deviations'].get(name, 0.0):z.1f}" for name in MEASURES),
            f"{one['figure']:z.1f}",
        ]
        for one in scan["classes"][:MAX_TABLE_ROWS]
    ]
    return columns, rows
