"""``phosphene map``: classifiers and concepts in, run directories out."""

from pathlib import Path
from typing import Any

import click

from phosphene.cli import options
from phosphene.cli.progress import MapProgress
from phosphene.concept_map import ConceptMap
from phosphene.engine.device import pick_device
from phosphene.errors import ConceptError, SpecError, printable
from phosphene.fleet import MapPlan, default_run, execute, plan, run_name
from phosphene.metrics.range_doubt import range_doubt
from phosphene.recipe import resolve
from phosphene.report import write_report
from phosphene.samples import default, load_samples
from phosphene.sources import load


@click.command("map", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "-c", "--concept", "concepts", multiple=True, metavar="CONCEPT", help="Index, label or synonym (repeatable)."
)
@click.option("--all", "every", is_flag=True, help="Map every class.")
@options.mapping
@options.seeds
@options.machine
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [below runs/, by model and recipe]")
@options.trust
@click.option("--dry-run", is_flag=True, help="Say what would be done, and what it costs, and stop.")
@options.as_json
def command(
    models: tuple[str, ...],
    concepts: tuple[str, ...],
    every: bool,
    samples: "str | None",
    recipe: str,
    overrides: tuple[str, ...],
    seeds: int,
    seed: int,
    device: str,
    precision: str,
    out: "Path | None",
    trust: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Map what each MODEL means by its classes.

    MODEL is demo:shapes, a model card (path/to/card.toml), ...; `phosphene models` lists what there is.
    """
    if every == bool(concepts):
        raise ConceptError("name concepts with -c (repeatable), or take all of them with --all.")
    pick_device(device)  # before any work
    settings = resolve(recipe, options.parse_overrides(overrides))
    plans: list[MapPlan] = []
    for spec in models:
        classifier = load(spec, trust=trust)
        where = out or default_run(classifier, settings, samples)
        if out and len(models) > 1:
            where = out / run_name(classifier, settings)
        pool = load_samples(samples or default(spec), classifier.input.shape)
        wanted = None if every else concepts
        plans.append(plan(classifier, settings, pool, where, wanted, range(seed, seed + seeds)))
        if where in [other.run.path for other in plans[:-1]]:
            raise SpecError(f"two models are called {classifier.name!r} and would share {where}: map them one by one.")
    for one in plans:
        for note in one.classifier.notes:
            click.echo(f"phosphene: {printable(one.classifier.name)}: {printable(note)}", err=True)
        options.warn(range_doubt(one.classifier, one.pool, device=device))
    documents = [_describe(one) if dry_run else _run(one, device, precision, quiet=as_json) for one in plans]
    if as_json:
        options.print_json(documents[0] if len(documents) == 1 else documents)
    elif dry_run:
        for document in documents:
            click.echo(
                f"{document['model']}: {document['jobs']} maps, {document['passes']:,} passes -> {document['run']}"
            )


def _describe(one: MapPlan) -> dict[str, Any]:
    return {
        "run": str(one.run.path),
        "model": one.classifier.name,
        "recipe": one.recipe.name,
        "samples": one.pool.spec,
        "jobs": len(one.jobs),
        "passes": one.passes,
    }


def _run(one: MapPlan, device: str, precision: str, *, quiet: bool) -> dict[str, Any]:
    if one.pool.skipped:
        count, first = len(one.pool.skipped), printable(", ".join(one.pool.skipped[:3]))
        click.echo(f"phosphene: skipped {count} sample file(s) that are no readable images: {first}", err=True)
    rows: list[dict[str, Any]] = []

    def done(found: ConceptMap) -> None:
        facts = ("index", "label", "seed", "p_class", "targeting_rate", "passes", "seconds")
        rows.append({fact: getattr(found, fact) for fact in facts})
        if not quiet:
            rate = "-" if found.targeting_rate is None else f"{found.targeting_rate:.0%}"
            name = f"{found.short} ({found.index}), seed {found.seed}"
            click.echo(f"{printable(name)}: p {found.p_class:.3f}, targeting {rate}, {found.seconds:.1f} s", err=True)

    with MapProgress(one.classifier.name) as progress:
        execute(one, device=device, precision=precision, watch=progress, done=done)
    report = write_report(one.run)
    if not quiet:
        click.echo(f"{len(rows)} maps in {one.run.path}; open {report}")
    return {**_describe(one), "report": str(report), "maps": rows}
