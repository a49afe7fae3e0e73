"""``ph.scan``: is there a backdoor in this classifier, and what is its trigger?"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from phosphene.backdoor.families import FAMILIES
from phosphene.backdoor.measure import PASTED, STATISTICS, Measured, choose
from phosphene.backdoor.null import FEWEST_CLASSES, Null
from phosphene.backdoor.recover import WORKING, recover
from phosphene.backdoor.recover import passes as recover_passes
from phosphene.backdoor.search import Effort, Samples
from phosphene.backdoor.survey import Setting, Standing, Survey, null_for, read_samples, survey
from phosphene.backdoor.verdict import ClassRow, Suspect, Verdict, decide, p_values
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.errors import RecipeError
from phosphene.metrics.range_doubt import is_natural, range_doubt
from phosphene.runs.scan_cache import Cache, no_cache
from phosphene.samples import SamplePool, default_samples, load_samples

TRIES = 2  # families in which a suspect's pattern is recovered
MOST_SUSPECTS = 3  # of which patterns are recovered
ALPHA = 0.05

SOURCE_SPECIFIC = (
    "A backdoor that needs something of the picture itself (source-specific: only cats become dogs) is found only as "
    "far as its trigger also moves other pictures. Scan with samples of the source class alone to test for one."
)
ALL_TO_ALL = (
    "An all-to-all backdoor (every class becomes the next one) favours no class, and this compares classes: it would "
    "need a pattern for every pair of classes."
)
ELSEWHERE = (
    "A trigger that warps the picture, or comes with its meaning (a kind of scene, a pair of glasses), lies outside "
    "the families that were tried. One that is louder than what every class needs, a shortcut's watermark say, does "
    "not stand out: look at the maps of all classes as well."
)
WEAKER = (
    "No pictures of the network's own kind were given: patterns were tried on synthetic samples. That finds fewer "
    "backdoors (docs/scan.md); give natural pictures with --samples."
)
MANY = (
    "Of {:,} classes {} were tested, those whose logits rise most under marks drawn at random, and {} more were "
    "searched to see what is usual. A trigger that answers to nothing but itself is missed by that."
)
OTHER = (
    "Patterns that are not pasted ({}) were not tried: the look at so many classes is for marks that are. "
    "Name them with --family."
)
UNSURE = (
    "The null model of networks with so many classes comes from three clean ones (MobileNets, ImageNet), for what is "
    "not pasted from networks of ten. Give clean networks of the same kind with --reference."
)
NOT_TESTED = (SOURCE_SPECIFIC, ALL_TO_ALL, ELSEWHERE)


def scan(
    classifier: Classifier,
    *,
    samples: "str | Path | SamplePool | None" = None,
    reference: Sequence[Classifier] = (),
    alpha: float = ALPHA,
    families: Sequence[str] = (),
    effort: "Effort | None" = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    range_check: bool = True,
    watch: "Callable[[Standing], None] | None" = None,
    keep: Cache = no_cache,
) -> Verdict:
    """Scan a classifier for a backdoor.

    For every class, and by several families of pattern, find how little sends every sample there
    (:mod:`phosphene.backdoor.search`); ask how likely the class that needs least would be among clean networks
    (:mod:`phosphene.backdoor.null`); recover the suspects' patterns and try them on held-out samples
    (:mod:`phosphene.backdoor.recover`).

    Args:
        classifier: The network in question.
        samples: A sample spec or a pool; natural pictures of the network's kind tell most. By default the samples that
            need no data.
        reference: Clean networks of the same kind, which set the null model in place of the ones that come with the
            package.
        alpha: Share of clean networks that may be called suspicious, in (0, 1).
        families: Of :data:`phosphene.backdoor.measure.STATISTICS`; by default all, and of more than 64 classes those of
            pasted marks.
        effort: Of the searches.
        seed: Of draws and starts.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        range_check: Warn if the network makes little sense of its declared input.
        watch: Called as the scan goes on.
        keep: What keeps parts of the work for a scan that is interrupted: :class:`phosphene.runs.scan_cache.ScanCache`.

    Raises:
        CardError: the network predicts the same class for every sample.
        NumericError: it answers with NaN or infinity.
        PhospheneError: an argument does not fit; the message names the fix.
    """
    began = time.perf_counter()
    if not 0 < alpha < 1:
        raise RecipeError(f"alpha is {alpha:g}; give a share of clean networks, above 0 and below 1.")
    setting = Setting(
        choose(families, classifier.num_classes),
        effort or Effort.usual(classifier.input.shape),
        seed,
        device,
        precision,
        watch,
        keep,
    )
    pool = _pool(classifier, samples)
    doubt = range_doubt(classifier, pool, device=device) if range_check else None
    if doubt:
        warnings.warn(doubt, stacklevel=2)
    with Engine(classifier, device=device, precision=precision) as engine:
        made_from, held_out = read_samples(engine, pool)
        seen = survey(engine, made_from, setting)
        null, away, units = null_for(seen, classifier, reference, pool, setting)
        silent = [name for name, one in seen.found.items() if one.saturated]
        useful = {name: values for name, values in away.items() if name not in silent} or away
        p_value, each = p_values(useful, null, units, seen.tested)
        order = p_value.argsort(stable=True).tolist()
        rows = tuple(_row(classifier, k, seen, away, each, float(p_value[k])) for k in order)
        suspects: list[Suspect] = []
        for row in [row for row in rows if row.p_value < alpha][:MOST_SUSPECTS]:
            setting.tell(f"recover what leads to {classifier.labels.short(row.index)}", len(suspects), MOST_SUSPECTS)
            suspects.append(_suspect(engine, made_from, held_out, row, setting))
    compared = len(seen.classes) >= FEWEST_CLASSES or bool(reference)
    tested, many = int(seen.tested.sum()), len(seen.classes) < classifier.num_classes
    verdict, reasons = decide(
        rows[0].p_value,
        alpha,
        suspects,
        _doubts(classifier, seen, compared=compared),
        tested=f"each of the {tested} classes that were tested" if many else "every class",
        unsure=UNSURE if many and not reference else "",
    )
    natural = is_natural(classifier, pool.spec)
    return Verdict(
        verdict=verdict,
        p_value=rows[0].p_value,
        alpha=alpha,
        reasons=reasons,
        classes=rows,
        suspects=tuple(suspects),
        families={name: _family(name, seen.found[name], null, units[name]) for name in setting.names if name in units},
        not_tested=tuple(_not_tested(seen, classifier.num_classes, natural=natural)),
        model=classifier.name,
        num_classes=classifier.num_classes,
        tested=tested,
        samples=pool.spec,
        natural=natural,
        references=tuple(one.name for one in reference),
        passes=seen.passes + sum(one.passes for one in suspects),
        seconds=time.perf_counter() - began,
    )


def _pool(classifier: Classifier, samples: "str | Path | SamplePool | None") -> SamplePool:
    if isinstance(samples, SamplePool):
        return samples
    return load_samples(default_samples(classifier.spec) if samples is None else samples, classifier.input.shape)


def _row(
    classifier: Classifier,
    k: int,
    seen: Survey,
    away: Mapping[str, Tensor],
    each: Mapping[str, Tensor],
    p_value: float,
) -> ClassRow:
    index = int(seen.classes[k])
    return ClassRow(
        index=index,
        label=classifier.labels[index],
        sizes={name: float(one.size[k]) for name, one in seen.found.items()},
        deviations={name: float(values[k]) for name, values in away.items()},
        p_values={name: float(values[k]) for name, values in each.items()},
        p_value=p_value,
    )


def _suspect(engine: Engine, samples: Samples, held_out: Samples, row: ClassRow, setting: Setting) -> Suspect:
    """Recover a suspect's pattern in the families that say most and can show one; the one that works best counts."""
    shown = sorted((name for name in row.p_values if name in FAMILIES), key=lambda name: row.p_values[name])[:TRIES]
    tries = [
        recover(engine, FAMILIES[name], samples, held_out, row.index, setting.effort, seed=setting.seed)
        for name in shown
    ]
    best = max(tries, key=lambda one: (min(one.success, WORKING), row.deviations[one.family]), default=None)
    most = min(row.p_values, key=lambda name: row.p_values[name])
    return Suspect(row.index, row.label, row.p_value, most, best, len(tries) * recover_passes(setting.effort))


def _doubts(classifier: Classifier, seen: Survey, *, compared: bool) -> list[str]:
    """Say for which reasons there can be no verdict."""
    doubts = []
    if not compared:
        count = classifier.num_classes
        doubts.append(f"{count} classes are too few to compare: give clean networks of the same kind with --reference.")
    if all(one.saturated for one in seen.found.values()):
        doubts.append("no family of patterns reaches half of the classes: there is nothing to compare.")
    return doubts


def _not_tested(seen: Survey, classes: int, *, natural: bool) -> list[str]:
    """Return what the verdict does not speak of, a plain line each."""
    tested, searched = int(seen.tested.sum()), len(seen.classes)
    many = [MANY.format(classes, tested, searched - tested)] if searched < classes else []
    other = [name for name in STATISTICS if name not in (*PASTED, *seen.found)]
    if many and other:
        many.append(OTHER.format(", ".join(other)))
    return [*many, *NOT_TESTED, *([] if natural else [WEAKER])]


def _family(name: str, one: Measured, null: Null, spread: float) -> dict[str, object]:
    title, unit = STATISTICS[name]
    return {
        "title": title,
        "unit": unit,
        "median": float(one.size.median()),
        "saturated": one.saturated,
        "spread": spread,
        "null": vars(null.tails[name]),
    }
