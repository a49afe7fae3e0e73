"""What torch keeps in the modules of a network: a hash of their weights, and their training flags for a while."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def hash_weights(module: nn.Module, digest: "hashlib._Hash") -> None:
    """Update a hash, such as ``hashlib.sha256()``, with a module's weights: their names, types, shapes and values, sorted by name."""
    state = sorted(module.state_dict().items())
    # A quantised layer has its weights in a tuple; what a module stores beside tensors has no bytes of its own.
    named = [(name, one) for name, entry in state for one in (entry if isinstance(entry, tuple) else (entry,))]
    for name, tensor in [(name, one) for name, one in named if isinstance(one, Tensor)]:
        value = (tensor.dequantize() if tensor.is_quantized else tensor).detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """For a ``with`` block: put a module in evaluation mode, without gradients; then restore the flag of each of its parts."""
    modes = {part: part.training for part in module.modules()}
    try:
        with torch.no_grad():
            module.eval()
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode
