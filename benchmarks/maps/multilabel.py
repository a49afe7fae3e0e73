"""Maps of a multi-label network, and what a softmax reading of it shows: `python -m benchmarks.maps.multilabel`.

Trains two networks with nine independent outputs on images with up to four shapes of the drawn world: six outputs are
shapes, two are groups of shapes and one is any shape; these three are present with any of their members. The first
network is the source. The second has another architecture and other training images. They start from the demo's
single-label networks `shapes` and `shapes_plain`. Every output of the source is mapped three times: declared as
multi-label; its logits taken for those of a softmax; and its probabilities taken for such logits, as of a network that
ends in `nn.Sigmoid()` and is said to return logits. Prints the tables and writes them with their figure to docs/concepts-results.md.
Networks and maps are kept in runs/scenes/.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from demo.scenes import NAMES
from demo.train import load
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common import DOCS, hardware, markdown_table, share, write_result, write_section, write_sheet
from benchmarks.maps.scene_networks import FOLDER, as_classifier, has, outputs_for_new_images, samples, trained
from phosphene import map_concepts
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.demo.world import LABELS
from phosphene.engine import Engine
from phosphene.metrics.predictions import logits_of_maps

SHAPES = ("star", "ring", "cross", "triangle", "heart", "arrow")
GROUPS = {"pointed": ("star", "triangle", "arrow"), "round": ("ring", "spiral", "crescent"), "any shape": NAMES}
OUTPUTS = {**{name: (name,) for name in SHAPES}, **GROUPS}  # output -> the shapes with which it is present
SEEDS = 3
READINGS = {
    "multi-label": "multi-label",
    "logits": "logits as a softmax",
    "sigmoid": "probabilities as logits of a softmax",
}


def truth(present: NDArray[np.bool_]) -> Tensor:
    """Return which outputs are present, float32 (n, 9), for which shapes are, bool (n, 9)."""
    return torch.from_numpy(np.stack([has(present, members) > 0 for members in OUTPUTS.values()], 1)).float()


def is_recognised(output: str, probabilities: Tensor) -> bool:
    """Return whether an output is above 0.5, and above all that it shares no shape with, among probabilities (9,)."""
    own = probabilities[list(OUTPUTS).index(output)]
    unrelated = [not set(members) & set(OUTPUTS[output]) for members in OUTPUTS.values()]
    return bool(own > 0.5 and (own > probabilities[unrelated]).all())


def measure(maps: Sequence[ConceptMap], second: Classifier, single: Classifier) -> list[dict[str, Any]]:
    """Return for each map its figures, and how the second multi-label network and a single-label network classify it."""
    found = []
    for network in (second, single):
        with Engine(network, device="cpu") as engine:
            found.append(logits_of_maps(engine, maps))
    rows = []
    for one, probabilities, logits in zip(maps, found[0].sigmoid(), found[1], strict=True):
        top = LABELS[int(logits.argmax())]
        rows.append(
            {
                "output": one.label,
                "seed": one.seed,
                "confidence": one.p_class,
                "targeting_rate": one.targeting_rate,
                "probabilities": [round(float(value), 4) for value in probabilities],
                "recognised": is_recognised(one.label, probabilities),
                "top1": top,
                "top1_right": top in OUTPUTS[one.label],
            }
        )
    return rows


def tables(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table of the readings, and one with the second network's probabilities, by output."""
    lines = []
    for reading, rows in results.items():
        means = [np.mean([row[key] for row in rows]) for key in ("confidence", "targeting_rate")]
        shares = [share(sum(row[key] for row in rows), len(rows)) for key in ("recognised", "top1_right")]
        lines.append([READINGS[reading], *shares, f"{means[0]:.2f}", f"{100 * means[1]:.0f} %"])
    head = ["mapped as", "recognised by the second network", "by `demo:shapes-plain`", "confidence", "targeting rate"]
    details = []
    for index, output in enumerate(OUTPUTS):
        cells = []
        for rows in results.values():
            chosen = [row for row in rows if row["output"] == output]
            texts = [f"{row['probabilities'][index]:.2f}" for row in chosen]
            cells.append(
                " / ".join(p if row["recognised"] else f"**{p}**" for p, row in zip(texts, chosen, strict=True))
            )
        details.append([output, *cells])
    return "\n\n".join(
        [markdown_table(head, lines), markdown_table(["output", *(READINGS[one] for one in results)], details)]
    )


def main() -> None:
    """Train, map, measure, print, and write the page."""
    labels = list(OUTPUTS)
    loss = functional.binary_cross_entropy_with_logits
    (source, seconds), (second, _) = (
        trained(which, "multilabel", len(OUTPUTS), truth, loss) for which in ("first", "second")
    )
    right = []
    for network in (source, second):
        logits, present = outputs_for_new_images(network)
        right.append([float(one) for one in ((logits > 0) == (truth(present) > 0)).double().mean(0)])
    readings = {
        "multi-label": as_classifier(source, labels, "multilabel", "multi-label"),
        "logits": as_classifier(source, labels, "multilabel", "logits"),
        "sigmoid": as_classifier(nn.Sequential(source, nn.Sigmoid()), labels, "multilabel", "logits"),
    }
    targets = (
        as_classifier(second, labels, "second", "multi-label"),
        as_classifier(load("shapes_plain"), LABELS, "shapes-plain", "logits"),
    )
    results, shown, cost = {}, list[ConceptMap](), list[float]()
    for reading, classifier in readings.items():
        out = FOLDER / f"multilabel-{reading}"
        maps = map_concepts(classifier, labels, samples=samples(), seeds=SEEDS, device="cpu", out=out)
        results[reading] = measure(maps, *targets)
        shown += [one for one in maps if one.seed == 0]
        cost += [one.seconds for one in maps]
    machine = hardware()
    text = tables(results) + (
        f"\n\nTraining took {seconds:.0f} s per network, whose outputs are right for {100 * np.mean(right[0]):.0f} and "
        f"{100 * np.mean(right[1]):.0f} % of new images; a map takes {median(cost):.1f} s. "
        f"Measured on 1 thread of {machine['cpu']}, torch {machine['torch']}."
    )
    print(text)
    write_sheet(
        "concepts-multilabel",
        [one.image for one in shown],
        [one.label for one in shown],
        columns=len(OUTPUTS),
        side=112,
    )
    write_result("multilabel", {"outputs": labels, "accuracy": right, "maps": results})
    write_section(DOCS / "concepts-results.md", "multilabel", text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
