"""Channels of ImageNet networks, mapped: `python -m benchmarks.maps.units [--quick]`.

Five channels of each of three layers of two networks, drawn at random with a fixed seed, are mapped by `vivid` from 500 natural
samples. The other 500, which no map is made from, say what activations are natural: the share of images that activate
their channel above the 99th percentile of these samples, and the largest of them; how far above, in standard
deviations; and the share of these samples that a map raises above the 99th percentile. Maps go to runs/units/, so that a
stopped benchmark continues where it was. Prints the table, and writes benchmarks/results/units.json, a figure and the
section `units` of docs/concepts-results.md. `--quick` maps one channel per layer, and writes nothing.
"""

import argparse
import random
import sys
from statistics import median

import torch

from benchmarks.common import (
    DOCS,
    PHOTOGRAPHS,
    ROOT,
    hardware,
    markdown_table,
    network,
    share,
    write_result,
    write_section,
    write_sheet,
)
from phosphene.concept_map import ConceptMap
from phosphene.engine import Engine
from phosphene.engine.units import list_layers
from phosphene.mapper import passes_per_map
from phosphene.recipe import resolve
from phosphene.samples import load_samples
from phosphene.samples.pool import make_pool
from phosphene.units import Unit
from phosphene.workflows.map import execute
from phosphene.workflows.plan import plan

LAYERS = {
    "mobilenet_v2_a": ("features.4", "features.11", "features.18"),
    "squeezenet": ("fires.1", "fires.4", "fires.7"),
}
CHANNELS = 5
RECIPE = resolve("vivid")
HALF = 500
RAISED = 100  # samples that maps are subtracted from


def maps_of(name: str, channels: int) -> tuple[list[ConceptMap], torch.Tensor]:
    """Make the maps of channels at random of a network's layers that runs/units lacks; return them, and the samples kept apart."""
    source = network(name)
    pool = load_samples(PHOTOGRAPHS, source.input.shape)
    images = torch.cat([pool.held_out, pool.pixels])
    with Engine(source) as engine:
        units = {one.name: one.units for one in list_layers(engine)}
    drawn = {layer: random.Random(layer).sample(range(units[layer]), CHANNELS)[:channels] for layer in LAYERS[name]}
    names = [Unit(layer, one).expression for layer, chosen in drawn.items() for one in sorted(chosen)]
    todo = plan(source, RECIPE, make_pool(images[:HALF], "half of the samples"), ROOT / "runs" / "units" / name, names)
    execute(todo, on_map=lambda one: print(name, one.short, f"{one.seconds:.0f} s", file=sys.stderr, flush=True))
    return [one for one in todo.run.maps() if one.concept.expression in names], images[HALF:]


def figures(name: str, maps: list[ConceptMap], kept: torch.Tensor) -> list[dict[str, float]]:
    """Return, per map: by how many deviations its image, and the largest sample, exceed the samples' 99th percentile; the share raised."""
    found = []
    with Engine(network(name)) as engine:
        for one in maps:
            assert one.concept.unit is not None  # noqa: S101  (they are of units)
            reader = engine.with_units([one.concept.unit], kept)
            image = float(reader.logits(one.pixels[None])[0, -1])
            moved = reader.logits((kept[:RAISED] / 255 - one.nu).clamp(0, 1))[:, -1]
            largest = float(reader.classifier.of_samples.max())
            found.append({"image": image, "largest": largest, "raised": float((moved > 0).float().mean())})
    return found


def row(what: str, of: list[dict[str, float]]) -> list[str]:
    """Return the row of the table on some maps, from their figures."""
    return [
        what,
        share(sum(one["image"] > 0 for one in of), len(of)),
        share(sum(one["image"] > one["largest"] for one in of), len(of)),
        f"{median(one['image'] for one in of):.1f} ({median(one['largest'] for one in of):.1f})",
        f"{100 * median(one['raised'] for one in of):.0f} %",
    ]


def main() -> None:
    """Make the maps, measure their channels' activations, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one channel per layer, nothing is written")
    quick = parser.parse_args().quick
    rows, total, images, captions, result = [], [], [], [], {}
    for name, layers in LAYERS.items():
        maps, kept = maps_of(name, 1 if quick else CHANNELS)
        maps.sort(
            key=lambda one: layers.index(one.concept.unit.layer) if one.concept.unit else 0
        )  # as an image passes them
        values = figures(name, maps, kept)
        result[name] = {one.label: value for one, value in zip(maps, values, strict=True)}
        each = len(maps) // len(layers)
        rows += [row(f"{name}, {layer}", values[each * k : each * (k + 1)]) for k, layer in enumerate(layers)]
        total += values
        images += [one.image for one in maps]
        captions += [f"{one.concept.unit.layer}:{one.concept.unit.channel}" for one in maps if one.concept.unit]
    rows.append(row("**all**", total))
    head = [
        *("channels", "image above the 99th percentile", "above every sample", "deviations above (largest sample)"),
        "samples raised above, median",
    ]
    machine, passes = hardware(), passes_per_map(RECIPE)
    text = "\n\n".join(
        [
            markdown_table(head, rows),
            f"`vivid`, {passes:,} passes per map (`paper`: {passes_per_map(resolve('paper')):,}).",
            f"Measured on {machine['threads']} thread of {machine['cpu']}, torch {machine['torch']}.",
        ]
    )
    print(text)
    if not quick:
        write_result("units", result)
        write_section(DOCS / "concepts-results.md", "units", text)
        write_sheet("concepts-units", images, captions, columns=CHANNELS, side=112)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
