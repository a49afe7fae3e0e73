"""Frames of maps as they grow: a watcher of steps that looks and never touches."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from PIL import Image

from phosphene.concept_map import render, to_image

if TYPE_CHECKING:
    from phosphene.mapper.cycle import Step


class FrameRecorder:
    """Keeps pictures of a group's maps, evenly spaced over all steps; the last one is the finished map.

    A job that goes on from the middle brings only the frames that were still to come. A recipe of fewer steps than
    frames brings one frame a step.

    Args:
        frames: Frames a map, 0 for none.
        contrast: The recipe's contrast, for the pictures.
        watch: Called after every step as well, first.

    Example:
        >>> import torch
        >>> from phosphene.mapper import Step
        >>> recorder = FrameRecorder(2, 0.2)
        >>> for done in range(1, 5):
        ...     recorder(Step(done, 4, loss=1.0, hits=0.0, nu=torch.randn(1, 3, 8, 8)))
        >>> len(recorder.of(0))
        2
    """

    def __init__(self, frames: int, contrast: float, watch: "Callable[[Step], None] | None" = None) -> None:
        self.frames, self.contrast, self.watch = frames, contrast, watch
        self._kept: list[list[Image.Image]] = []  # a frame, a map

    def __call__(self, step: "Step") -> None:
        """Look at the maps, (m, c, h, w), after a step."""
        if self.watch is not None:
            self.watch(step)
        # Step k of K is wanted where k N / K passes a whole number: N of them, and K itself.
        if step.done * self.frames // step.total > (step.done - 1) * self.frames // step.total:
            pictures = render(step.nu.detach().float(), self.contrast).cpu()
            self._kept.append([to_image(picture) for picture in pictures])

    def of(self, row: int) -> tuple[Image.Image, ...]:
        """Return the frames of the group's map ``row``, the earliest first."""
        return tuple(pictures[row] for pictures in self._kept)
