"""A run's maps as they grew: an animated contact sheet."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from phosphene.concept_map import ConceptMap, captions
from phosphene.contact_sheet import contact_sheet
from phosphene.errors import ConceptError, RunError, warn
from phosphene.expressions import find_among
from phosphene.formats import count
from phosphene.runs import RunDirectory
from phosphene.runs.atomic import write_bytes
from phosphene.runs.frames import FPS, LEAST_FPS, MOST_FPS, animation
from phosphene.runs.paths import refuse_own_file

FORMATS = {".webp": "WEBP", ".gif": "GIF"}
# Most maps on a sheet, and the side of each in pixels. A film of a thousand maps would show nothing.
SHEET_SIDES = ((1, 320), (6, 200), (20, 160), (60, 112), (120, 84))


def write_film(
    run: RunDirectory, out: "str | Path | None" = None, concepts: Sequence[str] = (), *, fps: float = FPS
) -> Path:
    """Write the recorded frames of a run's maps, side by side, as an animated file.

    Args:
        run: A run that was mapped with ``--frames``.
        out: A ``.webp`` or ``.gif`` file; by default ``film.webp`` in the run.
        concepts: Indices, labels or synonyms; none for all maps of the run.
        fps: Frames per second; the last frame is held for 1.5 s.

    Returns:
        Where it was written.

    Raises:
        RunError: the run has no frames, or the file cannot be written, has another suffix, or is a run's own.
        ConceptError: the run has no map of a concept, or too many maps for one sheet.
    """
    path = run.path / "film.webp" if out is None else Path(out)
    if path.suffix.lower() not in FORMATS:
        raise RunError(f"{path} must end in {' or '.join(FORMATS)}.")
    if not LEAST_FPS <= fps <= MOST_FPS:
        raise RunError(f"fps is {fps:g}; it must be {LEAST_FPS:g} to {MOST_FPS:g} frames per second.")
    refuse_own_file(path)
    maps = _chosen_maps(run, concepts)
    films = [(one, frames) for one in maps if (frames := run.frames(one))]
    if not films:
        raise RunError(
            f"{run.path} has no frames of these maps: map them into another run directory with frames (--frames 24, or "
            "frames=24 in Python)."
        )
    if len(films) > SHEET_SIDES[-1][0]:
        raise ConceptError(
            f"{len(films)} maps are too many for one film: name up to {SHEET_SIDES[-1][0]} of its concepts."
        )
    if len(films) < len(maps):
        warn(f"{len(maps) - len(films)} of {count(len(maps), 'map')} have no frames, and the film leaves them out.")
    sheets = _sheets([frames for _, frames in films], captions([one for one, _ in films]))
    write_bytes(path, animation(sheets, FORMATS[path.suffix.lower()], fps=fps))
    return path


def _chosen_maps(run: RunDirectory, concepts: Sequence[str]) -> list[ConceptMap]:
    """Return a run's finished maps of ``concepts``, by default of all.

    Raises:
        ConceptError: run.json does not list a concept.
    """
    run_concepts = run.concepts()
    indices = {find_among(concept, run_concepts, str(run.path)) for concept in concepts}
    return [one for one in run.maps() if not indices or one.index in indices]


def _sheets(films: Sequence[Sequence[Image.Image]], captions: Sequence[str]) -> list[Image.Image]:
    """Return the frames of a film, each a contact sheet of all maps.

    There are as many as the longest of ``films`` has; shorter ones are slowed down to it.
    """
    frame_count = max(map(len, films))
    side = next(side for max_maps, side in SHEET_SIDES if len(films) <= max_maps)
    # Square or a little wider, with the fewest empty cells.
    min_columns, max_columns = math.ceil(math.sqrt(len(films))), math.ceil(math.sqrt(2 * len(films)))
    columns = min(range(min_columns, max_columns + 1), key=lambda number: -len(films) % number)
    return [
        contact_sheet(
            [film[math.ceil(number * len(film) / frame_count) - 1] for film in films],
            captions,
            columns=columns,
            side=side,
        )
        for number in range(1, frame_count + 1)
    ]
