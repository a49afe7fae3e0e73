"""Units of a network: those that a user names are looked up in it, and an engine is prepared to read them."""

import shlex
from collections.abc import Sequence

from torch import Tensor

from phosphene.classifier import Classifier
from phosphene.concepts import Concept
from phosphene.engine import Engine
from phosphene.engine.targets import targets_of
from phosphene.engine.units import list_layers
from phosphene.errors import ConceptError, nearest
from phosphene.recipe import DEFAULT_CHANNELS
from phosphene.samples.pool import SamplePool
from phosphene.units import Unit


def resolve_units(
    concepts: Sequence[Concept],
    classifier: Classifier,
    pool: SamplePool,
    most: int = DEFAULT_CHANNELS,
    device: str = "auto",
) -> list[Concept]:
    """Return the concepts with each ``unit:LAYER:*`` replaced by the layer's most active channels.

    They are the ``most`` channels with the largest mean activation on ``pool``.

    Raises:
        ConceptError: the network does not have a layer or channel, a direction is of another layer, or ``most`` was given
            without a ``unit:LAYER:*`` that it is for.
    """
    if most != DEFAULT_CHANNELS and not any(concept.unit and concept.unit.is_several for concept in concepts):
        raise ConceptError(
            "`most` is how many channels unit:LAYER:* stands for, and no such concept is named: leave it out, or name one."
        )
    if not any(concept.unit and concept.unit.layer for concept in concepts):
        return list(concepts)
    concepts_by_index: dict[int, Concept] = {}
    with Engine(classifier, device=device) as engine:
        layers = {one.name: one for one in list_layers(engine)}
        for concept in concepts:
            unit, replacement = concept.unit, [concept]
            if unit is not None and unit.layer:
                if unit.layer not in layers:
                    hint = nearest(unit.layer, list(layers))
                    raise ConceptError(
                        f"{classifier.name} has no layer {unit.layer!r} whose units can be read.{hint} "
                        f"`phosphene layers {shlex.quote(classifier.spec)}` lists them."
                    )
                if unit.is_several:
                    means = engine.activations_of_samples(pool.pixels, unit.layer).mean(0)
                    channels = means.topk(min(most, len(means))).indices.sort().values.tolist()
                    replacement = [Concept.of_unit(Unit(unit.layer, channel)) for channel in channels]
                else:
                    unit.weights(layers[unit.layer].units)  # an error if it does not fit the layer
            concepts_by_index |= {one.index: one for one in replacement}
    return list(concepts_by_index.values())


def engine_and_targets(engine: Engine, concepts: Sequence[Concept], pool: SamplePool) -> tuple[Engine, Tensor]:
    """Return the engine to map the concepts with, and the targets of the maps.

    For units, it is an engine of the same network whose logits have a column per unit after those of the classes.

    The targets are class indices (m,), or a row of 1, -1 or 0 per map: :func:`phosphene.engine.targets.targets_of`.

    Raises:
        CardError: a concept is a class, and the network's outputs are measurements.
    """
    if not all(concept.unit for concept in concepts):
        engine.classifier.refuse_regression("a map of a class")
    network, units = engine.classifier, [concept.unit for concept in concepts if concept.unit]
    sides = [concept.sides for concept in concepts]
    targets = targets_of(sides, network.num_classes, engine.device, multi_label=network.multi_label)
    only_units = len(units) == len(concepts)
    return engine.with_units(units, pool.pixels, alone=only_units) if units else engine, targets
