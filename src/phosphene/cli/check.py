"""``phosphene check``: a run in, findings and ``checks.json`` out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

import phosphene as ph
from phosphene.cli import options
from phosphene.cli.tables import print_table
from phosphene.errors import printable
from phosphene.formats import count
from phosphene.progress import ProgressDisplay, duration

if TYPE_CHECKING:
    from phosphene.checks import Finding


@click.command("check")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--most", default=4, show_default=True, type=click.IntRange(1), help="How many concepts, at most, get new maps."
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Only fidelity, permuted-labels, cascade, random-weights, seeds, diversity or samples (repeatable).  [all]",
)
@click.option(
    "--model", metavar="MODEL", help="Model that made the maps, such as its path from this folder.  [the run's]"
)
@click.option("--samples", metavar="SPEC", help="Samples for these maps; natural images show most.  [the run's]")
@click.option(
    "--strict", is_flag=True, help="Exit with 4 if a check failed, or was not passed because it could not be judged."
)
@options.device
@options.trust
@click.option(
    "--dry-run", is_flag=True, help="Print which checks would run and what they cost, by a short measurement, and stop."
)
@options.as_json
def command(run: Path, strict: bool, dry_run: bool, as_json: bool, **options_of_check: Any) -> int:
    """Run sanity checks of the maps of RUN, print the findings, and write them to RUN/checks.json and its report.

    They tell whether the maps show what the network has learned, or only what the method gives for any network: maps
    are made again with the run's own recipe, with the network's weights randomised, from other seeds, from other
    samples. Each finding is written at once; after an interruption, the same command continues. Maps of fewer than four
    classes can neither pass nor fail: checks then say "too few to tell". Fidelity and diversity have no rule to pass, and
    say "figures only".

    Exit codes: 0 done, whatever was found; 4 done, and with --strict not all was passed; 2 could not do it.
    """
    with ProgressDisplay("load torch") as display:

        def print_finding(finding: "Finding") -> None:
            if not as_json:
                display.print(f"{finding.name}: {finding.verdict}")

        ph.open_run(run).require_finished()  # nothing is written to another, which ph.check takes, too
        findings = ph.check(run, dry_run=dry_run, progress=display, on_finding=print_finding, **options_of_check)
    if as_json:
        options.print_json(findings.to_dict(), display.warnings)
    elif dry_run:
        time_text = f", about {duration(findings.seconds)} to make them" if findings.seconds else ""
        click.echo(f"{findings.plan}{time_text}")
    else:
        print_table(["check", "", "finding"], map(_finding_row, findings), numbers=(), lines=True)
        if findings.plan.choice:
            click.echo(printable(findings.plan.choice))
        cached_count = sum(one.name in findings.plan.cached for one in findings)
        if cached_count:
            click.echo(
                f"{cached_count} of {count(len(findings), 'finding')} cached: the same maps, samples and concepts."
            )
        click.echo(f"{display.elapsed} in all; figures in {run / 'checks.json'}; open {findings.report}")
    return options.exit_code(findings.not_passed if strict else [])


def _finding_row(finding: "Finding") -> "list[str | Text]":
    """Return the table row of a finding: name of the check, coloured verdict, explanation."""
    colour = {True: "green", False: "bold red", None: ""}[finding.passed]
    return [finding.name, Text(finding.verdict, colour), finding.explanation]
