"""What works on this machine, and whether a network makes sense of its declared input."""

import importlib.util
import os
import platform
import time
from typing import Any

import torch

from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.errors import NumericError, RecipeError
from phosphene.extras import install_command
from phosphene.metrics.information import try_sizes
from phosphene.metrics.norm_statistics import natural_noise
from phosphene.metrics.range_check import Trial, check_range
from phosphene.metrics.range_doubt import is_natural
from phosphene.runs.facts import versions
from phosphene.samples import SamplePool
from phosphene.samples.labelled import load_labelled

# What it is for -> module, extra
EXTRAS = {
    "parquet samples": ("pyarrow", "parquet"),
    "torchmetrics": ("torchmetrics", "torchmetrics"),
    "comparing maps": ("skimage", "checks"),
}
PICTURES = 64
SIZE_PICTURES = 16


def examine_machine() -> dict[str, Any]:
    """Return versions, devices and optional parts."""
    cuda = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        **versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": f"{os.cpu_count()}, {torch.get_num_threads()} threads",
        "cuda": ", ".join(cuda) or "none",
        **{
            name: "yes" if importlib.util.find_spec(module) else f"no: {install_command(extra)}"
            for name, (module, extra) in EXTRAS.items()
        },
    }


def examine_model(
    classifier: Classifier, pool: SamplePool, *, device: str = "auto", precision: str = "auto"
) -> dict[str, Any]:
    """Return how a network reads sample pictures under its declared input space, and whether that makes sense.

    Raises:
        NumericError: it answers with NaN or infinity.
    """
    shape, spec = classifier.input.shape, pool.spec
    natural = is_natural(classifier, spec)
    truth = None
    if natural:
        pixels, truth = load_labelled(spec, shape, classifier.labels, PICTURES, pool)
        pictures = pixels.float() / 255
    else:
        pictures = natural_noise(PICTURES, shape)
    with Engine(classifier, device=device, precision=precision) as engine:
        began = time.perf_counter()
        logits = engine.logits(pictures).float()
        speed = len(pictures) / (time.perf_counter() - began)
        if not logits.isfinite().all():
            raise NumericError(f"network {classifier.name} answers with NaN or infinity to {spec}: check its weights.")
        try:
            layer = engine.spatial_layer()
        except RecipeError as error:
            layer = f"none ({error})"
        found = check_range(engine, pictures, truth, natural=natural)
        sizes = try_sizes(engine, pictures[:SIZE_PICTURES])
    own, (height, width), space = found.trials[0], classifier.input.size, classifier.input
    shown = f"{len(pictures)} of {spec}" if natural else f"{len(pictures)} pictures of noise with natural colours"
    accuracy = "" if own.accuracy is None else f", {own.accuracy:.0%} of those with a label right"
    return {
        "model": classifier.name,
        "classes": classifier.num_classes,
        "input": f"{height} x {width} x {space.channels}, mean {space.mean}, std {space.std}: {own.convention}",
        "weights": classifier.sha256[:16],
        "spatial_layer": layer,
        "speed": f"{speed:.0f} pictures/s forward",
        "confidence": f"{own.confidence:.2f} on {shown}, read as {own.classes} classes{accuracy}",
        "reading": _reading(own.classes, shown),
        "range": found.line,
        "size": ", ".join(f"{h} x {w}: {_told(value)}" for (h, w), value in sizes.items()),
        "conventions": [_row(one) for one in found.trials],
    }


def _reading(classes: int, shown: str) -> str:
    if classes == 1:
        return f"every picture is read as one class ({shown}): check [input] mean and std, or give natural --samples"
    return "different pictures get different answers"


def _told(information: "float | None") -> str:
    return "refused" if information is None else f"{information:.2f} nats"


def _row(one: Trial) -> dict[str, Any]:
    def rounded(value: "float | None") -> "float | None":
        return None if value is None else round(value, 3)

    return {
        "convention": str(one.convention),
        "declared": one.convention.declared,
        "accuracy": rounded(one.accuracy),
        "divergence": rounded(one.divergence),
        "information": rounded(one.information),
        "confidence": rounded(one.confidence),
        "entropy": rounded(one.entropy),
        "classes": one.classes,
    }
