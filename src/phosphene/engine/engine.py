"""Gradients and probabilities of many (class, seed) maps in one stream of micro-batches."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import torch
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.engine.compiling import Forward, compiled
from phosphene.engine.device import pick_device, pick_precision
from phosphene.engine.losses import LOSSES, cross_entropy
from phosphene.engine.memory import keep_freed_memory
from phosphene.engine.modules import find_spatial_layer, held, hooked
from phosphene.engine.tuning import tuned
from phosphene.errors import DeviceError, PhospheneError
from phosphene.grids import as_grid

# Pixels that go through the network together. On a CPU, more than 8 pictures of 224 x 224 are no faster and take more
# memory (docs/performance.md). On a GPU so many are in the maps that are made together; what goes through the network
# at once is measured (engine/tuning.py), from an eighth of it upwards, and halved when it does not fit.
CPU_MICRO_BATCH = 8 * 224 * 224
CUDA_MICRO_BATCH = 256 * 224 * 224

Answer = TypeVar("Answer")


class Nudge(NamedTuple):
    """What subtracting m maps from their samples did.

    Attributes:
        gradient: (m, c, h, w): mean over the samples of the loss gradient at the clipped input.
        loss: (m,): mean cross-entropy of the map's class, whatever loss the gradient is of.
        hits: (m,): share of samples that the network reads as the map's class, in [0, 1].
    """

    gradient: Tensor
    loss: Tensor
    hits: Tensor


class Slopes(NamedTuple):
    """What n pictures say of a class each.

    Attributes:
        gradient: (n, c, h, w): gradient of each picture's loss at that picture.
        loss: (n,): the loss itself.
        hits: (n,): whether the network reads the picture as the class, bool.
    """

    gradient: Tensor
    loss: Tensor
    hits: Tensor


class Engine:
    """Runs a classifier for the mapper. Use it as a context: it gives the network back as it was.

    Args:
        classifier: The network and its input space.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp64``.
        micro_batch: Pictures sent through the network together; on a GPU measured once for each network, by default.
        compile_network: Have torch compile what gradients are taken of (experimental; minutes at the first step).

    Raises:
        DeviceError: the device or precision is not there.

    Example:
        >>> import phosphene as ph
        >>> with Engine(ph.load("demo:shapes")) as engine:
        ...     engine.logits(torch.rand(2, 3, 96, 96)).shape[0]
        2
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        device: str = "auto",
        precision: str = "auto",
        micro_batch: "int | None" = None,
        compile_network: bool = False,
    ) -> None:
        self.classifier = classifier
        self.device = pick_device(device)
        compute = pick_precision(precision)
        self.autocast = compute if compute is torch.bfloat16 else None
        self.dtype = torch.float32 if self.autocast else compute
        pixels = CUDA_MICRO_BATCH if self.device.type == "cuda" else CPU_MICRO_BATCH
        self.micro_batch = micro_batch or max(1, pixels // math.prod(classifier.input.size))
        if classifier.batch is not None:
            self.micro_batch = min(self.micro_batch, classifier.batch)
        self.group_pictures = self.micro_batch  # in maps that are made together: the same whatever was measured
        self._tune = self.device.type == "cuda" and micro_batch is None and classifier.batch is None
        self._held: ExitStack | None = None
        self._compile = compile_network
        self._forward: Forward = classifier.logits  # what gradients are taken of
        self._read: tuple[Tensor, Tensor] | None = None

    def __enter__(self) -> Self:
        if torch.is_inference_mode_enabled():
            raise PhospheneError("maps need gradients: leave torch.inference_mode() before you make them.")
        if self.device.type == "cpu":
            keep_freed_memory()
        self._held = ExitStack()
        self._held.enter_context(held(self.classifier.module, self.device, self.dtype))
        try:
            if self._tune:
                self.micro_batch, self._tune = tuned(self, max(1, self.micro_batch // 8)), False
            if self._compile:  # after the tuning, which would have every size compiled
                self._forward = compiled(self.classifier.logits, self.classifier.name)
        except BaseException:  # who fails to enter is not asked to leave
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        if self._held is not None:
            self._held.__exit__(kind, error, trace)
            self._held = None
        self._read = None  # the network may be another when it is held again

    def nudge(self, samples: Tensor, nu: Tensor, classes: Tensor, loss: str = "cross-entropy") -> Nudge:
        """Subtract each map from its samples, clip, and take the loss gradient there (Alg. 1, lines 3 and 4).

        The gradient is that at the clipped input, not through the clip.

        Args:
            samples: uint8 (m, n, c, h, w).
            nu: (m, c, h, w).
            classes: int64 (m,).
            loss: What to take the gradient of, a name in :data:`phosphene.engine.losses.LOSSES`.
        """
        return self._backing_off(lambda: self._nudge(samples, nu, classes, loss))

    def _nudge(self, samples: Tensor, nu: Tensor, classes: Tensor, loss: str) -> Nudge:
        maps, count = samples.shape[:2]
        gradient = torch.zeros_like(nu)
        entropy = torch.zeros(maps, dtype=self.dtype, device=self.device)
        hits = torch.zeros_like(entropy)
        for pictures, owner in self._nudged(samples, nu):
            pictures.requires_grad_()
            with torch.enable_grad():
                logits = self._network(pictures, gradient=True)
                (slope,) = torch.autograd.grad(LOSSES[loss](logits, classes[owner]).sum(), pictures)
            said = logits.detach()
            gradient.index_add_(0, owner, slope)
            entropy.index_add_(0, owner, cross_entropy(said, classes[owner]))
            hits.index_add_(0, owner, (said.argmax(1) == classes[owner]).to(self.dtype))
        return Nudge(gradient / count, entropy / count, hits / count)

    def slopes(self, pictures: Tensor, classes: Tensor, loss: str = "cross-entropy") -> Slopes:
        """Take the loss gradient at every picture, for who makes pictures in another way than :meth:`nudge`.

        Args:
            pictures: (n, c, h, w) in [0, 1].
            classes: int64 (n,).
            loss: A name in :data:`phosphene.engine.losses.LOSSES`.
        """

        def run() -> Slopes:
            parts = []
            for shown, own in zip(self._split(pictures), self._split(classes, pictures), strict=True):
                chunk = shown.detach().to(self.device, self.dtype)
                chunk = chunk.contiguous(memory_format=torch.channels_last).requires_grad_()
                with torch.enable_grad():
                    logits = self._network(chunk, gradient=True)
                    each = LOSSES[loss](logits, own)
                    (slope,) = torch.autograd.grad(each.sum(), chunk)
                parts.append((slope, each.detach(), logits.detach().argmax(1) == own))
            gradient, each_loss, hits = zip(*parts, strict=True)
            return Slopes(torch.cat(gradient), torch.cat(each_loss), torch.cat(hits))

        return self._backing_off(run)

    @torch.no_grad()
    def probability(self, samples: Tensor, nu: Tensor, classes: Tensor) -> Tensor:
        """Mean probability (m,) of each map's class after the nudge (Alg. 1, line 10). Shapes as in :meth:`nudge`."""

        def run() -> Tensor:
            total = torch.zeros(len(nu), dtype=self.dtype, device=self.device)
            for pictures, owner in self._nudged(samples, nu):
                chosen = self._network(pictures).softmax(1).gather(1, classes[owner, None])[:, 0]
                total.index_add_(0, owner, chosen)
            return total / samples.shape[1]

        return self._backing_off(run)

    @torch.no_grad()
    def logits(self, pictures: Tensor) -> Tensor:
        """Logits (n, classes) of pictures (n, c, h, w) in [0, 1]."""

        def run() -> Tensor:
            return torch.cat([self._network(chunk.to(self.device, self.dtype)) for chunk in self._split(pictures)])

        return self._backing_off(run)

    def classes_of(self, samples: Tensor) -> Tensor:
        """Class (n,) that each sample, uint8 (n, c, h, w), is read as.

        Of the samples that were asked for last the answer is remembered: change neither them nor the network in place.
        """
        if self._read is None or self._read[0] is not samples:
            self._read = (samples, self.logits(samples.to(self.dtype) / 255).argmax(1))
        return self._read[1]

    @torch.no_grad()
    def activations(self, pictures: Tensor, layer: str) -> Tensor:
        """Output of the module called ``layer``, laid out (n, c', h', w'), for pictures (n, c, h, w) in [0, 1]."""
        module = self.classifier.module.get_submodule(layer)
        kept: list[Tensor] = []
        last: list[Tensor] = []  # a module may be called several times in one forward: its last answer counts
        with hooked([module], lambda _, __, answer: last.append(answer)):
            for chunk in torch.split(pictures, self.micro_batch):
                self.logits(chunk)
                grid = as_grid(last[-1][: len(chunk)], self.classifier.input.size)  # a fixed batch is filled up
                assert grid is not None  # noqa: S101  (spatial_layer has seen it)
                kept.append(grid.to(self.dtype))
                last.clear()
        return torch.cat(kept)

    def spatial_layer(self, wanted: str = "") -> str:
        """Name of the module at the end of the convolutional base; see :func:`find_spatial_layer`."""
        grey = torch.full((1, *self.classifier.input.shape), 0.5)
        size = self.classifier.input.size
        return find_spatial_layer(self.classifier.module, lambda: self.logits(grey), wanted, size=size)

    def _split(self, values: Tensor, pictures: "Tensor | None" = None) -> tuple[Tensor, ...]:
        """Split into micro-batches: more at once of pictures that are smaller than the network's own."""
        height, width = (values if pictures is None else pictures).shape[2:]
        at_once = self.micro_batch * math.prod(self.classifier.input.size) // (height * width)
        if self.classifier.batch is not None:
            at_once = min(at_once, self.classifier.batch)
        return torch.split(values, max(1, at_once))

    def _backing_off(self, run: Callable[[], Answer]) -> Answer:
        """Run; when the device's memory does not suffice, halve the micro-batch, for good, and run again.

        Raises:
            DeviceError: not even one picture fits.
        """
        while True:
            try:
                return run()
            except torch.cuda.OutOfMemoryError:
                if self.micro_batch == 1:
                    name, where = self.classifier.name, self.device
                    raise DeviceError(f"{where} has no memory for one picture of {name}: try --device cpu.") from None
            self.micro_batch = max(1, self.micro_batch // 2)
            torch.cuda.empty_cache()

    def _nudged(self, samples: Tensor, nu: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield micro-batches ``clip(I - nu)`` and, for each picture, the number of its map."""
        maps, count = samples.shape[:2]
        flat = samples.flatten(0, 1)
        owners = torch.arange(maps, device=self.device).repeat_interleave(count)
        for start in range(0, maps * count, self.micro_batch):
            owner = owners[start : start + self.micro_batch]
            pictures = flat[start : start + self.micro_batch].to(self.dtype) / 255
            yield (pictures - nu[owner]).clamp_(0, 1).contiguous(memory_format=torch.channels_last), owner

    def _network(self, pictures: Tensor, *, gradient: bool = False) -> Tensor:
        if self._held is None:
            raise PhospheneError("the engine is closed: use it as `with Engine(classifier) as engine:`.")
        forward = self._forward if gradient else self.classifier.logits
        if self.autocast is None:
            return forward(pictures)
        with torch.autocast(self.device.type, self.autocast):
            return forward(pictures).to(self.dtype)
