"""The engine: gradients and probabilities of many maps at once. The only place that calls the network."""

from phosphene.engine.engine import Engine, Nudge
from phosphene.engine.modules import find_spatial_layer, held

__all__ = ["Engine", "Nudge", "find_spatial_layer", "held"]
