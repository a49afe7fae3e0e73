"""``phosphene report``: write a run's report again."""

from pathlib import Path

import click

import phosphene as ph
from phosphene.cli import options


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--reference-images",
    "reference",
    metavar="SAMPLES",
    help="Show a natural image of each class beside its maps: folder (lion.jpg, lion/1.jpg) or .parquet with labels.",
)
@click.option("--columns", type=click.IntRange(1, 100), help="Maps per row of sheet.png.  [as many as rows]")
@click.option("--size", type=click.IntRange(16, 1024), metavar="PIXELS", help="Width of each map there.  [160 or 80]")
@options.as_json
def command(run: Path, reference: "str | None", columns: "int | None", size: "int | None", as_json: bool) -> None:
    """Write RUN/report.html, which opens offline, and the contact sheet RUN/sheet.png; print the report's path."""
    report = ph.report(run, reference=reference, columns=columns, size=size)
    options.print_json({"report": str(report)}) if as_json else click.echo(str(report))
