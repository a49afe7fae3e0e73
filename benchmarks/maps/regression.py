"""Maps of a regression network, up and down: `python -m benchmarks.maps.regression`.

Trains two networks that count on images with up to four shapes of the drawn world: all shapes, those with points, and
round ones. Maps high and low values of every output of the first, and scores the maps by both: the second is of another
architecture and trained on other images. Prints the table and writes it with its figure to docs/concepts-results.md. Networks
and maps are kept in runs/scenes/.
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
from phosphene import map_concepts, score
from phosphene.formats import percent

COUNTED = {"shapes": GROUPS["any shape"], "pointed shapes": GROUPS["pointed"], "round shapes": GROUPS["round"]}
SEEDS = 2


def truth(present: NDArray[np.bool_]) -> Tensor:
    """Return how many of each output's shapes images have, float32 (n, 3), for which shapes are present, bool (n, 9)."""
    return torch.from_numpy(np.stack([has(present, shapes) for shapes in COUNTED.values()], 1)).float()


def main() -> None:
    """Train, map, score, print, and write the page."""
    networks, errors, seconds = [], [], []
    for which in ("first", "second"):
        network, took = trained(which, "regression", len(COUNTED), truth, functional.mse_loss)
        values, present = outputs_for_new_images(network)
        networks.append(as_classifier(network, list(COUNTED), f"regression-{which}", "regression"))
        errors.append((values - truth(present)).abs().mean(0).tolist())
        seconds.append(took)
    pool, names = samples(), [side + name for name in COUNTED for side in ("", "low:")]
    maps = map_concepts(networks[0], names, samples=pool, seeds=SEEDS, device="cpu", out=FOLDER / "regression-maps")
    scores = score(maps, networks, device="cpu")
    rows = []
    for name in names:
        cells = []
        for of_network in scores:
            one = next(one for one in of_network.per_concept if one.label == name)
            cells += [f"{one.right} of {one.maps}", percent(one.p_class)]
        rates = [one.targeting_rate for one in maps if one.label == name and one.targeting_rate is not None]
        rows.append([name, *cells, f"{100 * median(rates):.0f} %"])
    head = ["output", "right, source", "percentile", "right, second", "percentile", "targeting rate"]
    right = [sum(one.right for one in of_network.per_concept) for of_network in scores]
    machine = hardware()
    text = (
        f"{markdown_table(head, rows)}\n\nRight are {right[0]} of {len(maps)} maps by the source, and {right[1]} by the second network. "
        f"The networks are off by {np.mean(errors[0]):.2f} and {np.mean(errors[1]):.2f} shapes on "
        f"average, and took {max(seconds):.0f} s of a processor to train. "
        f"Measured on 1 thread of {machine['cpu']}, torch {machine['torch']}."
    )
    print(text)
    first = [one for name in names for one in maps if one.label == name and one.seed == 0]
    write_sheet("concepts-regression", [one.image for one in first], [one.label for one in first], 6, 128)
    write_result("regression", {"mean_absolute_errors": errors, "scores": [one.to_dict() for one in scores]})
    write_section(DOCS / "concepts-results.md", "regression", text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
