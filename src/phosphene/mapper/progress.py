"""What is reported after every step, and the frames of maps that are recorded from it."""

from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from phosphene.concept_map import render, to_image


@dataclass(frozen=True, eq=False)
class Step:
    """Report to ``on_progress`` after a step of a group of maps.

    Attributes:
        number: Steps taken so far, over all rounds.
        total: Steps to take. At the last one it is lower than planned if all maps stopped early (``stop_after``).
        loss: Mean cross-entropy, over the maps of the group.
        hits: Share of this step's samples that were classified as their map's class, in [0, 1].
        nu: The maps so far, (m, c, h, w).
    """

    number: int
    total: int
    loss: float
    hits: float
    nu: Tensor


class FrameRecorder:
    """Callback for every Step of a group of maps, which stores ``frames`` images of each map.

    The frames are evenly spaced; the last one is of the last step.

    A resumed optimization records only the frames that were still to come. With fewer steps than frames, there is one
    frame per step.

    Args:
        frames: Frames per map, 0 for none.
        contrast: The recipe's contrast.

    Example:
        >>> import torch
        >>> from phosphene.mapper import Step
        >>> recorder = FrameRecorder(2, 0.2)
        >>> for number in range(1, 5):
        ...     recorder(Step(number, 4, loss=1.0, hits=0.0, nu=torch.randn(1, 3, 8, 8)))
        >>> len(recorder.frames_of(0))
        2
    """

    def __init__(self, frames: int, contrast: float) -> None:
        self.frames, self.contrast = frames, contrast
        self._recorded: list[list[Image.Image]] = []  # per frame, per map

    def __call__(self, step: Step) -> None:
        """Record an image of every map if a frame is due at this step; the maps are not changed."""
        # Step k of K is due where k N / K passes a whole number: this gives N frames, the last one at K.
        if step.number * self.frames // step.total > (step.number - 1) * self.frames // step.total:
            images = render(step.nu.detach().float(), self.contrast).cpu()
            self._recorded.append([to_image(pixels) for pixels in images])

    def frames_of(self, row: int) -> tuple[Image.Image, ...]:
        """Return the recorded frames of map number ``row`` of the group, the earliest first."""
        return tuple(images[row] for images in self._recorded)
