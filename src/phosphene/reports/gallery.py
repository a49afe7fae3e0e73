"""The part of the report that shows the maps themselves."""

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

from PIL import Image

from phosphene.concept_map import ConceptMap, p_class_name, render, to_image
from phosphene.concepts import Sides, is_class
from phosphene.contact_sheet import SIDE, contact_sheet
from phosphene.formats import percent, probability
from phosphene.image_files import fitted, to_data_url
from phosphene.labels import first_synonym
from phosphene.outputs import MULTI_LABEL
from phosphene.reports.curves import curve
from phosphene.reports.glance import map_glance
from phosphene.reports.images import MOST_PIXELS, brightness_image, data_url, in_threads, scale_for, weight_image
from phosphene.runs import RunDirectory
from phosphene.runs.frames import NAME as FRAMES
from phosphene.runs.map_json import FIGURES
from phosphene.runs.predictions import ClassifierPredictions, read_predictions

# Contrast of the second image of each map in a page, from which the page computes the contrasts below the map's own.
# It is so low that hardly any pixel is clipped.
FAINT = 0.07
# Most bytes of the images and animations of a page. As text in the page they take a third more, 14 MB.
MOST_BYTES = 10_500_000
# Bytes that a map's four images take together, for each of its pixels: an upper bound, measured on noise. Animations
# may take what is left of MOST_BYTES; those that do not fit stay beside their maps, and the page says where.
BYTES_PER_PIXEL = 1.3
# Of more maps than the first number, the contact sheet shows each at half the size; the second is the most it shows,
# because image viewers refuse larger sheets.
MOST_LARGE, MOST_ON_SHEET = 100, 2000
# What the curve of a map's hits counts, by what the map is of.
CLASS_HITS, UNIT_HITS = "Samples classified as the class", "Samples above the 99th percentile"
OWN_HITS = "Samples with a probability of the class above one half"
# Most contrasts "A vs B" that the page shows a second time, in a row with "B vs A", A and B.
MOST_CONTRASTS = 100


def map_section(run: RunDirectory, facts: dict[str, Any]) -> "dict[str, Any] | None":
    """Return what the template shows of a run's maps; ``None`` if none is finished."""
    cards = list(_cards(run, facts))
    if not cards:
        return None
    classes = len({card["map"]["index"] for card in cards})
    return {
        "contrasts": _contrasts(cards),
        "nav": "Maps",
        "glance": map_glance(facts, cards),
        "cards": cards,
        "classes": classes,
        "contrast": any(card["concept"].against for card in cards),
        "expressions": not all(card["concept"].is_class for card in cards),  # unions and contrasts
        "units": any(card["concept"].unit for card in cards),
        "independent": any(one["independent"] for card in cards for one in [card["own"], *card["others"]] if one),
        "texts": facts["model"].get("texts", []),
        "p_name": p_class_name(*(card["map"]["index"] for card in cards)),
        "several": classes < len(cards),  # whether a class has more than one map
        "others": any(card["others"] for card in cards),
    }


def _contrasts(cards: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return a list for each two sides A, B that a contrast compares: A, A vs B, B vs A and B, if the run has two of these or more."""
    first: dict[Sides, dict[str, Any]] = {}
    for card in cards:
        first.setdefault(card["concept"].sides, card)  # that of units is empty, and in no contrast
    rows: dict[frozenset[tuple[int, ...]], list[dict[str, Any]]] = {}
    for up, against in [sides for sides in first if sides.against][:MOST_CONTRASTS]:
        places = (Sides(up), Sides(up, against), Sides(against, up), Sides(against))
        row = [first[place] for place in places if place in first]
        if len(row) > 1:
            shown = [{"map": one["map"], "image": data_url(one["thumbnail"])} for one in row if "thumbnail" in one]
            rows.setdefault(frozenset((up, against)), shown)
    return list(rows.values())


def sheet_of_maps(
    run: RunDirectory, gallery: dict[str, Any], columns: "int | None" = None, size: "int | None" = None
) -> Image.Image:
    """Return the contact sheet of a run's first 2,000 maps, ``columns`` per row, ``size`` pixels wide each.

    By default the sheet is about square, and the maps are the thumbnails in ``gallery``, which :func:`map_section` returned.
    """
    cards = gallery["cards"][:MOST_ON_SHEET]
    maps = [card["map"] for card in cards]
    captions = [f"{one['short']}, {one['seed']}" if gallery["several"] else one["short"] for one in maps]
    if size is None:
        images = [card["thumbnail"] for card in cards]
    else:
        images = [fitted(one.image, size) for one in itertools.islice(run.maps(), len(cards))]
    columns = columns or max(5, round(math.sqrt(len(cards))))
    return contact_sheet(images, captions, columns=columns, side=max(images[0].size))


def _cards(run: RunDirectory, facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a dictionary for the template per finished map: its images as data URLs, figures, and what classifiers predict for it."""
    maps, size = len(run.finished_folders()), tuple(facts["model"]["input"]["size"])
    scale, pixels = scale_for(max(1, maps), size), maps * math.prod(size)
    quality = 88 if pixels > MOST_PIXELS / 4 else 94
    bytes_for_frames = MOST_BYTES - BYTES_PER_PIXEL * pixels * scale**2
    classifiers = read_predictions(run)
    side = SIDE if maps <= MOST_LARGE else SIDE // 2
    multi_label = facts["model"].get("output") in MULTI_LABEL
    images_of = partial(_images, scale=scale, quality=quality, side=side)
    for number, (one, images) in enumerate(in_threads(images_of, run.maps())):
        found = classifications(classifiers, facts, (one.index, one.seed))
        card = _words(one, found["own"], multi_label=multi_label) | found | images
        if number >= MOST_ON_SHEET:
            del card["thumbnail"]  # nothing shows it, and those of all maps may fill the memory
        animation = run.folder(one.job, one.label) / FRAMES
        size_of_frames = animation.stat().st_size if animation.is_file() else 0
        if 0 < size_of_frames <= bytes_for_frames:
            bytes_for_frames -= size_of_frames
            card["frames"] = to_data_url(animation.read_bytes(), "webp")
        elif size_of_frames:
            card["frames_elsewhere"] = animation.relative_to(run.path)
        yield card


def _words(one: ConceptMap, own: "dict[str, Any] | None", *, multi_label: bool) -> dict[str, Any]:
    """Return a ConceptMap's texts, figures and curves for the template; ``own`` is what the source predicts for it."""
    hits = UNIT_HITS if one.concept.unit else CLASS_HITS
    if multi_label and not one.concept.unit and not one.concept.against:
        hits = OWN_HITS
    if not one.concept.is_class:
        hits = hits.replace("the class", "the concept")
    return {
        "map": {"short": one.short, **{key: getattr(one, key) for key in FIGURES}},
        "concept": one.concept,
        "sentence": _sentence(one, own, multi_label=multi_label or bool(own and own["independent"])),
        "loss": curve(one.loss, "Cross-entropy"),
        "hits": curve(one.hits, hits, share=True),
        "hits_name": hits,
        "frames": None,
        "frames_elsewhere": None,
    }


def _images(one: ConceptMap, scale: float, quality: int, side: int) -> dict[str, Any]:
    """Return a map's images for the template, and its thumbnail."""
    return {
        "thumbnail": fitted(one.image.convert("RGB"), side),
        "image": data_url(one.image, scale, quality),
        "faint": data_url(to_image(render(one.nu, FAINT)), scale, 85),
        "faint_contrast": FAINT,
        "signed": data_url(brightness_image(one.nu), scale, 75),
        "xi": data_url(weight_image(one.xi), min(scale, 112 / max(one.xi.shape[-2:])), 75),
    }


def classifications(
    classifiers: list[ClassifierPredictions], facts: dict[str, Any], place: tuple[int, int]
) -> dict[str, Any]:
    """Return what is predicted for the map of (index, seed): ``own``, by the run's network, maybe ``None``, and ``others``, a list."""
    own, others = None, []
    for one in classifiers:
        found = _classification(one, place)
        if found is not None and own is None and one.sha256 == facts["model"]["sha256"]:
            own = found
        elif found is not None:
            others.append(found)
    return {"own": own, "others": others}


def _classification(classifier: ClassifierPredictions, place: tuple[int, int]) -> "dict[str, Any] | None":
    """Return a classifier's stored prediction for the map of (index, seed), with ``right``: whether it is right; ``None`` if unknown.

    It is right if its top class is the map's own, or for a union or contrast one of those that are pulled up; of
    ``independent`` outputs, if the probability of the class is above one half.
    """
    found = classifier.maps.get(place)
    if not found or not found["top"]:
        return None
    up = found.get("up", [found["class"]])  # a class has one; for unions and contrasts, all that are pulled up
    right = found.get("right", found["top"][0]["index"] in up)
    return {**found, "name": classifier.name, "up": up, "right": right, "tells": "up" in found} | {
        "independent": "up" in found and is_class(place[0])
    }


def _sentence(one: ConceptMap, own: "dict[str, Any] | None", *, multi_label: bool) -> str:
    """Return a sentence on how the source classifies its own map, by what it predicts (``own``) or, if ``None``, its confidence."""
    confidence = _spelled(one.p_class)
    if one.concept.unit:
        below = "all" if one.p_class == 1 else percent(one.p_class)
        if not one.concept.unit.layer:
            name, side = first_synonym(one.concept.unit.output), "below" if one.concept.unit.low else "above"
            return f"The network's {name} for the image is {side} that of {below} of the samples."
        return f"The image activates {one.short} more than {below} of the samples do."
    if one.concept.against:
        left, _, right = one.label.partition(" vs ")
        return f"Between {left} and {right}, the network gives {left} a confidence of {confidence} for its own map."
    if multi_label:
        p = own["p_class"] if own else one.p_class
        side = "above" if (own["right"] if own else p > 0.5) else "not above"
        return f"The network's own probability of {one.short}, for the image of its map, is {_spelled(p)}: {side} one half."
    if own is None and one.p_class < 0.5:
        return f"The network's confidence in {one.short}, for its own map, is only {confidence}."
    if own is None or own["right"]:
        return f"The network classifies its own map as {one.short} with a confidence of {confidence}."
    first = own["top"][0]
    return (
        f"The network classifies its own map as {first_synonym(first['label'])} with a confidence of "
        f"{_spelled(first['p'])}; {one.short} gets {_spelled(own['p_class'])}."
    )


def _spelled(p: float) -> str:
    """Return a probability as text, ``more than 99 %`` in place of ``> 99 %``."""
    return probability(p).replace(">", "more than").replace("<", "less than")
