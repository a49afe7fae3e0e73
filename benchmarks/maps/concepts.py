"""Contrasts and unions of ImageNet classes: `python -m benchmarks.maps.concepts [contrasts | unions | classes ...]`.

Maps of `vivid`, source MobileNetV2, samples natural images. *Contrasts*: 20 pairs of classes that are easily confused, chosen
before any map was made, both ways; right is a target whose margin between the two classes has the right sign.
*Classes*: the same of ordinary maps of these classes, for comparison. *Unions*: five, with four seeds; right is a target
whose top-1 is a member. Maps go to runs/concepts/, so that a stopped benchmark continues where it was. Prints the
tables; with contrasts and unions it also writes benchmarks/results/concepts.json, figures and the section `imagenet` of
docs/concepts-results.md.
"""

import argparse
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

import torch

from benchmarks.common import (
    DOCS,
    ROOT,
    classify,
    hardware,
    make_maps,
    markdown_table,
    network,
    share,
    write_result,
    write_section,
    write_sheet,
)
from phosphene.concept_map import ConceptMap
from phosphene.concepts import Concept, Sides
from phosphene.engine.targets import hits, target_probabilities
from phosphene.labels import Labels
from phosphene.metrics.matching import match_maps
from phosphene.metrics.scores import score_maps
from phosphene.recipe import resolve

SOURCE = "mobilenet_v2_a"
TARGETS = ("mobilenet_v2_b", "efficientnet_lite0", "squeezenet")
PAIRS = (
    ("Siberian husky", "malamute"),
    ("golden retriever", "Labrador retriever"),
    ("Pembroke", "Cardigan Welsh corgi"),
    ("Yorkshire terrier", "silky terrier"),
    ("whippet", "Italian greyhound"),
    ("tabby", "tiger cat"),
    ("Persian cat", "Siamese cat"),
    ("leopard", "jaguar"),
    ("cheetah", "leopard"),
    ("lion", "cougar"),
    ("sports car", "convertible"),
    ("minivan", "limousine"),
    ("school bus", "trolleybus"),
    ("steam locomotive", "electric locomotive"),
    ("airliner", "warplane"),
    ("violin", "cello"),
    ("acoustic guitar", "electric guitar"),
    ("grand piano", "upright"),
    ("oboe", "bassoon"),
    ("trombone", "cornet"),
)
# Members by name; a pair stands for all classes from the first to the second.
UNIONS: dict[str, tuple[str | tuple[str, str], ...]] = {
    "dogs": (("Chihuahua", "Mexican hairless"),),
    "cats": (("tabby", "cheetah"),),
    "birds": (("cock", "great grey owl"), ("black grouse", "black swan"), ("white stork", "albatross")),
    "wheeled vehicles": (
        *("ambulance", "barrow", "beach wagon", "bicycle-built-for-two", "cab", "convertible", "electric locomotive"),
        *("fire engine", "forklift", "freight car", "garbage truck", "go-kart", "golfcart", "half track", "horse cart"),
        *("jeep", "jinrikisha", "limousine", "minibus", "minivan", "Model T", "moped", "motor scooter"),
        *("mountain bike", "moving van", "oxcart", "passenger car", "pickup", "police van", "racer"),
        *("recreational vehicle", "school bus", "snowplow", "sports car", "steam locomotive", "streetcar"),
        *("tow truck", "tractor", "trailer truck", "tricycle", "trolleybus", "unicycle"),
    ),
    "instruments": (
        *("accordion", "acoustic guitar", "banjo", "bassoon", "cello", "cornet", "drum", "electric guitar", "flute"),
        *(
            "French horn",
            "tam-tam",
            "grand piano",
            "harmonica",
            "harp (595)",
            "maraca",
            "marimba",
            "oboe",
            "ocarina",
            "organ",
        ),
        *("panpipe", "sax", "steel drum", "trombone", "upright", "violin"),
    ),
}
SEEDS = 4


def contrast(labels: Labels, left: str, right: str) -> Concept:
    """Return the contrast of two classes by name."""
    return Concept.of_sides(Sides((labels.find(left),), (labels.find(right),)), labels)


def union(labels: Labels, name: str) -> Concept:
    """Return the union of ``UNIONS`` that has this name."""
    spans = [(one, one) if isinstance(one, str) else one for one in UNIONS[name]]
    members = [index for first, last in spans for index in range(labels.find(first), labels.find(last) + 1)]
    return Concept.of_sides(Sides(tuple(members)), labels)


def maps_of(concepts: Iterable[Concept], folder: str, seeds: int = 1) -> list[ConceptMap]:
    """Make the maps of concepts that runs/concepts/FOLDER lacks; return all of them, in the order of the concepts."""
    wanted = list(concepts)
    recipe = resolve("vivid")
    texts = [one.expression for one in wanted]
    run = make_maps(network(SOURCE), recipe, texts, seeds=seeds, out=ROOT / "runs" / "concepts" / folder)
    found = list(run.maps())
    return [one for concept in wanted for one in found if one.index == concept.index]


def answers(maps: Sequence[ConceptMap], concepts: Sequence[Concept]) -> dict[str, list[tuple[bool, float]]]:
    """Return, by target, whether it is right about each map, and its confidence, as the maps' concepts define them."""
    found = {}
    for name in TARGETS:
        target = network(name)
        logits, targets = classify(target, maps), match_maps(concepts, target).targets
        found[name] = list(
            zip(hits(logits, targets).tolist(), target_probabilities(logits.double(), targets).tolist(), strict=True)
        )
    return found


def summary(what: str, maps: Sequence[ConceptMap], found: dict[str, list[tuple[bool, float]]]) -> list[str]:
    """Return the row of the summary table: what is mapped, how many maps each target is right about, and their cost."""
    seconds = f"{median(one.seconds for one in maps):.0f}"
    return [what, *(share(sum(right for right, _ in found[name]), len(found[name])) for name in TARGETS), seconds]


def cells(found: dict[str, list[tuple[bool, float]]], rows: Sequence[int]) -> list[str]:
    """Return a cell per target with its confidence in each of some maps; those that it is wrong about are bold."""
    text = [
        [f"{p:.2f}" if right else f"**{p:.2f}**" for right, p in (found[name][row] for row in rows)] for name in TARGETS
    ]
    return [" / ".join(one) for one in text]


def main() -> None:
    """Make the maps, have the targets classify them, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parts = parser.parse_args().parts or ["contrasts", "unions", "classes"]
    labels = network(SOURCE).labels
    ways = [contrast(labels, *names) for pair in PAIRS for names in (pair, pair[::-1])]
    rows: list[list[str]] = []
    details: list[str] = []
    lefts = [Concept.of_class(way.sides.up[0], labels[way.sides.up[0]]) for way in ways]
    result: dict[str, Any] = {}
    if "contrasts" in parts:
        maps = maps_of(ways, "contrasts")
        result["contrasts"] = found = answers(maps, ways)
        rows.append(summary("contrasts, margin of the right sign", maps, found))
        rows.append(summary("contrasts, top-1 among all classes is the left one", maps, answers(maps, lefts)))
        scores = {name: score_maps(maps, ways, network(name))[0] for name in TARGETS}
        result["m_score"] = {name: [one.m_score, *(one.interval or ())] for name, one in scores.items()}
        texts = [f"{m:.2f} [{low:.2f}, {high:.2f}]" for m, low, high in result["m_score"].values()]
        rows.append([f"contrasts, `M_score` of {scores[TARGETS[0]].concepts} left sides", *texts, rows[-1][-1]])
        table = [[f"{a} vs {b}", *cells(found, (2 * row, 2 * row + 1))] for row, (a, b) in enumerate(PAIRS)]
        details.append(markdown_table(["contrast, and the other way round", *TARGETS], table))
        write_sheet(
            "concepts-contrasts",
            [one.image for one in maps],
            [way.label.replace(" vs ", "\nvs ") for way in ways],
            columns=8,
            side=136,
        )
    if "classes" in parts:
        of_class = {one.index: one for one in maps_of(dict.fromkeys(lefts), "classes")}
        maps = [of_class[left.index] for left in lefts]
        result["classes"] = found = answers(maps, ways)
        rows.append(summary("maps of the left class, margin of the right sign", maps, found))
        rows.append(summary("maps of the left class, top-1 among all classes", maps, answers(maps, lefts)))
    if "unions" in parts:
        maps = maps_of((union(labels, name) for name in UNIONS), "unions", SEEDS)
        result["unions"] = found = answers(maps, [one.concept for one in maps])
        rows.append(summary("unions, top-1 is a member", maps, found))
        table = [
            [name, str(len(union(labels, name).up)), *cells(found, range(SEEDS * row, SEEDS * (row + 1)))]
            for row, name in enumerate(UNIONS)
        ]
        details.append(markdown_table(["union, four seeds", "classes", *TARGETS], table))
        captions = [f"{name}, {seed}" for name in UNIONS for seed in range(SEEDS)]
        write_sheet("concepts-unions", [one.image for one in maps], captions, columns=4, side=160)
    machine = hardware()
    head = markdown_table(["maps", *TARGETS, "seconds per map (median)"], rows)
    text = "\n\n".join(
        [head, *details, f"Measured on {machine['threads']} thread of {machine['cpu']}, torch {machine['torch']}."]
    )
    print(text)
    if {"contrasts", "unions"} <= set(parts):
        write_result("concepts", {"source": SOURCE, "pairs": PAIRS, **result})
        write_section(DOCS / "concepts-results.md", "imagenet", text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
