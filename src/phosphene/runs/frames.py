"""``frames.webp``: a map as it grew, a small animation beside the map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageSequence

from phosphene.errors import RunError
from phosphene.image_files import encode, fitted

NAME = "frames.webp"
# Larger frames are scaled down to this side: the map itself is kept in full.
MOST_SIDE = 256
FPS, LAST_FRAME_MILLISECONDS = 12.0, 1500
"""Frames per second, and how long the last frame is shown, in milliseconds."""
# WebP counts frames in milliseconds, GIF in hundredths, and browsers slow down what is faster than 50 a second.
LEAST_FPS, MOST_FPS = 0.5, 50.0


def animation(frames: Sequence[Image.Image], kind: str = "WEBP", *, fps: float = FPS) -> bytes:
    """Return images of one size as the bytes of a looping animation; the last one is shown for 1.5 s.

    Args:
        frames: At least one image.
        kind: ``WEBP`` or ``GIF``.
        fps: Frames per second, in [0.5, 50].

    Raises:
        ValueError: there are no frames.
    """
    if not frames:
        raise ValueError("an animation needs at least one frame.")
    images = [_with_palette(one) if kind == "GIF" else one.convert("RGB") for one in frames]
    durations = [round(1000 / fps)] * (len(images) - 1) + [LAST_FRAME_MILLISECONDS]
    # The quick method, which a map of a few seconds does not feel; quality 85 shows no blocks on smooth colour.
    options: dict[str, Any] = {"quality": 85, "method": 1} if kind == "WEBP" else {"disposal": 1, "optimize": False}
    return encode(images[0], kind, save_all=True, append_images=images[1:], duration=durations, loop=0, **options)


def _with_palette(image: Image.Image) -> Image.Image:
    """Return a frame reduced to its own palette of 256 colours, as GIF needs it."""
    return image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)


def frames_file(frames: Sequence[Image.Image]) -> bytes:
    """Return the content of ``frames.webp``: an animation of the frames, at most 256 pixels wide and high."""
    if max(frames[0].size) > MOST_SIDE:
        frames = [fitted(frame, MOST_SIDE) for frame in frames]
    return animation(frames)


def read_frames(folder: Path) -> tuple[Image.Image, ...]:
    """Return the frames in a map's folder as RGB images, the earliest first; none if none were recorded.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / NAME
    if not path.exists():
        return ()
    try:
        with Image.open(path, formats=["WEBP"]) as film:
            timed_frames = [
                (frame.convert("RGB"), frame.info.get("duration", LAST_FRAME_MILLISECONDS))
                for frame in ImageSequence.Iterator(film)
            ]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RunError(f"{path} is damaged: {error}. Delete it: the map itself is whole.") from None
    # The writer merges a frame with the one before if they are equal, and shows it for the time of both.
    timed_frames[-1] = timed_frames[-1][0], timed_frames[-1][1] - LAST_FRAME_MILLISECONDS + round(1000 / FPS)
    return tuple(frame for frame, time in timed_frames for _ in range(max(1, round(time * FPS / 1000))))
