"""``phosphene map``: classifiers and concepts in, run directories out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import phosphene as ph
from phosphene.cli import options
from phosphene.errors import ConceptError, printable
from phosphene.progress import ProgressDisplay, duration

if TYPE_CHECKING:
    from phosphene.executors.base import MapSummary
    from phosphene.workflows.map import MappedRun


@click.command("map")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "-c", "--concept", "concepts", multiple=True, metavar="CONCEPT", help="Index, label or synonym (repeatable)."
)
@click.option("--all", "every", is_flag=True, help="Map every class.")
@options.mapping
@options.seeds
@options.machine
@options.frames
@options.fleet
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [below runs/, by model and recipe]")
@options.trust
@click.option("--dry-run", is_flag=True, help="Say what would be done, what it costs by a short measurement, and stop.")
@options.as_json
def command(
    models: tuple[str, ...],
    concepts: tuple[str, ...],
    every: bool,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **options_of_map: Any,
) -> None:
    """Map what each MODEL means by its classes, by each recipe.

    MODEL is demo:shapes, a model card (path/to/card.toml), ...; `phosphene models` lists what there is. With several
    models or recipes, --out holds one run directory each. Ctrl-C or a crash loses nothing: the same command goes on.
    """
    if every == bool(concepts):
        raise ConceptError("name concepts with -c (repeatable), or take all of them with --all.")
    with ProgressDisplay("load torch") as display:

        def print_map(found: "MapSummary") -> None:
            if not as_json:
                display.print(_line(found))

        runs = ph.map_models(
            models,
            None if every else concepts,
            overrides=options.parse_overrides(overrides),
            dry_run=dry_run,
            progress=display,
            on_map=print_map,
            **options_of_map,
        )
    if as_json:
        documents = [one.to_dict() for one in runs]
        options.print_json(documents[0] if len(documents) == 1 else documents)
        return
    for one in runs:
        click.echo(_price(one) if dry_run else f"{options.count(len(one.maps))} in {one.run.path}; open {one.report}")
    if not dry_run:
        click.echo(f"{display.elapsed} in all", err=True)


def _line(found: "MapSummary") -> str:
    """Return the line that is printed for a finished map."""
    rate = "-" if found.targeting_rate is None else f"{found.targeting_rate:.0%}"
    name = f"{found.short} ({found.index}), seed {found.seed}"
    return f"{name}: p {found.p_class:.3f}, targeting {rate}, {found.seconds:.1f} s"


def _price(one: "MappedRun") -> str:
    """Return the line of a dry run: number of maps, passes and estimated time."""
    plan, cost = one.plan, one.estimate
    assert cost is not None  # noqa: S101  (a dry run has it)
    cached = f" ({cost.cached:,} are finished)" if cost.cached else ""
    return printable(
        f"{plan.classifier.name}: {options.count(len(plan.jobs))}{cached}, {plan.passes:,} passes, "
        f"about {duration(cost.seconds)} in one process -> {one.run.path}"
    )
