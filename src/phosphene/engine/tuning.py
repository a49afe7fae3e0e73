"""How many pictures a GPU takes at once: measured for the network and the machine at hand, and remembered.

On a CPU the size is fixed: it hardly matters there (docs/performance.md), and another one would change a map in its
last bits.
"""

import os
import time
from collections.abc import Callable, Sequence
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
WORTH = 1.03  # times as fast, from which twice the memory pays


def tuned(engine: "Engine", least: int) -> int:
    """Return the micro-batch for an open engine: what was measured before, or is now.

    Args:
        engine: An open engine; its own micro-batch is left as the measuring leaves it.
        least: The smallest size that is tried, in pictures.
    """
    file = remembered(engine)
    try:
        return max(1, int(read_json(file)["micro_batch"]))
    except (RunError, ValueError, KeyError, TypeError):  # not there, or damaged: it is measured anew
        speeds: dict[int, float] = {}
        found = fastest(
            lambda size: speeds.setdefault(size, speed(engine, size)), [least * 2**k for k in range(DOUBLINGS)]
        )
        if engine.device.type == "cuda":
            torch.cuda.empty_cache()  # the largest try would stay reserved
        if all(speeds.values()):  # what did not fit may have been somebody else's doing
            with suppress(RunError):  # a home that cannot be written costs a few seconds every time
                write_json(file, {"micro_batch": found, **facts(engine)})
        return found


def fastest(speed: Callable[[int], float], sizes: Sequence[int]) -> int:
    """Return the last of rising sizes that was still worth its memory.

    Args:
        speed: Pictures a second at a size; 0 where it does not fit.
        sizes: In rising order; the first is taken if none fits.
    """
    best, most = sizes[0], 0.0
    for size in sizes:
        now = speed(size)
        if now <= most * WORTH:
            break
        best, most = size, now
    return best


def speed(engine: "Engine", size: int) -> float:
    """Return the pictures a second, forward and backward, at a micro-batch; 0 where the memory does not suffice."""
    engine.micro_batch = size
    pictures = torch.full((size, *engine.classifier.input.shape), 0.5, device=engine.device)
    classes = torch.zeros(size, dtype=torch.int64, device=engine.device)
    seconds = []
    try:
        for _ in range(3):  # the first warms up
            began = time.perf_counter()
            engine.slopes(pictures, classes).loss.sum().item()  # waits for the device
            seconds.append(time.perf_counter() - began)
    except RuntimeError:  # a kernel that takes no batch so large; what fails at any size will fail in use
        return 0.0
    fits = engine.micro_batch == size  # it is halved where it does not
    return size / min(seconds[1:]) if fits else 0.0


def remembered(engine: "Engine") -> Path:
    """Return where the size is kept for such a network on such a machine."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "phosphene" / "micro-batch"
    return folder / f"{sha256(repr(sorted(facts(engine).items())).encode()).hexdigest()[:16]}.json"


def facts(engine: "Engine") -> dict[str, str]:
    """Return what the fastest size depends on: architecture, device, precision, and torch's version."""
    where = torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else engine.device.type
    # Not the weights: other checkpoints are as fast, and an open engine's are of its own type.
    shapes = sorted((name, tuple(value.shape)) for name, value in engine.classifier.module.state_dict().items())
    parts = [type(part).__name__ for part in engine.classifier.module.modules()]
    return {
        "network": sha256(repr((parts, shapes, engine.classifier.input.shape)).encode()).hexdigest(),
        "device": where,
        "precision": str(engine.autocast or engine.dtype),
        "torch": torch.__version__,
    }
