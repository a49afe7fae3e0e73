"""Natural pictures of the classes, for reference: what a person would show for the word (the paper's figure 3)."""

from typing import Any

import torch

from phosphene.concept_map import to_image
from phosphene.errors import SamplesError
from phosphene.labels import Labels
from phosphene.report.pictures import data_url
from phosphene.samples.labelled import examples_of

# A page of a thousand classes shows them smaller.
MOST_PIXELS = 150 * 224 * 224


def natural_pictures(spec: str, facts: dict[str, Any]) -> dict[int, str]:
    """Return a picture of each of a run's classes as a data URL; classes that the samples do not show are left out.

    Args:
        spec: A folder or a parquet file of pictures with labels.
        facts: The run's run.json.

    Raises:
        SamplesError: the pictures cannot be read, or none of them shows one of the classes.
    """
    height, width = facts["model"]["input"]["size"]
    known = {row["index"]: row["label"] for row in facts["jobs"]}
    # The run knows the labels of its own classes alone; the others must keep their places and answer to nothing.
    count = max(facts["model"]["classes"], max(known) + 1)
    labels = Labels([known.get(index, f"\0{index}") for index in range(count)])
    found = examples_of(spec, (3, height, width), labels, known)
    if not found:
        raise SamplesError(
            f"--reference-pictures {spec}: no picture there bears the label of one of this run's {len(known)} classes. "
            "Name files after their class (lion.jpg, lion/1.jpg), or take a parquet file with a column `label`."
        )
    scale = min(1.0, (MOST_PIXELS / (len(found) * height * width)) ** 0.5)
    return {index: data_url(to_image(torch.from_numpy(found[index]) / 255), scale, 82) for index in sorted(found)}
