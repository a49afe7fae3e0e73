"""What a classifier predicts for the images of maps."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, render
from phosphene.engine import Engine
from phosphene.engine.targets import hits, target_probabilities
from phosphene.errors import ConceptError, NumericError, SpecError
from phosphene.metrics.matching import MatchedMaps

# Scores are taken at one contrast, whatever contrast the recipe shows its images with.
SCORE_CONTRAST = 0.2
# Pixels that are rendered and resized together; bounds the memory for runs of many maps.
BATCH_PIXELS = 32 * 224 * 224
# Classes that are stored of each prediction.
TOP = 5


def logits_of_maps(engine: Engine, maps: Iterable[ConceptMap], contrast: float = SCORE_CONTRAST) -> Tensor:
    """Render maps at one contrast, resize them, and return the classifier's logits (maps, classes), on the CPU; ConceptError if no maps.

    Images are rendered at the source's size, then resized bilinearly, antialiased, to the classifier's. Labels are
    not compared: see :func:`phosphene.metrics.matching.match`.

    Raises:
        ConceptError: there are no maps.
        SpecError: the classifier takes images of another number of channels.
        NumericError: it returns NaN or infinity.
    """
    return logits_at_contrasts(engine, maps, [contrast])[0]


def logits_at_contrasts(engine: Engine, maps: Iterable[ConceptMap], contrasts: Sequence[float]) -> Tensor:
    """Render maps at several contrasts and return the classifier's logits (contrasts, maps, classes), in one pass over ``maps``."""
    size = engine.classifier.input.size
    parts: list[Tensor] = []
    for batch in _batches_of_one_shape(maps, size[0] * size[1]):
        check_channels(batch[0].nu.shape[0], engine.classifier)
        nu = torch.stack([one.nu for one in batch]).to(engine.device)
        parts.append(torch.stack([_logits(engine, render(nu, contrast)) for contrast in contrasts]))
    if not parts:
        raise ConceptError("there are no maps to classify.")
    logits = torch.cat(parts, dim=1)
    if not logits.isfinite().all():
        name = engine.classifier.name
        raise NumericError(f"network {name} returns NaN or infinity for the maps' images: check its weights.")
    return logits


def check_channels(channels: int, target: Classifier) -> None:
    """Raise SpecError unless the target classifier takes images of ``channels`` channels, the number that the maps have.

    Raises:
        SpecError: it takes images of another number of channels.
    """
    if channels != target.input.channels:
        raise SpecError(
            f"{target.name} takes images of {target.input.channels} channel(s), the maps have {channels}: "
            "choose a target of as many."
        )


def _logits(engine: Engine, images: Tensor) -> Tensor:
    """Resize images (n, c, h, w) to the classifier's input and return its logits (n, classes), on the CPU."""
    images = resized(images, engine.classifier)
    return engine.logits(images.contiguous(memory_format=torch.channels_last)).cpu()


def resized(images: Tensor, classifier: Classifier) -> Tensor:
    """Return images (n, c, h, w), floats or uint8, resized bilinearly, antialiased, to the classifier's input; as given if they have it."""
    if tuple(images.shape[-2:]) == classifier.input.size:
        return images
    return functional.interpolate(images, classifier.input.size, mode="bilinear", antialias=True)


def _batches_of_one_shape(maps: Iterable[ConceptMap], target_pixels: int) -> Iterator[list[ConceptMap]]:
    """Yield maps in order, as lists of consecutive maps of one shape, each short enough to render and resize it in limited memory.

    ``target_pixels`` is height times width of the input they are resized to. A map too large for the limit is alone.
    """
    batch: list[ConceptMap] = []
    for one in maps:
        most = max(1, BATCH_PIXELS // max(one.nu.shape[-2:].numel(), target_pixels))
        if batch and (len(batch) >= most or one.nu.shape != batch[0].nu.shape):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def top_predictions(logits: Tensor, maps: MatchedMaps) -> list[dict[str, Any]]:
    """Return a dictionary per map, from logits (maps, classes): its class at the target, confidence in it and the 5 most probable classes.

    Args:
        logits: (maps, classes).
        maps: The concepts of the maps.

    Returns:
        For each map ``class`` (the target's), ``p_class`` (its probability in [0, 1]) and ``top``: at most 5 of
        ``index``, ``label``, ``p``. For a union or contrast, ``class`` is the first of the classes that are pulled up,
        ``up`` are all of them, and ``right`` says whether the target tells them from those that are pushed down. A
        multi-label target has ``up`` and ``right`` for classes, too: its probability of the class is above 0.5.
    """
    rows = []
    confidence, right = target_probabilities(logits.double(), maps.targets), hits(logits, maps.targets)
    exact = logits.double()
    for row, probabilities in enumerate(exact.sigmoid() if maps.multi_label else exact.softmax(1)):
        best = probabilities.topk(min(TOP, len(probabilities)))
        places = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        top = [{"index": index, "label": maps.labels[index], "p": p} for index, p in places]
        up = maps.sides[row].up
        sets = (
            {} if maps.concepts[row].is_class and not maps.multi_label else {"up": list(up), "right": bool(right[row])}
        )
        rows.append({"class": up[0], "p_class": float(confidence[row]), "top": top, **sets})
    return rows


def pulled_up_logits(logits: Tensor, sets: Sequence[Sequence[int]]) -> Tensor:
    """Return the log-sum-exp of logits (n, classes) over each set of classes, (n, sets); a set of one class has its logit."""
    return torch.stack([logits[:, list(one)].logsumexp(1) if len(one) > 1 else logits[:, one[0]] for one in sets], 1)


def top1(logits: Tensor, truth: Sequence[int]) -> float:
    """Return the share of rows of logits (n, classes) in which the true class has the largest logit."""
    return float((logits.argmax(1) == torch.tensor(list(truth))).double().mean())
