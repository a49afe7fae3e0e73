"""``phosphene map``: classifiers and concepts in, run directories out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import phosphene as ph
from phosphene.cli import options, preview
from phosphene.errors import ConceptError, RecipeError, printable
from phosphene.formats import count, percent
from phosphene.progress import ProgressDisplay, duration
from phosphene.recipe import DEFAULT_CHANNELS, DEFAULT_RECIPE, RECIPES

if TYPE_CHECKING:
    from phosphene.executors.base import MapSummary
    from phosphene.workflows.map import MappedRun


@click.command("map")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "-c",
    "--concept",
    "concepts",
    multiple=True,
    metavar="CONCEPT",
    help="Class, union 'A + B', contrast 'A vs B', text:PROMPT, unit:LAYER:CHANNEL, direction:FILE@LAYER or low:OUTPUT "
    "(repeatable).",
)
@click.option("--all", "every", is_flag=True, help="Map every class.")
@click.option(
    "--confused",
    is_flag=False,
    flag_value="3",
    default="0",
    type=click.IntRange(0, 1000),
    metavar="[N]",
    help="Map, both ways, the N contrasts of classes that MODEL confuses most on labelled --samples.  [N: 3]",
)
@click.option(
    "--most",
    default=DEFAULT_CHANNELS,
    show_default=True,
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Channels that unit:LAYER:* stands for: those of the largest mean activation over the samples.",
)
@click.option(
    "--samples",
    metavar="SPEC",
    help="Folder, .parquet, .npz or synthetic:KIND.  [synthetic:mixed, or demo:shapes]",
)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    default=(DEFAULT_RECIPE,),
    show_default=True,
    metavar="NAME",
    help=f"{', '.join(RECIPES)}, or FILE.toml (repeatable).",
)
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Change a recipe field (repeatable).")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 2**32 - 1), help="Maps per concept.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="The first seed.")
@options.device
@options.precision
@options.compiled
@click.option(
    "--frames",
    default=0,
    metavar="N",
    type=click.IntRange(0, 240),
    help="Save N frames of each map as it grows; `phosphene film` and the report play them.  [0: none]",
)
@click.option(
    "--executor",
    default="local",
    show_default=True,
    type=click.Choice(["local", "ray"]),
    help="Where the maps are made: on this machine, or on a Ray cluster (RAY_ADDRESS).",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Worker processes.  [none: this process; ray: as many as fit]",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="CPU threads per worker.  [cores / workers; ray: 1]",
)
@click.option(
    "--gpus",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 64),
    metavar="SHARE",
    help="ray: GPUs per worker; with 0.25, four workers share one.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [below runs/, by model and recipe]")
@options.trust
@click.option("--dry-run", is_flag=True, help="Say what would be done, what it costs by a short measurement, and stop.")
@preview.option
@options.as_json
def command(
    models: tuple[str, ...],
    concepts: tuple[str, ...],
    every: bool,
    confused: int,
    overrides: tuple[str, ...],
    dry_run: bool,
    preview_shown: bool,
    as_json: bool,
    **options_of_map: Any,
) -> None:
    """Make maps of the classes (-c or --all) of each MODEL by each recipe, in a run directory for each; print a line per map and run.

    MODEL is demo:shapes, a model card (path/to/card.toml), ...; `phosphene models` lists what there is. With several
    models or recipes, --out holds one run directory each. Ctrl-C or a crash loses nothing: the same command goes on.
    """
    if every == bool(concepts or confused):
        raise ConceptError("name concepts with -c (repeatable), or take all of them with --all, or --confused ones.")
    with ProgressDisplay("load torch") as display:

        def print_map(summary: "MapSummary") -> None:
            if not as_json:
                display.print(_map_line(summary))

        runs = ph.map_models(
            models,
            concepts or None,
            confused=confused,
            overrides=_parse_overrides(overrides),
            dry_run=dry_run,
            progress=display,
            on_map=print_map,
            **options_of_map,
        )
    if as_json:
        documents = [mapped_run.to_dict() for mapped_run in runs]
        options.print_json(documents[0] if len(documents) == 1 else documents, display.warnings)
        return
    for mapped_run in runs:
        click.echo(_dry_run_line(mapped_run) if dry_run else _run_line(mapped_run))
        if preview_shown and not dry_run:
            preview.show(mapped_run.run.path / "sheet.png")
    if not dry_run:
        click.echo(f"{display.elapsed} in all", err=True)


def _map_line(summary: "MapSummary") -> str:
    """Return the line to print for a finished map.

    It has the concept, seed, confidence (of a unit its percentile), targeting rate, and seconds or ``cached``. Where
    several runs are made, it also names classifier and recipe.
    The targeting rate is the share of held-out samples that are moved to the class by subtracting the map.
    """
    no_rate = "- (no held-out sample to move: all are classified so without it)"
    rate = no_rate if summary.targeting_rate is None else percent(summary.targeting_rate)
    time_text = f"{summary.seconds:.1f} s" if summary.made else "cached"
    confidence = f"percentile {percent(summary.p_class)}" if summary.is_unit else f"p {summary.p_class:.3f}"
    source_text = f", by {summary.source}" if summary.source else ""
    return f"{summary.name}, seed {summary.seed}{source_text}: {confidence}, targeting {rate}, {time_text}"


def _run_line(mapped_run: "MappedRun") -> str:
    """Return the line to print for a finished run: the command's maps, those of the directory if it has more, and the report."""
    maps, total = mapped_run.maps, len(mapped_run.run)
    note = _cached_note(maps)
    others = f"{'' if note else ' made'}, {count(total, 'map')}" if total > len(maps) else ""
    return f"{count(len(maps), 'map')}{note}{others} in {mapped_run.run.path}; open {mapped_run.report}"


def _cached_note(maps: "list[MapSummary]") -> str:
    """Return in parentheses how many of a run's maps an earlier command has made; empty if none."""
    cached_count = sum(not one.made for one in maps)
    if cached_count == len(maps):
        return " (all cached: nothing was made)"
    return f" ({cached_count:,} cached)" if cached_count else ""


def _dry_run_line(mapped_run: "MappedRun") -> str:
    """Return the line to print for a run with --dry-run: maps, passes, time, directory."""
    plan, cost = mapped_run.plan, mapped_run.estimate
    assert cost is not None  # noqa: S101  (a dry run has it)
    cached_note = f" ({cost.cached:,} are finished)" if cost.cached else ""
    return printable(
        f"{plan.classifier.name}: {count(len(plan.jobs), 'map')}{cached_note}, {plan.passes:,} passes, "
        f"about {duration(cost.seconds)} in one process -> {mapped_run.run.path}"
    )


def _parse_overrides(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return the FIELD=VALUE pairs of ``--set`` as a dictionary of strings.

    Raises:
        RecipeError: a pair has no ``=``.
    """
    for pair in pairs:
        if "=" not in pair:
            raise RecipeError(f"--set {pair} must have the form field=value, for example --set steps=60.")
    return {key.strip(): value.strip() for key, value in (pair.split("=", 1) for pair in pairs)}
