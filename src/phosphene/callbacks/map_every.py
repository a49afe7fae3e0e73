"""Map some classes every few epochs while a network is trained, and leave the network as it was."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from phosphene.arguments import (
    Concepts,
    Device,
    Model,
    Samples,
    concept_list,
    require_at_least,
    seed_range,
    to_classifier,
    to_concepts,
    to_pool,
)
from phosphene.callbacks.loggers import Logger
from phosphene.checked import checked
from phosphene.classifier import Classifier
from phosphene.concepts import is_unit, name_with_index
from phosphene.engine import Engine
from phosphene.errors import ArgumentError, describe
from phosphene.executors.base import MapOrigin
from phosphene.mapper.units import resolve_units
from phosphene.recipe import DEFAULT_RECIPE, Recipe, resolve
from phosphene.workflows.concept_maps import ConceptMaps
from phosphene.workflows.in_memory import map_in_memory


class MapEvery:
    """Training callback that maps concepts every few epochs.

    It is called with each epoch. At 0 and multiples of ``every`` it computes, logs and returns maps, else ``None``.

    Training goes on as if nothing had been mapped: modes, gradients, ``requires_grad``, buffers and the random
    generators of torch, numpy and Python are what they were. In distributed training, call it in one process.

    Args:
        classifier: The network that is trained, wrapped once: ``ph.Classifier(module, size=..., mean=..., std=...)``; or
            a spec.
        concepts: An index, a label or an expression, or several of them.
        every: Epochs between maps; epochs 0, ``every``, 2 ``every`` ... are mapped.
        logger: TensorBoard, WeightsAndBiases, MLflow, or any object with ``image`` and ``scalar``; none by default.
        recipe: A name, a TOML file or a recipe.
        overrides: Recipe fields to change; ``{"steps": 40}`` costs a third.
        samples: A sample spec, a pool, or images in memory; by default ``synthetic:mixed``.
        seed: The maps' seed, the same every time, so that only the network differs.
        device: ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``, to map on; by default the network's.
        trust: Allow code that came with the network to run.

    Attributes:
        history: The maps of every epoch that was mapped.

    Raises:
        PhospheneError: an argument does not fit; the message names the fix.

    Example:
        >>> import phosphene as ph
        >>> map_every = MapEvery(ph.load("demo:shapes"), ["star"], every=5, overrides={"steps": 2})
        >>> [epoch for epoch in range(6) if map_every(epoch)]
        [0, 5]
    """

    @checked
    def __init__(
        self,
        classifier: Model,
        concepts: Concepts,
        *,
        every: int = 1,
        logger: "Logger | None" = None,
        recipe: "str | Path | Recipe" = DEFAULT_RECIPE,
        overrides: "Mapping[str, Any] | None" = None,
        samples: Samples = None,
        seed: int = 0,
        device: "Device | None" = None,
        trust: bool = False,
    ) -> None:
        require_at_least(1, every=every)
        if logger is not None and not all(callable(getattr(logger, name, None)) for name in ("image", "scalar")):
            raise ArgumentError(f"logger is {describe(logger)}; it must have the methods image and scalar.")
        (self.seed,) = seed_range(seed)
        self.every, self.logger = every, logger
        self.device = None if device is None else str(device)
        self.recipe = resolve(recipe, overrides)
        self.history: dict[int, ConceptMaps] = {}
        concept_specs = concept_list(concepts)
        with _restored_generators():  # a wrong name or sample spec should fail now, and not after the first epoch
            self.classifier = to_classifier(classifier, trust=trust, concepts=concept_specs)
            map_device = self.device or _device_of(self.classifier)
            with Engine(self.classifier, device=map_device) as engine:
                engine.spatial_layer(self.recipe.xi_layer)
            self.pool = to_pool(samples, self.classifier)
            unresolved_concepts = to_concepts(concept_specs, self.classifier)
            self.concepts = resolve_units(unresolved_concepts, self.classifier, self.pool, device=map_device)

    @checked
    def __call__(self, epoch: int) -> "ConceptMaps | None":
        """Compute, log and return the maps if ``epoch`` is a multiple of ``every``; else return ``None``."""
        return None if epoch % self.every else self.map(epoch)

    @checked
    def map(self, epoch: int) -> ConceptMaps:
        """Compute and return maps of the network as it is now, whatever ``every`` is.

        They are stored in ``history[epoch]``, and logged if there is a logger.

        Raises:
            JobsError: the network returns NaN or infinity.
        """
        device = self.device or _device_of(self.classifier)
        options: dict[str, Any] = {"recipe": self.recipe, "device": device, "compile": "off"}
        with _restored_generators():
            origin = MapOrigin(classifier=self.classifier, pool=self.pool, **options)
            maps = self.history[epoch] = map_in_memory(origin, self.concepts, [self.seed])
        if self.logger is not None:
            tag_counts = Counter(one.short for one in maps)
            for one in maps:
                short = one.short if tag_counts[one.short] == 1 else name_with_index(one.index, one.label)
                self.logger.image(f"phosphene/{short}", one.image, epoch)
                name = "percentile" if is_unit(one.index) else "p_class"
                self.logger.scalar(f"phosphene/{short}/{name}", one.p_class, epoch)
                if one.targeting_rate is not None:
                    self.logger.scalar(f"phosphene/{short}/targeting_rate", one.targeting_rate, epoch)
        return maps


def _device_of(classifier: Classifier) -> str:
    """Return the name of the device that a classifier's parameters are on; ``auto`` if it has none."""
    parameter = next(classifier.module.parameters(), None)
    return "auto" if parameter is None else str(parameter.device)


@contextmanager
def _restored_generators() -> Iterator[None]:
    """Restore the global random generators of torch, numpy and Python after the ``with`` block."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002  (the caller's own)
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
