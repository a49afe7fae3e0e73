"""What the engine does to the modules of a network, and undoes: training flags, devices, types, hooks."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from phosphene.errors import CardError, RecipeError, first_few, first_line, nearest
from phosphene.module_state import evaluation_mode, fix_of_cast
from phosphene.spatial_activation import as_spatial_activation


@contextmanager
def frozen(module: nn.Module, device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """For a ``with`` block: put a network in evaluation mode on a device and in a type, parameters without gradients; then restore it.

    Other threads that want the network wait. On leaving, also by an exception, every flag is as it was and every tensor
    is the caller's own again.
    """
    with evaluation_mode(module):
        registries: list[Any] = [one for part in module.modules() for one in (part._parameters, part._buffers)]  # noqa: SLF001
        # nn.Module.to replaces buffers, and some kinds of parameters, in these dictionaries.
        tensors = [(registry, *item) for registry in registries for item in registry.items() if item[1] is not None]
        for registry, name, tensor in tensors:
            if tensor.is_inference():  # no gradient passes through what torch.inference_mode() made
                is_parameter, copy = isinstance(tensor, nn.Parameter), tensor.clone()
                registry[name] = nn.Parameter(copy, requires_grad=False) if is_parameter else copy
        parameters = [(p, p.requires_grad, p.grad, p.data) for p in module.parameters()]
        try:
            module.requires_grad_(requires_grad=False)
            module.zero_grad(set_to_none=True)  # nn.Module.to would convert the caller's own gradients in place
            module.to(device=device, dtype=dtype)
            for parameter in module.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
            yield
        finally:
            for parameter, requires_grad, gradient, data in parameters:
                parameter.data = data
                parameter.grad = gradient
                parameter.requires_grad_(requires_grad)
            for registry, name, tensor in tensors:
                registry[name] = tensor


def refuse_mixture(error: RuntimeError, name: str, device: torch.device, dtype: torch.dtype) -> None:
    """Raise CardError if torch's ``error`` is that the network ``name`` mixes devices, or types of numbers.

    Raises:
        CardError: it is: not all its tensors are on ``device``, to which it was moved, or it casts what it computes with
            to another type than ``dtype``, to which it was converted.
    """
    # torch.FloatTensor, as a type, stands for a tensor on the CPU among others on a GPU
    if re.search(r"same device|expected device|but got device type|torch\.FloatTensor", str(error)):
        fix = "trace it on that device" if "TorchScript" in str(error) else "register them as buffers"
        other = "cuda" if device.type == "cpu" else "cpu"
        raise CardError(
            f"network {name} has or creates tensors that are not on {device} ({first_line(error)}): {fix}, or use "
            f'--device {other} (device="{other}" in Python).'
        ) from None
    if fix := fix_of_cast(error):
        dtype_name = str(dtype).removeprefix("torch.")
        raise CardError(f"network {name} was converted to {dtype_name} ({first_line(error)}){fix}") from None


def channels_first(module: nn.Module) -> None:
    """Lay the kernels of a network that is :func:`frozen` out in memory with channels first, as ``.view`` on feature maps needs it."""
    for parameter in module.parameters():  # a copy: .contiguous() leaves kernels of 1 x 1 as they are
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)


def has_depthwise(module: nn.Module) -> bool:
    """Return whether a network has depthwise convolutions.

    With channels last, cuDNN compiles kernels for each of them and for every number of images, which takes seconds.
    Torch's own kernels, for channels first, need no compiling.
    """
    return any(isinstance(part, nn.Conv2d) and part.groups == part.in_channels > 1 for part in module.modules())


@contextmanager
def forward_hooks(modules: Sequence[nn.Module], hook: Callable[..., object]) -> Iterator[None]:
    """For a ``with`` block: have ``hook(module, inputs, output)`` called after every forward pass of the modules; then remove it."""
    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_hook(hook).remove)
        yield


def hookable(module: nn.Module) -> dict[nn.Module, str]:
    """Return a dictionary, module to name ("" for the network itself), of all modules of a network that accept hooks: no scripted ones."""
    return {part: name for name, part in module.named_modules() if not isinstance(part, torch.jit.ScriptModule)}


def find_spatial_layer(module: nn.Module, run: Callable[..., object], name: str = "", *, size: tuple[int, int]) -> str:
    """Call ``run``, a forward pass; return the name of the last module to give feature maps or tokens, or ``name`` if that does so.

    Args:
        module: The network.
        run: Sends one image through the network.
        name: Name of a module to check, instead of searching.
        size: Height and width of the network's input.

    Raises:
        RecipeError: the named module does not exist or is not spatial, or the network has no spatial activation.
    """
    names = hookable(module)
    if name and name not in names.values():
        paths = ["'' (the last spatial one)", *[path for path in names.values() if path][::-1]]
        hint = nearest(name, paths) or f" Modules, from the last: {first_few(paths)}."
        raise RecipeError(f"xi_layer {name!r} is not a module of the network.{hint}")
    spatial_layers: list[str] = []
    feature_maps: tuple[int, ...] = ()  # shape of the last feature maps
    flattened_channels = 0  # channels of feature maps that were flattened to (n, c, h w), which are not tokens

    def hook(part: nn.Module, _: object, output: object) -> None:
        nonlocal feature_maps, flattened_channels
        if not names[part] or not isinstance(output, Tensor) or as_spatial_activation(output, size) is None:
            return
        if output.ndim == 4:
            feature_maps = tuple(output.shape)
        elif feature_maps and tuple(output.shape) == (*feature_maps[:2], feature_maps[2] * feature_maps[3]):
            flattened_channels = feature_maps[1]
        if output.ndim == 3 and output.shape[1] == flattened_channels:
            return
        spatial_layers.append(names[part])

    with forward_hooks([part for part, path in names.items() if not name or path == name], hook):
        run()
    if not spatial_layers:
        subject = f"module {name!r} gives" if name else "no module of the network gives"
        fix = (
            "leave xi_layer out"
            if name
            else "use a network with convolutions or patches, its parts in nn.ModuleList, not a list"
        )
        raise RecipeError(
            f"{subject} {'no' if name else 'a'} spatial activation (n, c, h, w) or (n, tokens, c), which Xi needs: {fix}."
        )
    return spatial_layers[-1]
