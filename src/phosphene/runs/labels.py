"""The labels of a run's concepts, which must be those of its network: a run never shows two sets of labels."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from phosphene.concepts import Concept
from phosphene.errors import RunError
from phosphene.labels import Labels


def refuse_other_labels(path: Path, rows: Iterable[Mapping[str, Any]], labels: Labels) -> None:
    """Raise RunError if a row of a run has other labels or groups than ``labels``.

    Rows are those of the ``run.json`` or ``scan.json`` in ``path``.

    Raises:
        RunError: the labels have been changed since; the message names the first of them.
    """
    label_of = dict(enumerate(labels))
    for row in {(one["index"], one["label"]): one for one in rows}.values():  # once for all seeds
        was = Concept.of_facts(row)
        unit, pairs = was.unit, was.up + was.against
        if unit is not None and unit.is_output and unit.channel is not None:
            pairs = ((unit.channel, unit.output),)
        changed = [
            f"{index} was {label!r} and is {label_of.get(index)!r}"
            for index, label in pairs
            if label_of.get(index) != label
        ]
        if not changed and dict(Concept.of_sides(was.sides, label_of, labels.groups).groups) != dict(was.groups):
            changed = [f"the groups in {was.label!r}"]
        if changed:
            raise RunError(
                f"{path} was made with other labels ({changed[0]}): bring those back, or map it again into another directory."
            )
