"""What the benchmarks share: networks, concepts, making and classifying maps, and how results are written down."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.contact_sheet import contact_sheet
from phosphene.engine import Engine
from phosphene.metrics.bootstrap import wilson
from phosphene.metrics.m_score import m_score_of_logits
from phosphene.metrics.predictions import logits_of_maps, top1
from phosphene.recipe import Recipe
from phosphene.runs import RunDirectory
from phosphene.runs.atomic import write_bytes
from phosphene.runs.facts import versions
from phosphene.samples import load_samples
from phosphene.sources import load
from phosphene.workflows.map import execute
from phosphene.workflows.plan import plan, run_name

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("PHOSPHENE_SHARED", ROOT.parent / "shared"))
DOCS = ROOT / "docs"
FIGURES = DOCS / "figures"
RESULTS = ROOT / "benchmarks" / "results"
PHOTOGRAPHS = str(SHARED / "data" / "imagenet-sample")  # a sample spec: one ImageNet image per class
CIFAR10_TRAIN, CIFAR10_TEST = (str(SHARED / "data" / "cifar10" / f"{part}.parquet") for part in ("train", "test"))
NETWORKS = ("mobilenet_v2_a", "mobilenet_v2_b", "mobilenet_v1_075", "mobilenet_v1_050")
# All tables use these ten. Quick tries may take the first five.
CONCEPTS = (
    *("castle", "lion", "airliner", "African elephant", "sports car"),
    *("bald eagle", "zebra", "dogsled", "pineapple", "daisy"),
)
# `vivid` as it was before natural statistics of the features.
PLAIN = {"loss": "log-odds", "statistics": 0.0}


def network(name: str) -> Classifier:
    """Load a network of the shared zoo. Its card names a factory in a file of ours, hence ``trust``."""
    return load(SHARED / "zoo" / f"{name}.toml", trust=True)


def make_maps(
    source: Classifier,
    recipe: Recipe,
    concepts: Sequence[str | int],
    *,
    seeds: int = 1,
    samples: str = PHOTOGRAPHS,
    out: "Path | None" = None,
) -> RunDirectory:
    """Make the maps that a run directory lacks and return the run; a stopped benchmark continues where it was.

    Args:
        source: The network.
        recipe: How maps are made.
        concepts: Labels or indices.
        seeds: Maps per concept; their seeds are 0 to ``seeds - 1``.
        samples: A sample spec.
        out: The run directory, by default the one that the benchmarks of this source and recipe share.
    """
    pool = load_samples(samples, source.input.shape)
    todo = plan(source, recipe, pool, out or run_folder(source, recipe), list(concepts), range(seeds))
    execute(
        todo,
        on_map=lambda one: print(
            f"{source.name} {recipe.name} {one.short} {one.seed}: {one.p_class:.2f}", file=sys.stderr, flush=True
        ),
    )
    return todo.run


def run_folder(source: Classifier, recipe: Recipe) -> Path:
    """Return the run directory that benchmarks share; another version of a recipe has another one."""
    return ROOT / "runs" / "table1" / f"{run_name(source, recipe)}-{recipe.sha256[:8]}"


def classify(target: Classifier, maps: Sequence[ConceptMap]) -> Tensor:
    """Return a target classifier's logits, (maps, classes), for the images of maps."""
    with Engine(target) as engine:
        return logits_of_maps(engine, maps)


def target_scores(maps: Sequence[ConceptMap], names: Sequence[str] = NETWORKS) -> dict[str, dict[str, Any]]:
    """Return for each target classifier: ``m_score``, ``top1`` over all classes, ``p_class`` (mean probability)."""
    return {name: scores_by(network(name), maps) for name in names}


def scores_by(target: Classifier, maps: Sequence[ConceptMap]) -> dict[str, Any]:
    """Return ``m_score``, ``top1`` over all classes and ``p_class`` (mean probability of the class) of maps by one target classifier."""
    logits = classify(target, maps)
    truth = [one.index for one in maps]
    return {
        "m_score": round(m_score_of_logits(logits, truth), 4) if len(set(truth)) > 1 else None,
        "top1": top1(logits, truth),
        "p_class": round(float(logits.softmax(1)[range(len(truth)), truth].mean()), 4),
    }


def score_cells(scores: dict[str, dict[str, Any]]) -> list[str]:
    """Return target scores as cells of a table, one per target: M_score / top-1 / mean probability of the class."""
    return [
        f"{scores[name]['m_score']:.2f} / {scores[name]['top1']:.2f} / {scores[name]['p_class']:.2f}"
        for name in NETWORKS
    ]


def hardware() -> dict[str, Any]:
    """Return the versions and the machine that a benchmark ran on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {**versions(), "cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu}


def write_result(name: str, document: dict[str, Any]) -> None:
    """Write a result with the hardware and versions to benchmarks/results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"hardware": hardware(), **document}, indent=1) + "\n")
    print(f"wrote {path.relative_to(ROOT)}", file=sys.stderr)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def section_markers(name: str) -> tuple[str, str]:
    """Return the comments between which :func:`write_section` writes."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers ``name`` of a Markdown page."""
    begin, end = section_markers(name)
    before, found, rest = page.read_text().partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"{page.name} has no section {name}: it needs the lines {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")
    print(f"wrote section {name} of {page.name}", file=sys.stderr)


def write_sheet(name: str, images: Sequence[Image.Image], captions: Sequence[str], columns: int, side: int) -> None:
    """Write a contact sheet to docs/figures/NAME.webp."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    contact_sheet(images, captions, columns=columns, side=side).save(FIGURES / f"{name}.webp", quality=85)


def write_maps_sheet(name: str, maps: Sequence[ConceptMap]) -> None:
    """Write the maps of seed 0 as a contact sheet, ten per row."""
    first = [one for one in maps if one.seed == 0]
    write_sheet(name, [one.image for one in first], [one.short for one in first], columns=10, side=112)


def write_copy(folder: Path, classifier: Classifier, name: str, factory: str, labels: str) -> Classifier:
    """Write a card and weights in half precision; return the network as a user would load it.

    Args:
        folder: Where to.
        classifier: The trained network.
        name: Its name in the card.
        factory: As in a card, relative to the folder: ``../file.py:function``.
        labels: The file of labels, relative to the folder.
    """
    import tomli_w  # noqa: PLC0415  (writing is rare)

    state = {
        key: (value.detach().half() if value.is_floating_point() else value).contiguous()
        for key, value in classifier.module.state_dict().items()
    }
    space = classifier.input
    card = {
        "name": name,
        "factory": factory,
        "weights": "weights.safetensors",
        "labels": labels,
        "input": {"size": list(space.size), "mean": list(space.mean), "std": list(space.std)},
    }
    write_bytes(folder / "weights.safetensors", save(state))
    write_bytes(folder / "card.toml", tomli_w.dumps(card).encode())
    return load(folder / "card.toml", trust=True)


def share(right: int, of: int) -> str:
    """Return how many are right, of how many, with the Wilson interval in percent."""
    low, high = wilson(right, of)
    return f"{right} of {of} ({100 * low:.0f} to {100 * high:.0f} %)"
