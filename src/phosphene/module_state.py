"""What torch keeps in the modules of a network: a hash of their weights; for a while, their training flags, in one thread at a time."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock, get_ident
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn


class Turn:
    """A lock that one thread holds as often as it likes, and that any thread may release."""

    def __init__(self) -> None:
        self._lock, self._depth = Lock(), 0
        self._owner: int | None = None

    def __enter__(self) -> None:
        if self._owner != get_ident():
            self._lock.acquire()
            self._owner = get_ident()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._lock.release()


# Of every module that was in use; networks may share modules.
_TURNS: "WeakKeyDictionary[nn.Module, Turn]" = WeakKeyDictionary()
_GUARD = Lock()


@contextmanager
def alone_with(module: nn.Module) -> Iterator[None]:
    """For a ``with`` block: keep other threads out of such blocks with this module or a part of it.

    What changes a module for a while, and restores it, would take for its own state what another thread has made of it.
    Two threads that each use both of two networks at once have to open them in the same order, or wait forever.
    """
    with _GUARD:
        turns = [_TURNS.setdefault(part, Turn()) for part in sorted(module.modules(), key=id)]
    with ExitStack() as stack:
        for turn in turns:
            stack.enter_context(turn)
        yield


def hash_weights(module: nn.Module, digest: "hashlib._Hash") -> None:
    """Update a hash with a module's weights: their names, types, shapes and values, sorted by name."""
    with alone_with(module):  # another thread may have converted it for a while
        state = sorted(module.state_dict().items())
    # A quantised layer has its weights in a tuple; what a module stores beside tensors has no bytes of its own.
    entries = [(name, one) for name, entry in state for one in (entry if isinstance(entry, tuple) else (entry,))]
    for name, tensor in [(name, one) for name, one in entries if isinstance(one, Tensor)]:
        value = (tensor.dequantize() if tensor.is_quantized else tensor).detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")


def like_weights(module: nn.Module, pixels: Tensor) -> Tensor:
    """Return pixels on the device and of the type of a module's first parameter; as they are if it has none."""
    parameter = next(module.parameters(), pixels)
    return pixels.to(parameter.device, parameter.dtype if parameter.is_floating_point() else pixels.dtype)


def fix_of_cast(error: Exception) -> str:
    """Return what to do about torch's ``error`` if a network computes with two types of numbers; empty if not."""
    if not re.search(r"same dtype|type \(.*should be the same|expected scalar type", str(error)):
        return ""
    return ", and casts to another type itself: leave the cast out, call .float() on the network, and export it again if it is a file."


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """For a ``with`` block: have a module in evaluation mode; its flags are restored afterwards.

    Only one thread at a time is in such a block.
    """
    with alone_with(module):
        modes = {part: part.training for part in module.modules()}
        try:
            module.eval()
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """For a ``with`` block: have a module in evaluation mode, as :func:`evaluation_mode` does, without gradients and autocast."""
    device = next((one.device for one in module.parameters()), torch.device("cpu"))
    with evaluation_mode(module), torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield
