"""``map.json``: the figures of a finished map, how it was made, and the hash of its tensors."""

from pathlib import Path
from typing import Any

from phosphene.errors import RunError
from phosphene.runs.documents import Document
from phosphene.runs.facts import SIDES

# What map.json stores of a map as it is.
FIGURES: dict[str, Any] = {
    "index": int,
    "label": str,
    "seed": int,
    "recipe_sha256": str,
    "contrast": int | float,
    "p_class": int | float,
    "targeting_rate": int | float | None,
    "passes": int,
    "seconds": int | float,
}
# How it was made, beside the versions. run.json holds that of the first maps of a run, and later ones may differ.
WAY = ("device", "precision")
NEEDED: dict[str, Any] = {
    **FIGURES,
    **SIDES,
    "map_sha256": str,
    "loss": [int | float],
    "hits?": [int | float],
    **dict.fromkeys((f"{key}?" for key in WAY), str),
    "versions?": {"phosphene": str},
}
MAP = Document("map.json", "map", NEEDED, "Run the map again.", schema=None)


def read_map_json(folder: Path) -> dict[str, Any]:
    """Return the content of map.json in a map's ``folder``, figures and hash without the tensors; RunError if it is missing or damaged.

    Raises:
        RunError: it is missing or damaged.
    """
    data = MAP.read(folder)
    if data is None:
        raise RunError(f"{folder} holds no finished map (it has no map.json). {MAP.fix}")
    return data
