"""What a report of a hundred maps costs: `python -m benchmarks.engine.report` (about 4 minutes on 2 cores).

Two runs are made cheaply (two steps a map: what the pictures show does not matter here), one of a demo network at 96
pixels, one of a MobileNet V2 with random weights at 224, whose noise compresses worst. Then the report is written
several times, and the page is opened from file:// in headless chromium, every time in a fresh process.

Writing takes one core; where others share the machine, the seconds of CPU are what a free one would take, and they are
what the limit is held against. Both stand in the result, and so does the machine's load.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import hardware, keep, table
from phosphene.recipe import resolve
from phosphene.report import write_report
from phosphene.runs import RunDirectory
from phosphene.samples import load_samples
from phosphene.sources import load
from phosphene.workflows import execute, note_own_readings, plan, score_runs

REPEATS = 5
CHEAP = {"steps": 2, "refine_steps": 0, "batch_size": 2}
VIEWPORTS = {"1440 pixels": (1440, 900), "390 pixels": (390, 844)}
# name -> model, classes (None for all), seeds, who else reads the maps
CASES: dict[str, tuple[str, "int | None", int, tuple[str, ...]]] = {
    "108 maps at 96 pixels": ("demo:shapes", None, 9, ("demo:shapes", "demo:shapes-plain")),
    "100 maps at 224 pixels": ("torchvision:mobilenet_v2@random", 20, 5, ()),
}
# What the report must keep to.
MOST = {"seconds": 10.0, "megabytes": 15.0, "first_paint": 1.0}


def make(case: str, folder: Path) -> RunDirectory:
    """Make the run of a case, unless it is there."""
    model, classes, seeds, targets = CASES[case]
    classifier = load(model)
    pool = load_samples("synthetic:mixed", classifier.input.shape)
    concepts = None if classes is None else list(range(classes))
    todo = plan(classifier, resolve("vivid", CHEAP), pool, folder / case.replace(" ", "-"), concepts, range(seeds))
    execute(todo)
    note_own_readings(todo.run, classifier)
    if targets:
        score_runs([todo.run.path], targets)
    return todo.run


def first_paint(page: Path, size: tuple[int, int]) -> dict[str, float]:
    """Return the seconds until something, and until everything, was there."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    width, height = size
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": width, "height": height})
        opened.goto(page.resolve().as_uri())
        opened.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        paint = opened.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        loaded = opened.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        browser.close()
    return {"first_paint": paint / 1000, "loaded": loaded / 1000}


def spread(values: list[float]) -> dict[str, float]:
    """Return the median and the ends."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def measure(run: RunDirectory) -> dict[str, Any]:
    """Write a run's report several times, and open it."""
    seconds, busy = [], []
    for _ in range(REPEATS):
        began, worked = time.perf_counter(), time.process_time()
        page = Path(write_report(run))
        seconds.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
    opened = {name: [first_paint(page, size) for _ in range(REPEATS)] for name, size in VIEWPORTS.items()}
    return {
        "maps": len(run.facts()["jobs"]),
        "seconds": spread(seconds),
        "cpu_seconds": spread(busy),
        "megabytes": page.stat().st_size / 1e6,
        "opened": {
            name: {key: spread([one[key] for one in found]) for key in found[0]} for name, found in opened.items()
        },
    }


def main() -> None:
    """Measure every case, keep the figures, print a table, and fail where a figure is beyond its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="Where the runs are made, and found again.  [a temporary folder]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        found = {case: measure(make(case, folder)) for case in CASES}
    keep("report", {"repeats": REPEATS, "load": os.getloadavg()[0], "limits": MOST, "cases": found})
    print(hardware())
    rows = []
    for case, facts in found.items():
        paints = [one["first_paint"] for one in facts["opened"].values()]
        cells = [*(f"{facts[key]['median']:.1f}" for key in ("seconds", "cpu_seconds")), f"{facts['megabytes']:.1f}"]
        rows.append(
            [case, *cells, *(f"{one['median']:.2f} ({one['least']:.2f} to {one['most']:.2f})" for one in paints)]
        )
    print(table(["run", "written, s", "of CPU", "MB", *(f"first paint, s, {name}" for name in VIEWPORTS)], rows))
    beyond = [
        case
        for case, facts in found.items()
        if facts["cpu_seconds"]["median"] > MOST["seconds"]
        or facts["megabytes"] > MOST["megabytes"]
        or any(one["first_paint"]["median"] > MOST["first_paint"] for one in facts["opened"].values())
    ]
    if beyond:
        sys.exit(f"beyond the limits {MOST}: {', '.join(beyond)}")


if __name__ == "__main__":
    main()
