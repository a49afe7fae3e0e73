"""What a scan does not test, in the report's words: kinds of backdoors, classes, and what its samples are too few for."""

from phosphene.backdoor.all_to_all import LEAST_CLASSES
from phosphene.backdoor.measure import FEW, MANY, Measured
from phosphene.classifier import Classifier
from phosphene.errors import first_few
from phosphene.formats import count

ENOUGH_SAMPLES = 96  # with fewer, verdicts may differ from those of a full scan (docs/scan.md)
MISSED_KINDS = (
    "Large patches: about half are missed.",
    "Warps: about half are missed.",
    "Blended images: about half are missed.",
    "Additive patterns: about half are missed.",
    "Backdoors made to evade the scan: nearly all are missed.",
    "Parts of the scene, such as glasses: not tried.",
    "Classes that were learnt together with a watermark: neither of two was found, so look at the maps of all classes.",
)
ONE_WINDOW = "All-to-all backdoors: only those of one small window are searched."
NO_ALL_TO_ALL = "All-to-all backdoors: not searched, because there are more than {} classes. --pairs searches them."
TWO_CLASSES = "All-to-all backdoors: not searched, because there are fewer than three classes."
FEW_SAMPLES = "All-to-all backdoors: fewer than half of the classes have five held-out samples to search with."
PAIRS = (
    "Source-specific backdoors, from one class to another: pairs of classes were searched, but only for suspicions, which "
    "do not change the verdict."
)
NO_PAIRS = (
    "Source-specific backdoors: pairs of classes were not searched, because there are more than {} "
    "classes. --pairs searches them."
)
FEW_SOURCES = "Source-specific backdoors: no class has enough samples to search pairs of classes."
DRAWN = (
    "No samples of the network's own kind were given. Windows were tried on drawn images, which finds fewer backdoors "
    "(docs/scan.md). Give natural samples with --samples."
)
SCARCE = (
    "Only {} were given, a third of them to search with: the verdict may change with more. Give {} or more "
    "(docs/scan.md)."
)
INDEPENDENT = (
    "All-to-all and source-specific backdoors: not searched, because the outputs are independent of each other."
)
UNMOVABLE = "The network predicts {} for every held-out sample: whether a trigger leads there was not tested."
MANY_CLASSES = (
    "Of {:,} classes, {} were tested and {} more were measured only for comparison. Backdoors to the remaining classes "
    "would be missed."
)
ONE_PREDICTED = (
    "No class deviates unusually far, but every held-out sample is classified as {!r}: give samples of several classes, and "
    "check that they and the declared input fit the network (phosphene doctor)."
)


def one_predicted(classifier: Classifier, found: Measured) -> str:
    """Return a sentence if the network predicts the same class for all held-out samples, unless it is multi-label; else empty text."""
    first = int(found.held_out.predicted[0])
    if classifier.multi_label or bool((found.held_out.predicted != first).any()):
        return ""
    return ONE_PREDICTED.format(classifier.labels.short(first))


def not_tested(classifier: Classifier, found: Measured, *, natural: bool, pairs: bool) -> list[str]:
    """Return sentences for the report: which kinds of backdoors or classes this scan did not test, and which kinds it often misses."""
    lines = [] if natural else [DRAWN]
    samples = len(found.search) + len(found.held_out)
    if samples < ENOUGH_SAMPLES:
        lines.append(SCARCE.format(count(samples, "sample"), ENOUGH_SAMPLES))
    if found.unmovable:
        lines.append(UNMOVABLE.format(first_few([repr(classifier.labels.short(one)) for one in found.unmovable])))
    if len(found.classes) + len(found.unmovable) < classifier.num_classes:
        others = len(found.classes) - found.tested
        lines.append(MANY_CLASSES.format(classifier.num_classes, found.tested, others))
    if classifier.multi_label:
        return [*lines, INDEPENDENT, *MISSED_KINDS]
    if found.pairs is None:
        searched = pairs or classifier.num_classes <= FEW
        lines.append(FEW_SOURCES if searched else NO_PAIRS.format(FEW))
    else:
        lines.append(PAIRS)
    searched = pairs or classifier.num_classes <= MANY
    missing = FEW_SAMPLES if searched else NO_ALL_TO_ALL.format(MANY)
    if classifier.num_classes < LEAST_CLASSES:
        missing = TWO_CLASSES
    return [*lines, missing if found.all_to_all is None else ONE_WINDOW, *MISSED_KINDS]
