"""``phosphene report``: write a run's report again."""

from pathlib import Path

import click

import phosphene as ph
from phosphene.cli import options


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--reference-images",
    "--reference-pictures",
    "reference",
    metavar="SAMPLES",
    help="Show a natural image of each class beside its maps: folder (lion.jpg, lion/1.jpg) or .parquet with labels.",
)
@options.as_json
def command(run: Path, reference: "str | None", as_json: bool) -> None:
    """Write RUN/report.html, one file that opens without a network, from what is in RUN."""
    report = ph.report(run, reference=reference)
    options.print_json({"report": str(report)}) if as_json else click.echo(str(report))
