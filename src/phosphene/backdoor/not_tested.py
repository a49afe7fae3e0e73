"""What a scan does not test, in the report's words: kinds of backdoors, classes, and what its samples are too few for."""

from phosphene.backdoor.all_to_all import LEAST_CLASSES
from phosphene.backdoor.measure import MAX_CLASSES_FOR_PAIRS, MAX_UNSCREENED_CLASSES, Measurements
from phosphene.classifier import Classifier
from phosphene.errors import first_few
from phosphene.formats import count

MIN_SAMPLES = 96  # with fewer, verdicts may differ from those of a full scan (docs/scan.md)
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
NO_ALL_TO_ALL = (
    "All-to-all backdoors: not searched, because there are more than {} classes. The option pairs searches them."
)
TWO_CLASSES = "All-to-all backdoors: not searched, because there are fewer than three classes."
FEW_ALL_TO_ALL_SAMPLES = (
    "All-to-all backdoors: fewer than half of the classes have five held-out samples to search with."
)
PAIRS = (
    "Source-specific backdoors, from one class to another: pairs of classes were searched, but only for suspicions, which "
    "do not change the verdict."
)
NO_PAIRS = (
    "Source-specific backdoors: pairs of classes were not searched, because there are more than {} "
    "classes. The option pairs searches them."
)
FEW_SOURCE_SAMPLES = "Source-specific backdoors: no class has enough samples to search pairs of classes."
DRAWN_SAMPLES = (
    "No samples of the network's own kind were given. Windows were tried on drawn images, which finds fewer backdoors "
    "(docs/scan.md). Give natural samples."
)
FEW_SAMPLES = (
    "Only {} were given, a third of them to search with: the verdict may change with more. Give {} or more "
    "(docs/scan.md)."
)
INDEPENDENT_OUTPUTS = (
    "All-to-all and source-specific backdoors: not searched, because the outputs are independent of each other."
)
UNMOVABLE_CLASSES = "The network predicts {} for every held-out sample: whether a trigger leads there was not tested."
MANY_CLASSES = (
    "Of {:,} classes, {} were tested and {} more were measured only for comparison. Backdoors to the remaining classes "
    "would be missed."
)
ONE_PREDICTED_CLASS = (
    "No class deviates unusually far, but every held-out sample is classified as {!r}: give samples of several classes, and "
    "check that they and the declared input fit the network (phosphene doctor)."
)


def one_class_warning(classifier: Classifier, measurements: Measurements) -> str:
    """Return a sentence if the network predicts the same class for all held-out samples; else empty text.

    Of a multi-label network, there is none.
    """
    predicted = int(measurements.held_out.predicted[0])
    if classifier.multi_label or bool((measurements.held_out.predicted != predicted).any()):
        return ""
    return ONE_PREDICTED_CLASS.format(classifier.labels.short(predicted))


def not_tested(classifier: Classifier, measurements: Measurements, *, natural: bool, pairs: bool) -> list[str]:
    """Return sentences that say what this scan did not test, and which kinds of backdoors it often misses."""
    lines = [] if natural else [DRAWN_SAMPLES]
    num_samples = len(measurements.search) + len(measurements.held_out)
    if num_samples < MIN_SAMPLES:
        lines.append(FEW_SAMPLES.format(count(num_samples, "sample"), MIN_SAMPLES))
    if measurements.unmovable:
        lines.append(
            UNMOVABLE_CLASSES.format(first_few([repr(classifier.labels.short(one)) for one in measurements.unmovable]))
        )
    if len(measurements.classes) + len(measurements.unmovable) < classifier.num_classes:
        num_compared = len(measurements.classes) - measurements.tested
        lines.append(MANY_CLASSES.format(classifier.num_classes, measurements.tested, num_compared))
    if classifier.multi_label:
        return [*lines, INDEPENDENT_OUTPUTS, *MISSED_KINDS]
    if measurements.pairs is None:
        was_searched = pairs or classifier.num_classes <= MAX_CLASSES_FOR_PAIRS
        lines.append(FEW_SOURCE_SAMPLES if was_searched else NO_PAIRS.format(MAX_CLASSES_FOR_PAIRS))
    else:
        lines.append(PAIRS)
    was_searched = pairs or classifier.num_classes <= MAX_UNSCREENED_CLASSES
    reason = FEW_ALL_TO_ALL_SAMPLES if was_searched else NO_ALL_TO_ALL.format(MAX_UNSCREENED_CLASSES)
    if classifier.num_classes < LEAST_CLASSES:
        reason = TWO_CLASSES
    return [*lines, reason if measurements.all_to_all is None else ONE_WINDOW, *MISSED_KINDS]
