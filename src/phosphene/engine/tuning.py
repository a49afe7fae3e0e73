"""How many images a GPU takes at once: measured for the network and the machine at hand, and cached on disk.

On a CPU the size is fixed: it hardly matters there (docs/performance.md), and another one would change a map in its
last bits.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import torch

from phosphene.classifier import Classifier
from phosphene.errors import RunError
from phosphene.runs.atomic import read_json, write_json

DOUBLINGS = 4  # sizes that are tried, each twice the one before
MIN_SPEEDUP = 1.03  # twice the memory is worth it from here


def tuned_micro_batch(images_per_second: Callable[[int], float], smallest: int, facts: Mapping[str, str]) -> int:
    """Return the fastest micro-batch, in images, read from the disk cache, or else measured by ``images_per_second`` and cached.

    Args:
        images_per_second: Measures the speed at a micro-batch; 0 if it does not fit.
        smallest: The smallest size to try, in images.
        facts: What the result depends on, from :func:`network_facts`.
    """
    file = cache_file(facts)
    try:
        return max(1, int(read_json(file)["micro_batch"]))
    except (RunError, ValueError, KeyError, TypeError):  # missing or damaged: measure
        speeds: dict[int, float] = {}
        size = fastest(
            lambda count: speeds.setdefault(count, images_per_second(count)),
            [smallest * 2**k for k in range(DOUBLINGS)],
        )
        if all(speeds.values()):  # another process may have taken the memory for what did not fit
            with suppress(RunError):  # without a writable home, every start measures for a few seconds
                write_json(file, {"micro_batch": size, **facts})
        return size


def fastest(images_per_second: Callable[[int], float], sizes: Sequence[int]) -> int:
    """Return the largest of rising micro-batches before the measured speed stops growing by 3 % a step; the first one if none fits."""
    best, best_speed = sizes[0], 0.0
    for size in sizes:
        speed = images_per_second(size)
        if speed <= best_speed * MIN_SPEEDUP:
            break
        best, best_speed = size, speed
    return best


def cache_file(facts: Mapping[str, str]) -> Path:
    """Return the path, in the user's cache folder, of the file that stores the micro-batch measured for these facts."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "phosphene" / "micro-batch"
    return folder / f"{sha256(repr(sorted(facts.items())).encode()).hexdigest()[:16]}.json"


def network_facts(classifier: Classifier, device: torch.device, precision: torch.dtype) -> dict[str, str]:
    """Return what a network's fastest micro-batch depends on: architecture, input shape, device, precision, torch version."""
    # Not the weights: other checkpoints are as fast, and an open engine's are of its own type.
    shapes = sorted((name, tuple(value.shape)) for name, value in classifier.module.state_dict().items())
    parts = [type(part).__name__ for part in classifier.module.modules()]
    return {
        "network": sha256(repr((parts, shapes, classifier.input.shape)).encode()).hexdigest(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": str(precision),
        "torch": torch.__version__,
    }
