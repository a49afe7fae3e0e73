"""Measure the clean networks behind the scan's null model: `python -m benchmarks.backdoors.null [--out FOLDER]`.

Reads the networks that `python -m benchmarks.backdoors.networks` has trained, of the development split only, and the
clean networks of the demo. Each is measured as a scan does it, by 500 samples of the test part and with drawn ones; what
is measured already by the same code is not measured again. Writes `src/phosphene/backdoor/null.json`, with the networks
of ImageNet that `python -m benchmarks.backdoors.imagenet_null` has measured. `--imagenet`: replaces only those there.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.backdoors import imagenet_null
from benchmarks.backdoors.networks import FOLDER, index, load
from benchmarks.backdoors.scanning import pool_of, scan_code
from benchmarks.common import hardware
from phosphene.backdoor.measure import ScanEngine, measure
from phosphene.backdoor.null import FILE, CleanNetwork, built_in
from phosphene.backdoor.scan import clean_network
from phosphene.classifier import Classifier
from phosphene.runs.atomic import read_json, write_json
from phosphene.samples import default_samples, load_samples
from phosphene.sources import load as load_spec

DEMO = ("demo:shapes", "demo:shapes-plain")


def measured(classifier: Classifier, data: str, folder: Path, *, natural: bool) -> CleanNetwork:
    """Measure a clean network, or return what was measured by the same code."""
    kind = "natural" if natural else "drawn"
    file = folder / "null" / f"{classifier.name}-{kind}.json"
    key = {"sha256": classifier.sha256, "method": scan_code()}
    if file.exists() and {name: read_json(file)[name] for name in key} == key:
        return CleanNetwork(**read_json(file)["network"])
    channels, side, _ = classifier.input.shape
    if natural and data in DEMO:
        pool = load_samples(default_samples(data), classifier.input.shape)
    else:
        pool = pool_of(data, side, channels, kind, folder)
    with ScanEngine(classifier, precision="tf32") as engine:
        found = clean_network(classifier, measure(engine, pool), natural, data=data)
    write_json(file, {**key, "network": asdict(found)})
    print(classifier.name, kind, f"{found.figure:.2f}", found.all_to_all, flush=True)
    return found


def main() -> None:
    """Measure all, and write the null model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER, help="where the trained networks lie")
    parser.add_argument("--imagenet", action="store_true", help="replace only the networks of ImageNet")
    arguments = parser.parse_args()
    small = (
        [one for one in built_in() if one.data != imagenet_null.DATA]
        if arguments.imagenet
        else small_networks(arguments.out)
    )
    document: dict[str, Any] = {
        "made_by": "python -m benchmarks.backdoors.null",
        "hardware": hardware(),
        "networks": [asdict(one) for one in (*small, *imagenet_null.accepted())],
    }
    FILE.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def small_networks(folder: Path) -> list[CleanNetwork]:
    """Return the clean networks of the development split and of the demo, each measured by natural and by drawn samples."""
    clean = [one for one in index(folder) if one["split"] == "develop" and not one["trojaned"] and one["accepted"]]
    networks = [(load(one["name"], folder), one["data"]) for one in clean]
    networks += [(load_spec(spec), spec) for spec in DEMO]
    return [measured(one, data, folder, natural=natural) for one, data in networks for natural in (True, False)]


if __name__ == "__main__":
    main()
