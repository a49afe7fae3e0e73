"""``phosphene site``: runs of any models, recipes and seeds as one static web site."""

from pathlib import Path

import click

import phosphene as ph
from phosphene.cli import options
from phosphene.progress import ProgressDisplay


@click.command("site")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default="site", show_default=True, help="Folder of the site.")
@options.as_json
def command(runs: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Write the maps and scans of all RUNs as one web site (an index with search, pages per class and model); print its path.

    It opens from the disk and can be published as it is, below any address. An earlier site in the folder is replaced
    once the new one is whole; a folder that holds anything else is refused.
    """
    with ProgressDisplay("load torch") as display:
        page = ph.site(runs, out, progress=display)
    options.print_json({"site": str(page)}) if as_json else click.echo(f"{display.elapsed} in all; open {page}")
