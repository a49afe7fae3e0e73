"""The network compiled by torch (`torch.compile`): the same results up to rounding.

It has no option on the command line: on a CPU it was slower (docs/performance.md), and on a GPU the time that the first
step takes to compile has to be earned back. `benchmarks.engine.gpu` measures it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from phosphene.errors import DeviceError, first_line

Forward = Callable[[Tensor], Tensor]


def compiled(forward: Forward, name: str) -> Forward:
    """Return ``forward`` compiled by torch, with its backward pass; the first call for each batch shape compiles, which takes minutes.

    It discards what was compiled before: torch silently stops compiling a function after eight recompilations in one
    process, and all networks are called through the same function.

    Args:
        forward: Pixels (n, c, h, w) to logits (n, classes).
        name: The network's name, for the message.

    Raises:
        DeviceError: from the call, when the network cannot be compiled here.
    """
    from torch._dynamo.exc import TorchDynamoException  # noqa: PLC0415  (takes a second to import)

    torch.compiler.reset()
    fast = torch.compile(forward, dynamic=False)

    def run(images: Tensor) -> Tensor:
        """Return the logits of images from the compiled network; DeviceError if it cannot be compiled here."""
        try:
            logits: Tensor = fast(images)
        except TorchDynamoException as error:
            raise DeviceError(f"{name} cannot be compiled here: {first_line(error)}") from None
        return logits

    return run
