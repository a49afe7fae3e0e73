"""Tables for the terminal. Names and labels may come from anywhere, so control characters are removed from them."""

import sys
import textwrap
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from phosphene.errors import first_few, printable
from phosphene.formats import BEYOND, TOP1_OF_SIDES, percent, rate_text
from phosphene.labels import first_synonym

if TYPE_CHECKING:
    from phosphene.workflows.score import RunScore

MAX_WIDTH = 10_000


def print_text(text: str, indent: str = "", *, err: bool = False) -> None:
    """Print a paragraph on stdout or stderr: wrapped between words to a terminal's width, as one line elsewhere.

    Args:
        text: The paragraph; control characters are removed.
        indent: What its first line begins with; the others are indented as far.
        err: Whether it goes to stderr.
    """
    console, line = Console(file=sys.stderr if err else sys.stdout), printable(text)
    if console.is_terminal:
        later = " " * len(indent)
        wrapper = textwrap.TextWrapper(console.width, indent, later, break_long_words=False, break_on_hyphens=False)
        line = wrapper.fill(line)
    click.echo(line if console.is_terminal else indent + line, err=err)


def print_table(
    columns: Sequence[str],
    rows: "Iterable[Sequence[str | Text]]",
    *,
    numbers: "Container[int] | None" = None,
    lines: bool = False,
) -> None:
    """Print a table on stdout; if that is no terminal, no line is wrapped.

    Args:
        columns: Names of the columns.
        rows: Cells, as strings or rich Text; a string becomes one line.
        numbers: Positions of the columns that are aligned on the right; by default all but the first.
        lines: Whether space is left between rows.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=lines)
    for position, name in enumerate(columns):
        is_number = position > 0 if numbers is None else position in numbers
        table.add_column(Text(printable(name)), justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in row))
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        console = Console(file=sys.stdout, width=MAX_WIDTH)
        console.width = console.measure(table).maximum
    with console.capture() as capture:  # rich itself would end the process on a closed pipe; click raises
        console.print(table)
    click.echo(capture.get(), nl=False)


def print_scores(scores: "Sequence[RunScore]") -> None:
    """Print scores as a table with a row per measure of each run and a column per target.

    Cells are ``M_score`` (at most 1) and top-1 rates, with 95 % intervals.
    """
    targets = {(row.target, row.target_sha256): row.target for row in scores}
    names = list(targets.values())
    columns = [f"{name} ({sha256[:8]})" if names.count(name) > 1 else name for name, sha256 in targets]
    rows: list[list[str]] = []
    for path in dict.fromkeys(row.run for row in scores):
        run_scores = [row for row in scores if row.run == path]
        measures = [_measures(one) for one in run_scores]
        rates = dict.fromkeys(name for one in measures for name in one)
        lines = [[name, *(one.get(name, "-") for one in measures)] for name in rates]
        empty_row = [""] * (2 + len(measures))
        rows += [empty_row] if rows else []
        sources = _source_names(run_scores[0], scores)
        rows += [[source, *(line or empty_row[1:])] for source, line in zip_longest(sources, lines, fillvalue="")]
    print_table(["maps of", "measure", *columns], rows, numbers=())


def misclassified_lines(scores: "Sequence[RunScore]") -> Iterator[str]:
    """Yield a line for each score with misclassified concepts.

    It says how many there are, and as which classes; of outputs, how many maps of each.
    """
    for row in scores:
        target, source, total = printable(row.target), ", ".join(_source_names(row, scores)), len(row.per_concept)
        missed_outputs = [
            f"{_short_label(one.label)} ({one.maps - one.right} of {one.maps})"
            for one in row.per_concept
            if row.of_outputs and one.right < one.maps
        ]
        if missed_outputs:
            count = f"{len(missed_outputs)} of {total} outputs of {source}"
            yield f"by {target}, maps of {count} are not {BEYOND}: {first_few(missed_outputs)}"
        wrong_concepts = [
            f"{_short_label(one.label)} as {_short_label(one.misread[0].label)}"
            + (f" ({one.misread[0].count} of {one.maps})" if one.maps > 1 else "")
            for one in sorted(row.per_concept, key=lambda one: one.right / one.maps)
            if one.misread
        ]
        if wrong_concepts:
            count = f"{len(wrong_concepts)} of {total} concepts of {source}"
            yield f"{target} misclassifies {count}: {first_few(wrong_concepts)}"


def _source_names(row: "RunScore", scores: "Sequence[RunScore]") -> list[str]:
    """Return the model and recipe of a score's maps, and if other runs share both, the run's path."""
    same_source_runs = {other.run for other in scores if (other.source, other.recipe) == (row.source, row.recipe)}
    names = [row.source, row.recipe, *([str(row.run)] if len(same_source_runs) > 1 else [])]
    return [*map(printable, names)]


def _measures(row: "RunScore") -> dict[str, str]:
    """Return the measures of a score as text, by name: M_score and top-1, with 95 % intervals.

    Of outputs, the share of maps beyond the 99th percentile stands in for top-1.
    """
    all_classes = rate_text(row.top1_all, row.top1_all_interval)
    if row.of_outputs:
        return {"M_score": row.m_score_text, BEYOND: all_classes, "mean percentile": percent(row.p_class)}
    measures = {"M_score": row.m_score_text, row.rate_name: all_classes}
    if row.top1_contrasts is not None and row.top1_contrasts_interval is not None:
        name = TOP1_OF_SIDES if row.of_contrasts else f"contrasts: {TOP1_OF_SIDES}"
        measures[name] = rate_text(row.top1_contrasts, row.top1_contrasts_interval)
    if row.top1_concepts is not None and row.top1_concepts_interval is not None:
        measures[f"top-1, the {row.concepts} concepts"] = rate_text(row.top1_concepts, row.top1_concepts_interval)
    return measures


def _short_label(label: str) -> str:
    """Return the first synonym of a class label as printable text, without control characters."""
    return printable(first_synonym(label))
