"""Two runs side by side: one HTML file that opens without a network. The gallery shows its main part as well."""

from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from phosphene.reports.html import environment, policy, read_static
from phosphene.reports.images import data_url
from phosphene.runs.atomic import write_bytes

if TYPE_CHECKING:
    from phosphene.concept_map import ConceptMap
    from phosphene.workflows.compare import Comparison


def write_comparison(comparison: "Comparison", path: Path) -> None:
    """Write a comparison of two runs, with the images of its maps, as one self-contained HTML file.

    Raises:
        RunError: it cannot be written.
    """

    def image_url(_: int, concept_map: "ConceptMap") -> str:  # the run's place, 0 or 1, is for the gallery
        return data_url(concept_map.image, quality=88)

    style = Markup(read_static("style.css") + read_static("compare.css"))  # noqa: S704  (our own files)
    context = {"comparison": comparison, "names": [run.name for run in comparison.runs], "image_url": image_url}
    page = environment().get_template("compare_page.html").render(found=context, style=style, policy=policy(style, ""))
    write_bytes(path, page.encode())
