"""How many samples a scan needs: `python -m benchmarks.backdoors.few_samples`.

Trains, if they are missing, the first 24 clean networks and the first 24 with an all-to-one trojan whose names begin with
`dev` (without those made to evade the scan), and scans each with the first 6 to 384 of the same samples; a scan uses
384 at most. The null model is the package's; its clean networks, among them these 24, were measured with 384 samples.
Writes results/few_samples.json and the table in docs/scan.md.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from benchmarks.backdoors.evaluate import append, lines
from benchmarks.backdoors.networks import FOLDER, index, load, make
from benchmarks.backdoors.scanning import pool_of, scan_code
from benchmarks.backdoors.specs import Spec, specs
from benchmarks.common import ROOT, hardware, markdown_table, write_result, write_section
from phosphene.backdoor.scan import scan
from phosphene.backdoor.verdict import BACKDOORED, INCONCLUSIVE
from phosphene.samples.pool import make_pool

COUNTS = (6, 12, 24, 48, 96, 192, 384)
EACH = 24  # clean networks, and as many trojaned ones


def networks(folder: Path) -> list[Spec]:
    """Return the specs of accepted networks, clean and trojaned ones, after training what is missing."""
    known = {one["name"]: one for one in index(folder)}
    chosen: list[Spec] = []
    seen: Counter[bool] = Counter()
    for spec in specs():
        usable = spec.mode == "all-to-one" and spec.kind != "adaptive"
        if not (spec.name.startswith("dev") and usable) or seen[spec.trojaned] == EACH:
            continue
        if spec.name not in known:
            known[spec.name] = make(spec, folder)
            append(folder / "index.jsonl", known[spec.name])
            print(spec.name, known[spec.name]["accepted"], flush=True)
        if known[spec.name]["accepted"]:
            chosen.append(spec)
            seen[spec.trojaned] += 1
    return chosen


def run(folder: Path) -> list[dict[str, Any]]:
    """Scan every network with every number of samples; what was scanned is not scanned again."""
    file, chosen = folder / f"few-samples-{scan_code()}.jsonl", networks(folder)
    known = {(one["name"], one["samples"]): one for one in lines(file)}
    for spec in chosen:
        pool = pool_of(spec.data, spec.side, spec.channels, "natural", folder)
        every = torch.cat([pool.held_out, pool.pixels])
        for count in COUNTS:
            if (spec.name, count) in known:
                continue
            some = make_pool(every[:count], f"{count} of {pool.spec}")
            found = scan(load(spec.name, folder), some, device="cpu")
            named = [one.index for one in found.suspects if one.works]
            line = {
                "name": spec.name,
                "samples": count,
                "trojaned": spec.trojaned,
                "target": spec.target if spec.trojaned else None,
                "verdict": found.verdict,
                "p_value": found.p_value,
                "first": found.classes[0].index,
                "named": named,
            }
            append(file, line)
            known[spec.name, count] = line
            print(json.dumps(line), flush=True)
    return [known[spec.name, samples] for spec in chosen for samples in COUNTS]


def table(rows: list[dict[str, Any]]) -> str:
    """Return the Markdown table: verdicts by number of samples."""
    most = {one["name"]: one["verdict"] for one in rows if one["samples"] == COUNTS[-1]}
    body = []
    for count in COUNTS:
        here = [one for one in rows if one["samples"] == count]
        clean, bad = ([one for one in here if one["trojaned"] is kind] for kind in (False, True))
        body.append(
            [
                count,
                sum(one["verdict"] == BACKDOORED for one in clean),
                sum(one["verdict"] == INCONCLUSIVE for one in clean),
                sum(one["target"] in one["named"] for one in bad),
                sum(one["verdict"] == INCONCLUSIVE for one in bad),
                sum(one["target"] == one["first"] for one in bad),
                f"{sum(one['verdict'] == most[one['name']] for one in here)} of {len(here)}",
            ]
        )
    clean_head, bad_head = (f"of {EACH} {kind} networks" for kind in ("clean", "trojaned"))
    head = (
        "samples",
        f"{clean_head}: backdoored",
        "inconclusive",
        f"{bad_head}: backdoored, right class",
        "inconclusive",
    )
    return markdown_table((*head, "right class first", f"verdict as with {COUNTS[-1]}"), body)


def main() -> None:
    """Train, scan, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=Path, default=FOLDER)
    folder = parser.parse_args().networks
    folder.mkdir(parents=True, exist_ok=True)
    rows = run(folder)
    text = table(rows)
    print(hardware(), text, sep="\n\n")
    write_result("few_samples", {"scans": rows})
    write_section(ROOT / "docs" / "scan.md", "few-samples", text)


if __name__ == "__main__":
    main()
