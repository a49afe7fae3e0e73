"""Where training is logged: TensorBoard, Weights & Biases, MLflow, or anything with two methods.

Each adapter takes a writer or run that the training has opened already, and otherwise opens the library's default. The
libraries are imported when an adapter is made.
"""

import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from phosphene.extras import require


class Logger(Protocol):
    """Interface of an experiment logger for :class:`MapEvery`: anything with the methods ``image`` and ``scalar``."""

    def image(self, tag: str, image: Image.Image, step: int) -> None:
        """Log a PIL image under a tag, at a step of training."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Log a number under a tag, at a step of training."""


class TensorBoard:
    """Logger for MapEvery that logs images and numbers to TensorBoard.

    Args:
        writer: A ``SummaryWriter`` that is open already (torch's or tensorboardX's), or the folder for a new one.

    Raises:
        ExtraError: a new one was asked for, and tensorboard is not installed.
    """

    def __init__(self, writer: Any = "runs/tensorboard") -> None:
        if isinstance(writer, str | Path):
            require("tensorboard", "tensorboard")  # torch's own message does not say what to install
            writer = require("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(writer))
        self.writer = writer

    def image(self, tag: str, image: Image.Image, step: int) -> None:
        """Log an image under a tag at a step, and flush it, so that it shows while training goes on."""
        self.writer.add_image(tag, np.asarray(image.convert("RGB")), step, dataformats="HWC")
        self.writer.flush()

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Log a number to TensorBoard under a tag, at a step."""
        self.writer.add_scalar(tag, value, step)


class WeightsAndBiases:
    """Logger for MapEvery that logs images and numbers to a Weights & Biases run.

    The run's own step counts calls and never goes back, so maps are logged against another step metric, ``epoch``.

    Args:
        run: The run that ``wandb.init`` returned; by default it is called here.
        step_metric: The name of that metric.

    Raises:
        ExtraError: wandb is not installed.
    """

    def __init__(self, run: Any = None, *, step_metric: str = "epoch") -> None:
        self._wandb = require("wandb", "wandb")
        self.run = self._wandb.init() if run is None else run
        self.step_metric = step_metric
        self._defined: set[str] = set()

    def image(self, tag: str, image: Image.Image, step: int) -> None:
        """Log an image to Weights & Biases under a tag, at a step of the step metric (``epoch``)."""
        self._log(tag, self._wandb.Image(image), step)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Log a number to Weights & Biases under a tag, at a step of the step metric (``epoch``)."""
        self._log(tag, value, step)

    def _log(self, tag: str, value: Any, step: int) -> None:
        """Log an image or a number under a tag against the step metric, which is defined at a tag's first use."""
        if tag not in self._defined:
            self.run.define_metric(tag, step_metric=self.step_metric)
            self._defined.add(tag)
        self.run.log({tag: value, self.step_metric: step})


class MLflow:
    """Logger for MapEvery that logs images and numbers to an MLflow run; needs MLflow 2.11 or newer.

    Args:
        run_id: The run to log to; by default the active one, which MLflow opens if there is none.
        client: An ``MlflowClient``, for another tracking server than the one that is set.

    Raises:
        ExtraError: mlflow is not installed.
    """

    def __init__(self, run_id: "str | None" = None, client: Any = None) -> None:
        mlflow = require("mlflow", "mlflow")
        self.client = mlflow.MlflowClient() if client is None else client
        self.run_id: str = run_id or (mlflow.active_run() or mlflow.start_run()).info.run_id

    def image(self, tag: str, image: Image.Image, step: int) -> None:
        """Log an image at a step, under the tag without characters that MLflow refuses."""
        self.client.log_image(self.run_id, image, key=_key(tag), step=step)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Log a number at a step, under the tag without characters that MLflow refuses."""
        self.client.log_metric(self.run_id, _key(tag), value, step=step)


def _key(tag: str) -> str:
    """Return a tag with the characters that MLflow does not allow in names replaced by ``-``."""
    return re.sub(r"[^\w./ -]", "-", tag, flags=re.ASCII)
