"""What the engine does to a network's modules, and undoes: flags, places, hooks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from phosphene.errors import RecipeError, nearest


@contextmanager
def held(module: nn.Module, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Hold a network in evaluation mode, frozen, on ``device``, in ``dtype``, channels last where that is faster.

    On leaving, also by an exception, every flag is as it was and every tensor is the caller's own again.
    """
    training = {part: part.training for part in module.modules()}
    parameters = {p: (p.requires_grad, p.grad, p.data) for p in module.parameters()}
    buffers = [(part, name, b) for part in module.modules() for name, b in part.named_buffers(recurse=False)]
    try:
        module.eval()
        module.requires_grad_(requires_grad=False)
        module.zero_grad(set_to_none=True)  # Module.to would convert the caller's own gradients in place
        module.to(device=device, dtype=dtype)
        for parameter in module.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        yield
    finally:
        for part, mode in training.items():
            part.training = mode
        for parameter, (requires_grad, gradient, data) in parameters.items():
            parameter.data = data
            parameter.grad = gradient
            parameter.requires_grad_(requires_grad)
        for part, name, buffer in buffers:
            part._buffers[name] = buffer  # noqa: SLF001  (what nn.Module.to itself replaces)


def find_spatial_layer(module: nn.Module, run: Callable[..., object], wanted: str = "") -> str:
    """Return the name of the module that gives the last spatial activation: the end of the convolutional base.

    The last module to answer with (n, c, h, w), h and w not both 1, while ``run`` sends a picture through.

    Args:
        module: The network.
        run: Sends one picture through the network.
        wanted: A module's name; checked instead of searched.

    Raises:
        RecipeError: the wanted module does not exist or is not spatial, or the network has none.
    """
    names = {part: name for name, part in module.named_modules()}
    if wanted and wanted not in names.values():
        known = list(names.values())
        raise RecipeError(f"xi_layer {wanted!r} is no module of the network.{nearest(wanted, known)}")
    last: list[str] = []

    def note(part: nn.Module, _: object, answer: object) -> None:
        if names[part] and isinstance(answer, Tensor) and answer.ndim == 4 and answer.shape[2] * answer.shape[3] > 1:
            last.append(names[part])

    with hooked([part for part, name in names.items() if not wanted or name == wanted], note):
        run()
    if not last:
        what = f"module {wanted!r} gives" if wanted else "the network has"
        raise RecipeError(f"{what} no spatial activation (n, c, h, w) for Xi: name another module with xi_layer.")
    return last[-1]


@contextmanager
def hooked(parts: "list[nn.Module]", hook: Callable[..., object]) -> Iterator[None]:
    """Watch what modules answer; the hooks are gone afterwards, also after an exception."""
    handles = [part.register_forward_hook(hook) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
