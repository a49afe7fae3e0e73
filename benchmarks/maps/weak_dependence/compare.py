"""Compares the maps: similarities, shares of image, class and network, and what the networks classify them as."""

import itertools
import sys
from typing import Any

import torch
from torch import Tensor

from benchmarks.maps.weak_dependence.maps import concept_maps, image_maps
from benchmarks.maps.weak_dependence.setting import Setting
from benchmarks.maps.weak_dependence.similarity import (
    DEPTHS,
    VERDICT_DEPTH,
    Descriptions,
    Maps,
    compare_pairs,
    correlation,
    factor_shares,
    pair_kinds,
    verdicts,
)
from phosphene.checks.randomised import blocks
from phosphene.concept_map import render, to_image
from phosphene.contact_sheet import contact_sheet
from phosphene.engine import Engine
from phosphene.labels import first_synonym
from phosphene.mapper import passes_per_map
from phosphene.metrics.predictions import SCORE_CONTRAST


def compare(setting: Setting) -> dict[str, Any]:
    """Compare all maps of the setting; return the result's document."""
    from benchmarks.maps.weak_dependence.methods import METHODS  # noqa: PLC0415  (needs captum)

    with_image, without_image = image_maps(setting), concept_maps(setting)
    probability = with_image.pop("p")
    numbers = [str(number) for number in range(len(setting.truth))]
    networks, classes = setting.networks, setting.classes
    own_class = [*zip(numbers, setting.truth, strict=True)]
    image_pairs = pair_kinds(networks, classes, own_class, [*itertools.combinations(numbers, 2)])
    sample_pairs = pair_kinds(networks, classes, [("0", index) for index in classes], [("0", "1")])
    classified = {name: classify(setting, maps) for name, maps in without_image.items()}
    methods: dict[str, Any] = {}
    for name, nus in without_image.items():
        write_sheet(setting, name, nus)
        maps = {key: render(nu, SCORE_CONTRAST) for key, nu in nus.items()}
        logits = target_logits(setting, maps)
        similarity = {
            kind: {**compare_pairs(maps, pairs), **compare_pairs(logits, pairs, {"logits": correlation})}
            for kind, pairs in sample_pairs.items()
        }
        by_image = designs(setting, "samples", ["0", "1"], [("0", index) for index in classes], maps)
        by_logits = designs(
            setting, "samples", ["0", "1"], [("0", index) for index in classes], logits, {"logits": torch.flatten}
        )
        methods[name] = {
            "similarity": similarity,
            **{key: {**by_image[key], **by_logits[key]} for key in by_image},
            "verdict": verdicts(similarity, classified=classified[name][networks[0]]["top1"] > 0.5),
        }
        print(f"compared {name}", file=sys.stderr, flush=True)
    for name in [method for method in METHODS if method in with_image]:
        similarity = {kind: compare_pairs(with_image[name], pairs) for kind, pairs in image_pairs.items()}
        methods[name] = {
            "similarity": similarity,
            **designs(setting, "image", numbers, own_class, with_image[name]),
            "verdict": verdicts(similarity, classified=False),
        }
        print(f"compared {name}", file=sys.stderr, flush=True)
    images = {
        name: [probability[name, number, index] for number, index in own_class]
        for name in dict.fromkeys(key[0] for key in probability)
    }
    return {
        "networks": networks,
        "target": setting.target,
        "classes": [setting.base.labels[index] for index in classes],
        "images": len(numbers),
        "passes": {name: passes_per_map(recipe) for name, recipe in setting.recipes.items()},
        "recipes": {name: recipe.to_dict() for name, recipe in setting.recipes.items()},
        "blocks": dict(zip(DEPTHS, setting.depths, strict=True)),
        "all_blocks": len(blocks(setting.base)),
        "methods": methods,
        "classified": classified,
        "image_p_class": {name: round(float(torch.stack(one).mean()), 4) for name, one in images.items()},
    }


def classify(setting: Setting, nus: Maps) -> dict[str, dict[str, float]]:
    """Return what the intact network makes of our maps from the first kind of samples, per network that made them."""
    result = {}
    with Engine(setting.base) as engine:
        for network in dict.fromkeys(key[0] for key in nus):
            truth = torch.tensor([index for index in setting.classes if (network, "0", index) in nus])
            images = render(torch.stack([nus[network, "0", int(index)] for index in truth]), SCORE_CONTRAST)
            logits = engine.logits(images).cpu()
            own = logits.gather(1, truth[:, None])
            likelier = (logits > own).double().sum(1).mean() / (logits.shape[1] - 1)
            result[network] = {
                "maps": len(truth),
                "top1": float((logits.argmax(1) == truth).double().mean()),
                "p_class": round(float(logits.softmax(1).gather(1, truth[:, None]).mean()), 5),
                # share of the other classes that are likelier: 0 is certain, 0.5 is chance
                "likelier": round(float(likelier), 4),
            }
    return result


def target_logits(setting: Setting, maps: Maps) -> Maps:
    """Return the target's logits for the images of maps, (1, 1, classes) each."""
    with Engine(setting.load(setting.target)) as engine:
        logits = engine.logits(torch.stack([*maps.values()])).cpu()
    rows: list[Tensor] = [row.view(1, 1, -1) for row in logits]
    return dict(zip(maps, rows, strict=True))


def designs(
    setting: Setting,
    source: str,
    levels: list[str],
    items: list[tuple[str, int]],
    maps: Maps,
    descriptions: "Descriptions | None" = None,
) -> dict[str, Any]:
    """Return the shares of two designs: source (image or samples) x class x network; and maps before and after."""
    networks, classes = setting.networks, setting.classes
    full = [(network, level, index) for level, index, network in itertools.product(levels, classes, networks)]
    before_after = [(network, *one) for one in items for network in (networks[0], VERDICT_DEPTH)]
    sizes = {source: len(levels), "class": len(classes), "network": len(networks)}
    return {
        "shares": factor_shares(maps, full, sizes, descriptions),
        "survives": factor_shares(maps, before_after, {"map": len(items), "training": 2}, descriptions),
    }


def write_sheet(setting: Setting, name: str, nus: Maps) -> None:
    """Write a contact sheet of our maps: a row per class, a column per depth, the intact network first."""
    networks = [setting.networks[0], *(f"depth {number}" for number in range(len(DEPTHS)))]
    keys = [(network, "0", index) for index in setting.classes for network in networks]
    captions = []
    for index in setting.classes:
        captions += [first_synonym(setting.base.labels[index]), *DEPTHS]
    images = [to_image(render(nus[key], SCORE_CONTRAST)) for key in keys]
    setting.figures.mkdir(parents=True, exist_ok=True)
    path = setting.figures / f"weak-dependence-{setting.recipes[name].name}.webp"
    contact_sheet(images, captions, columns=len(networks), side=112).save(path, quality=80)
