"""A small preview of maps in terminals that show images: by the protocols of Kitty and iTerm2, or as sixel."""

import base64
import io
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 720, 400  # most pixels of a preview
MAX_WHOLE_HEIGHT = 640  # a sheet that would be up to this high is shrunk, and of a longer one the top is shown
COLOURS = 64  # of a sixel image

option = click.option(
    "--preview/--no-preview",
    "preview_shown",
    default=True,
    help="Show the maps in terminals that can (Kitty, iTerm2, sixel).  [show]",
)


def show(sheet: Path) -> None:
    """Print a contact sheet file as an image, or its top if it is long.

    Nothing is printed unless stdout is a terminal that shows images.
    """
    protocol = _protocol()
    if protocol is None or not sheet.is_file():
        return
    with Image.open(sheet) as sheet_image:
        image = sheet_image.convert("RGB")
    is_short = image.height * WIDTH <= MAX_WHOLE_HEIGHT * max(image.width, WIDTH)
    image.thumbnail((WIDTH, HEIGHT if is_short else image.height))
    click.echo(protocol(image.crop((0, 0, image.width, min(image.height, HEIGHT)))))


def _protocol() -> "Callable[[Image.Image], str] | None":
    """Return the function that encodes an image for the terminal on stdout (Kitty, iTerm2, sixel), or ``None``."""
    term, program = os.environ.get("TERM", ""), os.environ.get("TERM_PROGRAM", "")
    if not sys.stdout.isatty() or term.startswith(("screen", "tmux")):
        return None
    if "KITTY_WINDOW_ID" in os.environ or program == "ghostty":
        return kitty
    if program in ("iTerm.app", "WezTerm", "mintty"):
        return iterm
    return sixel if term.startswith(("foot", "mlterm")) or "sixel" in term else None


def kitty(image: Image.Image) -> str:
    """Encode an image for Kitty: escape sequences with its PNG in base64, 4096 characters each."""
    data = _png(image)
    chunks = [data[k : k + 4096] for k in range(0, len(data), 4096)]
    parts = [f"\x1b_Gm={int(k < len(chunks) - 1)}{',a=T,f=100' * (k == 0)};{one}\x1b\\" for k, one in enumerate(chunks)]
    return "".join(parts)


def iterm(image: Image.Image) -> str:
    """Encode an image for iTerm2: one escape sequence with its PNG in base64."""
    return f"\x1b]1337;File=inline=1:{_png(image)}\a"


def sixel(image: Image.Image) -> str:
    """Encode an image as sixel: 64 colours, in bands of six rows, with a line per colour."""
    palette_image = image.quantize(COLOURS)
    palette = np.array(palette_image.getpalette()).reshape(-1, 3) * 100 // 255
    parts = ["\x1bPq", *(f"#{number};2;{r};{g};{b}" for number, (r, g, b) in enumerate(palette))]
    pixels = np.asarray(palette_image)
    for top in range(0, len(pixels), 6):
        band = pixels[top : top + 6]
        weights = 1 << np.arange(len(band))[:, None]
        colour_rows = {colour: 63 + ((band == colour) * weights).sum(0) for colour in np.unique(band)}
        for colour, row in colour_rows.items():
            runs = ((chr(sign), len(list(run))) for sign, run in itertools.groupby(row.tolist()))
            parts.append(f"#{colour}{''.join(f'!{length}{sign}' for sign, length in runs)}$")
        parts.append("-")
    return "".join([*parts, "\x1b\\"])


def _png(image: Image.Image) -> str:
    """Return an image as a PNG file in base64 text."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
