"""Maps by bf16 and by single precision: `python -m benchmarks.engine.precision` (2 minutes on a GPU with 16 cores).

Four networks of the zoo make maps of twenty classes by `vivid` with `--precision fp32` and `bf16`, and the five other
networks classify them, in single precision. Every source and precision is a process of its own, four at once. Writes
benchmarks/results/precision.json and a section of docs/performance.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

from benchmarks.common import (
    DOCS,
    PHOTOGRAPHS,
    ROOT,
    hardware,
    markdown_table,
    network,
    write_result,
    write_section,
)
from benchmarks.maps.families import FAMILIES
from benchmarks.maps.vivid import hundred_classes
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.mapper import in_groups, map_jobs
from phosphene.metrics.scores import score_maps
from phosphene.recipe import resolve
from phosphene.samples import load_samples

SOURCES = ("mobilenet_v2_a", "mobilenet_v1_075", "efficientnet_lite0", "squeezenet")
PRECISIONS = ("fp32", "bf16")
CLASSES, AT_ONCE, MICRO_BATCH = 20, 4, 32  # processes share the memory


def measure(source: str, precision: str) -> dict[str, Any]:
    """Make one source's maps in one precision; return how each of the other networks classifies them."""
    classifier, recipe = network(source), resolve("vivid")
    pool = load_samples(PHOTOGRAPHS, classifier.input.shape)
    jobs = [Job(index) for index in hundred_classes()[:CLASSES]]
    with Engine(classifier, precision=precision, compile="off", micro_batch=MICRO_BATCH) as engine:
        pool = pool.to(engine.device)
        maps = [one for group in in_groups(jobs, engine, recipe) for one in map_jobs(engine, pool, group, recipe)]
    concepts = [job.concept(classifier.labels) for job in jobs]
    others = [network(name) for name in FAMILIES if name != source]
    scores = [score_maps(maps, concepts, one, source=source)[0].to_dict() for one in others]
    scores = [{key: score[key] for key in ("target", "m_score", "top1_all", "p_class")} for score in scores]
    own = statistics.mean(one.p_class for one in maps)
    return {"source": source, "precision": precision, "p_class": own, "targets": scores}


def table(rows: "list[dict[str, Any]]") -> str:
    """Return the table: per source and precision, how many maps the others classify right, and their mean ``M_score``."""
    cells = []
    for source in SOURCES:
        both = {row["precision"]: row["targets"] for row in rows if row["source"] == source}
        right = [f"{CLASSES * sum(one['top1_all'] for one in both[name]):.0f}" for name in PRECISIONS]
        scores = [f"{statistics.mean(one['m_score'] for one in both[name]):.3f}" for name in PRECISIONS]
        cells.append([source, *right, *scores])
    of = CLASSES * (len(FAMILIES) - 1)
    head = (f"right of {of}, single precision", "bf16", "mean `M_score`, single precision", "bf16")
    return markdown_table(("source", *head), cells)


def main() -> None:
    """Measure all sources in both precisions, in processes of their own; or one of these, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=2, metavar=("SOURCE", "PRECISION"))
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one)))
        return
    words = [sys.executable, "-m", "benchmarks.engine.precision", "--one"]

    def measured(case: tuple[str, str]) -> dict[str, Any]:
        """Measure a source and precision in a process of its own."""
        row: dict[str, Any] = json.loads(subprocess.check_output([*words, *case], text=True, cwd=ROOT))
        return row

    with ThreadPoolExecutor(AT_ONCE) as processes:
        rows = list(processes.map(measured, product(SOURCES, PRECISIONS)))
    text = f"{table(rows)}\n\nMeasured on an {hardware()['gpu']}, torch {hardware()['torch']}."
    print(text)
    write_result("precision", {"recipe": resolve("vivid").to_dict(), "rows": rows})
    write_section(DOCS / "performance.md", "precision", text)


if __name__ == "__main__":
    main()
