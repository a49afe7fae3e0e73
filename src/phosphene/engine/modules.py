"""What the engine does to a network's modules, and undoes: flags, places, hooks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from phosphene.errors import RecipeError, nearest
from phosphene.grids import as_grid


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


def find_spatial_layer(
    module: nn.Module, run: Callable[..., object], wanted: str = "", *, size: tuple[int, int]
) -> str:
    """Return the name of the module that gives the last spatial activation: the end of the convolutional base.

    The last module to answer with feature maps, or with a transformer's tokens, while ``run`` sends a picture through;
    :func:`phosphene.grids.as_grid` says what those are.

    Args:
        module: The network.
        run: Sends one picture through the network.
        wanted: A module's name; checked instead of searched.
        size: Height and width of the network's input.

    Raises:
        RecipeError: the wanted module does not exist or is not spatial, or the network has none.
    """
    parts = dict(module.named_modules())
    names = {
        part: name for name, part in parts.items() if not isinstance(part, torch.jit.ScriptModule)
    }  # takes no hook
    if wanted and wanted not in names.values():
        known = list(names.values())
        raise RecipeError(f"xi_layer {wanted!r} is no module of the network.{nearest(wanted, known)}")
    last: list[str] = []
    maps: tuple[int, ...] = ()  # shape of the last feature maps
    flattened = 0  # as many channels had those that were flattened to (n, c, h w): they are no tokens

    def note(part: nn.Module, _: object, answer: object) -> None:
        nonlocal maps, flattened
        if not names[part] or not isinstance(answer, Tensor) or as_grid(answer, size) is None:
            return
        if answer.ndim == 4:
            maps = tuple(answer.shape)
        elif maps and tuple(answer.shape) == (*maps[:2], maps[2] * maps[3]):
            flattened = maps[1]
        if answer.ndim == 3 and answer.shape[1] == flattened:
            return
        last.append(names[part])

    with hooked([part for part, name in names.items() if not wanted or name == wanted], note):
        run()
    if not last:
        what = f"module {wanted!r} gives" if wanted else "the network has"
        raise RecipeError(
            f"{what} no spatial activation (n, c, h, w) or (n, tokens, c) for Xi: name another module with xi_layer."
        )
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
