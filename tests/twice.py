"""Comparison of what was computed twice: equal but for the rounding that another batch or memory layout brings.

No test compares bits of two computations: a library picks its kernel by the processor, by the shape of the batch and by
where a tensor lies in memory. Rounding moves the maps of a few steps by 1e-6 of their norm; another seed moves them
by more than half of it. Long recipes multiply rounding by 1e6 and are compared in double precision.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from phosphene.runs import RunDirectory

ROOM = 1e-3  # of the norm


def distance(one: Tensor, other: Tensor) -> float:
    """The norm of the difference of two tensors of one shape, relative to the norm of the second."""
    return float((one.double() - other.double()).norm() / other.double().norm())


def assert_same_image(one: Image.Image, other: Image.Image) -> None:
    """Fail unless two images are equal but for one level of 255, which rounding can decide."""
    assert (one.size, one.mode) == (other.size, other.mode)
    assert np.abs(np.asarray(one, int) - np.asarray(other, int)).max() <= 1


def assert_same_map(one: Any, other: Any) -> None:
    """Fail unless two maps of the same job are equal but for rounding, in all that they say but their seconds."""
    assert (one.index, one.label, one.seed) == (other.index, other.label, other.seed)
    assert one.passes == other.passes
    assert distance(one.nu, other.nu) < ROOM
    torch.testing.assert_close(one.xi, other.xi, atol=0.01, rtol=0)
    torch.testing.assert_close(torch.tensor(one.loss), torch.tensor(other.loss), atol=ROOM, rtol=ROOM)
    for name in ("p_class", "targeting_rate"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), atol=ROOM, rtol=ROOM)


def assert_same_maps(one: Path, other: Path) -> None:
    """Fail unless two run directories hold the same maps, but for rounding."""
    for map_here, map_there in zip(RunDirectory(one).maps(), RunDirectory(other).maps(), strict=True):
        assert_same_map(map_here, map_there)


def assert_same_run(one: Path, other: Path) -> None:
    """Fail unless two run directories hold the same files, facts and, but for rounding, maps."""
    own = {"report.html", ".lock", ".lock.json"}
    names = [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - own
        for folder in (one, other)
    ]
    assert names[0] == names[1]
    facts = [json.loads((folder / "run.json").read_text(encoding="utf-8")) for folder in (one, other)]
    assert facts[0] | {"seconds": None} == facts[1] | {"seconds": None}
    assert_same_maps(one, other)
