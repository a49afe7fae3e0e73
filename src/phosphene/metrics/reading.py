"""What a classifier reads in the pictures of maps."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.concept_map import ConceptMap, render
from phosphene.engine import Engine
from phosphene.errors import ConceptError

# Scores are taken at one contrast, whatever the recipe shows its pictures with.
SCORE_CONTRAST = 0.2


def read_maps(engine: Engine, maps: Sequence[ConceptMap]) -> Tensor:
    """Return the classifier's logits (maps, classes), on the CPU, for the float pictures of ``maps``.

    Pictures are rendered at the source's size with contrast 0.2, then resized bilinearly, antialiased, to the
    classifier's.

    Raises:
        ConceptError: the classifier's labels are not those of the maps.
    """
    labels = engine.classifier.labels
    for one in maps:
        if one.index >= len(labels) or labels[one.index] != one.label:
            name = engine.classifier.name
            raise ConceptError(
                f"class {one.index} of {name} is not {one.label!r}: the target needs the source's labels."
            )
    pictures = render(torch.stack([one.nu for one in maps]), SCORE_CONTRAST)
    size = engine.classifier.input.size
    if tuple(pictures.shape[-2:]) != size:
        pictures = functional.interpolate(pictures, size, mode="bilinear", antialias=True)
    return engine.logits(pictures).cpu()


def top1(logits: Tensor, truth: Sequence[int], among: "Sequence[int] | None" = None) -> float:
    """Share of rows of ``logits`` (n, classes) that are read as ``truth``, over all classes or ``among`` some."""
    wanted = torch.tensor(list(truth))
    if among is None:
        return float((logits.argmax(1) == wanted).double().mean())
    chosen = torch.tensor(sorted(set(among)))
    return float((chosen[logits[:, chosen].argmax(1)] == wanted).double().mean())
