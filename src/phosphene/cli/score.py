"""``phosphene score``: runs and targets in, a table and ``scores.json`` out."""

from pathlib import Path

import click

from phosphene.cli import options
from phosphene.cli.tables import misclassified, print_table, score_matrix
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
    help="Classifier that scores the maps (repeatable).  [the models of the runs themselves]",
)
@options.device
@options.trust
@options.as_json
def command(runs: tuple[Path, ...], targets: tuple[str, ...], device: str, trust: bool, as_json: bool) -> None:
    """Score how well other classifiers recognise the maps of each RUN.

    M_score lies in [1/L, 1] for L concepts and ignores labels, so top-1 is printed with it. Targets with other labels
    are matched by name; for those with another input size, the images are resized. The rows go to RUN/scores.json, with
    every concept and a sweep over contrasts, and to RUN/report.html.
    """

    def on_progress(done: int, total: int, name: str) -> None:
        if not as_json:
            click.echo(f"score {done + 1} of {total}: {printable(name)}", err=True)

    scored = score_runs(runs, targets, device=device, trust=trust, on_progress=on_progress, on_warning=options.warn)
    reports = [write_report(RunDirectory(path)) for path in dict.fromkeys(row.run for row in scored)]
    if as_json:
        rows = [{"run": str(row.run), **row.to_dict()} for row in scored]
        options.print_json({"scores": rows, "reports": reports})
        return
    print_table(score_matrix(scored))
    for line in misclassified(scored):
        click.echo(line)
    for report in reports:
        click.echo(f"open {report}")
