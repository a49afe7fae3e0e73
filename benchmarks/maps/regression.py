"""Maps of a regression network, up and down: `python -m benchmarks.maps.regression`.

Trains two networks that count on images with up to four shapes of the drawn world: all shapes, those with points, and
round ones. Maps high and low values of every output of the first, and asks the second, of another architecture and
trained on other images, what it counts in the image of each map. Prints the table and writes it with its figure to
docs/concepts.md. Networks and maps are kept in runs/scenes/.
"""

from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.common import DOCS, hardware, markdown_table, write_result, write_section, write_sheet
from benchmarks.maps.multilabel import GROUPS
from benchmarks.maps.scene_networks import FOLDER, as_classifier, has, outputs_for_new_images, samples, trained
from phosphene import map_concepts
from phosphene.engine import Engine
from phosphene.metrics.predictions import logits_of_maps

COUNTED = {"shapes": GROUPS["any shape"], "pointed shapes": GROUPS["pointed"], "round shapes": GROUPS["round"]}
SEEDS = 2


def truth(present: NDArray[np.bool_]) -> Tensor:
    """Return how many of each output's shapes images have, float32 (n, 3), for which shapes are present, bool (n, 9)."""
    return torch.from_numpy(np.stack([has(present, shapes) for shapes in COUNTED.values()], 1)).float()


def main() -> None:
    """Train, map, measure, print, and write the page."""
    networks, errors, seconds = [], [], []
    for which in ("first", "second"):
        network, took = trained(which, "regression", len(COUNTED), truth, functional.mse_loss)
        values, present = outputs_for_new_images(network)
        networks.append(as_classifier(network, list(COUNTED), f"regression-{which}", "regression"))
        errors.append((values - truth(present)).abs().mean(0).tolist())
        seconds.append(took)
    pool, names = samples(), [side + name for name in COUNTED for side in ("", "low:")]
    maps = map_concepts(networks[0], names, samples=pool, seeds=SEEDS, device="cpu", out=FOLDER / "regression-maps")
    found = []
    for network in networks:
        with Engine(network, device="cpu") as engine:
            found.append((logits_of_maps(engine, maps), engine.logits(pool.pixels / 255)))
    rows, result = [], []
    for name in names:
        of_name = [(row, one) for row, one in enumerate(maps) if one.label == name]
        column = list(COUNTED).index(name.removeprefix("low:"))
        cells = []
        for of_maps, of_samples in found:
            limits = of_samples[:, column].quantile(torch.tensor([0.01, 0.99]))
            values = [float(of_maps[row, column]) for row, _ in of_name]
            beyond = sum(value < limits[0] if name.startswith("low:") else value > limits[1] for value in values)
            cells += [f"{limits[0]:.1f} to {limits[1]:.1f}", " / ".join(f"{value:.1f}" for value in values)]
            result.append({"output": name, "values": values, "limits": limits.tolist(), "beyond": int(beyond)})
        rates = [one.targeting_rate for _, one in of_name if one.targeting_rate is not None]
        rows.append([name, *cells, f"{100 * median(rates):.0f} %"])
    head = ["output", "samples, source", "maps, source", "samples, second", "maps, second", "targeting rate"]
    beyond = [sum(one["beyond"] for one in result[place::2]) for place in (0, 1)]
    machine = hardware()
    text = (
        f"{markdown_table(head, rows)}\n\nSamples: 1st to 99th percentile. Beyond them are {beyond[0]} of {len(maps)} maps by the source, "
        f"and {beyond[1]} by the second network. The networks are off by {np.mean(errors[0]):.2f} and {np.mean(errors[1]):.2f} shapes on "
        f"average, and took {max(seconds):.0f} s of a processor to train. "
        f"Measured on 1 thread of {machine['cpu']}, torch {machine['torch']}."
    )
    print(text)
    first = [one for name in names for one in maps if one.label == name and one.seed == 0]
    write_sheet("concepts-regression", [one.image for one in first], [one.label for one in first], 6, 128)
    write_result("regression", {"mean_absolute_errors": errors, "maps": result})
    write_section(DOCS / "concepts.md", "regression", text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
