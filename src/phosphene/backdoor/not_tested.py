"""What a scan does not test, in the report's words: kinds of backdoors, classes, and what its samples are too few for."""

from phosphene.backdoor.all_to_all import LEAST_CLASSES
from phosphene.backdoor.measure import (
    MAX_CLASSES_FOR_PAIRS,
    MAX_UNSCREENED_CLASSES,
    Measurements,
    searches_all_to_all,
    searches_pairs,
)
from phosphene.classifier import Classifier
from phosphene.errors import first_few
from phosphene.formats import count
from phosphene.samples import SamplePool

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


def one_class_warning(classifier: Classifier, measurements: Measurements) -> str:
    """Return a sentence if the network predicts the same class for all held-out samples; else empty text.

    Of a multi-label network, there is none.
    """
    predicted = int(measurements.held_out.predicted[0])
    if classifier.multi_label or bool((measurements.held_out.predicted != predicted).any()):
        return ""
    return (
        f"No class deviates unusually far, but every held-out sample is classified as {classifier.labels.short(predicted)!r}: "
        "give samples of several classes, and check that they and the declared input fit the network (phosphene doctor)."
    )


def few_samples(pool: SamplePool) -> str:
    """Return a warning if samples are so few that the verdict may change with more; else empty text."""
    if len(pool) >= MIN_SAMPLES:
        return ""
    return (
        f"Only {count(len(pool), 'sample')} were given, a third of them to search with: the verdict may change with "
        f"more. Give {MIN_SAMPLES} or more (docs/scan.md)."
    )


def fixes(pool: SamplePool, *, natural: bool, range_doubt: str) -> list[str]:
    """Return what could decide an inconclusive scan, beside references, as halves of a sentence.

    ``range_doubt`` is why the declared input may be wrong; empty without a doubt.
    """
    few = [f"give {MIN_SAMPLES} samples or more"] if few_samples(pool) else []
    return [
        *(["check the declared input (phosphene doctor)"] if range_doubt else []),
        *(few if natural else ["give natural samples"]),
    ]


def not_tested(classifier: Classifier, measurements: Measurements, *, natural: bool, pairs: bool) -> list[str]:
    """Return sentences that say what this scan did not test, and which kinds of backdoors it often misses."""
    lines = []
    if not natural:
        lines.append(
            "No samples of the network's own kind were given. Windows were tried on drawn images, which finds fewer "
            "backdoors (docs/scan.md). Give natural samples."
        )
    if measurements.unmovable:
        names = first_few([repr(classifier.labels.short(one)) for one in measurements.unmovable])
        lines.append(
            f"The network predicts {names} for every held-out sample: whether a trigger leads there was not tested."
        )
    num_measured = len(measurements.windows)
    if num_measured + len(measurements.unmovable) < classifier.num_classes:
        lines.append(
            f"Of {classifier.num_classes:,} classes, {measurements.tested} were tested and "
            f"{num_measured - measurements.tested} more were measured only for comparison. Backdoors to the remaining "
            "classes would be missed."
        )
    if classifier.multi_label:
        lines.append(
            "All-to-all and source-specific backdoors: not searched, because the outputs are independent of each other."
        )
    else:
        lines += [_source_specific(classifier, measurements, pairs), _all_to_all(classifier, measurements, pairs)]
    return [*lines, *MISSED_KINDS]


def _source_specific(classifier: Classifier, measurements: Measurements, pairs: bool) -> str:
    """Return what was tested of backdoors from one class to another."""
    if measurements.pairs is not None:
        return (
            "Source-specific backdoors, from one class to another: pairs of classes were searched, but only for "
            "suspicions, which do not change the verdict."
        )
    if searches_pairs(classifier, pairs=pairs):
        return "Source-specific backdoors: no class has enough samples to search pairs of classes."
    return (
        f"Source-specific backdoors: pairs of classes were not searched, because there are more than "
        f"{MAX_CLASSES_FOR_PAIRS} classes. The option pairs searches them."
    )


def _all_to_all(classifier: Classifier, measurements: Measurements, pairs: bool) -> str:
    """Return what was tested of backdoors that turn every class into another."""
    if measurements.all_to_all is not None:
        return "All-to-all backdoors: only those of one small window are searched."
    if classifier.num_classes < LEAST_CLASSES:
        return "All-to-all backdoors: not searched, because there are fewer than three classes."
    if searches_all_to_all(classifier, pairs=pairs):
        return "All-to-all backdoors: fewer than half of the classes have five held-out samples to search with."
    return (
        f"All-to-all backdoors: not searched, because there are more than {MAX_UNSCREENED_CLASSES} classes. "
        "The option pairs searches them."
    )
