"""What a site of three runs of 1,001 maps costs, and the report of one of them: `python -m benchmarks.maps.site`.

The runs are written for the purpose: five drafts of MobileNet V2, made by `vivid` with few steps, turned and shifted,
stand for the maps of all classes of three networks, with scores and predictions of all three. What the maps show does
not matter here; their number, their size and how well they compress do. About 10 minutes on 2 cores, 3 GB of disk.

On a shared machine, CPU seconds are the upper bound of what an idle one takes, so the limits are compared with them.
The first paint is that of headless chromium from file://, each time in a fresh process. Fails above a limit.
"""

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import phosphene as ph
from benchmarks.common import NETWORKS, hardware, make_maps, markdown_table, network, write_result
from benchmarks.engine.report import VIEWPORTS, first_paint
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.concepts import Concept
from phosphene.engine import Engine
from phosphene.metrics.matching import MatchedMaps
from phosphene.metrics.predictions import SCORE_CONTRAST, logits_at_contrasts, top_predictions
from phosphene.metrics.scores import CONTRASTS, score_of_logits
from phosphene.recipe import resolve
from phosphene.runs import RunDirectory, run_facts
from phosphene.runs.predictions import write_predictions
from phosphene.runs.scores import write_scores
from phosphene.samples import load_samples

DRAFTS, STEPS, REPEATS = ("castle", "lion", "airliner", "zebra", "daisy"), 24, 5
LIMITS = {
    "site": {"cpu_seconds": 60.0, "index_kilobytes": 300.0, "first_paint": 1.0},
    "report": {"cpu_seconds": 20.0, "megabytes": 60.0, "first_paint": 1.0},
}


def write_run(folder: Path, source: Classifier, drafts: list[ConceptMap], readers: list[Classifier]) -> RunDirectory:
    """Write a run of all classes of a network; its maps are turned and shifted drafts."""
    run, labels = RunDirectory(folder), source.labels
    pool, recipe = load_samples("synthetic:noise", source.input.shape), resolve("vivid", {"steps": STEPS})
    run.begin(
        run_facts(source, recipe, pool, "cpu", "fp32"), [(Job(index), label) for index, label in enumerate(labels)]
    )
    for index, label in enumerate(labels):
        draft = drafts[index % len(drafts)]
        nu, xi = (torch.rot90(one.roll(7 * index, -1), index % 4, (-2, -1)) for one in (draft.nu, draft.xi))
        run.write(dataclasses.replace(draft, nu=nu, xi=xi, index=index, label=label, p_class=0.5 + index % 50 / 100))
    hashes, own = run.map_hashes(), dict(enumerate(labels))
    maps = MatchedMaps([Concept.of_class(*one) for one in own.items()], {index: index for index in own}, labels)
    for reader in readers:
        with Engine(reader) as engine:
            logits = logits_at_contrasts(engine, drafts, CONTRASTS)[:, [index % len(drafts) for index in own]]
        rows = top_predictions(logits[CONTRASTS.index(SCORE_CONTRAST)], maps)
        write_predictions(run, reader, dict(zip(hashes, rows, strict=True)), hashes)
        score = score_of_logits(logits, maps, source=source.name, target=reader.name)
        about = {"target_spec": reader.spec, "target_sha256": reader.sha256, "maps_sha256": run.maps_sha256()}
        write_scores(run, [score.to_dict() | about])
    return run


def measure(write: Callable[[], Any], page: Path) -> dict[str, float]:
    """Write a page, and whatever belongs to it, and open it; the first paint is the median in the slower viewport."""
    began, worked = time.perf_counter(), time.process_time()
    write()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - worked
    paints = (statistics.median(first_paint(page, size) for _ in range(REPEATS)) for size in VIEWPORTS.values())
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "first_paint": max(paints)}


def main() -> None:
    """Write the runs, measure site and report, and fail where a figure is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="Where runs and site are written and left; by default nowhere.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = parser.parse_args().folder or Path(temporary)
        networks = [network(name) for name in NETWORKS[:3]]
        drafts = list(make_maps(networks[0], resolve("vivid", {"steps": STEPS}), DRAFTS).maps())
        runs = [folder / f"run-{one.name}" for one in networks]
        for path, source in zip(runs, networks, strict=True):
            write_run(path, source, drafts, networks)
        report, site = runs[0] / "report.html", folder / "site"
        found = {"report": measure(lambda: ph.report(runs[0]), report)}
        found["report"] |= {
            "megabytes": report.stat().st_size / 1e6,
            "sheet_megabytes": (runs[0] / "sheet.png").stat().st_size / 1e6,
        }
        found["site"] = measure(lambda: ph.site(runs, out=site), site / "index.html")
        files = [one for one in site.rglob("*") if one.is_file()]
        found["site"]["index_kilobytes"] = (site / "index.html").stat().st_size / 1e3
        found["site"] |= {"megabytes": sum(one.stat().st_size for one in files) / 1e6, "files": len(files)}
    write_result("site", {"repeats": REPEATS, "load": os.getloadavg()[0], "limits": LIMITS, **found})
    print(hardware())
    keys = list(found["site"])
    rows = [[what, *(f"{one[key]:,.2f}" if key in one else "" for key in keys)] for what, one in found.items()]
    print(markdown_table(["", *keys], rows))
    above = [f"{what} {key}" for what, limits in LIMITS.items() for key in limits if found[what][key] > limits[key]]
    if above:
        sys.exit(f"above the limits {LIMITS}: {', '.join(above)}")


if __name__ == "__main__":
    main()
