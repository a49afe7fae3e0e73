"""``phosphene check``: a run in, findings and ``checks.json`` out."""

from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from phosphene.checks import CHECKS, CheckProgress, Finding
from phosphene.cli import options
from phosphene.cli.progress import MapProgress
from phosphene.cli.tables import print_table
from phosphene.errors import printable
from phosphene.metrics.range_doubt import range_doubt
from phosphene.report import write_report
from phosphene.report.formats import count
from phosphene.runs.checks import NAME
from phosphene.workflows.check import CheckPlan, plan_checks, run_checks
from phosphene.workflows.progress import Progress


@click.command("check", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--most", default=4, show_default=True, type=click.IntRange(1), help="Most concepts to make maps of again."
)
@click.option("--only", multiple=True, metavar="NAME", help=f"One of {', '.join(CHECKS)} (repeatable).  [all]")
@click.option("--samples", metavar="SPEC", help="Samples for these maps; natural images show most.  [the run's]")
@options.device
@options.trust
@click.option("--dry-run", is_flag=True, help="Print which checks would run and their cost, and stop.")
@options.as_json
def command(
    run: Path,
    most: int,
    only: tuple[str, ...],
    samples: "str | None",
    device: str,
    trust: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Check whether the maps of RUN show what the network has learned, or only what the method makes of any network.

    Maps are made again with the run's own recipe: with the network's weights randomised, from other seeds, from other
    samples. Each finding is written to RUN/checks.json at once; after an interruption, the same command continues.
    """
    todo = plan_checks(run, only=only, most=most, samples=samples, device=device, trust=trust)
    if dry_run:
        options.print_json(_describe(todo)) if as_json else click.echo(_spell(todo))
        return

    options.warn(range_doubt(todo.context.classifier, todo.context.pool, device=device))

    def on_finding(found: Finding) -> None:
        if not as_json:
            click.echo(f"{found.name}: {found.verdict}", err=True)

    with MapProgress(f"check {printable(todo.context.classifier.name)}") as progress:
        findings = run_checks(todo, on_progress=lambda one: progress(_progress(one)), on_finding=on_finding)
    report = write_report(todo.run)
    if as_json:
        rows = [{**found.to_dict(), "verdict": found.verdict} for found in findings]
        options.print_json({"run": str(run), "findings": rows, "report": report})
        return
    print_table(_table(findings))
    click.echo(f"figures in {todo.run.path / NAME}; open {report}")


def _progress(progress: CheckProgress) -> Progress:
    return Progress(progress.maps_done, progress.maps_total, progress.labels, progress.step)


def _describe(todo: CheckPlan) -> dict[str, Any]:
    costs = todo.cost
    rows = [{"name": name, "maps": costs[name], "done": name in todo.cached} for name in todo.names]
    return {"run": str(todo.run.path), "checks": rows, "maps": sum(costs.values()), "passes": todo.passes}


def _spell(todo: CheckPlan) -> str:
    lines = [
        f"{name:<16} {'done' if name in todo.cached else count(maps, 'map')}: {CHECKS[name][0]}"
        for name, maps in todo.cost.items()
    ]
    return "\n".join([*lines, f"{count(sum(todo.cost.values()), 'map')}, {todo.passes:,} passes"])


def _table(findings: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=True)
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("finding", max_width=100)
    for found in findings:
        colour = {True: "green", False: "bold red", None: ""}[found.passed]
        table.add_row(found.name, Text(found.verdict, colour), Text(printable(found.explanation)))
    return table
