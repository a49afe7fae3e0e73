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
from phosphene.formats import BEYOND, percent, rate_text
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
        cells = ["\n".join(_measures(one).values()) for one in own]
        rows.append([Text(cell) for cell in (_source_name(own[0], scored), "\n".join(_measures(own[0])), *cells)])
    print_table(["maps of", "measure", *columns], rows, numbers=(), lines=True)


def misclassified_lines(scored: "Sequence[RunScore]") -> Iterator[str]:
    """Yield a text line for each score with wrong concepts: how many, and as which classes, or how many maps of each output."""
    for row in scored:
        inside = [one for one in row.per_concept if one.right < one.maps] if row.of_outputs else []
        if inside:
            outputs = first_few([f"{_short_label(one.label)} ({one.maps - one.right} of {one.maps})" for one in inside])
            count = f"{len(inside)} of {len(row.per_concept)} outputs of {_source_name(row, scored, ', ')}"
            yield f"by {printable(row.target)}, maps of {count} are not {BEYOND}: {outputs}"
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


def _measures(row: "RunScore") -> dict[str, str]:
    """Return the measures of a score by name, as text: M_score and top-1 with 95 % intervals, or of outputs how many maps are beyond."""
    all_classes = rate_text(row.top1_all, row.top1_all_interval)
    if row.of_outputs:
        return {"M_score": row.m_score_text, BEYOND: all_classes, "mean percentile": percent(row.p_class)}
    named = {"M_score": row.m_score_text, row.rate_name: all_classes}
    if row.top1_concepts is not None and row.top1_concepts_interval is not None:
        named[f"top-1, the {row.concepts} concepts"] = rate_text(row.top1_concepts, row.top1_concepts_interval)
    return named


def _short_label(label: str) -> str:
    """Return the first synonym of a class label as printable text, without control characters."""
    return printable(first_synonym(label))
