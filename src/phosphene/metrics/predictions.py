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
STORED_CLASSES = 5


def logits_of_maps(engine: Engine, maps: Iterable[ConceptMap], contrast: float = SCORE_CONTRAST) -> Tensor:
    """Return a classifier's logits (maps, classes) for the images of maps at one contrast, on the CPU.

    Images are rendered at the source's size, then resized bilinearly, antialiased, to the classifier's. Labels are
    not compared: see :func:`phosphene.metrics.matching.match`.

    Raises:
        ConceptError: there are no maps.
        SpecError: the classifier takes images of another number of channels.
        NumericError: it returns NaN or infinity.
    """
    return logits_at_contrasts(engine, maps, [contrast])[0]


def logits_at_contrasts(engine: Engine, maps: Iterable[ConceptMap], contrasts: Sequence[float]) -> Tensor:
    """Return a classifier's logits (contrasts, maps, classes) for maps rendered at several contrasts.

    It is one pass over ``maps``.
    """
    size = engine.classifier.input.size
    logits_of_batches: list[Tensor] = []
    for batch in _batches_of_one_shape(maps, size[0] * size[1]):
        check_channels(batch[0].nu.shape[0], engine.classifier)
        nu = torch.stack([one.nu for one in batch]).to(engine.device)
        logits_of_batches.append(torch.stack([_logits(engine, render(nu, contrast)) for contrast in contrasts]))
    if not logits_of_batches:
        raise ConceptError("there are no maps to classify.")
    logits = torch.cat(logits_of_batches, dim=1)
    if not logits.isfinite().all():
        name = engine.classifier.name
        raise NumericError(f"network {name} returns NaN or infinity for the maps' images: check its weights.")
    return logits


def check_channels(channels: int, target: Classifier) -> None:
    """Raise SpecError unless the target takes images of as many channels as the maps have.

    Raises:
        SpecError: it takes images of another number of channels.
    """
    if channels != target.input.channels:
        raise SpecError(
            f"{target.name} takes images of {target.input.channels} channel(s), the maps have {channels}: "
            "choose a target of as many."
        )


def _logits(engine: Engine, images: Tensor) -> Tensor:
    """Return the classifier's logits (n, classes) for images (n, c, h, w), resized to its input, on the CPU."""
    images = resized(images, engine.classifier)
    return engine.logits(images.contiguous(memory_format=torch.channels_last)).cpu()


def resized(images: Tensor, classifier: Classifier) -> Tensor:
    """Return images (n, c, h, w), floats or uint8, resized to the classifier's input.

    The method is bilinear, antialiased. Images of that size are returned as they are.
    """
    if tuple(images.shape[-2:]) == classifier.input.size:
        return images
    return functional.interpolate(images, classifier.input.size, mode="bilinear", antialias=True)


def _batches_of_one_shape(maps: Iterable[ConceptMap], target_pixels: int) -> Iterator[list[ConceptMap]]:
    """Yield maps in order, in lists of consecutive maps of one shape.

    Each list is short enough to render and resize it in limited memory.

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
    """Return what a target predicts for each map, from its logits: confidence and most probable classes.

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
    exact = logits.double()
    confidence, right = target_probabilities(exact, maps.targets), hits(logits, maps.targets)
    for row, probabilities in enumerate(exact.sigmoid() if maps.multi_label else exact.softmax(1)):
        best = probabilities.topk(min(STORED_CLASSES, len(probabilities)))
        places = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        top = [{"index": index, "label": maps.labels[index], "p": p} for index, p in places]
        up = maps.sides[row].up
        rows.append({"class": up[0], "p_class": float(confidence[row]), "top": top})
        if maps.multi_label or not maps.concepts[row].is_class:
            rows[-1] |= {"up": list(up), "right": bool(right[row])}
    return rows


def pulled_up_logits(logits: Tensor, sets: Sequence[Sequence[int]]) -> Tensor:
    """Return the log-sum-exp of logits (n, classes) over each set of classes: (n, sets).

    A set of one class has its logit.
    """
    return torch.stack([logits[:, list(one)].logsumexp(1) if len(one) > 1 else logits[:, one[0]] for one in sets], 1)


def top1(logits: Tensor, truth: Sequence[int]) -> float:
    """Return the share of rows of logits (n, classes) in which the true class has the largest one."""
    return float((logits.argmax(1) == torch.tensor(list(truth))).double().mean())
