"""Options that several commands share, and how their results are printed."""

import json
from collections.abc import Callable
from typing import Any

import click

from phosphene.errors import RecipeError
from phosphene.recipe import DEFAULT_RECIPE, RECIPES

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _together(*options: Decorator) -> Decorator:
    """Return a decorator that adds several options to a command, in this order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


mapping = _together(
    click.option(
        "--samples",
        metavar="SPEC",
        help="Folder, .parquet, .npz or synthetic:KIND.  [synthetic:mixed, or demo:shapes]",
    ),
    click.option(
        "--recipe",
        "recipes",
        multiple=True,
        default=(DEFAULT_RECIPE,),
        show_default=True,
        metavar="NAME",
        help=f"{', '.join(RECIPES)}, or FILE.toml (repeatable).",
    ),
    click.option(
        "--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Change a recipe field (repeatable)."
    ),
)
seeds = _together(
    click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 2**32 - 1), help="Maps per concept."),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="The first seed."),
)
device = click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:1.")
machine = _together(
    device,
    click.option(
        "--precision",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "fp32", "bf16"]),
        help="Number format that the network computes in; auto is fp32.",
    ),
)
frames = click.option(
    "--frames",
    default=0,
    metavar="N",
    type=click.IntRange(0, 240),
    help="Save N frames of each map as it grows; `phosphene film` and the report play them.  [0: none]",
)
fleet = _together(
    click.option(
        "--executor",
        default="local",
        show_default=True,
        type=click.Choice(["local", "ray"]),
        help="Where the maps are made: on this machine, or on a Ray cluster (RAY_ADDRESS).",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1, 10_000),
        metavar="N",
        help="Worker processes.  [none: this process; ray: as many as fit]",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="CPU threads per worker.  [cores / workers; ray: 1]",
    ),
    click.option(
        "--gpus",
        default=0.0,
        show_default=True,
        type=click.FloatRange(0, 64),
        metavar="SHARE",
        help="ray: GPUs per worker; with 0.25, four workers share one.",
    ),
)
trust = click.option(
    "--trust", is_flag=True, help="Run code that comes with the model: factory file, .pt2, TorchScript, remote code."
)
as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else there."
)


def parse_overrides(pairs: tuple[str, ...]) -> dict[str, str]:
    """Split FIELD=VALUE pairs.

    Raises:
        RecipeError: a pair has no ``=``.
    """
    for pair in pairs:
        if "=" not in pair:
            raise RecipeError(f"--set {pair} must have the form field=value, for example --set steps=60.")
    return {key.strip(): value.strip() for key, value in (pair.split("=", 1) for pair in pairs)}


def count(maps: int) -> str:
    """Return ``1 map`` or ``12 maps``."""
    return f"{maps:,} map{'s' * (maps != 1)}"


def print_json(data: Any) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(data, indent=1, ensure_ascii=False))
