"""Quality over cost: `python -m benchmarks.maps.pareto` (seconds; it draws what `table1` and `ablations` measured).

Source mobilenet_v2_a, photographs as samples, the ten concepts. Cost is passes per map (images through the network; a
backward counts as one more). Quality is what the target classifiers give the maps: top-1 over 1,001 classes and the
mean probability of the class. Writes docs/figures/pareto.svg and prints the table.
"""

import json
from itertools import chain
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.common import FIGURES, NETWORKS, RESULTS, markdown_table
from phosphene.recipe import RECIPES

SOURCE, TARGETS = NETWORKS[0], NETWORKS[1:]
# Rows of the ablations, and what the figure calls them.
LENGTHS = {
    "30 steps": "plain, 30 steps",
    "60 steps": "plain, 60 steps",
    "plain (2 seeds)": "plain",
    "240 steps": "plain, 240 steps",
}
OTHERS = {"colour 0 (2 seeds)": "plain, colour 0"}
FULL = 742_400  # passes of `paper` as published
MARKERS = {"mobilenet_v2_b": "o", "mobilenet_v1_075": "s", "mobilenet_v1_050": "^"}

Points = dict[str, dict[str, Any]]


def points() -> Points:
    """Return name -> passes and target scores of every recipe that was measured, the cheapest first."""
    measured: Points = {}
    table1 = [json.loads((RESULTS / f"table1-{name}.json").read_text()) for name in RECIPES]
    for row in chain.from_iterable(one["scores"] for one in table1):
        if row["source"] == SOURCE:
            recipe = row["recipe"]
            name = recipe["name"] + (" (shortened)" if recipe["name"] == "paper" and recipe["steps"] < 650 else "")
            point = measured.setdefault(name, {"passes": row["passes"], "targets": {}})
            point["targets"][row["target"]] = {"top1": row["top1_all"], "p_class": row["p_class"]}
    rows = json.loads((RESULTS / "ablations.json").read_text())["rows"]
    for row, name in (LENGTHS | OTHERS).items():
        if row in rows:
            measured[name] = {"passes": rows[row]["passes"], "targets": rows[row]["targets"]}
    return dict(sorted(measured.items(), key=lambda item: item[1]["passes"]))


def draw(measured: Points) -> Figure:
    """Draw the mean probability over passes: a line through the lengths of plain `vivid`, an open marker per other recipe."""
    mpl.rcParams["svg.hashsalt"] = "phosphene"  # the same file from the same numbers
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    lengths = [one for name, one in measured.items() if name in LENGTHS.values()]
    others = {name: one for name, one in measured.items() if one not in lengths}
    for number, target in enumerate(TARGETS):
        style = {"color": f"C{number}", "marker": MARKERS[target]}
        line = [(one["passes"], one["targets"][target]["p_class"]) for one in lengths]
        axes.plot(*zip(*line, strict=True), label=target, **style)
        for one in others.values():
            axes.plot(one["passes"], one["targets"][target]["p_class"], fillstyle="none", **style)
    for name, one in others.items():
        lowest = min(one["targets"][target]["p_class"] for target in TARGETS)
        side, shift = ("right", -7) if name.startswith("paper") else ("left", 7)  # `quick` stands close to `paper`
        axes.annotate(name, (one["passes"], lowest), (shift, -3), textcoords="offset points", ha=side, fontsize=8)
    axes.set(xscale="log", xlim=(250, 1.5e6), ylim=(-0.03, 1.08), xlabel="passes per map")
    axes.set_ylabel("mean probability of the class")
    axes.axvline(FULL, color="grey", linestyle=":")
    axes.annotate("paper in full", (FULL, 0.97), (-4, 0), textcoords="offset points", ha="right", color="grey")
    axes.legend(loc="center right", title="target classifier\n(filled: plain vivid; open: others)")
    axes.grid(alpha=0.3)
    return figure


def main() -> None:
    """Print the table and draw the figure."""
    measured = points()
    FIGURES.mkdir(parents=True, exist_ok=True)
    draw(measured).savefig(FIGURES / "pareto.svg", metadata={"Date": None})
    rows = []
    for name, one in measured.items():
        cells = [
            f"{one['targets'][target]['top1']:.2f} / {one['targets'][target]['p_class']:.2f}" for target in TARGETS
        ]
        rows.append([name, f"{one['passes']:,}", f"1/{FULL / one['passes']:.0f}", *cells])
    print(markdown_table(["recipe", "passes", "of paper's", *(f"{one}: top-1 / p" for one in TARGETS)], rows))


if __name__ == "__main__":
    main()
