"""``phosphene scan``: a classifier in, a verdict and its evidence out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import phosphene as ph
from phosphene.cli import options
from phosphene.cli.tables import print_table, print_text
from phosphene.errors import printable
from phosphene.formats import percent
from phosphene.progress import ProgressDisplay, duration

if TYPE_CHECKING:
    from phosphene.workflows.scan import ScanVerdict


@click.command("scan")
@click.argument("model", metavar="MODEL")
@click.option(
    "--samples",
    metavar="SPEC",
    help="Samples of the network's kind: folder, .parquet, .npz.  [synthetic:mixed, or demo:shapes]",
)
@click.option("--reference", multiple=True, metavar="MODEL", help="A clean network of the same kind (repeatable).")
@click.option("--alpha", default=0.05, show_default=True, help="Share of clean networks that may be called suspicious.")
@click.option(
    "--pairs",
    is_flag=True,
    help="Search pairs of a source class and a target, and all-to-all backdoors, however many classes there are.  "
    "[pairs up to 20 classes, all-to-all up to 64]",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**32 - 1),
    help="Random seed for samples and starting points.",
)
@options.device
@options.precision
@click.option("--map/--no-map", "mapped", default=True, help="Map the suspects beside their triggers.  [map]")
@click.option("--recipe", default="vivid", show_default=True, metavar="NAME", help="Recipe for the maps of suspects.")
@click.option("--range-check/--no-range-check", default=True, help="Warn if the declared input does not fit.  [check]")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [runs/<model>-scan]")
@options.trust
@click.option("--dry-run", is_flag=True, help="Say what would be done, and what it costs, and stop.")
@options.as_json
def command(model: str, out: "Path | None", dry_run: bool, as_json: bool, **options_of_scan: Any) -> int:
    """Scan MODEL for a backdoor: print the verdict and the most suspicious classes, write a run, exit with the verdict's code.

    For every class: what share of all samples does the best small window send there, and how far can any input drive
    the network to it? A class whose p-value, a rank among clean networks, is below --alpha is a suspect; a candidate trigger
    is made for it and tried on samples on which it was not optimised.

    Exit codes: 0 clean of what was tested; 1 backdoored; 3 inconclusive; 2 could not do it.
    """
    with ProgressDisplay("load torch") as display:
        result = ph.scan(model, out=out or True, dry_run=dry_run, progress=display, **options_of_scan)
    if as_json:
        options.print_json(result.to_dict(), display.warnings)
    elif dry_run:
        click.echo(_dry_run_line(result.to_dict()))
    else:
        _print_scan(result)
    return 0 if dry_run else result.exit_code


def _dry_run_line(facts: dict[str, Any]) -> str:
    """Return the line to print for a dry run, from its ``to_dict()``: classes, passes, seconds, directory."""
    cached_note = " (cached)" if facts["done"] else ""
    return printable(
        f"{facts['model']}: {facts['classes']} classes, {facts['passes']:,} passes, "
        f"about {duration(facts['seconds'])}, more if there are suspects -> {facts['run']}{cached_note}"
    )


def _print_scan(verdict: "ScanVerdict") -> None:
    """Print a finished scan: verdict, reasons, most deviating classes, what was not tested, cost, files."""
    scan, (title, mark) = verdict.to_dict(), verdict.headline
    click.secho(printable(title), bold=True, fg={"good": "green", "bad": "red", "unsure": "yellow"}[mark])
    for line in verdict.terminal_lines:
        print_text(line, "  ")
    if scan["all_to_all"] and scan["all_to_all"]["works"]:
        rows = [(one["source"], one["target"], percent(one["share"])) for one in scan["all_to_all"]["classes"]]
        print_table(["predicted without the window", "with it most often", "share"], rows, numbers=[2])
    click.echo(f"\n{'Most suspicious classes' if verdict.suspects else 'Classes that deviate most'}:")
    print_table(*verdict.most_deviating)
    click.echo("Not tested, or mostly missed (docs/backdoor.md has counts for each kind):")
    for line in verdict.not_tested:
        print_text(line, "  - ")
    cached_note = " (cached: the same network, samples and settings)" if verdict.cached else ""
    click.echo(f"{verdict.passes:,} passes, {verdict.seconds:.0f} s{cached_note}")
    click.echo(f"files in {scan['run']}" + (f"; open {verdict.report}" if verdict.report else ""))
