"""A concept map: what a classifier means by one class, and the facts of how it was found."""

import io
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from phosphene import notebook
from phosphene.labels import first_synonym

if TYPE_CHECKING:
    from phosphene.plots import Plot


def render(nu: Tensor, contrast: float = 0.2) -> Tensor:
    """Turn maps (..., c, h, w) into pictures in [0, 1]: ``clip(0.5 - contrast nu / std(nu))``, std a map.

    The minus sign is there because a map is what is *subtracted* from a sample.
    """
    deviation = nu.flatten(-3).std(-1, correction=0).clamp_min(torch.finfo(nu.dtype).tiny)
    return (0.5 - contrast * nu / deviation[..., None, None, None]).clamp(0, 1)


@dataclass(frozen=True)
class Job:
    """One map to make: a class and a seed."""

    index: int
    seed: int = 0


@dataclass(frozen=True)
class ConceptMap:
    """What a classifier means by one class: ``sample - nu`` moves towards the class.

    Attributes:
        nu: float32 (c, h, w), in units of pixels in [0, 1].
        xi: float32 (1, h, w) in [0, 1]: where the network's last spatial activation answers to the picture (Eq. 2).
        index: The class.
        label: Its full label.
        seed: The seed that chose the samples.
        recipe_sha256: Hash of the recipe.
        contrast: The recipe's contrast, for the picture.
        p_class: Probability of the class for the picture, by the network that the map comes from.
        targeting_rate: Share of held-out samples that the network reads as the class after the nudge, of those that it
            does not read so before; ``None`` if it reads all of them so.
        loss: Mean cross-entropy at every step.
        passes: Images sent through the network, a backward counted as one more.
        seconds: Wall time.
        hits: Share of each step's samples that were read as the class after the nudge, in [0, 1].
        frames: The picture as it grew, PIL images, the last one finished; empty where none were asked for. A run keeps
            them beside the map: ``RunDirectory.frames`` reads them.
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
    frames: tuple[Image.Image, ...] = field(default=(), repr=False, compare=False)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.nu.shape))
        return f"ConceptMap({self.short!r} ({self.index}), seed {self.seed}, {shape}, p {self.p_class:.3f})"

    @property
    def short(self) -> str:
        """The first synonym of the label, for captions."""
        return first_synonym(self.label)

    @property
    def picture(self) -> Tensor:
        """The visualisation as floats, (c, h, w) in [0, 1]. Scores are taken on this, not on the 8-bit image."""
        return render(self.nu, self.contrast)

    @cached_property
    def image(self) -> Image.Image:
        """The visualisation as a PIL image; several channels other than 3 are shown by their mean."""
        return to_image(self.picture)

    def _repr_png_(self) -> bytes:
        """Show the picture where a notebook shows no HTML."""
        data = io.BytesIO()
        self.image.save(data, "PNG")
        return data.getvalue()

    def _repr_html_(self) -> str:
        """Show picture, Xi and facts in a notebook."""
        rate = "not measured" if self.targeting_rate is None else f"{self.targeting_rate:.0%}"
        facts = notebook.facts(
            [
                ("class", f"{self.index}: {self.label}"),
                ("seed", self.seed),
                ("read by its network as the class", f"p = {self.p_class:.3f}"),
                ("held-out samples sent to the class", rate),
                ("made with", f"{self.passes:,} passes, {self.seconds:.1f} s"),
            ]
        )
        picture = notebook.figure(notebook.image(self.image, self.short), notebook.text(self.short))
        xi = notebook.image(to_image(self.xi), f"Xi of {self.short}")
        return notebook.row(
            [picture, notebook.figure(xi, "Xi"), f"<div>{facts}{notebook.curve(self.loss, 'loss')}</div>"]
        )

    def plot(self) -> "Plot":
        """Draw picture, ``nu``, ``Xi`` and loss: a matplotlib figure (``pip install 'phosphene[plot]'``).

        Raises:
            ExtraError: matplotlib is not installed.
        """
        from phosphene import plots  # noqa: PLC0415  (matplotlib is optional)

        title = f"{self.short} ({self.index}), seed {self.seed}: p {self.p_class:.3f}"
        return plots.concept(self.image, self.nu.mean(0).numpy(), self.xi[0].numpy(), self.loss, title)


class ConceptMaps(list[ConceptMap]):
    """A list of maps that shows itself in a notebook; in everything else a list."""

    def _repr_html_(self) -> str:
        """Show the pictures in a notebook."""
        several = len({one.seed for one in self}) > 1
        figures = [
            notebook.figure(
                notebook.image(one.image, one.short),
                notebook.text(f"{one.short}, seed {one.seed}" if several else one.short),
                notebook.text(f"p {one.p_class:.2f}"),
            )
            for one in self[: notebook.MOST_PICTURES]
        ]
        count, classes = len(self), len({one.index for one in self})
        title = f"{count} map{'s' * (count != 1)} of {classes} class{'es' * (classes != 1)}"
        return notebook.gallery(title, figures, count)

    def plot(self) -> "Plot":
        """Draw the pictures in a grid: a matplotlib figure (``pip install 'phosphene[plot]'``).

        Raises:
            ExtraError: matplotlib is not installed.
        """
        from phosphene import plots  # noqa: PLC0415  (matplotlib is optional)

        several = len({one.seed for one in self}) > 1
        shown = self[: plots.MOST_PICTURES]
        captions = [f"{one.short}, seed {one.seed}" if several else one.short for one in shown]
        return plots.gallery([one.image for one in shown], captions)


def to_image(picture: Tensor) -> Image.Image:
    """Turn a picture (c, h, w) in [0, 1] into an 8-bit PIL image."""
    pixels = (picture.detach().cpu() * 255).round().clamp(0, 255).to(torch.uint8)
    if pixels.shape[0] == 3:
        return Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
    return Image.fromarray(pixels.float().mean(0).round().to(torch.uint8).numpy())
