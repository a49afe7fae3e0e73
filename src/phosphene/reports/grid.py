"""Images of maps in a grid, which a notebook shows and which is saved as PNG, PDF or SVG."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from phosphene.checked import checked
from phosphene.contact_sheet import SIDE, contact_sheet, layout, refuse_empty
from phosphene.errors import ConceptError, RunError
from phosphene.formats import count
from phosphene.image_files import encode, to_data_url
from phosphene.reports.html import environment
from phosphene.runs.atomic import write_bytes
from phosphene.runs.paths import refuse_own_file


class Grid:
    """Images with captions in a grid, which a notebook shows and :meth:`save` writes to a file.

    Args:
        images: At least one.
        captions: One per image.
        columns: Images per row.
        size: Width of each image in pixels; 160 by default.

    Raises:
        ConceptError: there are no images, or a number is below 1.
    """

    @checked
    def __init__(
        self, images: Sequence[Image.Image], captions: Sequence[str], *, columns: int = 5, size: "int | None" = None
    ) -> None:
        if not images:
            raise ConceptError("a grid needs at least one map.")
        self.images, self.captions, self.columns = list(images), list(captions), min(columns, len(images))
        self.size = SIDE if size is None else size
        refuse_empty(columns, size)

    def __repr__(self) -> str:
        columns = count(self.columns, "column")
        return f"Grid({count(len(self.images), 'image')}, {columns}, {count(self.size, 'pixel')} each)"

    @property
    def image(self) -> Image.Image:
        """The grid with its captions as one PIL image."""
        return contact_sheet(self.images, self.captions, columns=self.columns, side=self.size)

    @checked
    def save(self, path: "str | Path") -> Path:
        """Write the grid as a ``.png``, ``.pdf`` or ``.svg`` file; return its path.

        The captions of an ``.svg`` file are text, the other files hold pixels alone.

        Raises:
            RunError: the name has another ending, or the file cannot be written, or is a run's own.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in (".png", ".pdf", ".svg"):
            raise RunError(f"{path} must end in .png, .pdf or .svg.")
        refuse_own_file(path)
        if suffix == ".svg":
            write_bytes(path, self._svg().encode())
        else:
            write_bytes(path, encode(self.image, suffix[1:].upper()))
        return path

    def _repr_png_(self) -> bytes:
        """Return the grid as the bytes of a PNG file, which a notebook shows."""
        return encode(self.image)

    def _svg(self) -> str:
        """Return the grid as the text of an SVG document with embedded images."""
        (width, height), places = layout(len(self.images), self.columns, self.size)
        cells = zip(places, map(to_data_url, map(encode, self.images)), self.captions, strict=True)
        template = environment().get_template("grid.svg")
        return template.render(cells=cells, width=width, height=height, size=self.size)
