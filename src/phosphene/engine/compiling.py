"""The network compiled by torch (`torch.compile`): the same answers up to rounding; whether faster, must be measured.

Not on the command line, because it has paid nowhere yet: on a CPU it was slower, a GPU was not at hand
(docs/performance.md; `benchmarks.engine.gpu` has a row of it).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from phosphene.errors import DeviceError, first_line

Forward = Callable[[Tensor], Tensor]


def compiled(forward: Forward, name: str) -> Forward:
    """Compile a forward pass and its backward, at the first call of each shape of picture and of batch.

    Forgets what was compiled before: torch gives up on a function, silently, that it has compiled eight times in a
    process, and all networks are called through the same one.

    Args:
        forward: Pixels (n, c, h, w) to logits (n, classes).
        name: The network's, for the message.

    Raises:
        DeviceError: from the call, when the network cannot be compiled here.
    """
    from torch._dynamo.exc import TorchDynamoException  # noqa: PLC0415  (a second to import)

    torch.compiler.reset()
    fast = torch.compile(forward, dynamic=False)

    def run(pictures: Tensor) -> Tensor:
        try:
            answer: Tensor = fast(pictures)
        except TorchDynamoException as error:
            raise DeviceError(f"{name} cannot be compiled here: {first_line(error)}") from None
        return answer

    return run
