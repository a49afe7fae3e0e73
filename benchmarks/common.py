"""What the benchmarks share: where the networks lie, the concepts, the hardware, and how results are kept."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors.torch import save
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.engine import Engine
from phosphene.metrics.m_score import m_score_of_logits
from phosphene.metrics.reading import read_maps, top1
from phosphene.recipe import Recipe
from phosphene.runs.atomic import write_bytes
from phosphene.runs.directory import versions
from phosphene.sources import load
from phosphene.workflows import run_name

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("PHOSPHENE_SHARED", ROOT.parent / "shared"))
TABLE1 = ROOT / "runs" / "table1"  # maps that several benchmarks share
NETWORKS = ("mobilenet_v2_a", "mobilenet_v2_b", "mobilenet_v1_075", "mobilenet_v1_050")
# The first five screen, all ten decide.
CONCEPTS = (
    *("castle", "lion", "airliner", "African elephant", "sports car"),
    *("bald eagle", "zebra", "dogsled", "pineapple", "daisy"),
)


def network(name: str) -> Classifier:
    """Load a network of the shared zoo; its factory is a file of ours."""
    return load(SHARED / "zoo" / f"{name}.toml", trust=True)


def images() -> str:
    """Return the spec of the natural samples."""
    return str(SHARED / "data" / "imagenet-sample")


def hardware() -> dict[str, Any]:
    """Return what ran this."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {**versions(), "cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu}


def readings(maps: Sequence[ConceptMap], names: Sequence[str] = NETWORKS) -> dict[str, dict[str, float]]:
    """Return what each network reads in the maps: M_score, top-1 over all classes, mean probability of the class."""
    truth = [one.index for one in maps]
    table = {}
    for name in names:
        logits = logits_of(name, maps)
        table[name] = {
            "m_score": round(m_score_of_logits(logits, truth), 4) if len(set(truth)) > 1 else None,
            "top1": top1(logits, truth),
            "p_class": round(float(logits.softmax(1)[range(len(truth)), truth].mean()), 4),
        }
    return table


def logits_of(name: str, maps: Sequence[ConceptMap]) -> Tensor:
    """Return what a network of the zoo answers to maps, (maps, classes)."""
    with Engine(network(name)) as engine:
        return read_maps(engine, maps)


def read_cells(read: dict[str, dict[str, float]]) -> list[str]:
    """Return readings as cells of a table, a network each: M_score / top-1 / mean probability of the class."""
    return [
        f"{read[name]['m_score']:.2f} / {read[name]['top1']:.2f} / {read[name]['p_class']:.2f}" for name in NETWORKS
    ]


def run_folder(base: Path, source: Classifier, recipe: Recipe) -> Path:
    """Return where a benchmark keeps a source's maps by a recipe: another place for another version of the recipe."""
    return base / f"{run_name(source, recipe)}-{recipe.sha256[:8]}"


def keep(name: str, document: dict[str, Any]) -> None:
    """Write a result as JSON under benchmarks/results, with the hardware and versions."""
    folder = ROOT / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"hardware": hardware(), **document}, indent=1) + "\n")
    print(f"wrote {path.relative_to(ROOT)}", file=sys.stderr)


def write_copy(where: Path, made: Classifier, name: str, factory: str, labels: str) -> Classifier:
    """Write a card and weights in half precision, and return what a user would load.

    Args:
        where: The copy's folder.
        made: The trained network.
        name: Of the copy.
        factory: As in a card, from the folder: ``../file.py:function``.
        labels: The file of the labels, from the folder.
    """
    state = {
        key: (value.detach().half() if value.is_floating_point() else value).contiguous()
        for key, value in made.module.state_dict().items()
    }
    space = made.input
    card = {
        "name": name,
        "factory": factory,
        "weights": "weights.safetensors",
        "labels": labels,
        "input": {"size": list(space.size), "mean": list(space.mean), "std": list(space.std)},
    }
    write_bytes(where / "weights.safetensors", save(state))
    write_bytes(where / "card.toml", tomli_w.dumps(card).encode())
    return load(where / "card.toml", trust=True)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
