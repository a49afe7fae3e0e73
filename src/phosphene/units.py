"""Units of a network that a map can be of: a channel ``unit:LAYER:CHANNEL``, a direction ``direction:FILE@LAYER``, or an output.

An output of a regression network is a unit of the layer "", the network as a whole: ``NAME``, or ``low:NAME`` for low values.
"""

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from phosphene.errors import ConceptError, one_line
from phosphene.labels import OPERATOR, unambiguous_name
from phosphene.textfile import missing

UNIT_PREFIXES = ("unit:", "direction:")
LOW_PREFIX = "low:"
SUFFIXES = (".npy", ".npz", ".pt", ".safetensors")


@dataclass(frozen=True)
class Unit:
    """What a map is of instead of a class: a layer's channel, a direction, or a regression output.

    A channel is averaged over positions; a direction is what these averages are projected on.

    Attributes:
        layer: Name of the module, as ``phosphene layers`` lists it; empty for an output of a regression network.
        channel: Number of the channel, from 0; ``None`` for a direction, and for ``unit:LAYER:*``, the most active channels.
        file: File that the direction was read from.
        direction: The direction's values, one per channel: little-endian float32 in base64, so that a run directory
            can hold them.
        output: Label of the output, whose number is ``channel``.
        low: Whether the map is of low values of the output, and not of high ones.
    """

    layer: str = ""
    channel: "int | None" = None
    file: str = ""
    direction: str = ""
    output: str = ""
    low: bool = False

    @classmethod
    def parse(cls, text: str) -> list[Self]:
        """Return the Units that ``unit:LAYER:3,7`` or ``direction:FILE@LAYER`` names.

        ``unit:LAYER:*`` is one Unit, which stands for the most active channels.

        Raises:
            ConceptError: it has another form, or the file does not hold one vector.
        """
        form, _, rest = text.partition(":")
        if form == "unit" and OPERATOR.search(text):
            raise ConceptError(f"{text!r} is not a unit: units are mapped one by one, each by its own -c.")
        if form == "direction":
            file, _, layer = rest.rpartition("@")
            if not file or not layer:
                raise ConceptError(f"{text!r} is incomplete: write direction:FILE@LAYER.")
            return [cls(layer, file=file, direction=_read_direction(Path(file)))]
        layer, _, channels = rest.rpartition(":")
        if not layer or not re.fullmatch(r"\*|[0-9]{1,9}( ?, ?[0-9]{1,9})*", channels):
            raise ConceptError(
                f"{text!r} is not a unit: write unit:LAYER:3, unit:LAYER:3,7 or unit:LAYER:* (the most active)."
            )
        return [cls(layer)] if channels == "*" else [cls(layer, int(one)) for one in channels.split(",")]

    @property
    def is_output(self) -> bool:
        """Whether this is an output of a regression network, which other networks may have as well."""
        return not self.layer

    @property
    def is_several(self) -> bool:
        """Whether this is ``unit:LAYER:*``, which stands for the layer's most active channels, found later."""
        return self.channel is None and not self.direction

    @property
    def expression(self) -> str:
        """The text that names this unit, as :meth:`parse` takes it; ``[low:]OUTPUT`` for an output."""
        if not self.layer:
            return LOW_PREFIX * self.low + unambiguous_name(self.channel or 0, self.output)
        return f"direction:{self.file}@{self.layer}" if self.direction else f"unit:{self.layer}:{self._channel}"

    @property
    def label(self) -> str:
        """The label: the expression without commas, which separate synonyms, and without a file's folder.

        It is ``[low:]OUTPUT`` for an output.
        """
        if not self.layer:
            return LOW_PREFIX * self.low + self.output
        return (f"direction:{Path(self.file).name}@{self.layer}" if self.direction else self.expression).replace(
            ",", " "
        )

    @property
    def _channel(self) -> str:
        """The channel's number as text, or ``*`` for the most active channels."""
        return "*" if self.channel is None else str(self.channel)

    def facts(self) -> dict[str, Any]:
        """Return the attributes that are set, for run.json and map.json: ``Unit(**facts)`` is the same unit."""
        return {key: value for key, value in vars(self).items() if value not in (None, "") and value is not False}

    def weights(self, units: int) -> Tensor:
        """Return factors, float32 (units,): this unit is the sum of the layer's units times the factors.

        They are one-hot (-1 if ``low``), or the direction.

        Raises:
            ConceptError: the layer has fewer channels, or the direction is of another layer.
        """
        if self.direction:
            values = np.frombuffer(base64.b64decode(self.direction), dtype="<f4")
            if len(values) != units:
                raise ConceptError(
                    f"{self.file} holds {len(values):,} values, and layer {self.layer} has {units:,} units."
                )
            return torch.from_numpy(values.astype(np.float32))
        if self.channel is None or self.channel >= units:
            raise ConceptError(f"layer {self.layer} has no channel {self._channel}: name one from 0 to {units - 1:,}.")
        return torch.zeros(units).index_fill_(0, torch.tensor(self.channel), -1.0 if self.low else 1.0)


def _read_direction(file: Path) -> str:
    """Return the one vector in a file as base64 text, as in :attr:`Unit.direction`.

    Raises:
        ConceptError: the file does not hold exactly one vector.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConceptError(f"direction file {file} has to be one of {', '.join(SUFFIXES)}.")
    with one_line(ConceptError, f"direction file {file} cannot be read"):
        if not file.exists():
            raise ConceptError(missing("direction file", file, "Put it there, or correct the path."))
        if suffix == ".pt":
            data = torch.load(file, map_location="cpu", weights_only=True)
        elif suffix == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415  (needed for these files only)

            data = load_file(file)
        else:
            data = np.load(file, allow_pickle=False)
            data = {key: data[key] for key in data} if suffix == ".npz" else data
        arrays = list(data.values()) if isinstance(data, dict) else [data]
        values = np.asarray(arrays[0].detach().float() if isinstance(arrays[0], Tensor) else arrays[0], "<f4").squeeze()
    if len(arrays) != 1 or values.ndim != 1 or not np.isfinite(values).all() or not values.any():
        shape = f"{len(arrays)} arrays" if len(arrays) != 1 else f"an array of shape {values.shape}"
        raise ConceptError(f"direction file {file} holds {shape}: give one vector of finite values, not all of them 0.")
    return base64.b64encode(values.tobytes()).decode()
