"""The tables and charts of docs/weak-dependence.md, from what benchmarks.maps.weak_dependence kept."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from benchmarks.common import table
from benchmarks.maps.weak_dependence.likeness import DEPTHS, MEASURES, TARGET

STAGES = [f"depth {number}" for number in range(len(DEPTHS))]
NAMES = {
    "hog": "HOG",
    "ssim": "SSIM",
    "spectrum": "spectrum",
    "rank": "rank correlation",
    "pixels": "28 x 28 pixels",
    "read": "read by a fourth network",
}
COLOURS = {
    "phosphene, quick": "#c2410c",
    "phosphene, vivid": "#f59e0b",
    "Saliency": "#1d4ed8",
    "Integrated Gradients": "#0891b2",
    "Grad-CAM": "#7c3aed",
    "control: edges": "#525252",
    "control: noise": "#a3a3a3",
}
IN_TABLE = ("hog", "read")
PARTS = {  # of a design: what holds no network's name first
    "constant": "#e5e5e5",
    "image": "#1e3a8a",
    "class": "#3b82f6",
    "image x class": "#93c5fd",
    "network": "#9a3412",
    "image x network": "#ea580c",
    "class x network": "#fb923c",
    "image x class x network": "#fed7aa",
}


def write(document: dict[str, Any], page: Path, figures: Path) -> None:
    """Put tables and figures into the page, each between its markers; a page that is not there gets them alone."""
    figures.mkdir(parents=True, exist_ok=True)
    methods = document["methods"]
    charts = {
        "likeness": (likeness(methods), "How much more alike to its former self than two classes are to each other"),
        "shares": (stacked(methods), "Shares of image, class and network"),
    }
    links = {}
    for name, (chart, caption) in charts.items():
        path = figures / f"weak-dependence-{name}.png"
        chart.savefig(path, dpi=100, metadata={"Software": None})
        plt.close(chart)
        links[name] = f"![{caption}]({figures.relative_to(page.parent)}/{path.name})"
    sheets = [
        f"![{name}, a column a depth]({figures.relative_to(page.parent)}/weak-dependence-{recipe['name']}.webp)"
        for name, recipe in document["recipes"].items()
    ]
    sections = {
        "cascade": cascade_table(methods) + "\n\n" + links["likeness"],
        "measures": measures_table(methods),
        "shares": shares_table(methods) + "\n\n" + links["shares"],
        "survival": survival_table(methods),
        "reading": reading_table(document),
        "maps": "\n\n".join(sheets),
        "setting": setting_table(document),
    }
    text = page.read_text() if page.exists() else "\n\n".join(map("\n".join, map(markers, sections)))
    for name, section in sections.items():
        begin, end = markers(name)
        before, found, rest = text.partition(begin)
        if not found or end not in rest:
            raise SystemExit(f"{page.name} has no place for {name}: it needs {begin} and {end}")
        text = f"{before}{begin}\n{section}\n{end}{rest.partition(end)[2]}"
    page.write_text(text)
    print(f"wrote {page.name} and {len(charts)} charts")


def markers(name: str) -> tuple[str, str]:
    """Return the lines around a section."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def mean(found: dict[str, Any], kind: str, measure: str = "hog") -> str:
    """Return a mean likeness as text."""
    return f"{found[kind][measure][0]:.2f}" if measure in found.get(kind, {}) else "-"


def cascade_table(methods: dict[str, Any]) -> str:
    """HOG by what differs between two maps, and the verdict."""
    head = [
        *("method", "nothing", "other image", "other class", "other training", "other architecture", "**two classes**"),
        *(f"**{name}**" if stage == TARGET else name for stage, name in zip(STAGES, DEPTHS, strict=True)),
        *("two random networks", "after the last block"),
    ]
    rows = []
    for name, one in methods.items():
        found = one["similarity"]
        kinds = ["nothing", "other image", "other class", "other training", "other architecture", "two classes"]
        cells = [mean(found, kind) for kind in [*kinds, *STAGES, "two random"]]
        rows.append([name, *cells, word(one["verdict"]["hog"]) + blank(found)])
    return table(head, rows)


def word(one: dict[str, Any]) -> str:
    """Return a verdict as text, with the share of the map that is kept."""
    return one["word"] if one["kept"] is None else f"{one['word']} ({one['kept']:.0%})"


def blank(found: dict[str, Any]) -> str:
    """Say how many pairs had a blank map."""
    count = sum(found[stage]["blank"] for stage in STAGES)
    return f" ({count} of {count + sum(found[stage]['pairs'] for stage in STAGES)} blank)" if count else ""


def measures_table(methods: dict[str, Any]) -> str:
    """Every measure: two classes, before and after the last block, verdict."""
    rows = []
    for name, one in methods.items():
        cells = []
        for measure in (*MEASURES, "read"):
            numbers = " / ".join(mean(one["similarity"], kind, measure) for kind in ("nothing", "two classes", TARGET))
            cells.append(f"{numbers} {word(one['verdict'][measure])}" if measure in one["verdict"] else "")
        rows.append([name, *cells])
    return table(["method", *(NAMES[measure] for measure in (*MEASURES, "read"))], rows)


def parts(shares: dict[str, float]) -> dict[str, float]:
    """Return shares under common names: samples stand where others have images."""
    return {name.replace("samples", "image"): share for name, share in shares.items()}


def shares_table(methods: dict[str, Any]) -> str:
    """Share without any network in it, and with, by each description."""
    rows = []
    for name, one in methods.items():
        for description, shares in one["shares"].items():
            if description not in IN_TABLE:
                continue
            share = parts(shares)
            values = [share[key] for key in PARTS]
            rows.append([name, NAMES[description], *(f"{value:.2f}" for value in (sum(values[:4]), *values))])
    return table(["method", "seen as", "**no network in it**", *PARTS], rows)


def survival_table(methods: dict[str, Any]) -> str:
    """Shares of maps before and after: what all have in common, what each keeps, what training alone changes."""
    keys = ("constant", "map", "training", "map x training")
    rows = [
        [name, NAMES[description], *(f"{one['survives'][description][key]:.2f}" for key in keys)]
        for name, one in methods.items()
        for description in IN_TABLE
        if description in one["survives"]
    ]
    return table(["method", "seen as", "constant", "**map**", "training", "map x training"], rows)


def reading_table(document: dict[str, Any]) -> str:
    """What the intact network reads in our maps; and what the networks make of the images."""
    names = dict(zip(document["networks"], ["intact", "other training", "other architecture"], strict=True))
    names |= dict(zip(STAGES, DEPTHS, strict=True))
    rows = []
    for tag, name in names.items():
        cells = []
        for readings in document["reading"].values():
            one = readings[tag]
            cells.append(f"{one['top1']:.2f} / {one['p_class']:.3f} / {one['behind']:.2f}")
        rows.append([name, *cells, f"{document['image_read'][tag]:.3f}"])
    return table(["maps made by", *document["reading"], "the image's class, read by that network in the image"], rows)


def setting_table(document: dict[str, Any]) -> str:
    """Return what was compared."""
    depths = ", ".join(f"{name} ({count})" for name, count in document["blocks"].items())
    costs = ", ".join(f"{name} {count:,}" for name, count in document["passes"].items())
    hardware = document.get("hardware", {})
    machine = f"{hardware.get('cores')} cores of {hardware.get('cpu')}, torch {hardware.get('torch')}"
    rows = [
        ["networks", ", ".join(document["networks"])],
        ["the fourth network, that reads", document["reader"]],
        ["blocks drawn anew, of " + str(document["all_blocks"]), depths],
        ["classes mapped", "; ".join(label.split(",")[0] for label in document["classes"])],
        ["images, each of another class", document["images"]],
        ["passes a map", costs],
        ["measured on", machine],
    ]
    return table(["", ""], rows)


def likeness(methods: dict[str, Any]) -> Any:
    """Chart how much of a map stays as the network forgets: likeness less that of two classes."""
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 4.2), sharex=True)
    ticks = ["nothing", *DEPTHS]
    for axis, measure in zip(axes, ("hog", "ssim", "rank"), strict=True):
        for name, one in methods.items():
            found = one["similarity"]
            stages = ["nothing", *STAGES]
            if measure not in found["two classes"]:
                continue
            points = [(at, found[stage][measure]) for at, stage in enumerate(stages) if measure in found[stage]]
            floor = found["two classes"][measure][0]
            style = {
                "color": COLOURS[name.removesuffix(", signed")],
                "linestyle": "--" if name.endswith("signed") else "-",
                "linewidth": 2.4 if name.startswith("phosphene") else 1.3,
            }
            axis.plot([at for at, _ in points], [value[0] - floor for _, value in points], "o", ms=3, **style)
            axis.plot([at for at, _ in points], [value[0] - floor for _, value in points], label=name, **style)
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_title(NAMES[measure], fontsize=10)
        axis.set_xticks(range(len(ticks)), ticks, rotation=35, ha="right", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("likeness, less that of two classes", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="center right", fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 0.83, 1))
    return figure


def stacked(methods: dict[str, Any]) -> Any:
    """Chart the shares as bars: blue where no network is in it, orange where one is."""
    shown = ("hog", "spectrum", "pixels")
    figure, axes = plt.subplots(1, len(shown), figsize=(12.5, 4.2), sharey=True)
    names = list(methods)[::-1]
    for axis, description in zip(axes, shown, strict=True):
        for row, name in enumerate(names):
            share, left = parts(methods[name]["shares"][description]), 0.0
            for key, colour in PARTS.items():
                axis.barh(row, share[key], left=left, color=colour, label=key if row == 0 else None)
                left += share[key]
        axis.set_title(NAMES[description], fontsize=10)
        axis.set_xlim(0, 1)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    labels = [label.replace("image", "image (ours: samples)", 1) for label in labels]
    figure.legend(handles, labels, loc="lower center", ncol=4, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    return figure
