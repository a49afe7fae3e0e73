"""Tables for the terminal. Names and labels may come from anywhere, so control characters are removed from them."""

import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from phosphene.errors import first_few, printable
from phosphene.formats import rate_text
from phosphene.labels import first_synonym

if TYPE_CHECKING:
    from phosphene.workflows.score import RunScore

WIDEST = 10_000


def print_table(
    head: Sequence[str],
    rows: "Iterable[Sequence[str | Text]]",
    *,
    numbers: "Container[int] | None" = None,
    lines: bool = False,
) -> None:
    """Print a table of column names and cells (str: one line; or rich Text); columns at the positions ``numbers`` are aligned right.

    Args:
        head: Names of the columns.
        rows: Cells; one that is a string becomes one line.
        numbers: Positions of the columns that are aligned on the right; by default all but the first.
        lines: Whether space is left between rows.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=lines)
    for position, name in enumerate(head):
        number = position > 0 if numbers is None else position in numbers
        table.add_column(Text(printable(name)), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in row))
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console = Console(file=sys.stdout, width=WIDEST)
        console.width = console.measure(table).maximum
    with console.capture() as printed:  # rich itself would end the process on a closed pipe; click raises
        console.print(table)
    click.echo(printed.get(), nl=False)


def print_scores(scored: "Sequence[RunScore]") -> None:
    """Print scores as a table, a row per run and a column per target: ``M_score`` (at most 1) and top-1 rates, with 95 % intervals."""
    targets = {(row.target, row.target_sha256): row.target for row in scored}
    names = list(targets.values())
    columns = [f"{name} ({sha256[:8]})" if names.count(name) > 1 else name for name, sha256 in targets]
    rows = []
    for path in dict.fromkeys(row.run for row in scored):
        own = [row for row in scored if row.run == path]
        measures = f"M_score\ntop-1, all classes\ntop-1, the {own[0].concepts} concepts"
        rows.append([Text(cell) for cell in (_source_name(own[0], scored), measures, *map(_score_text, own))])
    print_table(["maps of", "measure", *columns], rows, numbers=(), lines=True)


def misclassified_lines(scored: "Sequence[RunScore]") -> Iterator[str]:
    """Yield a text line for each score with misclassified concepts: how many, and as which classes."""
    for row in scored:
        wrong = sorted((one for one in row.per_concept if one.misread), key=lambda one: one.right / one.maps)
        if wrong:
            errors = [
                f"{_short_label(one.label)} as {_short_label(one.misread[0].label)}"
                + (f" ({one.misread[0].count} of {one.maps})" if one.maps > 1 else "")
                for one in wrong
            ]
            count = f"{len(wrong)} of {len(row.per_concept)} concepts of {_source_name(row, scored, ', ')}"
            yield f"{printable(row.target)} misclassifies {count}: {first_few(errors)}"


def _source_name(row: "RunScore", scored: "Sequence[RunScore]", gap: str = "\n") -> str:
    """Return text that names a score's maps: their model and recipe, and the run's path if other runs share both, joined by ``gap``."""
    alike = {other.run for other in scored if (other.source, other.recipe) == (row.source, row.recipe)}
    names = [row.source, row.recipe, *([str(row.run)] if len(alike) > 1 else [])]
    return gap.join(printable(name) for name in names)


def _score_text(row: "RunScore") -> str:
    """Return a cell of three lines: M_score, top-1 among all classes, top-1 among the run's concepts; each with its 95 % interval."""
    low, high = row.interval
    rates = ((row.top1_all, row.top1_all_interval), (row.top1_concepts, row.top1_concepts_interval))
    return "\n".join([f"{row.m_score:.2f} [{low:.2f}, {high:.2f}]", *(rate_text(*rate) for rate in rates)])


def _short_label(label: str) -> str:
    """Return the first synonym of a class label as printable text, without control characters."""
    return printable(first_synonym(label))
