"""What torch keeps in the modules of a network: a hash of their weights; for a while, their training flags, in one thread at a time."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock, RLock
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

# Of every module that was in use, the lock of the thread that uses it; networks may share modules.
_LOCKS: "WeakKeyDictionary[nn.Module, RLock]" = WeakKeyDictionary()
_GUARD = Lock()


@contextmanager
def alone_with(module: nn.Module) -> Iterator[None]:
    """For a ``with`` block: let no other thread into such a block with this module, or with one that shares a part with it; they wait.

    What changes a module for a while, and restores it, would take for its own state what another thread has made of it.
    """
    with _GUARD:
        locks = [_LOCKS.setdefault(part, RLock()) for part in sorted(module.modules(), key=id)]
    with ExitStack() as stack:
        for lock in locks:  # in one order, so that no two threads wait for each other
            stack.enter_context(lock)
        yield


def hash_weights(module: nn.Module, digest: "hashlib._Hash") -> None:
    """Update a hash, such as ``hashlib.sha256()``, with a module's weights: their names, types, shapes and values, sorted by name."""
    with alone_with(module):  # another thread may have converted it for a while
        state = sorted(module.state_dict().items())
    # A quantised layer has its weights in a tuple; what a module stores beside tensors has no bytes of its own.
    named = [(name, one) for name, entry in state for one in (entry if isinstance(entry, tuple) else (entry,))]
    for name, tensor in [(name, one) for name, one in named if isinstance(one, Tensor)]:
        value = (tensor.dequantize() if tensor.is_quantized else tensor).detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """For a ``with`` block in one thread at a time, have a module in evaluation mode, without gradients and autocast; restore its flags."""
    with alone_with(module):
        modes = {part: part.training for part in module.modules()}
        device = next((one.device for one in module.parameters()), torch.device("cpu"))
        try:
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                module.eval()
                yield
        finally:
            for part, mode in modes.items():
                part.training = mode
