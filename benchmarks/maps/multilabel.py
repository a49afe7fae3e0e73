"""Maps of a multi-label network, and what a softmax reading of it shows: `python -m benchmarks.maps.multilabel`.

Trains two networks with nine independent outputs on images with up to four shapes of the drawn world: six outputs are
shapes, two are groups of shapes and one is any shape; these three are present with any of their members. The first
network is the source. The second has another architecture and other training images. They start from the demo's
single-label networks `shapes` and `shapes_plain`. Every output of the source is mapped three times: declared as
multi-label; its logits taken for those of a softmax; and its probabilities taken for such logits, as of a network that
ends in `nn.Sigmoid()` and is said to return logits. Prints the tables and writes them with their figure to docs/concepts.md.
"""

import argparse
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from demo.scenes import NAMES, draw_scenes
from demo.train import add_noise, augment, load, to_unit
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common import DOCS, hardware, markdown_table, write_result, write_section, write_sheet
from phosphene import map_concepts
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.contact_sheet import contact_sheet
from phosphene.demo.world import LABELS, SIZE
from phosphene.engine import Engine
from phosphene.metrics.bootstrap import wilson
from phosphene.metrics.predictions import logits_of_maps
from phosphene.samples.pool import SamplePool, make_pool

SHAPES = ("star", "ring", "cross", "triangle", "heart", "arrow")
GROUPS = {"pointed": ("star", "triangle", "arrow"), "round": ("ring", "spiral", "crescent")}
OUTPUTS = {
    **{name: (name,) for name in SHAPES},
    **GROUPS,
    "any shape": NAMES,
}  # output -> the shapes with which it is present
STEPS, BATCH, SEEDS = 650, 32, 3
SMALL_SIZE, SMALL_UNTIL = 72, 0.7  # small images for the first 70 % of the steps: half the cost
ATTACK = 1.0  # largest l2 length of the step against the network, as in demo/train.py
READINGS = {
    "multi-label": "declared multi-label",
    "logits": "logits as a softmax",
    "sigmoid": "probabilities as logits of a softmax",
}


def truth(present: NDArray[np.bool_]) -> Tensor:
    """Return which outputs are present, float32 (n, 9), for which shapes are, bool (n, 9)."""
    columns = [present[:, [NAMES.index(shape) for shape in members]].any(1) for members in OUTPUTS.values()]
    return torch.from_numpy(np.stack(columns, 1)).float()


def trained(start: str, seed: int, steps: int) -> nn.Module:
    """Train a demo network with a new head of nine outputs on every image and again a step against the network, as demo/train.py does."""
    torch.manual_seed(seed)
    network: Any = load(start).train()
    network.head = nn.Linear(network.head.in_features, len(OUTPUTS))
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=2 * steps, pct_start=0.1)

    def step(images: Tensor) -> None:
        """Make one step of the optimiser."""
        loss = functional.binary_cross_entropy_with_logits(network((images - 0.5) / 0.5), wanted)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()

    for number in range(steps):
        raw, present = draw_scenes(
            BATCH, seed * 1_000_000 + number, SMALL_SIZE if number < SMALL_UNTIL * steps else SIZE
        )
        rng = np.random.default_rng([seed, number])
        images = add_noise(augment(to_unit(raw), rng), rng).contiguous(memory_format=torch.channels_last)
        wanted = truth(present)
        step(images.requires_grad_())
        gradient: Any = images.grad
        length = rng.uniform(0, ATTACK, (BATCH, 1, 1, 1)).astype(np.float32)
        norm = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None, None]
        step(images.detach() + torch.from_numpy(length) * gradient / norm)
    return network.eval()  # type: ignore[no-any-return]


def as_classifier(network: nn.Module, name: str, output: str) -> Classifier:
    """Return a network as a classifier of the nine outputs that are said to be of a kind."""
    return Classifier(
        network, size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, labels=list(OUTPUTS), name=name, output=output
    )


def accuracy(network: nn.Module) -> list[float]:
    """Return the accuracy of each output at 0.5, in [0, 1], on 400 images that it was not trained on."""
    raw, present = draw_scenes(400, 900_000_000)
    with torch.no_grad():
        logits = torch.cat([network((to_unit(part) - 0.5) / 0.5) for part in np.split(raw, 8)])
    return [float(one) for one in ((logits > 0) == (truth(present) > 0)).double().mean(0)]


def is_recognised(output: str, probabilities: Tensor) -> bool:
    """Return whether an output is above 0.5, and above all that it shares no shape with, among probabilities (9,)."""
    own = probabilities[list(OUTPUTS).index(output)]
    unrelated = [not set(members) & set(OUTPUTS[output]) for members in OUTPUTS.values()]
    return bool(own > 0.5 and (own > probabilities[unrelated]).all())


def is_consistent(output: str, probabilities: Tensor) -> bool:
    """Return whether an output is recognised, and all that it implies, those with all of its shapes, are above 0.5, too."""
    implied = [set(members) >= set(OUTPUTS[output]) for members in OUTPUTS.values()]
    return is_recognised(output, probabilities) and bool((probabilities[implied] > 0.5).all())


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
                "consistent": is_consistent(one.label, probabilities),
                "top1": top,
                "top1_right": top in OUTPUTS[one.label],
            }
        )
    return rows


def share(rows: Sequence[dict[str, Any]], key: str) -> str:
    """Return of how many rows something is true, of how many, with the Wilson interval."""
    right = sum(row[key] for row in rows)
    low, high = wilson(right, len(rows))
    return f"{right} of {len(rows)} ({100 * low:.0f} to {100 * high:.0f} %)"


def tables(results: dict[str, list[dict[str, Any]]]) -> str:
    """Return the table of the readings, and one with the second network's probabilities, by output."""
    lines = []
    for reading, rows in results.items():
        means = [np.mean([row[key] for row in rows]) for key in ("confidence", "targeting_rate")]
        shares = [share(rows, key) for key in ("recognised", "consistent", "top1_right")]
        lines.append([READINGS[reading], *shares, f"{means[0]:.2f}", f"{100 * means[1]:.0f} %"])
    head = ["mapped as", "recognised", "and what it implies", "`demo:shapes-plain`", "confidence", "targeting rate"]
    details = []
    for index, output in enumerate(OUTPUTS):
        cells = []
        for rows in results.values():
            chosen = [row for row in rows if row["output"] == output]
            texts = [f"{row['probabilities'][index]:.2f}" for row in chosen]
            cells.append(
                " / ".join(p if row["consistent"] else f"**{p}**" for p, row in zip(texts, chosen, strict=True))
            )
        details.append([output, *cells])
    return "\n\n".join(
        [markdown_table(head, lines), markdown_table(["output", *(READINGS[one] for one in results)], details)]
    )


def main() -> None:
    """Train, map, measure, print; write the page unless `--dry`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="maps per output")
    parser.add_argument("--dry", action="store_true", help="print, and save the sheet as multilabel.png")
    given = parser.parse_args()
    began = time.process_time()
    source, second = trained("shapes", 1, given.steps), trained("shapes_plain", 2, given.steps)
    seconds = (time.process_time() - began) / 2
    right = [accuracy(network) for network in (source, second)]
    print(f"training: {seconds:.0f} s per network; accuracy by output:", right, flush=True)
    pool: SamplePool = make_pool(torch.from_numpy(draw_scenes(400, 800_000_000)[0]), "scenes")
    readings = {
        "multi-label": as_classifier(source, "multilabel", "multi-label"),
        "logits": as_classifier(source, "multilabel-logits", "logits"),
        "sigmoid": as_classifier(nn.Sequential(source, nn.Sigmoid()), "multilabel-sigmoid", "logits"),
    }
    judges = (
        as_classifier(second, "second", "multi-label"),
        Classifier(load("shapes_plain"), size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, labels=LABELS),
    )
    results, shown, cost = {}, list[ConceptMap](), []
    for reading, classifier in readings.items():
        maps = map_concepts(classifier, list(OUTPUTS), samples=pool, seeds=given.seeds, device="cpu", progress=False)
        results[reading] = measure(maps, *judges)
        shown += [one for one in maps if one.seed == 0]
        cost += [one.seconds for one in maps]
        for row in results[reading]:
            print(reading, row, flush=True)
    machine = hardware()
    text = tables(results) + (
        f"\n\nTraining took {seconds:.0f} s per network, whose outputs are right for {100 * np.mean(right[0]):.0f} and "
        f"{100 * np.mean(right[1]):.0f} % of new images at 0.5; a map takes {median(cost):.1f} s. "
        f"Measured on 1 thread of {machine['cpu']}, torch {machine['torch']}."
    )
    print(text)
    images, captions = [one.image for one in shown], [one.label for one in shown]
    if given.dry:
        contact_sheet(images, captions, columns=len(OUTPUTS), side=128).save("multilabel.png")
        return
    write_sheet("concepts-multilabel", images, captions, columns=len(OUTPUTS), side=128)
    write_result("multilabel", {"outputs": list(OUTPUTS), "accuracy": right, "maps": results})
    write_section(DOCS / "concepts.md", "multilabel", text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
