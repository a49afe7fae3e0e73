"""Runs a network in micro-batches: gradients, probabilities, logits and activations of many maps or images at once."""

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from itertools import chain, pairwise
from typing import Any, Self, cast

import torch
from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.engine.capture import EAGER_CALLS, CapturedSteps, CudaGraphs, TensorFunction
from phosphene.engine.compiling import MODES, Forward, Forwards
from phosphene.engine.device import PRECISIONS, pick_device, pick_precision, tf32_convolutions, without_autocast
from phosphene.engine.gradients import Gradients, MeanGradients, input_gradient
from phosphene.engine.losses import LOSSES, cross_entropy
from phosphene.engine.memory import CPU_MICRO_BATCH, CUDA_MICRO_BATCH, Result, halving_micro_batch, keep_freed_memory
from phosphene.engine.modules import channels_first, find_spatial_layer, frozen, has_depthwise, refuse_mixture
from phosphene.engine.statistics import FeatureStatistics, GradientContext, Prior
from phosphene.engine.targets import hits, target_probabilities, virtual_logits
from phosphene.engine.units import MOST_SAMPLES, UnitClassifier, layer_outputs, mean_activations
from phosphene.errors import DeviceError, PhospheneError
from phosphene.spatial_activation import as_spatial_activation
from phosphene.units import Unit

CUDA_STEPS_PER_FETCH = 10  # steps that a GPU is given before it is asked for their losses


class Engine:
    """Runs a classifier on a device in micro-batches: logits, gradients, activations. A context manager that restores the network on exit.

    Args:
        classifier: The network and its input space.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        precision: ``fp32``, ``tf32``, ``bf16``, ``fp64``, or ``auto``: bf16 on a GPU that computes in it, else fp32.
        micro_batch: Images sent through the network together: by default 8 of 224 x 224 pixels on a CPU and 256 on a GPU,
            or as many pixels.
        compile: Whether torch compiles the passes that gradients are computed from, which takes minutes: ``auto`` (on a
            GPU, if the planned passes pay for it), ``on`` or ``off``.
        planned_passes: Passes to come, for ``auto``: images through the network, a backward pass counted as one more.

    Raises:
        DeviceError: this machine does not have the device, or the precision or ``compile`` is unknown.

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
        precision: str = "fp32",
        micro_batch: "int | None" = None,
        compile: str = "auto",  # noqa: A002  (the option's name)
        planned_passes: int = 0,
    ) -> None:
        if compile not in MODES:
            raise DeviceError(f"compile {compile!r} is unknown: use {', '.join(MODES)}.")
        self.classifier = classifier
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        compute = PRECISIONS[self.precision]
        self.autocast = compute if compute is torch.bfloat16 else None
        self.dtype = torch.float32 if self.autocast else compute
        cuda = self.device.type == "cuda"
        pixels = CUDA_MICRO_BATCH if cuda else CPU_MICRO_BATCH
        self.micro_batch = micro_batch or max(1, pixels // math.prod(classifier.input.size))
        if classifier.batch is not None:
            self.micro_batch = min(self.micro_batch, classifier.batch)
        self.images_per_group = self.micro_batch  # in maps that are computed together: not halved when memory runs out
        self.steps_per_fetch = CUDA_STEPS_PER_FETCH if cuda else 1
        self.first_steps = 2 * EAGER_CALLS + 3 if cuda else 1  # of a map, until most take the same time
        self.compile, self.planned_passes = compile, planned_passes
        self.forwards = Forwards(self)
        self._channels_first = False  # whether images and weights have channels first in memory, which is mostly slower
        self._opened: ExitStack | None = None
        self._parent: Engine | None = None  # the one that this one adds units to, and is closed with
        self._captured: CapturedSteps | None = None  # on a GPU, while the engine is open
        self._measured: dict[Hashable, tuple[Tensor, Any]] = {}  # samples, and what was measured on them

    def __enter__(self) -> Self:
        if torch.is_inference_mode_enabled():
            raise PhospheneError("maps need gradients: leave torch.inference_mode() before you compute them.")
        if self._opened is not None:
            raise PhospheneError("this engine is open already: make an Engine for each `with` block.")
        with ExitStack() as stack:  # where opening fails, all is as it was
            stack.callback(self._close)
            if self.device.type == "cpu":
                keep_freed_memory()
            else:
                stack.enter_context(tf32_convolutions(allowed=self.precision != "fp32"))
                self._captured = CapturedSteps(self.classifier.name, CudaGraphs(self.device))
            stack.enter_context(frozen(self.classifier.module, self.device, self.dtype))
            if self.device.type == "cuda" and has_depthwise(self.classifier.module):
                self._lay_out_channels_first()
            self._opened = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()

    @property
    def is_open(self) -> bool:
        """Whether the network can be run: inside the ``with`` block of this engine, or of the one that it adds units to."""
        return self._opened is not None if self._parent is None else self._parent.is_open

    def _close(self) -> None:
        """Mark the engine as closed; drop captured steps, cached logits and activations, and the chosen forward pass."""
        if self._captured is not None:
            self._captured.drop()
        self._opened, self._captured, self._channels_first = None, None, False
        self.forwards = Forwards(self)
        self._measured.clear()

    def captured(self, step: TensorFunction, *key: Hashable) -> TensorFunction:
        """Return a function that does what ``step`` does, without the caller's autocast; on a GPU it replays a CUDA graph.

        Args:
            step: From tensors to tensors: it draws nothing, never waits for the device, and changes nothing else.
            key: All that it depends on beside its inputs, its own code and this engine: of the same key, the first is used.
        """
        step = without_autocast(self.device)(step)
        return step if self._captured is None else self._captured.get(step, (self, step.__qualname__, *key))

    @halving_micro_batch
    def mean_gradients(
        self, samples: Tensor, nu: Tensor, classes: Tensor, loss: str = "cross-entropy", prior: "Prior | None" = None
    ) -> MeanGradients:
        """Return, per map, mean loss gradient, cross-entropy and hit rate over its own samples less the map, clipped (Alg. 1, lines 3, 4).

        The gradient is with respect to the clipped input; the clip itself is not differentiated.

        Args:
            samples: uint8 (m, b, c, h, w).
            nu: (m, c, h, w).
            classes: int64 (m,), or the targets of m concepts (:mod:`phosphene.engine.targets`).
            loss: The loss to differentiate, a name in :data:`phosphene.engine.losses.LOSSES`.
            prior: Adds the gradient of the features' statistics to that of the loss; where it measures their weight, the
                network is not compiled.

        Raises:
            DeviceError: the device has no memory for one image.
        """
        maps, count = samples.shape[:2]
        gradient = torch.zeros_like(nu)
        entropy = torch.zeros(maps, dtype=self.dtype, device=self.device)
        hit, weight = torch.zeros_like(entropy), torch.zeros_like(entropy)
        for images, owner in self._nudged(samples, nu, together=prior.views * count if prior else 1):
            forward, context = self.forwards.get(len(images), prior), prior and prior.differentiating(owner, weight)
            slope, _, logits = self.differentiate(images, classes[owner], loss, forward, context)
            gradient.index_add_(0, owner, slope)
            entropy.index_add_(0, owner, cross_entropy(*virtual_logits(logits, classes[owner])))
            hit.index_add_(0, owner, hits(logits, classes[owner]).to(self.dtype))
        return MeanGradients(gradient / count, entropy / count, hit / count, weight / count)

    @halving_micro_batch
    def gradients(self, images: Tensor, classes: Tensor, loss: str = "cross-entropy") -> Gradients:
        """Return each image's gradient (n, c, h, w) and value of the loss for its class or target, and whether that is predicted.

        Args:
            images: (n, c, h, w) in [0, 1].
            classes: int64 (n,), or the targets of n concepts (:mod:`phosphene.engine.targets`).
            loss: The loss to differentiate, a name in :data:`phosphene.engine.losses.LOSSES`.

        Raises:
            DeviceError: the device has no memory for one image.
        """
        size = self._images_at_once(images)
        parts = []
        for chunk, own in zip(torch.split(images, size), torch.split(classes, size), strict=True):
            chunk_here = chunk.detach().to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)
            parts.append(self.differentiate(chunk_here, own, loss, self.forwards.get(len(chunk))))
        gradient, losses, logits = (torch.cat(part) for part in zip(*parts, strict=True))
        return Gradients(gradient, losses, hits(logits, classes))

    @halving_micro_batch
    @torch.no_grad()
    def mean_probabilities(self, samples: Tensor, nu: Tensor, classes: Tensor) -> Tensor:
        """Return, per map, its class's mean probability, (m,), over its samples less the map, clipped (for the sign test, Alg. 1, line 10).

        Args:
            samples: uint8 (m, b, c, h, w).
            nu: (m, c, h, w).
            classes: int64 (m,), or the targets of m concepts (:mod:`phosphene.engine.targets`).
        """
        total = torch.zeros(len(nu), dtype=self.dtype, device=self.device)
        for images, owner in self._nudged(samples, nu):
            total.index_add_(0, owner, target_probabilities(self._network(images), classes[owner]))
        return total / samples.shape[1]

    @halving_micro_batch
    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Return the network's logits (n, classes) for images (n, c, h, w) in [0, 1], run in micro-batches without gradients."""
        chunks = torch.split(images, self._images_at_once(images))
        return torch.cat([self._network(chunk.to(self.device, self.dtype)) for chunk in chunks])

    def logits_of_samples(self, samples: Tensor) -> Tensor:
        """Return logits (n, classes) for samples, uint8 (n, c, h, w); cached for the last tensor, so change neither tensor nor network."""
        return self._once("logits", samples, lambda: self.logits(samples.to(self.dtype) / 255))

    def activations(self, images: Tensor, layer: str) -> Tensor:
        """Return feature maps, or tokens as a grid, (n, c', h', w'), of the module named ``layer`` for images (n, c, h, w) in [0, 1]."""
        return layer_outputs(self, images, layer, as_spatial_activation)

    def with_units(self, units: Sequence[Unit], samples: Tensor, *, alone: bool = False) -> "Engine":
        """Return an open engine with a logit more per unit: (activation - 99th percentile) / std, both of the first 512 ``samples``."""
        classifier = UnitClassifier(self, units, samples, alone=alone)
        # Made anew, so that only what is named is shared; not compiled, as torch keeps what it compiled whatever the hooks.
        device, size = str(self.device), self.micro_batch
        view = Engine(classifier, device=device, precision=self.precision, micro_batch=size, compile="off")
        if self._captured is not None:
            self._captured.drop(kept=self)  # those of other units, whose maps are finished
        vars(view).update(_opened=self._opened, _channels_first=self._channels_first, _captured=self._captured)
        view._parent = self
        return view

    def activations_of_samples(self, samples: Tensor, layer: str) -> Tensor:
        """Return mean activations (n, units) of a layer for the first 512 samples, uint8 (n, c, h, w); kept until others are given."""
        first = samples[:MOST_SAMPLES]
        return self._once(("activations", layer), samples, lambda: layer_outputs(self, first, layer, mean_activations))

    def feature_statistics(self, samples: Tensor) -> FeatureStatistics:
        """Return the FeatureStatistics of samples, uint8 (n, c, h, w); kept until others are given."""
        return self._once("statistics", samples, lambda: FeatureStatistics(self, samples))

    def _once(self, key: Hashable, samples: Tensor, measure: "Callable[[], Result]") -> "Result":
        """Return ``measure()``, which is kept under ``key`` until it is asked for of other ``samples``."""
        if key not in self._measured or self._measured[key][0] is not samples:
            self._measured[key] = (samples, measure())
        return cast("Result", self._measured[key][1])

    def spatial_layer(self, name: str = "") -> str:
        """Return the name of the last module that gives feature maps or tokens, or of the module ``name`` if it does; else RecipeError."""
        grey, size = torch.full((1, *self.classifier.input.shape), 0.5), self.classifier.input.size
        return find_spatial_layer(self.classifier.module, lambda: self.logits(grey), name, size=size)

    def differentiate(
        self, images: Tensor, classes: Tensor, loss: str, forward: Forward, context: "GradientContext | None" = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a micro-batch's gradients (n, c, h, w), losses (n,) and logits; ``context`` yields the function that differentiates."""
        images.requires_grad_()
        with without_autocast(self.device), torch.enable_grad(), context or nullcontext(input_gradient) as gradient_of:
            logits = self._network(images, forward)
            losses = LOSSES[loss](*virtual_logits(logits, classes))
            gradient = gradient_of(losses, images, self.classifier)
        return gradient, losses.detach(), logits.detach()

    def _nudged(self, samples: Tensor, nu: Tensor, together: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield samples less their map, clipped to [0, 1], and map numbers (Alg. 1, line 3): whole runs of ``together``, if they fit."""
        maps, count = samples.shape[:2]
        flat = samples.flatten(0, 1)
        owners = torch.arange(maps, device=self.device).repeat_interleave(count)
        most = max(together, self.micro_batch // together * together)
        blocks = (range(first, min(first + most, len(flat)), self.micro_batch) for first in range(0, len(flat), most))
        for start, end in pairwise([*chain(*blocks), len(flat)]):
            images = flat[start:end].to(self.dtype) / 255 - nu[owners[start:end]]
            yield images.clamp_(0, 1).contiguous(memory_format=torch.channels_last), owners[start:end]

    def _network(self, images: Tensor, forward: "Forward | None" = None) -> Tensor:
        """Run the network, or ``forward``, on images that are on its device; return logits (n, classes); PhospheneError if closed."""
        if not self.is_open:
            raise PhospheneError("the engine is closed: use it as `with Engine(classifier) as engine:`.")
        try:
            with torch.autocast(self.device.type, self.autocast, self.autocast is not None, cache_enabled=False):
                logits = (forward or self.classifier.logits)(images.contiguous() if self._channels_first else images)
                return logits.to(self.dtype)
        except RuntimeError as error:
            refuse_mixture(error, self.classifier.name, self.device, self.dtype)
            if self._channels_first or "view size is not compatible" not in str(error):
                raise
        self._lay_out_channels_first()  # the network calls .view on feature maps, which needs channels first
        return self._network(images, forward)

    def _lay_out_channels_first(self) -> None:
        """Lay out the network, and images from now on, with channels first in memory."""
        self._channels_first = True
        channels_first(self.classifier.module)

    def _images_at_once(self, images: Tensor) -> int:
        """Return how many ``images`` (n, c, h, w) to run at once: the micro-batch, fewer if large; at least 1, at most a fixed batch."""
        height, width = images.shape[2:]
        count = self.micro_batch * math.prod(self.classifier.input.size) // (height * width)
        return max(1, count if self.classifier.batch is None else min(count, self.classifier.batch))
