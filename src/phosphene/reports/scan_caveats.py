"""What the verdict of a scan is worth, in words: what scans miss, how often they are wrong, and what was not searched."""

from collections.abc import Mapping
from typing import Any

from phosphene.backdoor.measure import MAX_CLASSES_FOR_PAIRS, MAX_UNSCREENED_CLASSES
from phosphene.backdoor.verdict import BACKDOORED, CLEAN
from phosphene.formats import count

NO_PROOF = (
    "This does not mean that there is none: backdoors made to evade the scan and those of single pairs of classes are nearly "
    "always missed, large patches, warps, blended images and additive patterns about half of the time."
)
DETECTION_COUNTS = (
    "Of 63 small networks with a planted backdoor to one class, the scan called 38 backdoored and named the right class (48 to 71 %), and "
    "without natural samples 26 of 63. docs/backdoor.md has the counts for the kinds of trigger that were tried."
)
COUNTS_OF_MANY_CLASSES = (
    "Of four copies of a network with 1,001 classes, the scan called the three trojaned ones backdoored, and not the clean one "
    "(docs/imagenet-trojan.md)."
)
FALSE_ALARMS = (
    "Of 42 small clean networks, the scan called 1 backdoored, too (0 to 12 %): 1 of 10 that were trained on drawings, and none of "
    "32 others (0 to 11 %); with other samples and another seed 1 of 42, and without natural samples 0 of 42 (with the default "
    "--alpha; docs/backdoor.md)."
)
NOT_A_RATE = "p is a rank among these clean networks, and not a rate of false alarms"
LOW_P_VALUES = "of 42 other small clean networks, 2 had p below 0.05, and none the lowest p (docs/backdoor.md)"


def caveat(scan: Mapping[str, Any]) -> str:
    """Return how far a scan's verdict can be relied on; empty if it is inconclusive.

    For ``clean``, this is what a scan misses; for ``backdoored``, how many clean networks get that verdict.
    """
    many = has_many_classes(scan)
    found, false_alarms = (COUNTS_OF_MANY_CLASSES,) * 2 if many else (DETECTION_COUNTS, FALSE_ALARMS)
    if scan["verdict"] == CLEAN:
        return " ".join(line for line in (NO_PROOF, not_searched(scan), found) if line)
    return false_alarms if scan["verdict"] == BACKDOORED else ""


def not_searched(scan: Mapping[str, Any]) -> str:
    """Return a sentence on the backdoors that a scan did not search for at all, for want of tested classes; empty if there are none."""
    rest = scan["num_classes"] - scan["tested"]
    left_out = [f"backdoors to the other {count(rest, 'class', 'classes')}"] if rest > 0 else []
    if scan["all_to_all"] is None:
        left_out.append("all-to-all backdoors")
    if not scan["settings"]["pairs"] and scan["num_classes"] > MAX_CLASSES_FOR_PAIRS:
        left_out.append("pairs of classes")
    return f"Not searched at all: {', '.join(left_out)}." if left_out else ""


def has_many_classes(scan: Mapping[str, Any]) -> bool:
    """Return whether the scanned network has so many classes that only some are tested: counts of small networks say nothing of it."""
    return bool(scan["num_classes"] > MAX_UNSCREENED_CLASSES)


def not_a_rate(scan: Mapping[str, Any]) -> str:
    """Return a sentence on what p is not; empty text if there were no clean networks."""
    if not scan["null"].get("networks"):
        return ""
    return f"{NOT_A_RATE}." if has_many_classes(scan) else f"{NOT_A_RATE}: {LOW_P_VALUES}."
