"""The scan and its baselines on clean and trojaned networks: `python -m benchmarks.backdoor null|scan|table [PART]`.

The networks come from `python -m benchmarks.backdoor_networks`. `null` measures the clean development networks and
writes the null model that ships with the package; `scan` scans the networks of a part (`report` by default) and asks
the baselines; `table` writes docs/backdoor.md and the result. What is there is not computed again.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.backdoor_baselines import BASELINES
from benchmarks.backdoor_figures import write_table
from benchmarks.common import ROOT, SHARED, hardware
from phosphene.backdoor import triggers
from phosphene.backdoor.measure import STATISTICS
from phosphene.backdoor.null import FILE, Null
from phosphene.backdoor.record import method
from phosphene.backdoor.recover import Recovered
from phosphene.backdoor.scan import scan
from phosphene.backdoor.search import Effort
from phosphene.backdoor.survey import Setting, Survey, read_samples, survey
from phosphene.backdoor.training import predictions
from phosphene.backdoor.verdict import Verdict
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.runs.atomic import read_json, write_json
from phosphene.runs.scan_cache import ScanCache
from phosphene.samples import SamplePool, load_samples
from phosphene.sources import load

FOLDER = ROOT / "runs" / "backdoor"
NATURAL = str(SHARED / "data" / "cifar10" / "test.parquet")
SAMPLES = {"natural": NATURAL, "synthetic": "synthetic:mixed"}


def networks(part: str) -> Iterator[tuple[str, dict[str, Any], Classifier]]:
    """Load the networks of a part, with the truth about them; those that were not accepted are left out."""
    for file in sorted((FOLDER / "networks").glob("*/trigger.json")):
        truth = json.loads(file.read_text())
        if truth["part"] == part and truth["accepted"]:
            yield file.parent.name, truth, load(str(file.with_name("card.toml")), trust=True)


def pools(kind: str, seen: "dict[tuple[int, ...], SamplePool]", classifier: Classifier) -> SamplePool:
    """Load samples once a shape."""
    shape = classifier.input.shape
    if shape not in seen:
        seen[shape] = load_samples(SAMPLES[kind], shape)
    return seen[shape]


def null() -> None:
    """Measure the clean development networks by natural and by synthetic samples, and write the null model."""
    # The parts of many classes are pooled with these: `benchmarks.backdoors.imagenet_null` fits them anew.
    many = {key: value for key, value in read_json(FILE).items() if key.startswith("many")}
    document: dict[str, Any] = {"made_by": "python -m benchmarks.backdoor null", "hardware": hardware(), **many}
    for kind in SAMPLES:
        seen: dict[tuple[int, ...], SamplePool] = {}
        away, names = [], []
        for name, truth, classifier in networks("develop"):
            if truth["trojaned"]:
                continue
            found = _survey(name, kind, classifier, pools(kind, seen, classifier))
            away.append(found)
            names.append(name)
            print(kind, name, {key: round(float(values.max()), 2) for key, values in found.items()}, flush=True)
        document[kind] = Null.fit(away).to_dict()
        document[f"{kind}_networks"] = names
    write_json(FILE, document)


def _survey(name: str, kind: str, classifier: Classifier, pool: SamplePool) -> dict[str, torch.Tensor]:
    """Return the deviations of a network's classes; kept in runs/, because the null model is fitted more than once."""
    file = FOLDER / "surveys" / f"{name}-{kind}-{classifier.sha256[:8]}.json"
    known: dict[str, list[float]] = read_json(file) if file.exists() else {}
    lacking = tuple(key for key in STATISTICS if key not in known)
    if lacking:
        with Engine(classifier) as engine:
            seen: Survey = survey(
                engine, read_samples(engine, pool)[0], Setting(lacking, Effort.usual(pool.pixels.shape[1:]))
            )
        known |= {key: values.tolist() for key, values in seen.away().items()}
        write_json(file, known)
    return {key: torch.tensor(known[key], dtype=torch.double) for key in STATISTICS}


def scan_part(part: str, kind: str) -> None:
    """Scan every network of a part that has not been scanned, and ask the baselines."""
    seen: dict[tuple[int, ...], SamplePool] = {}
    for name, truth, classifier in networks(part):
        file = FOLDER / "scans" / f"{name}-{kind}.json"
        if file.exists():
            continue
        pool = pools(kind, seen, classifier)
        began, cpu = time.perf_counter(), time.process_time()
        # What was measured is kept until the method changes: an interrupted scan goes on.
        asked = {"network": classifier.sha256, "samples": pool.sha256, "method": method()}
        verdict = scan(classifier, samples=pool, keep=ScanCache(FOLDER / "memos", asked))
        result = {
            **_spell(verdict, truth),
            "anywhere": _anywhere(classifier, truth, pool),
            "seconds": time.perf_counter() - began,
            "core_seconds": time.process_time() - cpu,
            "baselines": _ask(name, classifier, pool) if (part, kind) == ("report", "natural") else {},
        }
        write_json(file, {"name": name, "truth": truth, **result})
        print(f"{name}: {verdict.verdict}, p {verdict.p_value:.2g}, {result['core_seconds']:.0f} core s", flush=True)


def _spell(verdict: Verdict, truth: dict[str, Any]) -> dict[str, Any]:
    suspects = [
        {
            "index": one.index,
            "p_value": one.p_value,
            "family": one.family,
            "shown": one.recovered and one.recovered.family,
            "success": one.recovered and one.recovered.success,
            "overlap": one.recovered and _overlap(one.recovered, truth),
        }
        for one in verdict.suspects
    ]
    first = verdict.classes[0]
    return {
        "verdict": verdict.verdict,
        "p_value": verdict.p_value,
        "first": first.index,
        "p_values": first.p_values,
        "suspects": suspects,
        "passes": verdict.passes,
    }


def _overlap(found: Recovered, truth: dict[str, Any]) -> "float | None":
    """Intersection over union of the boxes of the recovered and the true mask; triggers at random places have none."""
    if truth["trigger"] is None or truth["trigger"].get("place") in (None, "random"):
        return None
    channels, height, width = found.paint.shape
    mask = triggers.from_dict(truth["trigger"]).mask((channels, height, width))[0] > 0.5
    seen = found.mask[0] > 0.5 * float(found.mask.max())
    return float((mask & seen).sum() / (mask | seen).sum().clamp_min(1))


def _anywhere(classifier: Classifier, truth: dict[str, Any], pool: SamplePool) -> "float | None":
    """Success of the true trigger at random places: where it is high, the network itself does not know the place."""
    if not truth["trojaned"] or truth["target"] is None or truth["trigger"].get("place") in (None, "random"):
        return None
    moved = triggers.from_dict({**truth["trigger"], "place": "random"})
    others = pool.held_out[predictions(classifier, pool.held_out) != truth["target"]]
    stamped = triggers.apply_8bit(moved, others, torch.Generator().manual_seed(0))
    return float((predictions(classifier, stamped) == truth["target"]).float().mean())


def _ask(name: str, classifier: Classifier, pool: SamplePool) -> dict[str, Any]:
    file = FOLDER / "baselines" / f"{name}-{classifier.sha256[:8]}.json"
    if file.exists():
        return read_json(file)  # type: ignore[no-any-return]
    answers = {}
    with Engine(classifier) as engine:
        samples, _ = read_samples(engine, pool)
        for method, ask in BASELINES.items():
            cpu = time.process_time()
            answers[method] = {**ask(engine, samples)._asdict(), "core_seconds": time.process_time() - cpu}
    write_json(file, answers)
    return answers


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["null", "scan", "table"])
    parser.add_argument("part", nargs="?", default="report")
    parser.add_argument("--samples", choices=list(SAMPLES), default="natural")
    given = parser.parse_args()
    print(hardware(), flush=True)
    steps: dict[str, Callable[[], None]] = {
        "null": null,
        "scan": lambda: scan_part(given.part, given.samples),
        "table": lambda: write_table(Path(FOLDER / "scans")),
    }
    steps[given.what]()


if __name__ == "__main__":
    main()
