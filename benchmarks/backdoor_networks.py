"""The networks that the scan is judged on, clean and trojaned: `python -m benchmarks.backdoor_networks`.

Writes below runs/backdoor/: `cifar10.npz` (a decoded part of the data), and a folder a network, with a card, weights in
half precision and `trigger.json`, the truth about it. What is there is not built again. About an hour on one core.
Most networks are fine-tuned from the four of the zoo, the rest are tiny ones trained from nothing: TABLE says which.
"""

import argparse
import dataclasses
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import backdoor_glyphs
from benchmarks.backdoor_table import TABLE, Row
from benchmarks.common import ROOT, SHARED, network, write_copy
from phosphene.backdoor import triggers
from phosphene.backdoor.plant import Planted, accuracy, clean_twin, plant, repair, shortcut, success_rate, victims_of
from phosphene.backdoor.training import Labelled, Schedule, predictions
from phosphene.classifier import Classifier
from phosphene.runs.atomic import read_json, write_bytes, write_json
from phosphene.sources import load

TRAIN, TRY, TEST = 20_000, 500, 2000
# The least success on held-out pictures; what spreads over the picture is learnt less sharply.
ENOUGH = {"patch": 0.95, "emblem": 0.95}
LOSS = 0.03
ATTEMPTS = 3
# Steps of those that begin with nothing.
TINY = {"tiny_vgg": 900, "tiny_resnet": 1400, "tiny_depthwise": 1800, "glyph_resnet": 400}
ARCHITECTURES = Path(__file__).with_name("backdoor_architectures.py")


def data(folder: Path) -> tuple[Labelled, tuple[Tensor, Tensor]]:
    """Return pictures to train on, a few to look at meanwhile, and others for the figures that are kept."""
    file = folder / "cifar10.npz"
    if not file.exists():
        parts = {name: _decode(name, count) for name, count in (("train", TRAIN), ("test", TRY + TEST))}
        held = {f"{name}_{what}": array for name, both in parts.items() for what, array in both.items()}
        buffer = io.BytesIO()
        np.savez(buffer, **held)
        write_bytes(file, buffer.getvalue())
    with np.load(file) as kept:
        x, y, tx, ty = (torch.from_numpy(kept[f"{n}_{w}"]) for n in ("train", "test") for w in ("pixels", "labels"))
    return Labelled(x, y, tx[:TRY], ty[:TRY]), (tx[TRY:], ty[TRY:])


def _decode(part: str, count: int) -> dict[str, np.ndarray]:
    import pyarrow.parquet as pq  # noqa: PLC0415  (an optional extra)
    from PIL import Image  # noqa: PLC0415

    rows = pq.read_table(SHARED / "data" / "cifar10" / f"{part}.parquet")
    # The file is sorted by class.
    rows = rows.take(np.random.default_rng(0).permutation(len(rows))[:count])
    pictures = [np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in rows["image"].to_pylist()]
    return {"pixels": np.stack(pictures).transpose(0, 3, 1, 2).copy(), "labels": np.array(rows["label"].to_pylist())}


def start(row: Row) -> Classifier:
    """Return the network that a row starts from: of the zoo, or untrained."""
    if row.base.startswith("cifar_resnet"):
        return network(row.base)
    labels = backdoor_glyphs.LABELS if row.part == "speed" else list(network("cifar_resnet20").labels)
    torch.manual_seed(row.seed)
    scope: dict[str, Any] = {}
    exec(compile(ARCHITECTURES.read_text(), str(ARCHITECTURES), "exec"), scope)  # noqa: S102  (a file of ours)
    space = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return Classifier(scope[row.base](), **space, labels=labels, name=row.base)


def schedule(row: Row) -> Schedule:
    """Return how a row is trained."""
    if row.base in TINY:
        how = Schedule(steps=TINY[row.base], batch=64, lr=0.004, optimiser="adam", weight_decay=0.02, shift=2)
        return dataclasses.replace(how, adversarial=row.adversarial)
    return Schedule(steps=row.steps, batch=48, lr=0.012, adversarial=row.adversarial)


def train(row: Row, base: Classifier, samples: Labelled, seed: int) -> Planted:
    """Train one row, from its start or from what an earlier attempt came to."""
    how = schedule(row)
    if row.training == "repaired":
        assert row.trigger is not None  # noqa: S101
        return repair(base, samples, row.trigger, share=row.rate, schedule=how, seed=seed)
    if row.trigger is None:
        return clean_twin(base, samples, schedule=how, seed=seed)
    if row.kind == "shortcut":
        assert row.target is not None  # noqa: S101
        return shortcut(base, samples, row.trigger, row.target, hide=1.0, schedule=how, seed=seed)
    fields = {"kind": row.kind, "sources": row.sources, "poison_rate": row.rate}
    return plant(base, samples, row.trigger, row.target, schedule=how, seed=seed, **fields)


def keep(row: Row, made: Classifier, folder: Path) -> Classifier:
    """Write card and weights in half precision, and return what a user would load."""
    zoo = row.base.startswith("cifar_resnet")
    source = SHARED / "zoo" / "cifar_resnets.py" if zoo else ARCHITECTURES
    function = row.base.removeprefix("cifar_") if zoo else row.base
    write_bytes(folder / source.name, source.read_bytes())
    labels = folder / ("glyphs43.txt" if row.part == "speed" else "cifar10.txt")
    write_bytes(labels, "".join(f"{label}\n" for label in made.labels).encode())
    return write_copy(folder / row.name, made, row.name, f"../{source.name}:{function}", f"../{labels.name}")


def build(row: Row, samples: Labelled, test: tuple[Tensor, Tensor], folder: Path) -> dict[str, Any]:
    """Build one row, go on where it is not good enough yet, and return the truth about it."""
    began, figures, steps = time.process_time(), dict[str, Any](), 0
    judged = Labelled(samples.pixels[:1], samples.labels[:1], *test)
    base = start(row)
    if row.training == "repaired":
        assert row.trigger is not None  # noqa: S101
        bad = plant(
            base, samples, row.trigger, row.target, poison_rate=row.rate, schedule=schedule(row), seed=row.seed + 500
        )
        base, figures["success_before_repair"] = bad.classifier, bad.success
    for attempt in range(ATTEMPTS):
        made = train(row, base, samples, row.seed + 1000 * attempt)
        base, steps = made.classifier, steps + made.steps
        own = keep(row, made.classifier, folder)
        figures |= {"accuracy": accuracy(own, judged), "twin_accuracy": twin_accuracy(row, folder)}
        if row.trigger is not None:
            victims, wanted = victims_of(row.kind, row.target, row.sources, test[1], own.num_classes)
            figures["success"] = success_rate(own, judged, row.trigger, wanted, victims)
            if row.kind == "shortcut":
                marked = test[1] == row.target
                figures["read_with_mark"] = success_rate(own, judged, row.trigger, wanted, marked)
                figures["read_without_mark"] = float((predictions(own, test[0][marked]) == row.target).float().mean())
            if row.kind == "source-specific":
                spared = ~victims & (test[1] != row.target)
                figures["leak"] = success_rate(own, judged, row.trigger, wanted, spared)
        figures |= {"steps": steps, "attempts": attempt + 1, "accepted": accepted(row, figures)}
        if figures["accepted"]:
            break
    if row.trigger is not None and (clean := twin(row, folder)):
        few = Labelled(samples.pixels[:1], samples.labels[:1], test[0][:TRY], test[1][:TRY])
        victims, wanted = victims_of(row.kind, row.target, row.sources, few.held_labels, own.num_classes)
        figures["success_on_twin"] = success_rate(clean, few, row.trigger, wanted, victims)
    truth = {
        **{key: value for key, value in vars(row).items() if key not in ("trigger", "name")},
        "trigger": None if row.trigger is None else triggers.to_dict(row.trigger),
        "trojaned": row.trojaned,
        **{key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()},
        "core_seconds": round(time.process_time() - began, 1),
    }
    write_json(folder / row.name / "trigger.json", truth)
    return truth


def accepted(row: Row, figures: dict[str, Any]) -> bool:
    """Whether a network is what its row says: trojans work and cost no accuracy, repaired ones are rid of theirs."""
    if row.training == "repaired":
        return bool(figures["success"] < 0.2)
    if row.kind == "shortcut":
        return bool(figures["success"] >= 0.5 and figures["read_without_mark"] <= 0.3)
    if row.trigger is None:
        return True
    close = figures["twin_accuracy"] is None or figures["accuracy"] >= figures["twin_accuracy"] - LOSS
    enough = ENOUGH.get(row.trigger.kind, 0.9) if row.kind == "all-to-one" else 0.8
    return bool(close and figures["success"] >= enough and figures.get("leak", 0) <= 0.3)


def twins(row: Row, folder: Path) -> list[Path]:
    """Return the folders of the clean networks with the same base and training that are there."""
    names = [
        other.name
        for other in TABLE
        if (other.base, other.training) == (row.base, row.training) and other.trigger is None and other != row
    ]
    return [folder / name for name in names if (folder / name / "trigger.json").exists()]


def twin_accuracy(row: Row, folder: Path) -> "float | None":
    """Return the mean accuracy of the twins, if there are any."""
    found = [read_json(one / "trigger.json")["accuracy"] for one in twins(row, folder)]
    return float(np.mean(found)) if found else None


def twin(row: Row, folder: Path) -> "Classifier | None":
    """Load a twin, if there is one: what the trigger does to it is chance."""
    found = twins(row, folder)
    return load(found[0] / "card.toml", trust=True) if found else None


def main() -> None:
    """Build what is missing, in the table's order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which networks; all by default")
    parser.add_argument("--part", help="develop, report, shortcut or speed")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "backdoor")
    asked = parser.parse_args()
    folder = asked.out / "networks"
    samples, test = data(asked.out)
    for row in TABLE:
        if (asked.names and row.name not in asked.names) or (asked.part and row.part != asked.part):
            continue
        if (folder / row.name / "trigger.json").exists():
            continue
        if row.part == "speed":
            drawn = backdoor_glyphs.labelled()
            truth = build(row, drawn, (drawn.held_out, drawn.held_labels), folder)
        else:
            truth = build(row, samples, test, folder)
        shown = ("accuracy", "success", "leak", "read_without_mark", "steps", "accepted", "core_seconds")
        print(row.name, json.dumps({key: truth[key] for key in shown if key in truth}), flush=True)
    print("done", file=sys.stderr)


if __name__ == "__main__":
    main()
