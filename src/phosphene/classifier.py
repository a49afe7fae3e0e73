"""A classifier: a network, the input space it was trained in, its labels, and where it came from.

This is the only place that knows means, deviations and sizes. Everything above sees pixels in
[0, 1] and logits.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from phosphene.errors import CardError, first_line
from phosphene.labels import Labels


@dataclass(frozen=True)
class InputSpace:
    """Size and normalisation of a network's input.

    Attributes:
        size: Height and width in pixels.
        mean: Subtracted from pixels in [0, 1], one a channel.
        std: Divided by after that, one a channel.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise CardError(f"input size is {list(self.size)}; it must be [height, width] in pixels.")
        if not self.mean or len(self.mean) != len(self.std):
            raise CardError(
                f"{len(self.mean)} means and {len(self.std)} deviations; there must be one of each a channel."
            )
        if not all(map(math.isfinite, self.mean)):
            raise CardError(f"input mean is {list(self.mean)}; each must be finite.")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise CardError(f"input std is {list(self.std)}; each must be finite and above 0.")

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return len(self.mean)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one input, (c, h, w)."""
        return (self.channels, *self.size)


class Classifier:
    """An image classifier that takes pixels in [0, 1] and gives logits.

    Args:
        module: A network from normalised pixels (n, c, h, w) to logits (n, classes).
        size: Input height and width, or one number for both.
        mean: Subtracted from [0, 1] pixels, one a channel.
        std: Divided by after that, one a channel.
        labels: Class names in output order; without them classes are known by index.
        name: What to call it in reports and directories.
        spec: What it was loaded from, if anything.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> Classifier(net, size=32, name="tiny").num_classes
        5
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        size: "int | tuple[int, int]",
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        labels: "Sequence[str] | None" = None,
        name: str = "classifier",
        spec: "str | None" = None,
    ) -> None:
        self.module = module
        self.input = InputSpace((size, size) if isinstance(size, int) else size, tuple(mean), tuple(std))
        self.name = name
        self.spec = spec or name
        self._constants: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}
        self._labels = None if labels is None else Labels(labels)

    def __repr__(self) -> str:
        c, h, w = self.input.shape
        return f"Classifier({self.name!r}, {h} x {w} x {c}, {self.num_classes} classes)"

    def logits(self, pixels: Tensor) -> Tensor:
        """Map pixels (n, c, h, w) in [0, 1] to logits (n, classes).

        Runs the module as it stands; :class:`phosphene.engine.Engine` puts it in evaluation mode.
        """
        mean, scale = self._normalisation(pixels.device, pixels.dtype)
        answer: Tensor = self.module((pixels - mean) * scale)
        return answer

    def _normalisation(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation, (1, c, 1, 1), kept where they are used: a copy to a GPU would wait for it."""
        key = (device, dtype)
        if key not in self._constants:
            mean = torch.tensor(self.input.mean, dtype=dtype, device=device).view(1, -1, 1, 1)
            std = torch.tensor(self.input.std, dtype=dtype, device=device).view(1, -1, 1, 1)
            self._constants[key] = (mean, 1 / std)
        return self._constants[key]

    @cached_property
    def num_classes(self) -> int:
        """Number of classes, read off the network's answer to one grey picture.

        Raises:
            CardError: the network does not take the declared input, does not give (n, classes), or the labels do not
                match its classes.
        """
        first = next(self.module.parameters(), torch.zeros(()))
        grey = torch.full((1, *self.input.shape), 0.5, dtype=first.dtype, device=first.device)
        modes = {module: module.training for module in self.module.modules()}
        try:
            with torch.no_grad():
                self.module.eval()
                answer = self.logits(grey)
        except Exception as error:  # noqa: BLE001  (the network is the user's: it may raise anything)
            raise CardError(
                f"network {self.name} refuses its declared input {self.input.shape}: {first_line(error)}"
            ) from None
        finally:
            for module, mode in modes.items():
                module.training = mode
        if not isinstance(answer, Tensor) or answer.ndim != 2 or answer.shape[1] < 2:
            got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise CardError(f"network {self.name} answers with {got}; logits of shape (n, classes) are needed.")
        count = int(answer.shape[1])
        if self._labels is not None and len(self._labels) != count:
            raise CardError(
                f"network {self.name} has {count} classes, and its label file has {len(self._labels)} lines."
            )
        return count

    @cached_property
    def labels(self) -> Labels:
        """Class names in output order."""
        count = self.num_classes
        return self._labels if self._labels is not None else Labels.numbered(count)

    @cached_property
    def sha256(self) -> str:
        """Hash of the weights (names, types, shapes, values) and of the input space."""
        digest = hashlib.sha256(repr(self.input).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            value = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
        return digest.hexdigest()
