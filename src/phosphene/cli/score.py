"""``phosphene score``: runs and targets in, a table and ``scores.json`` out."""

from pathlib import Path
from typing import Any

import click

import phosphene as ph
from phosphene.cli import options
from phosphene.cli.tables import misclassified_lines, print_scores
from phosphene.progress import ProgressDisplay


@click.command("score")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="MODEL",
    help="Classifier that scores the maps (repeatable).  [the models of the runs themselves]",
)
@click.option(
    "--samples",
    metavar="SPEC",
    help="Only for maps of a regression network's outputs: samples from which the targets' percentiles are computed.  [the run's]",
)
@click.option(
    "--min-top1",
    default=0.0,
    metavar="SHARE",
    type=options.share,
    help="Exit with 4 if a target recognises a smaller share of the maps of a run (top-1 among all classes).",
)
@click.option(
    "--min-m-score", default=0.0, metavar="SHARE", type=options.share, help="Exit with 4 if an M_score is lower."
)
@options.device
@options.trust
@options.as_json
def command(
    runs: tuple[Path, ...],
    targets: tuple[str, ...],
    min_top1: float,
    min_m_score: float,
    as_json: bool,
    **options_of_score: Any,
) -> int:
    """Score how well classifiers (--target) recognise the maps of each RUN; print a table, write RUN/scores.json and report.

    M_score lies in [1/L, 1] for L concepts and ignores labels, so top-1 is printed with it. Targets with other labels
    are matched by name; for those with another input size, the images are resized. The rows go to RUN/scores.json, with
    every concept and a sweep over contrasts, and to RUN/report.html.

    A map of a contrast A vs B is right where the top-1 of the two sides is on the left: half of the time by chance. So such maps
    have a rate of their own; top-1 among all classes, mean confidence and --min-top1 leave them out, unless RUN has no others.

    A map of an output of a regression network is right where the target's own output of that name is above its 99th
    percentile over the samples, or for low: below its 1st; such maps have no M_score.

    Exit codes: 0 done; 4 done, and a score is below --min-top1 or --min-m-score; 2 could not do it.
    """
    with ProgressDisplay("load torch") as display:

        def print_target(number: int, total: int, name: str) -> None:
            if not as_json:
                display.print(f"score {number + 1} of {total}: {name}")

        for run in runs:
            ph.open_run(run).require_finished()  # nothing is written to others, which ph.score takes, too
        scores = ph.score(runs, targets, progress=display, on_progress=print_target, **options_of_score)
    reports = list(dict.fromkeys(str(one.run / "report.html") for one in scores))
    hints = []
    if any(one.interval and round(one.interval[0], 2) == round(one.interval[1], 2) for one in scores):
        hints.append(
            "An interval of M_score without width comes from maps that score alike; that of top-1 shows how few they are."
        )
    hints += dict.fromkeys(one.m_score_note for one in scores if one.m_score_note)
    if not targets:
        hints.append(
            "Without --target, the models of the runs are the targets. A model's score of its own maps is no evidence, because "
            "they were made for it: only other classifiers' scores are (--target MODEL)."
        )
    if as_json:
        document = {"scores": [{"run": str(one.run), **one.to_dict()} for one in scores], "reports": reports}
        options.print_json(document, [*display.warnings, *hints])
    else:
        print_scores(scores)
        for line in misclassified_lines(scores):
            click.echo(line)
        for hint in hints:
            click.echo(hint, err=True)
        for report in reports:
            click.echo(f"open {report}")
        click.echo(f"{display.elapsed} in all", err=True)
    return options.exit_code(scores.below(min_top1=min_top1, min_m_score=min_m_score))
