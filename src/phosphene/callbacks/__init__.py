"""During training: map some classes every few epochs, and log the images where training is logged."""

from phosphene.callbacks.loggers import Logger, MLflow, TensorBoard, WeightsAndBiases
from phosphene.callbacks.map_every import MapEvery

__all__ = ["Logger", "MLflow", "MapEvery", "TensorBoard", "WeightsAndBiases"]
