"""``phosphene serve``: the live gallery."""

from pathlib import Path

import click

import phosphene as ph
from phosphene.cli import options
from phosphene.errors import printable


@click.command("serve")
@click.argument("folder", required=False, default="runs", metavar="[DIR]", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="What to bind to; loopback is this machine alone.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one.  [8421, or a free one]")
@click.option("--open/--no-open", "browse", default=False, help="Open a browser.  [no]")
@options.trust
def command(folder: Path, host: str, port: "int | None", browse: bool, trust: bool) -> None:
    """Serve a gallery of the runs below DIR until Ctrl-C: live while they run; compare them; start maps, scans and checks.

    DIR defaults to runs. Nothing outside DIR is shown.
    """

    def print_message(line: str) -> None:
        click.echo(f"phosphene: {printable(line)}", err=True)

    ph.serve(folder, host=host, port=port, trust=trust, browse=browse, on_message=print_message)
