"""What a report of a hundred maps costs: `python -m benchmarks.engine.report` (about 4 minutes on 2 cores).

Two runs are made cheaply (two steps per map: what the maps show does not matter here): one of a demo network at 96
pixels, one of a MobileNet V2 with random weights at 224, whose noise compresses worst. Their reports are written
several times and opened from file:// in headless chromium, each time in a fresh process.

Writing takes one core. On a shared machine its CPU seconds are what an idle one would take, so the limit is compared
with them. Fails where a number is above its limit.
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

from benchmarks.common import hardware, make_maps, markdown_table, write_result
from phosphene.recipe import resolve
from phosphene.reports import write_report
from phosphene.runs import RunDirectory
from phosphene.sources import load
from phosphene.workflows.own_predictions import write_own_predictions
from phosphene.workflows.score import score_sources

REPEATS = 5
CHEAP = {"steps": 2, "refine_steps": 0, "batch_size": 2}
VIEWPORTS = {"1440 pixels": (1440, 900), "390 pixels": (390, 844)}
# name -> model, number of classes (None for all), seeds, targets
CASES: dict[str, tuple[str, "int | None", int, tuple[str, ...]]] = {
    "108 maps at 96 pixels": ("demo:shapes", None, 9, ("demo:shapes", "demo:shapes-plain")),
    "100 maps at 224 pixels": ("torchvision:mobilenet_v2@random", 20, 5, ()),
}
LIMITS = {"cpu_seconds": 10.0, "megabytes": 15.0, "first_paint": 1.0}


def make_run(case: str, folder: Path) -> RunDirectory:
    """Make the run of a case."""
    model, count, seeds, targets = CASES[case]
    source = load(model)
    concepts = range(source.num_classes if count is None else count)
    out = folder / case.replace(" ", "-")
    recipe = resolve("vivid", CHEAP)
    run = make_maps(source, recipe, concepts, seeds=seeds, samples="synthetic:mixed", out=out)
    write_own_predictions(run, source)
    if targets:
        score_sources([run], targets)
    return run


def first_paint(page: Path, size: tuple[int, int]) -> float:
    """Return the seconds until chromium paints something of the page."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    width, height = size
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": width, "height": height})
        tab.goto(page.resolve().as_uri())
        tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        milliseconds: float = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        browser.close()
    return milliseconds / 1000


def measure(run: RunDirectory) -> dict[str, Any]:
    """Write a run's report several times and open it; return medians, and the spread of the first paint."""
    seconds, cpu_seconds = [], []
    for _ in range(REPEATS):
        began, worked = time.perf_counter(), time.process_time()
        page = Path(write_report(run))
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - worked)
    paints = {name: sorted(first_paint(page, size) for _ in range(REPEATS)) for name, size in VIEWPORTS.items()}
    return {
        "maps": len(run.facts()["jobs"]),
        "seconds": statistics.median(seconds),
        "cpu_seconds": statistics.median(cpu_seconds),
        "megabytes": page.stat().st_size / 1e6,
        "first_paint": max(statistics.median(one) for one in paints.values()),
        "first_paints": paints,
    }


def main() -> None:
    """Measure every case, write the result, print a table, and fail where a number is above its limit."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases = {case: measure(make_run(case, Path(folder))) for case in CASES}
    write_result("report", {"repeats": REPEATS, "load": os.getloadavg()[0], "limits": LIMITS, "cases": cases})
    print(hardware())
    rows = []
    for case, one in cases.items():
        paints = [
            f"{times[REPEATS // 2]:.2f} ({times[0]:.2f} to {times[-1]:.2f})" for times in one["first_paints"].values()
        ]
        rows.append([case, *(f"{one[key]:.1f}" for key in ("seconds", "cpu_seconds", "megabytes")), *paints])
    print(markdown_table(["run", "seconds", "CPU seconds", "MB", *(f"first paint, s, {v}" for v in VIEWPORTS)], rows))
    above = [case for case, one in cases.items() if any(one[key] > limit for key, limit in LIMITS.items())]
    if above:
        sys.exit(f"above the limits {LIMITS}: {', '.join(above)}")


if __name__ == "__main__":
    main()
