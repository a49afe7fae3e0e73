"""Devices and precisions, by the names that the command line gives them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from phosphene.errors import DeviceError
from phosphene.module_state import Turn

PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}
BF16_CAPABILITY = (8, 0)  # compute capability from which a GPU computes in bf16; older ones (V100, T4) emulate it


def pick_device(name: str) -> torch.device:
    """Return the torch device for ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``; DeviceError if it is not there.

    Raises:
        DeviceError: the device is unknown or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"device {name!r} is unknown: use auto, cpu, cuda or cuda:0.") from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            there = f"{count} CUDA device{'s' * (count != 1)}" if count else "no CUDA device"
            raise DeviceError(f"device {name} is not there: this machine has {there}. Use auto or cpu.")
    elif device.type != "cpu":
        raise DeviceError(f"device {name!r} is not supported: use auto, cpu, cuda or cuda:0.")
    return device


def pick_precision(name: str, device: torch.device) -> str:
    """Return a name in :data:`PRECISIONS`: as given, or for ``auto`` ``bf16`` on newer GPUs, else ``fp32``; DeviceError if unknown.

    ``bf16`` is autocast: maps, moments and pixels stay single; maps made by it score as well (docs/performance.md).
    ``tf32`` is single precision in which a GPU's convolutions round their inputs to TF32. ``fp64`` serves the reference
    tests.

    Raises:
        DeviceError: the precision is unknown.
    """
    if name == "auto":
        computes_in_bf16 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= BF16_CAPABILITY
        return "bf16" if computes_in_bf16 else "fp32"
    if name not in PRECISIONS:
        raise DeviceError(f"precision {name!r} is unknown: use auto, {', '.join(PRECISIONS)}.")
    return name


def way_of_computing(device: str, precision: str) -> str:
    """Return kind of device and precision as text, ``cpu in fp32``, from what a run or a map records; empty if that does not tell."""
    kind = device.partition(":")[0]
    if kind == "cpu" and precision == "auto":
        precision = "fp32"
    return f"{kind} in {precision}" if kind and precision not in ("", "auto") else ""


def single_precision(name: str) -> str:
    """Return ``tf32`` for ``auto``, else the name: for scans and examinations, whose rules have not been tried in bf16."""
    return "tf32" if name == "auto" else name


def without_autocast(device: torch.device) -> torch.autocast:
    """Return a context, or decorator of a function, in which the caller's autocast has no effect, on the forward or the backward pass."""
    # Around calls rather than as long as an engine is open: it holds in one thread, and another one may close the engine.
    return torch.autocast(device.type, enabled=False, cache_enabled=False)


_TF32_SETTINGS = Turn()
_TF32_BLOCKS: dict[object, bool] = {}  # per open block, whether convolutions may use TF32
_SETTINGS_BEFORE: list[tuple[object, str, object]] = []  # torch's settings before the first of these


@contextmanager
def tf32_convolutions(*, allowed: bool) -> Iterator[None]:
    """For a ``with`` block: allow or forbid TF32 in convolutions and forbid it in matrix products, which must be exact; then restore.

    After the last block, in whichever order they are left and also by an exception, torch's settings are as they were.
    They are those of the process, as is the mode in which steps are recorded (:mod:`phosphene.engine.capture`), in which
    nothing may wait for a GPU: other threads wait.
    """
    with _TF32_SETTINGS:
        if not _TF32_BLOCKS:
            _SETTINGS_BEFORE[:] = _tf32_settings()
        block = object()
        _TF32_BLOCKS[block] = allowed
        try:
            _allow_tf32(allowed=allowed)
            yield
        finally:
            del _TF32_BLOCKS[block]
            if _TF32_BLOCKS:
                _allow_tf32(allowed=[*_TF32_BLOCKS.values()][-1])
            else:
                for where, name, value in _SETTINGS_BEFORE:
                    setattr(where, name, value)


def _tf32_settings() -> list[tuple[object, str, object]]:
    """Return torch's settings of TF32, each as an object, the name of its attribute, and the value."""
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    settings: list[tuple[object, str, object]] = []
    for where, name in [(cudnn, "allow_tf32"), (products, "allow_tf32")]:
        with suppress(RuntimeError):  # the caller has used the newer switches, and torch refuses a mixture
            settings.append((where, name, getattr(where, name)))
    if hasattr(cudnn, "conv"):  # torch 2.9 and newer
        settings += [(where, "fp32_precision", where.fp32_precision) for where in (cudnn.conv, cudnn.rnn, products)]
    return settings


def _allow_tf32(*, allowed: bool) -> None:
    """Allow or forbid TF32 in convolutions, and forbid it in matrix products, by the switches that the caller has used."""
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    if sum(name == "allow_tf32" for _, name, _ in _SETTINGS_BEFORE) < 2:
        cudnn.conv.fp32_precision, products.fp32_precision = "tf32" if allowed else "ieee", "ieee"  # type: ignore[attr-defined]
    else:
        cudnn.allow_tf32, products.allow_tf32 = allowed, False
