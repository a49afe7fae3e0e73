"""The engine: gradients and probabilities of many maps at once. The only place that calls the network."""

from phosphene.engine.engine import Engine
from phosphene.engine.gradients import Gradients, MeanGradients

__all__ = ["Engine", "Gradients", "MeanGradients"]
