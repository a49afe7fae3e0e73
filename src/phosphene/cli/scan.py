"""``phosphene scan``: a classifier in, a verdict and its evidence out."""

from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table
from rich.text import Text

from phosphene.backdoor.scan import ALPHA
from phosphene.cli import options
from phosphene.cli.progress import MapProgress, ScanBar
from phosphene.cli.tables import print_table
from phosphene.engine.device import pick_device
from phosphene.errors import printable
from phosphene.metrics.range_doubt import range_doubt
from phosphene.report import write_report
from phosphene.report.scan import headline, most_deviating, sentences
from phosphene.samples import default_samples, load_samples
from phosphene.sources import load
from phosphene.workflows.scan import RECIPE, ScanPlan, estimate, exit_code, map_suspects, plan_scan, run_scan


@click.command("scan", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", metavar="MODEL")
@click.option(
    "--samples",
    metavar="SPEC",
    help="Samples of the network's kind: folder, .parquet, .npz.  [synthetic:mixed, or demo:shapes]",
)
@click.option("--reference", multiple=True, metavar="MODEL", help="A clean network of the same kind (repeatable).")
@click.option(
    "--alpha", default=ALPHA, show_default=True, help="Share of clean networks that may be called suspicious."
)
@click.option(
    "--pairs", is_flag=True, help="Search every pair of a source class and a target.  [only up to 20 classes]"
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of draws and starts.")
@options.machine
@click.option("--map/--no-map", "mapped", default=True, help="Map the suspects beside their triggers.  [map]")
@click.option("--recipe", default=RECIPE, show_default=True, metavar="NAME", help="Of those maps.")
@click.option("--no-range-check", is_flag=True, help="Do not check whether the declared input range fits.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [runs/<model>-scan]")
@options.trust
@click.option("--dry-run", is_flag=True, help="Say what would be done, and what it costs, and stop.")
@options.as_json
def command(
    model: str,
    samples: "str | None",
    reference: tuple[str, ...],
    alpha: float,
    pairs: bool,
    seed: int,
    device: str,
    precision: str,
    mapped: bool,
    recipe: str,
    no_range_check: bool,
    out: "Path | None",
    trust: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Is there a backdoor in MODEL, and what is its trigger?

    For every class: what share of all samples does the best small window send there, and how far can any input drive
    the network to it? A class that deviates further than those of clean networks is a suspect; a candidate trigger is
    made for it and tried on samples that it was not made from.

    Exit codes: 0 clean of what was tested; 1 backdoored; 3 inconclusive; 2 could not do it.
    """
    pick_device(device)  # before any work
    classifier = load(model, trust=trust)
    pool = load_samples(samples or default_samples(model), classifier.input.shape)
    todo = plan_scan(
        classifier,
        pool,
        out=out,
        reference=[load(one, trust=trust) for one in reference],
        alpha=alpha,
        pairs=pairs,
        seed=seed,
        precision=precision,
        recipe=recipe,
    )
    for note in classifier.notes:
        click.echo(f"phosphene: {printable(classifier.name)}: {printable(note)}", err=True)
    if not no_range_check and todo.cached is None:
        options.warn(range_doubt(classifier, pool, device=device))
    if dry_run:
        facts = _describe(todo, estimate(todo, device=device))
        options.print_json(facts) if as_json else click.echo(_spell(facts))
        return 0
    with ScanBar(f"scan {classifier.name}") as progress:
        found = run_scan(todo, device=device, on_progress=progress)
    if mapped:
        with MapProgress(f"map the suspects of {classifier.name}") as bar:
            options.warn(map_suspects(todo, found, device=device, on_progress=bar))
    report = write_report(todo.run)
    if as_json:
        options.print_json({"run": str(todo.run.path), "report": report, "cached": todo.cached is not None, **found})
    else:
        _print(found, todo, report)
    return exit_code(found)


def _describe(todo: ScanPlan, seconds: float) -> dict[str, Any]:
    return {
        "run": str(todo.run.path),
        "model": todo.classifier.name,
        "classes": todo.classifier.num_classes,
        "pairs": todo.asked["settings"]["pairs"],
        "references": [one.name for one in todo.reference],
        "samples": todo.pool.spec,
        "passes": todo.passes,
        "seconds": round(seconds, 1),
        "done": todo.cached is not None,
    }


def _spell(facts: dict[str, Any]) -> str:
    done = " (done already)" if facts["done"] else ""
    return printable(
        f"{facts['model']}: {facts['classes']} classes, {facts['passes']:,} passes, "
        f"about {facts['seconds']:.0f} s without suspects -> {facts['run']}{done}"
    )


def _print(found: dict[str, Any], todo: ScanPlan, report: str) -> None:
    title, mark = headline(found)
    click.secho(printable(title), bold=True, fg={"good": "green", "bad": "red", "unsure": "yellow"}[mark])
    for line in sentences(found):
        click.echo(f"  {printable(line)}")
    click.echo()
    print_table(_table(found))
    click.echo("Not tested:")
    for line in found["not_tested"]:
        click.echo(f"  - {printable(line)}")
    again = " (from before: the same network, samples and settings)" if todo.cached is not None else ""
    click.echo(f"{found['passes']:,} passes, {found['seconds']:.0f} s{again}")
    click.echo(f"files in {todo.run.path}; open {report}")


def _table(found: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    head, rows = most_deviating(found)
    for name in head:
        table.add_column(name, justify="left" if name == head[0] else "right")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
