"""What works on this machine, and whether a network makes sense of its declared input."""

import os
import platform
import time
from typing import Any

import torch
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.engine.device import single_precision
from phosphene.errors import NumericError, RecipeError
from phosphene.extras import install_command, missing_packages
from phosphene.formats import percent
from phosphene.metrics.information import try_sizes
from phosphene.metrics.norm_statistics import natural_noise
from phosphene.metrics.range_check import check_range
from phosphene.runs.facts import versions
from phosphene.samples import MEMORY, SamplePool, is_natural
from phosphene.samples.labelled import load_labelled

SAMPLES = 64
SIZE_SAMPLES = 16


def examine_machine() -> dict[str, Any]:
    """Return the versions, processor cores, threads of torch, GPUs and extras of this machine by name."""
    cuda = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        **versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": ", ".join(cuda) or "none",
        "extras": {
            extra: f"not installed ({', '.join(packages)}): {install_command(extra)}" if packages else "installed"
            for extra, packages in missing_packages().items()
        },
    }


def examine_model(
    classifier: Classifier, pool: SamplePool, *, device: str = "auto", precision: str = "auto"
) -> dict[str, Any]:
    """Return facts on a network, and whether its predictions fit its declared input.

    The input is its mean, std, range and size; predictions are for the samples of a pool.

    A dictionary of texts, but for ``conventions``, a list of rows. Without natural samples it predicts noise.
    Of a regression network only its outputs are described.

    Raises:
        NumericError: it returns NaN or infinity.
    """
    shape, spec = classifier.input.shape, pool.spec
    natural = is_natural(classifier, spec)
    truth = None
    if natural:
        pixels, truth = load_labelled(pool, shape, classifier.labels, SAMPLES)
        samples = pixels.float() / 255
    else:
        samples = natural_noise(SAMPLES, shape)
    weights = classifier.sha256[:16]  # before the engine converts them
    with Engine(classifier, device=device, precision=single_precision(precision)) as engine:
        began = time.perf_counter()
        logits = engine.logits(samples).float()
        speed = len(samples) / (time.perf_counter() - began)
        if not logits.isfinite().all():
            raise NumericError(f"network {classifier.name} returns NaN or infinity for {spec}: check its weights.")
        try:
            layer = engine.spatial_layer()
        except RecipeError as error:
            layer = f"none ({error})"
        given = "the given samples" if spec == MEMORY else spec
        samples_text = (
            f"{len(samples)} of {given}" if natural else f"{len(samples)} images of noise with natural colours"
        )
        (height, width), space = classifier.input.size, classifier.input
        facts = {
            "model": classifier.name,
            "outputs" if classifier.regression else "classes": classifier.num_classes,
            "input": f"{height} x {width} x {space.channels}, mean {space.mean}, std {space.std}",
            "weights": weights,
            "spatial_layer": layer,
            "speed": f"{speed:.0f} images/s forward",
        }
        if classifier.regression:
            return facts | {"measurements": _measurements_line(logits, samples_text)}
        range_check = check_range(engine, samples, truth, natural=natural)
        sizes = try_sizes(engine, samples[:SIZE_SAMPLES])
    declared = range_check.rows[0]
    accuracy = "" if declared["accuracy"] is None else f", accuracy {percent(declared['accuracy'])}"
    one_class = f"one class for every sample ({samples_text}): check [input] mean and std, or give natural samples"
    # What predictions at each size reveal about the samples; the network did not run at one that it refused.
    information = {size: "refused" if nats is None else f"{nats:.2f} nats" for size, nats in sizes.items()}
    return facts | {
        "input": f"{facts['input']}: {declared['convention']}",
        "confidence": f"{declared['confidence']:.2f} on {samples_text}, {declared['classes']} classes predicted{accuracy}",
        "predictions": one_class if declared["classes"] == 1 else "different classes for different samples",
        **({"order": range_check.class_order} if range_check.class_order else {}),
        "range": range_check.line,
        "size": ", ".join(f"{h} x {w}: {text}" for (h, w), text in information.items()),
        **({"notes": "; ".join(classifier.notes)} if classifier.notes else {}),
        **({"skipped_samples": ", ".join(pool.skipped)} if pool.skipped else {}),
        "conventions": list(range_check.rows),
    }


def _measurements_line(values: Tensor, samples_text: str) -> str:
    """Return a line on the values (n, outputs) of a regression network.

    It has the ranges, over the outputs, of mean and standard deviation.
    """
    means, spreads = values.mean(0), values.std(0, correction=0)
    ranges = [f"{float(one.min()):.3g} to {float(one.max()):.3g}" for one in (means, spreads)]
    return (
        f"means {ranges[0]}, standard deviations {ranges[1]} on {samples_text}; the range is checked for classes only"
    )
