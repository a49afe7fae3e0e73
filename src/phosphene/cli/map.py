"""``phosphene map``: classifiers and concepts in, run directories out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from phosphene.cli import options
from phosphene.cli.progress import MapProgress
from phosphene.engine.device import pick_device
from phosphene.errors import ConceptError, JobsError, SpecError, printable
from phosphene.executors import Executor, pick_executor
from phosphene.executors.base import MapSummary
from phosphene.metrics.range_doubt import range_doubt
from phosphene.recipe import Recipe, resolve
from phosphene.report import write_report
from phosphene.report.formats import count
from phosphene.samples import default_samples, load_samples
from phosphene.sources import load
from phosphene.workflows.estimate import estimate
from phosphene.workflows.map import execute, write_own_predictions
from phosphene.workflows.plan import MapPlan, default_run, plan, run_name

# A run of more maps than this does not name its cached maps one by one.
MOST_NAMED = 100


@click.command("map", context_settings={"help_option_names": ["-h", "--help"]})
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
    samples: "str | None",
    recipes: tuple[str, ...],
    overrides: tuple[str, ...],
    seeds: int,
    seed: int,
    device: str,
    precision: str,
    frames: int,
    executor: str,
    workers: "int | None",
    threads: "int | None",
    gpus: float,
    out: "Path | None",
    trust: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Map what each MODEL means by its classes, by each recipe.

    MODEL is demo:shapes, a model card (path/to/card.toml), ...; `phosphene models` lists what there is. With several
    models or recipes, --out holds one run directory each. Ctrl-C or a crash loses nothing: the same command goes on.
    """
    if every == bool(concepts):
        raise ConceptError("name concepts with -c (repeatable), or take all of them with --all.")
    if gpus == 0 or executor == "local":
        pick_device(device)  # before any work
    workforce = pick_executor(executor, workers=workers, threads=threads, gpus=gpus, device=device)
    settings = [resolve(recipe, options.parse_overrides(overrides)) for recipe in dict.fromkeys(recipes)]
    wanted = None if every else concepts
    plans = _plan(models, settings, samples, out, wanted, range(seed, seed + seeds), trust=trust)
    for one in {id(one.classifier): one for one in plans}.values():
        for note in one.classifier.notes:
            click.echo(f"phosphene: {printable(one.classifier.name)}: {printable(note)}", err=True)
        options.warn(range_doubt(one.classifier, one.pool, device="auto" if gpus else device))
    if dry_run:
        documents = [_price(one, device, precision, quiet=as_json) for one in plans]
    else:
        documents = _make(plans, workforce, quiet=as_json, device=device, precision=precision, frames=frames)
    if as_json:
        options.print_json(documents[0] if len(documents) == 1 else documents)


def _price(one: MapPlan, device: str, precision: str, *, quiet: bool) -> dict[str, Any]:
    cost = estimate(one, device=device, precision=precision)
    if not quiet:
        there = f" ({cost.cached:,} are finished)" if cost.cached else ""
        click.echo(
            f"{printable(one.classifier.name)}: {len(one.jobs):,} maps{there}, {one.passes:,} passes, "
            f"about {cost.words} in one process -> {one.run.path}"
        )
    return {**_describe(one), **cost.to_dict()}


def _make(
    plans: Sequence[MapPlan], workforce: Executor, *, quiet: bool, device: str, **how: Any
) -> list[dict[str, Any]]:
    maps: list[list[dict[str, Any]]] = [[] for _ in plans]

    def on_map(found: MapSummary) -> None:
        facts = ("index", "label", "seed", "p_class", "targeting_rate", "passes", "seconds")
        maps[found.run].append({fact: getattr(found, fact) for fact in facts})
        if not quiet and (found.made or len(plans[found.run].jobs) <= MOST_NAMED):
            click.echo(_line(found), err=True)

    for one in plans:
        _skipped(one)
    title = plans[0].classifier.name if len(plans) == 1 else f"{len(plans)} runs"
    failed: JobsError | None = None
    try:
        with MapProgress(title) as progress:
            execute(plans, executor=workforce, on_progress=progress, on_map=on_map, device=device, **how)
    except JobsError as error:  # what could be made is shown all the same
        failed = error
    pairs = [(one, rows) for one, rows in zip(plans, maps, strict=True) if rows]
    documents = [_finish(one, rows, device, quiet=quiet or failed is not None) for one, rows in pairs]
    if failed is not None:
        raise failed
    return documents


def _plan(
    models: Sequence[str],
    recipes: Sequence[Recipe],
    samples: "str | None",
    out: "Path | None",
    wanted: "Sequence[str] | None",
    seeds: range,
    *,
    trust: bool,
) -> list[MapPlan]:
    plans: list[MapPlan] = []
    for spec in models:
        classifier = load(spec, trust=trust)
        pool = load_samples(samples or default_samples(spec), classifier.input.shape)
        for recipe in recipes:
            where = out or default_run(classifier, recipe, samples)
            if out and len(models) * len(recipes) > 1:
                where = out / run_name(classifier, recipe)
            if where in [other.run.path for other in plans]:
                raise SpecError(
                    f"two models or recipes are called {where.name!r} and would share {where}: map them one by one."
                )
            plans.append(plan(classifier, recipe, pool, where, wanted, seeds, trust=trust))
    return plans


def _describe(one: MapPlan) -> dict[str, Any]:
    return {
        "run": str(one.run.path),
        "model": one.classifier.name,
        "recipe": one.recipe.name,
        "samples": one.pool.spec,
        "jobs": len(one.jobs),
        "passes": one.passes,
    }


def _skipped(one: MapPlan) -> None:
    if one.pool.skipped:
        count, first = len(one.pool.skipped), printable(", ".join(one.pool.skipped[:3]))
        click.echo(f"phosphene: skipped {count} sample file(s) that are no readable images: {first}", err=True)


def _line(found: MapSummary) -> str:
    rate = "-" if found.targeting_rate is None else f"{found.targeting_rate:.0%}"
    name = f"{found.short} ({found.index}), seed {found.seed}"
    return f"{printable(name)}: p {found.p_class:.3f}, targeting {rate}, {found.seconds:.1f} s"


def _finish(one: MapPlan, rows: list[dict[str, Any]], device: str, *, quiet: bool) -> dict[str, Any]:
    write_own_predictions(one.run, one.classifier, device=device)
    report = write_report(one.run)
    if not quiet:
        click.echo(f"{count(len(rows), 'map')} in {one.run.path}; open {report}")
    rows.sort(key=lambda row: (row["index"], row["seed"]))  # several workers finish in any order
    return {**_describe(one), "report": str(report), "maps": rows}
