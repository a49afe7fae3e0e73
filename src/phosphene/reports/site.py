"""Runs of any models, recipes and seeds as one static site, which opens from a disk and from any address."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from phosphene.concept_map import p_class_name
from phosphene.concepts import is_class
from phosphene.errors import RunError
from phosphene.image_files import encode, fitted
from phosphene.labels import first_synonym
from phosphene.reports.checks import check_section
from phosphene.reports.glance import map_glance, notes_glance
from phosphene.reports.html import environment, read_static
from phosphene.reports.made import made_section
from phosphene.reports.scan import scan_section
from phosphene.reports.scores import score_section
from phosphene.reports.site_runs import Card, SiteClass, SiteRun, classes_of, read_runs
from phosphene.runs import RunDirectory
from phosphene.runs.atomic import write_bytes
from phosphene.runs.folders import whole_folder
from phosphene.runs.paths import refuse_own_file

THUMBNAIL_SIDE = 160
STATIC_FILES = ("style.css", "site.css", "script.js")
CONTENT = ("index.html", "models", ".nojekyll", *STATIC_FILES)
CONTENT_OF_MAPS = ("classes", "images", "thumbs")  # a site of scans alone has none
# A page loads what lies beside it and nothing else; "file:" is what browsers need where 'self' does not hold for files.
POLICY = (
    "default-src 'none'; img-src 'self' file: data:; style-src 'self' file:; style-src-attr 'unsafe-inline'; "
    "script-src 'self' file:; base-uri 'none'; form-action 'none'"
)


def write_site(
    runs: Sequence[RunDirectory], out: Path, *, on_progress: "Callable[[int, int], None] | None" = None
) -> Path:
    """Write runs as a static web site.

    Args:
        runs: At least one run, each with finished maps or a scan.
        out: Folder of the site: a new one, an empty one, or an earlier site, which is replaced.
        on_progress: Called with the number of written maps and that of all.

    Returns:
        Path of its first page.

    Raises:
        RunError: a run has neither maps nor a scan, is damaged or is given twice, or the folder holds something else.
    """
    if not runs:
        raise RunError("a site needs at least one run.")
    refuse_own_file(out)
    with whole_folder(out, CONTENT, "a site", CONTENT_OF_MAPS) as folder:
        site_runs = read_runs(runs)
        classes = classes_of(site_runs)
        cards = [card for run in site_runs for card in run.cards]
        _write_pages(folder, site_runs, classes)

        def write_images(card: Card) -> None:
            image = runs[0].read(card["folder"]).image.convert("RGB")  # any run reads any map
            thumbnail = fitted(image, THUMBNAIL_SIDE) if max(image.size) > THUMBNAIL_SIDE else image
            write_bytes(folder / "images" / card["image"], encode(image, "WEBP", quality=90, method=2), durable=False)
            write_bytes(
                folder / "thumbs" / card["image"], encode(thumbnail, "WEBP", quality=80, method=2), durable=False
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow works outside of Python's lock
            for number, _ in enumerate(pool.map(write_images, cards), 1):
                if on_progress is not None:
                    on_progress(number, len(cards))
    return out / "index.html"


def _write_pages(folder: Path, runs: list[SiteRun], classes: list[SiteClass]) -> None:
    """Write the site's pages, style sheets and script into ``folder``.

    There are a first page, one per model, and one per class.
    """
    models: dict[str, list[SiteRun]] = defaultdict(list)  # by the name of the model's page
    for run in runs:
        models[run.model].append(run)
    templates = environment()
    has_scores = any(card["others"] for run in runs for card in run.cards)
    noun, plural = ("class", "classes") if all(is_class(one.index) for one in classes) else ("concept", "concepts")
    templates.globals |= {"what": noun, "whats": plural, "p_name": p_class_name(*(one.index for one in classes))}
    templates.globals |= {"policy": POLICY, "models": models, "scored": has_scores, "mapped": bool(classes)}

    def write_page(template: str, path: str, **facts: Any) -> None:
        """Render a template to ``path`` in the site."""
        page = templates.get_template(template).render(root="../" * path.count("/"), **facts)
        write_bytes(folder / path, page.encode(), durable=False)

    for name in STATIC_FILES:
        write_bytes(folder / name, read_static(name).encode(), durable=False)
    write_bytes(folder / ".nojekyll", b"", durable=False)  # GitHub Pages then publishes the files as they are
    names = [model_runs[0].name for model_runs in models.values()]
    shown = "Maps" if classes else "Scans"
    title = f"{shown} of {names[0]}" if len(names) == 1 else f"{shown} of {len(names)} networks"
    write_page("site_index.html", "index.html", title=title, runs=runs, classes=classes)
    for page, model_runs in models.items():
        model_classes = [one for one in classes if any(run.number in one.maps for run in model_runs)]
        title = f"{'Maps' if model_classes else 'Scan'} of {model_runs[0].name}"
        write_page(
            "site_model.html",
            f"models/{page}.html",
            title=title,
            runs=model_runs,
            classes=model_classes,
            parts=_report_parts(model_runs),
        )
    for before, site_class, after in zip([None, *classes], classes, [*classes[1:], None], strict=False):
        title = f"{first_synonym(site_class.label)}: its maps"
        write_page(
            "site_class.html",
            f"classes/{site_class.page}.html",
            title=title,
            one=site_class,
            neighbours=(before, after),
        )


def _scan_of_network(run: RunDirectory, facts: dict[str, Any]) -> "dict[str, Any] | None":
    """Return the scan section of a run's report, without scans of other networks.

    It is ``None`` if the network of the run's maps was not scanned.
    """
    section = scan_section(run, facts)
    return section | {"others": [], "below": False} if section and section["own"] else None


# Parts of a report that a model's page shows for each run.
SECTIONS = {"scan": _scan_of_network, "scores": score_section, "checks": check_section, "made": made_section}


def _report_parts(runs: Sequence[SiteRun]) -> list[dict[str, Any]]:
    """Return what a model's page shows of each run.

    That is ``run``, ``parts`` (sections of its report by name), and ``glance`` (lines).
    """
    run_parts = []
    for run in runs:
        parts = {name: part for name, section in SECTIONS.items() if (part := section(run.run, run.facts))}
        lines = notes_glance(run.facts) + map_glance(run.facts, run.cards, run.name)
        lines += [line for part in parts.values() for line in part["glance"]]
        lines.sort(key=lambda line: line["mark"] != "bad")  # bad news first
        run_parts.append({"run": run, "parts": parts, "glance": lines})
    return run_parts
