"""How many images a GPU takes at once: measured for the network and the machine at hand, and cached on disk.

On a CPU the size is fixed: it hardly matters there (docs/performance.md), and another one would change a map in its
last bits.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from phosphene.errors import RunError
from phosphene.runs.atomic import read_json, write_json

if TYPE_CHECKING:
    from phosphene.engine.engine import Engine

DOUBLINGS = 4  # sizes that are tried, each twice the one before
MIN_SPEEDUP = 1.03  # twice the memory is worth it from here


def tuned_micro_batch(engine: "Engine", smallest: int) -> int:
    """Return an open engine's fastest micro-batch, to be set: from the user's cache, or measured from ``smallest`` up and stored.

    Args:
        engine: An open engine; its micro-batch is changed.
        smallest: The smallest size to try, in images.
    """
    facts = network_facts(engine)
    file = cache_file(facts)
    try:
        return max(1, int(read_json(file)["micro_batch"]))
    except (RunError, ValueError, KeyError, TypeError):  # missing or damaged: measure
        speeds: dict[int, float] = {}
        size = fastest(
            lambda count: speeds.setdefault(count, images_per_second(engine, count)),
            [smallest * 2**k for k in range(DOUBLINGS)],
        )
        if engine.device.type == "cuda":
            torch.cuda.empty_cache()  # memory of the largest trial would stay reserved
        if all(speeds.values()):  # another process may have taken the memory for what did not fit
            with suppress(RunError):  # without a writable home, every start measures for a few seconds
                write_json(file, {"micro_batch": size, **facts})
        return size


def images_per_second(engine: "Engine", micro_batch: int) -> float:
    """Set an engine's micro-batch, time passes at it, and return images per second; 0 if it does not fit in memory."""
    engine.micro_batch = micro_batch
    try:
        seconds = pass_seconds(engine, micro_batch)
    except RuntimeError:  # some kernels refuse a large batch; an error at any size will be raised in use
        return 0.0
    return micro_batch / min(seconds[1:]) if engine.micro_batch == micro_batch else 0.0  # halved: it did not fit


def pass_seconds(engine: "Engine", count: int) -> list[float]:
    """Run three forward and backward passes of ``count`` grey images; return a list of their seconds, of which the first is warm-up."""
    images = torch.full((count, *engine.classifier.input.shape), 0.5, device=engine.device)
    classes = torch.zeros(count, dtype=torch.int64, device=engine.device)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        engine.gradients(images, classes).loss.sum().item()  # waits for the device
        seconds.append(time.perf_counter() - started)
    return seconds


def fastest(images_per_second: Callable[[int], float], sizes: Sequence[int]) -> int:
    """From rising ``sizes``, return the last before one raises ``images_per_second(size)`` by 3 % or less; the first if it gives 0."""
    best, best_speed = sizes[0], 0.0
    for size in sizes:
        speed = images_per_second(size)
        if speed <= best_speed * MIN_SPEEDUP:
            break
        best, best_speed = size, speed
    return best


def cache_file(facts: Mapping[str, str], kind: str = "micro-batch") -> Path:
    """Return the path, in the user's cache folder, of the file with what was measured (``kind``) for a network and device (``facts``)."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "phosphene" / kind
    return folder / f"{sha256(repr(sorted(facts.items())).encode()).hexdigest()[:16]}.json"


def network_facts(engine: "Engine") -> dict[str, str]:
    """Return, as text by name, what a network's speed depends on: architecture and input shape, device, precision, torch version."""
    # Not the weights: other checkpoints are as fast, and an open engine's are of its own type.
    module, device = engine.classifier.module, engine.device
    shapes = sorted((name, tuple(value.shape)) for name, value in module.state_dict().items())
    parts = [type(part).__name__ for part in module.modules()]
    return {
        "network": sha256(repr((parts, shapes, engine.classifier.input.shape)).encode()).hexdigest(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": str(engine.autocast or engine.dtype),
        "torch": torch.__version__,
    }
