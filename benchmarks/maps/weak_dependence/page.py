"""The tables and charts of docs/weak-dependence.md, from the result of `compare`."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from benchmarks.common import markdown_table, section_markers, write_section
from benchmarks.maps.weak_dependence.similarity import DEPTHS, MEASURES, VERDICT_DEPTH

STAGES = [f"depth {number}" for number in range(len(DEPTHS))]
NAMES = {
    "hog": "HOG",
    "ssim": "SSIM",
    "spectrum": "spectrum",
    "rank": "rank correlation",
    "pixels": "28 x 28 pixels",
    "logits": "logits of a fourth network",
}
COLOURS = {
    "phosphene: short quick": "#c2410c",
    "phosphene: short plain vivid, colour 0": "#f59e0b",
    "Saliency": "#1d4ed8",
    "Integrated Gradients": "#0891b2",
    "Grad-CAM": "#7c3aed",
    "control: edges": "#525252",
    "control: noise": "#a3a3a3",
}
IN_TABLE = ("hog", "logits")
PARTS = {  # of a design: those without the network first
    "constant": "#e5e5e5",
    "image": "#1e3a8a",
    "class": "#3b82f6",
    "image x class": "#93c5fd",
    "network": "#9a3412",
    "image x network": "#ea580c",
    "class x network": "#fb923c",
    "image x class x network": "#fed7aa",
}


def write(result: dict[str, Any], page: Path, figures: Path) -> None:
    """Write tables and figures into the sections of the page; a page that is missing is made of them."""
    figures.mkdir(parents=True, exist_ok=True)
    methods = result["methods"]
    charts = {
        "similarity": (similarity_chart(methods), "Similarity to the intact network's map, less that of two classes"),
        "shares": (shares_chart(methods), "Shares of image, class and network"),
    }
    links = {}
    for name, (chart, caption) in charts.items():
        path = figures / f"weak-dependence-{name}.png"
        chart.savefig(path, dpi=100, metadata={"Software": None})
        plt.close(chart)
        links[name] = f"![{caption}]({figures.relative_to(page.parent)}/{path.name})"
    sheets = [
        f"![{name}, a column per depth]({figures.relative_to(page.parent)}/weak-dependence-{recipe['name']}.webp)"
        for name, recipe in result["recipes"].items()
    ]
    sections = {
        "cascade": cascade_table(methods) + "\n\n" + links["similarity"],
        "measures": measures_table(methods),
        "shares": shares_table(methods) + "\n\n" + links["shares"],
        "survival": survival_table(methods),
        "classified": classified_table(result),
        "maps": "\n\n".join(sheets),
        "setting": setting_table(result),
    }
    if not page.exists():
        page.write_text("\n\n".join("\n".join(section_markers(name)) for name in sections))
    for name, text in sections.items():
        write_section(page, name, text)


def cascade_table(methods: dict[str, Any]) -> str:
    """Return HOG similarity by what differs between two maps, and the verdict."""
    kinds = ["unchanged", "other image", "other class", "other training", "other architecture", "two classes"]
    head = [
        *("method", *kinds[:-1], "**two classes**"),
        *(f"**{name}**" if stage == VERDICT_DEPTH else name for stage, name in zip(STAGES, DEPTHS, strict=True)),
        *("two random networks", "verdict"),
    ]
    rows = []
    for name, one in methods.items():
        similarity = one["similarity"]
        cells = [mean(similarity, kind) for kind in [*kinds, *STAGES, "two random"]]
        rows.append([name, *cells, verdict_text(one["verdict"]["hog"]) + blank_text(similarity)])
    return markdown_table(head, rows)


def mean(similarity: dict[str, Any], kind: str, measure: str = "hog") -> str:
    """Return a mean similarity as text."""
    return f"{similarity[kind][measure][0]:.2f}" if measure in similarity.get(kind, {}) else "-"


def verdict_text(one: dict[str, Any]) -> str:
    """Return a verdict as text, with the share of the map that remains."""
    return str(one["verdict"]) if one["kept"] is None else f"{one['verdict']} ({one['kept']:.0%})"


def blank_text(similarity: dict[str, Any]) -> str:
    """Return how many pairs had a blank map, as text."""
    count = sum(similarity[stage]["blank"] for stage in STAGES)
    return f" ({count} of {count + sum(similarity[stage]['pairs'] for stage in STAGES)} blank)" if count else ""


def measures_table(methods: dict[str, Any]) -> str:
    """Return per measure: unchanged, two classes, head and last block randomised, and the verdict."""
    measures = (*MEASURES, "logits")
    rows = []
    for name, one in methods.items():
        cells = []
        for measure in measures:
            kinds = ("unchanged", "two classes", VERDICT_DEPTH)
            numbers = " / ".join(mean(one["similarity"], kind, measure) for kind in kinds)
            known = measure in one["verdict"]
            cells.append(f"{numbers} {verdict_text(one['verdict'][measure])}" if known else "")
        rows.append([name, *cells])
    return markdown_table(["method", *(NAMES[measure] for measure in measures)], rows)


def common_names(shares: dict[str, float]) -> dict[str, float]:
    """Return shares under the names of PARTS: our samples stand where other methods have images."""
    return {name.replace("samples", "image"): share for name, share in shares.items()}


def shares_table(methods: dict[str, Any]) -> str:
    """Return the shares per description: the sum of those without the network first, then each."""
    rows = []
    for name, one in methods.items():
        for description in IN_TABLE:
            if description in one["shares"]:
                values = [common_names(one["shares"][description])[part] for part in PARTS]
                cells = [f"{value:.2f}" for value in (sum(values[:4]), *values)]
                rows.append([name, NAMES[description], *cells])
    return markdown_table(["method", "compared by", "**without network**", *PARTS], rows)


def survival_table(methods: dict[str, Any]) -> str:
    """Return the shares of maps before and after randomisation."""
    parts = ("constant", "map", "training", "map x training")
    rows = [
        [name, NAMES[description], *(f"{one['survives'][description][part]:.2f}" for part in parts)]
        for name, one in methods.items()
        for description in IN_TABLE
        if description in one["survives"]
    ]
    return markdown_table(["method", "compared by", "constant", "**map**", "training", "map x training"], rows)


def classified_table(result: dict[str, Any]) -> str:
    """Return what the intact network classifies our maps as, and the probabilities of the photographs' classes."""
    names = dict(zip(result["networks"], ["intact", "other training", "other architecture"], strict=True))
    names |= dict(zip(STAGES, DEPTHS, strict=True))
    rows = []
    for network, name in names.items():
        ours = [one[network] for one in result["classified"].values()]
        cells = [f"{one['top1']:.2f} / {one['p_class']:.3f} / {one['likelier']:.2f}" for one in ours]
        rows.append([name, *cells, f"{result['image_p_class'][network]:.3f}"])
    return markdown_table(
        ["network that made the maps", *result["classified"], "its p(class) of the photographs"], rows
    )


def setting_table(result: dict[str, Any]) -> str:
    """Return what was compared."""
    hardware = result.get("hardware", {})
    rows = [
        ["networks", ", ".join(result["networks"])],
        ["fourth network, which only classifies", result["target"]],
        [
            f"blocks randomised, of {result['all_blocks']}",
            ", ".join(f"{name} ({count})" for name, count in result["blocks"].items()),
        ],
        ["classes mapped", "; ".join(label.split(",")[0] for label in result["classes"])],
        ["images, each of another class", result["images"]],
        ["passes per map", "; ".join(f"{count:,} ({name})" for name, count in result["passes"].items())],
        ["hardware", f"{hardware.get('cores')} cores of {hardware.get('cpu')}, torch {hardware.get('torch')}"],
    ]
    return markdown_table(["", ""], rows)


def similarity_chart(methods: dict[str, Any]) -> Any:
    """Draw how similar maps remain as the network is randomised: similarity less that of two classes."""
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 4.2), sharex=True)
    stages = ["unchanged", *STAGES]
    for axis, measure in zip(axes, ("hog", "ssim", "rank"), strict=True):
        for name, one in methods.items():
            similarity = one["similarity"]
            if measure not in similarity["two classes"]:
                continue
            floor = similarity["two classes"][measure][0]
            known = [(at, stage) for at, stage in enumerate(stages) if measure in similarity[stage]]
            axis.plot(
                [at for at, _ in known],
                [similarity[stage][measure][0] - floor for _, stage in known],
                marker="o",
                markersize=3,
                label=name,
                color=COLOURS[name.removesuffix(", signed")],
                linestyle="--" if name.endswith("signed") else "-",
                linewidth=2.4 if name.startswith("phosphene") else 1.3,
            )
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_title(NAMES[measure], fontsize=10)
        axis.set_xticks(range(len(stages)), ["unchanged", *DEPTHS], rotation=35, ha="right", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("similarity, less that of two classes", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="center right", fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 0.8, 1))
    return figure


def shares_chart(methods: dict[str, Any]) -> Any:
    """Draw the shares as bars: grey and blue without the network, orange with it."""
    descriptions = ("hog", "spectrum", "pixels")
    figure, axes = plt.subplots(1, len(descriptions), figsize=(12.5, 4.2), sharey=True)
    names = list(methods)[::-1]
    for axis, description in zip(axes, descriptions, strict=True):
        for row, name in enumerate(names):
            shares, left = common_names(methods[name]["shares"][description]), 0.0
            for part, colour in PARTS.items():
                axis.barh(row, shares[part], left=left, color=colour, label=part if row == 0 else None)
                left += shares[part]
        axis.set_title(NAMES[description], fontsize=10)
        axis.set_xlim(0, 1)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    labels = [label.replace("image", "image (ours: samples)", 1) for label in labels]
    figure.legend(handles, labels, loc="lower center", ncol=4, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    return figure
