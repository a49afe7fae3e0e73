"""``phosphene film``: how a run's maps grew, as one animated image."""

from pathlib import Path

import click

import phosphene as ph
from phosphene.cli import options
from phosphene.progress import ProgressDisplay


@click.command("film")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-c", "--concept", "concepts", multiple=True, metavar="CONCEPT", help="Only this concept (repeatable).")
@click.option("--out", type=click.Path(path_type=Path), help="FILE.webp or FILE.gif.  [RUN/film.webp]")
@click.option("--fps", default=12.0, show_default=True, help="Frames per second, 0.5 to 50.")
@options.as_json
def command(run: Path, concepts: tuple[str, ...], out: "Path | None", fps: float, as_json: bool) -> None:
    """Write how the maps of RUN grew, side by side, as one animated .webp or .gif that loops; print its path.

    RUN must have been mapped with --frames N; maps without frames are left out.
    """
    with ProgressDisplay("load torch") as display:
        film = ph.film(run, out, concepts=concepts, fps=fps)
    options.print_json({"film": str(film)}, display.warnings) if as_json else click.echo(str(film))
