"""Watch a network learn: map some classes every few epochs, and show them where training is logged."""

from phosphene.callbacks.loggers import Logger, MLflow, TensorBoard, WeightsAndBiases
from phosphene.callbacks.map_every import MapEvery

__all__ = ["Logger", "MLflow", "MapEvery", "TensorBoard", "WeightsAndBiases"]
