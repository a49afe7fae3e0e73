"""Modules as people hold them (compiled, in DataParallel, scripted) as modules that gradients and hooks pass through."""

from typing import Any

from torch import Tensor, nn
from torch.jit import ScriptModule
from torch.utils._python_dispatch import TorchDispatchMode

from phosphene.errors import CardError
from phosphene.spatial_activation import as_spatial_activation

PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrap(module: Any) -> nn.Module:
    """Return the network inside ``torch.compile`` or DataParallel; a script, or a module that holds one, in a ScriptedNetwork.

    Other modules, and those with a convolution outside of their scripts, whose output hooks get, are returned unchanged.
    The engine compiles and spreads by itself, and needs the network's own modules for it.

    Raises:
        CardError: it is not a module, such as a function, or one of torch.export that cannot be evaluated.
    """
    while isinstance(module, PARALLEL) or "_orig_mod" in getattr(module, "_modules", ()):
        module = module.module if isinstance(module, PARALLEL) else module._modules["_orig_mod"]  # noqa: SLF001
    if not isinstance(module, nn.Module):
        raise CardError(f"a network is a torch.nn.Module, not a {type(module).__name__}: give the module itself.")
    if "eval" in vars(module):  # which torch replaces by an error
        raise CardError(
            "ExportedProgram.module() has no evaluation mode: give torch.export.unflatten(program), or the .pt2 file."
        )
    scripts = [one for one in module.modules() if isinstance(one, ScriptModule)]
    for script in [one for one in scripts if not hasattr(one, "training")]:
        script.eval()  # torch.jit.freeze takes the flag away
    has_hooks = any(isinstance(one, nn.Conv2d | ScriptedNetwork) for one in module.modules())
    return ScriptedNetwork(module) if scripts and not has_hooks else module


class ScriptedNetwork(nn.Module):
    """Wraps a TorchScript network so that a hook on ``activation`` gets its last spatial activation.

    The modules of a script accept no hooks.

    Args:
        script: A script, or a module that holds one; maps normalised pixels (n, c, h, w) to logits.
    """

    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script
        self.activation = nn.Identity()

    def forward(self, pixels: Tensor) -> Any:
        """Return the script's output for normalised pixels (n, c, h, w); call the hooks of ``activation``."""
        if not self.activation._forward_hooks:  # noqa: SLF001  (the activation is not wanted, so it need not be found)
            return self.script(pixels)
        with _LastSpatialActivation(pixels) as operators:
            output = self.script(pixels)
        if operators.last is not None:
            self.activation(operators.last)
        return output


class _LastSpatialActivation(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches all torch operators in a ``with`` block, and stores the last spatial activation as ``last``."""

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count, self.size = len(pixels), (pixels.shape[2], pixels.shape[3])
        self.last: Tensor | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, note its output if it is a spatial activation, and return it."""
        output = func(*args, **(kwargs or {}))
        is_batch = isinstance(output, Tensor) and output.ndim in (3, 4) and len(output) == self.count
        if is_batch and as_spatial_activation(output, self.size) is not None:
            self.last = output
        return output
