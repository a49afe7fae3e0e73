"""Contact sheets: many small images with captions, in a grid."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from phosphene.errors import ConceptError
from phosphene.image_files import fitted

GAP, CAPTION, LINE, MARGIN = 12, 22, 17, 16
SIDE = 160
PAPER, INK = (255, 255, 255), (30, 30, 34)


def refuse_empty(columns: "int | None", size: "int | None") -> None:
    """Raise ConceptError if a sheet of ``columns`` images per row, each ``size`` pixels wide, shows nothing; ``None`` is a default.

    Raises:
        ConceptError: a number is below 1.
    """
    if any(one is not None and one < 1 for one in (columns, size)):
        raise ConceptError(f"a grid of columns={columns} and size={size} is empty: give 1 or more of each.")


def layout(count: int, columns: int, side: int, lines: int = 1) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Return (width, height) of a sheet of ``count`` square images, each with ``lines`` of caption, and (left, top) of each; in pixels."""
    columns, across, down = min(columns, count), side + GAP, side + CAPTION + LINE * (lines - 1) + GAP
    rows = math.ceil(count / columns)
    size = (columns * across - GAP + 2 * MARGIN, rows * down - GAP + 2 * MARGIN)
    return size, [(MARGIN + k % columns * across, MARGIN + k // columns * down) for k in range(count)]


def contact_sheet(
    images: Sequence[Image.Image], captions: Sequence[str], *, columns: int = 5, side: int = SIDE
) -> Image.Image:
    """Return one RGB image with all images in a grid, each scaled to fit ``side`` x ``side`` pixels, with its caption, cut to fit, below.

    An image that is not square lies in the middle of its square. A caption may have several lines.

    Raises:
        ValueError: there are no images, or the number of captions differs.
    """
    if not images or len(images) != len(captions):
        raise ValueError(f"{len(images)} images and {len(captions)} captions were given; each image needs one caption.")
    size, places = layout(len(images), columns, side, 1 + max(caption.count("\n") for caption in captions))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for (left, top), image, caption in zip(places, images, captions, strict=True):
        small = fitted(image.convert("RGB"), side)
        sheet.paste(small, (left + (side - small.width) // 2, top + (side - small.height) // 2))
        for number, line in enumerate(caption.split("\n")):
            text = line
            while draw.textlength(text, font) > side and len(text) > 4:
                text = text[:-2].rstrip(" .…") + "…"
            draw.text((left, top + side + 4 + LINE * number), text, INK, font)
    return sheet
