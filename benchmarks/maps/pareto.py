"""Quality over cost: `python -m benchmarks.maps.pareto` (seconds; it draws what `table1` and `ablate` have measured).

Source mobilenet_v2_a, natural samples, the ten concepts. Cost is passes (images through the network, a backward counted
as one more). Quality is what the other networks read: top-1 of 1,001 classes and the mean probability of the class.
Writes docs/figures/pareto.svg and prints the table.
"""

import json
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.common import NETWORKS, ROOT, table

SOURCE, OTHERS = NETWORKS[0], NETWORKS[1:]
RESULTS = ROOT / "benchmarks" / "results"
FIGURE = ROOT / "docs" / "figures" / "pareto.svg"
# Rows of the ablations that differ from vivid in cost alone.
STEPS = ("a quarter of the steps", "half the steps", "twice the steps")
PLAIN = "no colours, final"  # a row of the ablations at vivid's own cost
FULL = 742_400  # passes of `paper` as published
MARKS = {"mobilenet_v2_b": "o", "mobilenet_v1_075": "s", "mobilenet_v1_050": "^"}


def points() -> dict[str, dict[str, Any]]:
    """Return name -> passes and readings of every recipe that was measured."""
    found: dict[str, dict[str, Any]] = {}
    for row in json.loads((RESULTS / "table1.json").read_text())["scores"]:
        if row["source"] == SOURCE:
            recipe = row["recipe"]
            name = recipe["name"] + (" (shortened)" if recipe["name"] == "paper" and recipe["steps"] < 650 else "")
            entry = found.setdefault(name, {"passes": row["passes"], "readings": {}})
            entry["readings"][row["target"]] = {"top1": row["top1_all"], "p_class": row["p_class"]}
    vivid = json.loads((RESULTS / "vivid-natural.json").read_text())
    found["vivid"] = {"passes": vivid["passes"], "readings": vivid["readings"]}
    rows = json.loads((RESULTS / "ablate.json").read_text())["rows"]
    for name in STEPS:
        if name in rows:
            found[f"vivid, {name}"] = {"passes": rows[name]["passes"], "readings": rows[name]["readings"]}
    found["no colours"] = {"passes": rows[PLAIN]["passes"], "readings": rows[PLAIN]["readings"]}
    return dict(sorted(found.items(), key=lambda item: item[1]["passes"]))


def draw(found: dict[str, dict[str, Any]]) -> Figure:
    """Draw mean probability of the class over passes: a line for vivid's lengths, a mark for each other recipe."""
    mpl.rcParams["svg.hashsalt"] = "phosphene"  # the same file from the same figures
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, network in enumerate(OTHERS):
        lengths = [row for name, row in found.items() if name.startswith("vivid")]
        ours = [(row["passes"], row["readings"][network]["p_class"]) for row in lengths]
        axes.plot(*zip(*ours, strict=True), f"{MARKS[network]}-", color=f"C{number}", label=f"read by {network}")
        for name, row in found.items():
            if not name.startswith("vivid"):
                y = row["readings"][network]["p_class"]
                axes.plot(row["passes"], y, MARKS[network], color=f"C{number}", fillstyle="none")
    for name, row in found.items():
        if not name.startswith("vivid"):
            lowest = min(row["readings"][network]["p_class"] for network in OTHERS)
            side, to = ("right", -7) if name.startswith("paper") else ("left", 7)  # its neighbour has the other side
            axes.annotate(name, (row["passes"], lowest), (to, -3), textcoords="offset points", ha=side, fontsize=8)
    axes.set(
        xscale="log",
        xlim=(250, 1.5e6),
        ylim=(-0.03, 1.08),
        xlabel="passes a map",
        ylabel="mean probability of the class",
    )
    axes.axvline(FULL, color="grey", linestyle=":")
    axes.annotate("paper in full", (FULL, 0.97), (-4, 0), textcoords="offset points", ha="right", color="grey")
    axes.legend(loc="center right", title="filled: vivid; open: others")
    axes.grid(alpha=0.3)
    return figure


def main() -> None:
    """Print the table and draw the figure."""
    found = points()
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    draw(found).savefig(FIGURE, metadata={"Date": None})
    rows = []
    for name, row in found.items():
        cells = [f"{row['readings'][one]['top1']:.2f} / {row['readings'][one]['p_class']:.2f}" for one in OTHERS]
        rows.append([name, f"{row['passes']:,}", f"1/{FULL / row['passes']:.0f}", *cells])
    print(table(["recipe", "passes", "of paper's", *(f"{one}: top-1 / p" for one in OTHERS)], rows))


if __name__ == "__main__":
    main()
