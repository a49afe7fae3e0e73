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
from phosphene.runs.directory import versions
from phosphene.samples import SamplePool

EXTRAS = {"parquet samples": "pyarrow", "torchmetrics": "torchmetrics", "comparing maps": "skimage"}
# where the package is not called what is imported
PACKAGES = {"skimage": "scikit-image"}
PICTURES = 64


def examine_machine() -> dict[str, Any]:
    """Return versions, devices and optional parts."""
    cuda = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        **versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": f"{os.cpu_count()}, {torch.get_num_threads()} threads",
        "cuda": ", ".join(cuda) or "none",
        **{
            name: "yes" if importlib.util.find_spec(module) else f"no: pip install {PACKAGES.get(module, module)}"
            for name, module in EXTRAS.items()
        },
    }


def examine_model(
    classifier: Classifier, pool: SamplePool, *, device: str = "auto", precision: str = "auto"
) -> dict[str, Any]:
    """Return how a network reads sample pictures under its declared input space, and whether that makes sense.

    Raises:
        NumericError: it answers with NaN or infinity.
    """
    pictures = pool.pixels[:PICTURES].float() / 255
    with Engine(classifier, device=device, precision=precision) as engine:
        began = time.perf_counter()
        logits = engine.logits(pictures).float()
        speed = len(pictures) / (time.perf_counter() - began)
        try:
            layer = engine.spatial_layer()
        except RecipeError as error:
            layer = f"none ({error})"
    if not logits.isfinite().all():
        raise NumericError(f"network {classifier.name} answers with NaN or infinity to {pool.spec}: check its weights.")
    p = logits.softmax(1)
    classes = len(set(logits.argmax(1).tolist()))
    (height, width), spec = classifier.input.size, pool.spec
    space = classifier.input
    return {
        "model": classifier.name,
        "classes": classifier.num_classes,
        "input": f"{height} x {width} x {space.channels}, mean {space.mean}, std {space.std}",
        "weights": classifier.sha256[:16],
        "spatial_layer": layer,
        "speed": f"{speed:.0f} pictures/s forward",
        "confidence": f"{float(p.amax(1).mean()):.2f} on {len(pictures)} of {spec}, read as {classes} classes",
        "reading": _reading(classes, spec),
    }


def _reading(classes: int, spec: str) -> str:
    if classes == 1:
        return f"every picture of {spec} is read as one class: check [input] mean and std, or give natural --samples"
    return "different pictures get different answers"
