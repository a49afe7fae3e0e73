"""How far an execution is, over all workers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.concepts import is_unit
from phosphene.errors import JobsError
from phosphene.executors.base import Group, MapPlan
from phosphene.formats import count, percent
from phosphene.labels import Labels, first_synonym
from phosphene.mapper import Step, passes_per_map
from phosphene.metrics.range_check import range_doubt
from phosphene.progress import ProgressDisplay
from phosphene.runs.failures import failure_line
from phosphene.samples import SamplePool
from phosphene.samples.pool import FEW_HELD_OUT

TRIES = 3  # of a map, before it is given up
MOST_NAMED_FAILURES = 5  # in messages
RATE_DELAY_SECONDS = 1.0  # until then, maps of workers that began earlier would spoil the maps per minute


@dataclass(frozen=True)
class Progress:
    """How far the making of maps is, as ``on_progress`` gets it.

    Attributes:
        maps_done: Maps that are finished.
        maps_total: Maps of all plans.
        labels: Names of the maps that the last step was taken on.
        step: The last step.
        of_units: Whether some of these maps are of units or outputs: the step's hits are then samples where these are
            active, and not samples that are predicted as the class.
        share: Finished share of all passes through networks, in [0, 1]; ``None`` if passes are not counted.
        rate: Maps per minute, over all workers, since the beginning; ``None`` if that is not known.
        workers: Workers in use.
        failed: Number of maps that could not be made.
        failures: A line for each of the first few of them: name, seed and error.
        source: Classifier and recipe of the last step, ``shapes (vivid)``, if there are several plans; else empty.
    """

    maps_done: int
    maps_total: int
    labels: tuple[str, ...]
    step: Step
    of_units: bool = False
    share: "float | None" = None
    rate: "float | None" = None
    workers: int = 1
    failed: int = 0
    failures: tuple[str, ...] = ()
    source: str = ""

    @classmethod
    def of_step(
        cls, step: Step, jobs: Sequence[Job], labels: Labels, failures: Sequence[Mapping[str, Any]], **facts: Any
    ) -> Self:
        """Return the Progress after a step on the maps of ``jobs``, of a classifier with ``labels``.

        ``failures`` are rows of ``failures.json``, and ``facts`` the other attributes.
        """
        return cls(
            labels=tuple(first_synonym(job.concept(labels).label) for job in jobs),
            step=step,
            of_units=any(is_unit(job.index) for job in jobs),
            failed=len(failures),
            failures=tuple(f"could not make {failure_line(row)}" for row in failures[:MOST_NAMED_FAILURES]),
            **facts,
        )

    def show(self, display: ProgressDisplay) -> None:
        """Show the map that is made, its loss and hits, and the time left on the display.

        Each of the first few maps that could not be made gets a line that stays, once.
        """
        for line in self.failures:
            display.note(line)
        step = self.step
        maps_done = self.maps_done + len(self.labels) * step.number / step.total
        labels = ", ".join(self.labels[:3]) + (", ..." if len(self.labels) > 3 else "")
        labels += f" by {self.source}" if self.source else ""
        hits = f"{percent(step.hits)} of the step's samples {'activate it' if self.of_units else 'classified as it'}"
        facts = f"step {step.number} of {step.total}, loss {step.loss:.3f}, {hits}"
        if self.workers > 1 and self.rate is not None:
            facts += f", {self.workers} workers, {self.rate:.1f} maps per minute"
        if self.failed:
            facts += f", {self.failed} failed"
        display.update(
            f"map {min(self.maps_done + 1, self.maps_total)} of {self.maps_total}, {labels}",
            maps_done / max(self.maps_total, 1) if self.share is None else self.share,
            facts,
            last=step.number >= step.total,
        )


def show_notes(display: ProgressDisplay, classifier: Classifier, pool: SamplePool) -> None:
    """Print the notes on a model, such as random weights, and which samples were skipped."""
    for note in classifier.notes:
        display.note(f"{classifier.name}: {note}")
    if pool.skipped:
        file_names = ", ".join(pool.skipped[:3]) + (", ..." if len(pool.skipped) > 3 else "")
        display.note(f"skipped {len(pool.skipped)} sample file(s) that are not readable images: {file_names}")


def show_doubts(display: ProgressDisplay, classifier: Classifier, pool: SamplePool, device: str) -> str:
    """Print notes on a model and its samples, and warn if its declared input range is doubtful; return that warning, or empty text.

    Doubtful means that another input convention fits the model better. Samples have a note if few are held out, or some
    were skipped.
    """
    show_notes(display, classifier, pool)
    held_out = len(pool.held_out)
    if held_out < FEW_HELD_OUT:
        held_out_text = f"{count(held_out, 'sample')} of {len(pool)} {'is' if held_out == 1 else 'are'}"
        display.note(
            f"only {held_out_text} held out, too few for a targeting rate: give {10 * FEW_HELD_OUT} samples or more."
        )
    doubt = range_doubt(classifier, pool, device=device)
    display.warn(doubt)
    return doubt or ""


class MapCounts:
    """Counts the made, cached and failed maps of all plans together, and their passes.

    Attributes:
        made: Maps that were made.
        cached: Maps that were finished before.
        failures: Maps that could not be made: the run, and the row of its ``failures.json``.
    """

    def __init__(self, plans: Sequence[MapPlan]) -> None:
        self.plans = plans
        self.cached = self.made = 0
        self.failures: list[tuple[MapPlan, dict[str, Any]]] = []
        self.cost = [passes_per_map(plan.recipe, plan.pool) for plan in plans]
        self.maps = sum(len(plan.jobs) for plan in plans)
        self.total = sum(plan.passes for plan in plans)
        # Passes of finished maps, also of cached ones that no group has come to yet.
        self.finished = float(
            self.total - sum(plan.missing_count * cost for plan, cost in zip(plans, self.cost, strict=True))
        )
        self.under_way: dict[Group, float] = {}  # passes of maps that are not finished
        self.began: float | None = None  # when the first step was counted

    def count_damaged(self, run: int) -> None:
        """Count a map of the plan at position ``run`` as unfinished: its files are there, but damaged."""
        self.finished -= self.cost[run]

    def count_made(self, group: Group) -> None:
        """Count one map of a group as made now, and its passes as finished."""
        cost = self.cost[group.run]
        self.made += 1
        self.finished += cost
        self.under_way[group] = max(0.0, self.under_way.get(group, 0.0) - cost)

    def count_failed(self, run: int, row: dict[str, Any]) -> None:
        """Count a map of the plan at position ``run`` as given up.

        Its ``failures.json`` row is stored, and its passes no longer count in the total.
        """
        self.failures.append((self.plans[run], row))
        self.total -= self.cost[run]

    def count_ended(self, group: Group) -> None:
        """Stop counting a group's unfinished maps as under way, because it has failed, was stopped or is done."""
        self.under_way.pop(group, None)

    def count_step(self, group: Group, step: Step, workers: int) -> Progress:
        """Count a step of a group; return the ``Progress`` of all plans."""
        now = time.monotonic()
        self.began = self.began or now
        elapsed = now - self.began
        self.under_way[group] = len(group.missing) * self.cost[group.run] * step.number / step.total
        plan = self.plans[group.run]
        return Progress.of_step(
            step,
            group.jobs,
            plan.classifier.labels,
            [row for _, row in self.failures],
            maps_done=self.cached + self.made,
            maps_total=self.maps,
            share=min((self.finished + sum(self.under_way.values())) / max(self.total, 1), 1.0),
            rate=self.made / elapsed * 60 if elapsed > RATE_DELAY_SECONDS else None,
            workers=workers,
            source=source_of(plan) if len(self.plans) > 1 else "",
        )

    def raise_failures(self) -> None:
        """Raise a JobsError that names the first maps that could not be made; do nothing if there are none.

        Raises:
            JobsError: some maps could not be made; the first few are named.
        """
        if not self.failures:
            return
        count = len(self.failures)
        where = ", ".join(sorted({str(plan.run.path / "failures.json") for plan, _ in self.failures}))
        raise JobsError(
            f"{count} of {self.made + self.cached + count} maps could not be made in {TRIES} tries: "
            f"{failures_text([row for _, row in self.failures])}. All are listed in {where}; the same command tries them again."
        )


def failures_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return as text the first of several maps that could not be made, each with its error, and how many more there are."""
    lines = [failure_line(row).rstrip(".") for row in rows[:MOST_NAMED_FAILURES]]
    more = [f"and {len(rows) - MOST_NAMED_FAILURES} more"] if len(rows) > MOST_NAMED_FAILURES else []
    return "; ".join([*lines, *more])


def source_of(plan: MapPlan) -> str:
    """Return the name of a plan's classifier with that of its recipe: ``shapes (vivid)``.

    It tells several runs of one command apart.
    """
    return f"{plan.classifier.name} ({plan.recipe.name})"
