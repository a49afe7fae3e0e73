"""``phosphene score``: runs and targets in, a table and ``scores.json`` out."""

from pathlib import Path

import click

from phosphene.cli import options
from phosphene.cli.tables import misreadings, print_table, score_matrix
from phosphene.errors import printable
from phosphene.report import write_report
from phosphene.runs import RunDirectory
from phosphene.workflows.score import score_runs


@click.command("score", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="MODEL",
    help="Who reads the maps (repeatable).  [the models of the runs themselves]",
)
@options.device
@options.trust
@options.as_json
def command(runs: tuple[Path, ...], targets: tuple[str, ...], device: str, trust: bool, as_json: bool) -> None:
    """Score how well other classifiers read the maps of each RUN.

    M_score lies in [1/L, 1] for L concepts and does not look at labels: read top-1 beside it. Targets with other labels
    are matched by name, those of another input size get the pictures resized. The rows go into RUN/scores.json, with
    every concept and a sweep over contrasts, and into RUN/report.html.
    """

    def on_progress(scored: int, total: int, name: str) -> None:
        if not as_json:
            click.echo(f"score {scored + 1} of {total}: {printable(name)} reads ...", err=True)

    scored = score_runs(runs, targets, device=device, trust=trust, on_progress=on_progress, on_warning=options.warn)
    reports = [write_report(RunDirectory(path)) for path in dict.fromkeys(row.run for row in scored)]
    if as_json:
        rows = [{"run": str(row.run), **row.to_dict()} for row in scored]
        options.print_json({"scores": rows, "reports": reports})
        return
    print_table(score_matrix(scored))
    for line in misreadings(scored):
        click.echo(line)
    for report in reports:
        click.echo(f"open {report}")
