"""Contact sheets: many small images with captions, in a grid."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

GAP, CAPTION, MARGIN = 12, 22, 16
SIDE = 160
PAPER, INK = (255, 255, 255), (30, 30, 34)


def contact_sheet(
    images: Sequence[Image.Image], captions: Sequence[str], *, columns: int = 5, side: int = SIDE
) -> Image.Image:
    """Lay images out in a grid, each ``side`` pixels wide with its caption below.

    Raises:
        ValueError: there are no images, or the number of captions differs.
    """
    if not images or len(images) != len(captions):
        raise ValueError(f"{len(images)} images and {len(captions)} captions were given; each image needs one caption.")
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    cell_height = side + CAPTION + GAP
    sheet = Image.new("RGB", (columns * (side + GAP) - GAP + 2 * MARGIN, rows * cell_height - GAP + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for position, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = MARGIN + position % columns * (side + GAP)
        top = MARGIN + position // columns * cell_height
        small = image.convert("RGB")
        if small.size != (side, side):
            small = small.resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(small, (left, top))
        text = caption
        while draw.textlength(text, font) > side and len(text) > 4:
            text = text[:-2].rstrip(" .…") + "…"
        draw.text((left, top + side + 4), text, INK, font)
    return sheet
