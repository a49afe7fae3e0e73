"""A concept map: what a classifier means by one class, and how the map was computed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from phosphene import notebook
from phosphene.checked import checked
from phosphene.concepts import Concept, is_unit, kind_and_index, name_with_index
from phosphene.errors import ConceptError
from phosphene.formats import percent, targeting_text
from phosphene.image_files import encode
from phosphene.labels import Labels, first_synonym

if TYPE_CHECKING:
    from phosphene.executors.base import MapOrigin


@checked
def render(nu: Tensor, contrast: float = 0.2) -> Tensor:
    """Return maps ``nu`` (..., c, h, w) as images in [0, 1]: ``clip(0.5 - contrast nu / std(nu))``.

    There is one std per map. The minus sign is there because a map is what is *subtracted* from a sample.

    Raises:
        ConceptError: ``nu`` has fewer than three dimensions, or holds whole numbers.
    """
    if nu.ndim < 3 or not nu.is_floating_point():
        raise ConceptError(f"maps are floats (..., c, h, w), not {nu.dtype} {tuple(nu.shape)}.")
    deviation = nu.flatten(-3).std(-1, correction=0).clamp_min(torch.finfo(nu.dtype).tiny)
    return (0.5 - contrast * nu / deviation[..., None, None, None]).clamp(0, 1)


def to_image(pixels: Tensor) -> Image.Image:
    """Return pixels (c, h, w) in [0, 1] as an 8-bit PIL image: RGB, or grey unless there are three channels.

    Grey is the mean over channels.
    """
    values = (pixels.detach().cpu() * 255).round().clamp(0, 255).to(torch.uint8)
    if values.shape[0] == 3:
        return Image.fromarray(np.ascontiguousarray(values.permute(1, 2, 0).numpy()))
    return Image.fromarray(values.float().mean(0).round().to(torch.uint8).numpy())


def p_class_name(*indices: int) -> str:
    """Return what ``p_class`` is for concepts with these indices: ``confidence``, ``percentile``, or both.

    It is a percentile for units and outputs.
    """
    names = {"percentile" if is_unit(index) else "confidence" for index in indices}
    return " or ".join(sorted(names))


def kind_facts(index: int, label: str, p_class: float) -> dict[str, Any]:
    """Return the ``kind`` of a map's concept, as JSON holds it, with the ``percentile`` of a unit or output."""
    kind = kind_and_index(index, label).split()[0]
    return {"kind": kind, "percentile": p_class} if is_unit(index) else {"kind": kind}


def p_text(one: "ConceptMap", form: str) -> str:
    """Return a map's ``p_class`` as text, by the format string ``form``; of a unit or output the percentile, ``88 %``."""
    return percent(one.p_class) if is_unit(one.index) else form.format(one.p_class)


@dataclass(frozen=True)
class Job:
    """A map to compute: its concept and random seed, which together say where it is stored.

    Attributes:
        index: Index of the class, or the number of the union or contrast.
        seed: Seed of the mini-batches and views.
        expression: The union or contrast; ``None`` for a class. The number stands for it where jobs are compared.
    """

    index: int
    seed: int = 0
    expression: "Concept | None" = field(default=None, compare=False)

    @classmethod
    def of(cls, concept: Concept, seed: int = 0) -> Self:
        """Return the Job that makes a map of a concept from a seed."""
        return cls(concept.index, seed, None if concept.is_class else concept)

    def concept(self, labels: Labels) -> Concept:
        """Return the Concept to map: ``expression``, or else the class ``index`` with its label."""
        return self.expression or Concept.of_class(self.index, labels[self.index])


@dataclass(frozen=True, eq=False)
class ConceptMap:
    """A map of a concept, with where the network responds to it and how it was computed.

    Subtracting ``nu`` from a sample moves it towards the concept. Of a union or contrast, "the class" below is its
    classes that are pulled up, told from those that are pushed down. A unit has a percentile in place of the
    confidence: the share of samples (at most 512 of those that maps are made from) that activate it less than the image
    does. A sample is moved to it if it is then above the 99th percentile.

    Attributes:
        nu: float32 (c, h, w), in units of pixels in [0, 1].
        xi: float32 (1, h, w) in [0, 1]: where the last spatial activation responds to the image of the map (Eq. 2).
        index: Index of the class, or the number of the union or contrast.
        label: Full label of the class, or the expression.
        seed: Seed of the mini-batches and views.
        recipe_sha256: Hash of the recipe.
        contrast: The recipe's contrast, for the image.
        p_class: Confidence: probability in [0, 1] that the source classifier gives the class for the image.
        targeting_rate: Share, in [0, 1], of held-out samples that subtracting the map moves to the class, the result
            clipped to [0, 1]. Samples that the classifier predicts as the class anyway are left out; ``None`` if that is all of them.
        loss: Mean cross-entropy at every step.
        passes: Images sent through the network; a backward pass counts as one more.
        seconds: Wall time.
        hits: Share of each step's samples that were classified as the class, in [0, 1].
        frames: Images of the map as it developed, earliest first; empty unless they were asked for. A run directory
            stores them beside the map, and ``OpenRun.frames`` reads them.
        expression: The union or contrast that it is of; ``None`` for a class.
        device: The device that it was made on, ``cpu`` or ``cuda:0``; empty if that is not known.
        precision: The precision that it was made in: ``fp32``, ``tf32``, ``bf16`` or ``fp64``; empty if that is not known.
        origin: Classifier, samples and recipe that it was made from, as ``map_concepts`` returns it; ``None`` of a map that
            was read from a run, whose ``run.json`` names them, and of a copy by ``pickle``, ``copy`` or ``replace``.
        locations: The run directories that it was read from or written to, as absolute paths, each with the hash of its tensors.
    """

    nu: Tensor
    xi: Tensor
    index: int
    label: str
    seed: int
    recipe_sha256: str
    contrast: float
    p_class: float
    targeting_rate: "float | None"
    loss: tuple[float, ...]
    passes: int
    seconds: float
    hits: tuple[float, ...] = ()
    frames: tuple[Image.Image, ...] = ()
    expression: "Concept | None" = None
    device: str = ""
    precision: str = ""
    # A map made of this one by replace() is another one, so it is in memory only, and nothing is known of how it was made.
    origin: "MapOrigin | None" = field(default=None, init=False, repr=False)
    locations: tuple[tuple[Path, str], ...] = field(default=(), init=False, repr=False)
    _nu_sha256: str = field(default="", init=False, repr=False)

    def made_from(self, origin: "MapOrigin") -> Self:
        """Note what this map was made from; return the map."""
        vars(self).update(origin=origin, _nu_sha256=self._hash_of_nu())
        return self

    def stored_in(self, run: Path, sha256: str) -> Self:
        """Note that the run directory holds this map, with that hash of its tensors; return the map."""
        vars(self).update(locations=(*self.locations, (run.absolute(), sha256)), _nu_sha256=self._hash_of_nu())
        return self

    @property
    def is_altered(self) -> bool:
        """Whether ``nu`` has been written to since the map was made or read, so that its figures are of another one."""
        return bool(self._nu_sha256) and self._nu_sha256 != self._hash_of_nu()

    def _hash_of_nu(self) -> str:
        return hashlib.sha256(self.nu.numpy(force=True).tobytes()).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """Return what ``pickle`` stores: not the network and the samples, which may be large, or impossible to store."""
        return {**vars(self), "origin": None}

    def __eq__(self, other: object) -> bool:
        """Return whether the other is a map of the same concept and seed, with the same ``nu``: a copy, or one read again."""
        if not isinstance(other, ConceptMap):
            return NotImplemented
        return self is other or (
            self.job == other.job and np.array_equal(self.nu.numpy(force=True), other.nu.numpy(force=True))
        )

    def __hash__(self) -> int:
        return hash(self.job)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.nu.shape))
        name = name_with_index(self.index, repr(self.short))
        what = "percentile" if is_unit(self.index) else "p"
        return f"ConceptMap({name}, seed {self.seed}, {shape}, {what} {self.p_class:.3f})"

    @property
    def concept(self) -> Concept:
        """The Concept that the map is of, with the classes that it pulls up and pushes down."""
        return self.expression or Concept.of_class(self.index, self.label)

    @property
    def job(self) -> Job:
        """The job that the map is the result of: its concept and seed."""
        return Job(self.index, self.seed, self.expression)

    @property
    def short(self) -> str:
        """The first synonym of the class label, such as ``lion``, for captions."""
        return first_synonym(self.label)

    @property
    def pixels(self) -> Tensor:
        """The map as an image of floats, (c, h, w) in [0, 1], at its recipe's contrast, not in 8 bits.

        Scores render it at contrast 0.2.
        """
        return render(self.nu, self.contrast)

    @cached_property
    def image(self) -> Image.Image:
        """The map as an 8-bit PIL image, RGB, or grey unless it has three channels; cached."""
        return to_image(self.pixels)

    def _repr_png_(self) -> bytes:
        """Return the map's image as PNG, for notebooks that cannot show HTML."""
        return encode(self.image)

    def _repr_html_(self) -> str:
        """Return the map as HTML for a notebook: image, Xi, loss curve and figures."""
        kind, _, number = kind_and_index(self.index, self.label).partition(" ")
        facts = [
            (kind, f"{number}: {self.label}" if number else self.label),
            ("seed", self.seed),
            (f"{p_class_name(self.index)} of the source classifier", p_text(self, "p = {:.3f}")),
            ("targeting rate on held-out samples", targeting_text(self.targeting_rate)),
            ("cost", f"{self.passes:,} passes, {self.seconds:.1f} s"),
        ]
        image = notebook.piece("figure", notebook.image(self.image, self.short), self.short)
        xi = notebook.piece("figure", notebook.image(to_image(self.xi), f"Xi of {self.short}"), "Xi")
        column = notebook.piece("stack", [notebook.piece("facts", facts), notebook.curve(self.loss, "loss")])
        return notebook.piece("row", [image, xi, column])


def captions(maps: Sequence[ConceptMap]) -> list[str]:
    """Return a caption per map: the first synonym of its label, and its seed if the maps have several."""
    has_seeds = len({one.seed for one in maps}) > 1
    return [f"{one.short}, seed {one.seed}" if has_seeds else one.short for one in maps]
