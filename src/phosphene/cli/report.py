"""``phosphene report``: write a run's report again."""

from pathlib import Path

import click

from phosphene.cli import options
from phosphene.report import write_report
from phosphene.runs import RunDirectory


@click.command("report", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@options.as_json
def command(run: Path, as_json: bool) -> None:
    """Write RUN/report.html from the maps that are there."""
    report = write_report(RunDirectory(run))
    options.print_json({"report": str(report)}) if as_json else click.echo(str(report))
