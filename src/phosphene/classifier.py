"""A classifier: a network, the input space it was trained in, its labels, and where it came from.

This is the only place that knows means, deviations and sizes. Everything above sees pixels in
[0, 1] and logits.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from phosphene.errors import CardError, first_line
from phosphene.labels import Labels
from phosphene.outputs import KINDS, ONE, check_kind, detect, is_one, tensor_of, to_logits

# Numbers in one picture: above this, a card is a mistake or an attack on memory.
MOST = 2**26
# Means and deviations beyond this are lost in single precision.
EXTREME = 1e12


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
        if math.prod(self.shape) > MOST:
            raise CardError(
                f"input {self.shape} has more than {MOST:,} numbers a picture; that is no image classifier."
            )
        if not self.mean or len(self.mean) != len(self.std):
            raise CardError(
                f"{len(self.mean)} means and {len(self.std)} deviations; there must be one of each a channel."
            )
        if not all(abs(value) <= EXTREME for value in self.mean):
            raise CardError(f"input mean is {list(self.mean)}; each must be finite, at most {EXTREME:g}.")
        if not all(1 / EXTREME <= value <= EXTREME for value in self.std):
            raise CardError(
                f"input std is {list(self.std)}; each must be finite and above 0, {1 / EXTREME:g} to {EXTREME:g}."
            )

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
        output: What the module answers with: ``auto`` to find out, ``logits``, ``probabilities``,
            ``log-probabilities``, or, of a network with one output, ``logit`` or ``probability``.
        batch: The number of pictures that the module takes at once, at most; any number by default.
        notes: What whoever loaded it has to say of it, a line each.
        origin: The fields of a card that build the module again, ``{"arch": "torchvision:vgg16"}``, if there are any.

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
        output: str = "auto",
        batch: "int | None" = None,
        notes: Sequence[str] = (),
        origin: "Mapping[str, str] | None" = None,
    ) -> None:
        self.module = module
        self.input = InputSpace((size, size) if isinstance(size, int) else size, tuple(mean), tuple(std))
        self.name = name
        self.spec = spec or name
        self.batch = batch
        self.origin = dict(origin or {})
        self._notes = tuple(notes)
        self._output = check_kind(output)
        self._constants: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}
        self._labels = None if labels is None else Labels(labels)

    def __repr__(self) -> str:
        c, h, w = self.input.shape
        return f"Classifier({self.name!r}, {h} x {w} x {c}, {self.num_classes} classes)"

    def logits(self, pixels: Tensor) -> Tensor:
        """Map pixels (n, c, h, w) in [0, 1] to logits (n, classes).

        Runs the module as it stands; :class:`phosphene.engine.Engine` puts it in evaluation mode.
        """
        kind = self.output
        answer = self._answer(pixels)
        assert isinstance(answer, Tensor)  # noqa: S101  (it was when the network was asked for its kind of output)
        return to_logits(answer, kind)

    def _answer(self, pixels: Tensor) -> object:
        """What the module itself says to pixels in [0, 1]."""
        mean, scale = self._normalisation(pixels.device, pixels.dtype)
        return tensor_of(self.module((pixels - mean) * scale))

    def _normalisation(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Mean and inverse deviation, (1, c, 1, 1), kept where they are used: a copy to a GPU would wait for it."""
        key = (device, dtype)
        if key not in self._constants:
            mean = torch.tensor(self.input.mean, dtype=dtype, device=device).view(1, -1, 1, 1)
            std = torch.tensor(self.input.std, dtype=dtype, device=device).view(1, -1, 1, 1)
            self._constants[key] = (mean, 1 / std)
        return self._constants[key]

    @cached_property
    def _found(self) -> tuple[int, str]:
        """Number of classes and kind of output, read off the network's answers to a few pictures."""
        first = next(self.module.parameters(), torch.zeros(()))
        grey = torch.full((1, *self.input.shape), 0.5, dtype=first.dtype, device=first.device)
        with self._asking(first.device):
            answer = self._answer(grey)
            fits = isinstance(answer, Tensor) and ((answer.ndim == 2 and len(answer) == 1) or is_one(answer))
            if not isinstance(answer, Tensor) or not fits or not answer.numel():
                got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
                raise CardError(f"network {self.name} answers with {got}; logits of shape (n, classes) are needed.")
            one = is_one(answer)
            kind = self._output if self._output != "auto" else detect(self._answers(answer, grey, one=one))
        if (kind in ONE) != one:
            raise CardError(f"network {self.name} has {answer.numel()} output(s); it cannot answer with {kind}.")
        count = 2 if one else answer.numel()
        if self._labels is not None and len(self._labels) != count:
            raise CardError(
                f"network {self.name} has {count} classes, and its label file has {len(self._labels)} lines."
            )
        return count, kind

    @contextmanager
    def _asking(self, device: torch.device) -> Iterator[None]:
        """Put the module in evaluation mode for a few questions, and back; what it raises becomes one line."""
        modes = {module: module.training for module in self.module.modules()}
        try:
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                self.module.eval()
                yield
        except (CardError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001  (the network is the user's: it may raise anything)
            raise CardError(
                f"network {self.name} refuses its declared input {self.input.shape}: {first_line(error)}"
            ) from None
        finally:
            for module, mode in modes.items():
                module.training = mode

    def _answers(self, first: Tensor, grey: Tensor, *, one: bool) -> Iterator[Tensor]:
        """Yield answers to pictures that differ as much as can be, as long as they are asked for."""
        yield first
        noise = torch.rand(grey.shape, generator=torch.Generator().manual_seed(0)).to(grey)
        far = [1000 * noise, -1000 * noise] if one else []  # sends a number that is not bounded beyond [0, 1]
        for picture in [noise, torch.zeros_like(grey), torch.ones_like(grey), *far]:
            answer = self._answer(picture)
            assert isinstance(answer, Tensor)  # noqa: S101
            yield answer

    @property
    def num_classes(self) -> int:
        """Number of classes, read off the network's answer to one grey picture.

        Raises:
            CardError: the network does not take the declared input, does not give (n, classes), or the labels do not
                match its classes.
        """
        return self._found[0]

    @property
    def output(self) -> str:
        """What the module answers with; :meth:`logits` makes logits of it. Raises as :attr:`num_classes` does."""
        return self._found[1]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how this classifier is read, a line each."""
        said = KINDS[self.output]
        return (*self._notes, said) if said else self._notes

    @cached_property
    def labels(self) -> Labels:
        """Class names in output order."""
        count, kind = self._found
        if self._labels is not None:
            return self._labels
        return Labels(["negative", "positive"]) if kind in ONE else Labels.numbered(count)

    @cached_property
    def sha256(self) -> str:
        """Hash of the weights (names, types, shapes, values) and of the input space."""
        digest = hashlib.sha256(repr(self.input).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            value = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
        return digest.hexdigest()
