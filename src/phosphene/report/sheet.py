"""Contact sheets: many small pictures with captions on one page."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

GAP, CAPTION, MARGIN = 12, 22, 16
SIDE = 160
PAPER, INK = (255, 255, 255), (30, 30, 34)


def contact_sheet(
    pictures: Sequence[Image.Image], captions: Sequence[str], *, columns: int = 5, side: int = SIDE
) -> Image.Image:
    """Lay pictures out in a grid, each ``side`` pixels wide with its caption below.

    Raises:
        ValueError: there are no pictures, or not one caption for each.
    """
    if not pictures or len(pictures) != len(captions):
        raise ValueError(f"{len(pictures)} pictures and {len(captions)} captions; one of each is needed.")
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    cell_height = side + CAPTION + GAP
    sheet = Image.new("RGB", (columns * (side + GAP) - GAP + 2 * MARGIN, rows * cell_height - GAP + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for position, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = MARGIN + position % columns * (side + GAP)
        top = MARGIN + position // columns * cell_height
        shown = picture.convert("RGB")
        if shown.size != (side, side):
            shown = shown.resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(shown, (left, top))
        text = caption
        while draw.textlength(text, font) > side and len(text) > 4:
            text = text[:-2].rstrip(" .…") + "…"
        draw.text((left, top + side + 4), text, INK, font)
    return sheet
