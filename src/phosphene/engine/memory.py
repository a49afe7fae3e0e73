"""Memory: on a CPU the C library is made to reuse what was freed; on a GPU that has too little, micro-batches are halved."""

import contextlib
import ctypes
import functools
import gc
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import torch

from phosphene.errors import DeviceError, first_line

if TYPE_CHECKING:
    from phosphene.engine.engine import Engine

P = ParamSpec("P")
Result = TypeVar("Result")

# Pixels that go through the network together. On a CPU, more than 8 images of 224 x 224 are no faster and take more
# memory (docs/performance.md). On a GPU this many are in the maps that are computed together, and go through the network
# together; half as many whenever memory runs out.
CPU_MICRO_BATCH = 8 * 224 * 224
CUDA_MICRO_BATCH = 256 * 224 * 224

NO_WORKSPACE = r"unable to find (an engine|a valid cuDNN algorithm)|CU[A-Z]+_STATUS_\w*ALLOC\w*_FAILED|CUBLAS_STATUS_NOT_INITIALIZED"

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


@functools.cache
def keep_freed_memory() -> None:
    """Set glibc, for this process, to reuse large freed blocks instead of returning them to the system; does nothing elsewhere.

    Activations of tens of megabytes are allocated and freed thousands of times per map. By default the kernel maps and
    zeroes each of them anew, which costs a tenth of the time or more (docs/performance.md). The setting holds for the
    process and takes no memory beyond the peak that is reached anyway.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_THRESHOLD, LARGEST)
            mallopt(M_TRIM_THRESHOLD, LARGEST)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that a GPU's memory ran out: torch's own, or one of cuDNN or cuBLAS without room for a workspace."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and re.search(NO_WORKSPACE, str(error)) is not None
    )


def halving_micro_batch(
    method: Callable[Concatenate["Engine", P], Result],
) -> Callable[Concatenate["Engine", P], Result]:
    """Decorate a method of an engine: if GPU memory runs out, halve the micro-batch for good and repeat it; DeviceError at one image."""

    @functools.wraps(method)
    def run(engine: "Engine", /, *args: P.args, **kwargs: P.kwargs) -> Result:
        while True:
            try:
                return method(engine, *args, **kwargs)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if engine.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
                    raise  # memory cannot be freed now: the step is taken eagerly
                if engine.micro_batch == 1:
                    name, device = engine.classifier.name, engine.device
                    cause = "" if isinstance(error, torch.cuda.OutOfMemoryError) else f" ({first_line(error)})"
                    raise DeviceError(
                        f"{device} has no memory for one image of {name}{cause}: try the device cpu."
                    ) from None
            engine.micro_batch = max(1, engine.micro_batch // 2)  # out here, where the error no longer keeps tensors
            gc.collect()  # tensors in cycles, as of engines that are closed
            torch.cuda.empty_cache()

    return run


def at_one_micro_batch(engine: "Engine", run: Callable[[], Result]) -> Result:
    """Return ``run()``, repeated until the engine's micro-batch was not halved meanwhile: then hooks have seen each micro-batch once.

    Args:
        engine: The engine that ``run`` calls.
        run: Sends micro-batches of ``engine.micro_batch`` images through the network, and collects what hooks see, from
            nothing at each call: a micro-batch for which memory runs out goes through the network again, in parts.
    """
    while True:
        size, result = engine.micro_batch, run()
        if engine.micro_batch == size:
            return result
