"""Two runs side by side: one HTML file that opens without a network. The gallery shows its main part as well."""

from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from phosphene.report.html import environment, policy, read_static
from phosphene.report.images import data_url
from phosphene.runs.atomic import write_bytes

if TYPE_CHECKING:
    from phosphene.concept_map import ConceptMap
    from phosphene.workflows.compare import Comparison


def write_comparison(comparison: "Comparison", path: Path) -> None:
    """Write a finished Comparison of two runs, and the images of the maps in it, as one self-contained HTML file to ``path``.

    Raises:
        RunError: it cannot be written.
    """

    def image_url(_: int, one: "ConceptMap") -> str:
        """Return a ConceptMap's image as a data URL; the template also gives the run's place, 0 or 1, which is not needed."""
        return data_url(one.image, quality=88)

    style = Markup(read_static("style.css") + read_static("compare.css"))  # noqa: S704  (our own files)
    found = {"comparison": comparison, "names": [run.name for run in comparison.runs], "image_url": image_url}
    page = environment().get_template("compare_page.html").render(found=found, style=style, policy=policy(style, ""))
    write_bytes(path, page.encode())
