"""Maps of texts, of a small two-tower model: `python -m benchmarks.maps.text`.

Maps 21 texts of `demo:shapes-text` by `vivid`: each of nine shapes in two of seven colours, and three textures. A second
two-tower model, of the same architecture and trained from another seed, says which of its 66 texts fits each image best; the
demo's classifiers, which never saw a text, name its shape. Prints the table, and writes benchmarks/results/text.json, a
figure and the section `text` of docs/concepts-results.md. The second model is kept in runs/text/.
"""

import torch
from demo.train_text import accuracy, save, train
from torch import Tensor

from benchmarks.common import (
    DOCS,
    ROOT,
    hardware,
    markdown_table,
    share,
    write_result,
    write_section,
    write_sheet,
)
from phosphene import load, map_concepts
from phosphene.arguments import to_classifier
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap
from phosphene.demo.shapes import SHAPES, TEXTURES
from phosphene.demo.towers import COLOURS, SmallTwoTower
from phosphene.engine import Engine
from phosphene.metrics.predictions import logits_of_maps
from phosphene.sources.weights import load_weights

SOURCE = "demo:shapes-text"
SECOND = ROOT / "runs" / "text" / "second.safetensors"
STEPS = 4000


def texts() -> dict[str, str]:
    """Return the texts that are mapped, and the class of each for networks that know shapes and no colours."""
    colours = list(COLOURS)
    found = {}
    for place, shape in enumerate(SHAPES):
        for colour in (colours[place % len(colours)], colours[(place + 3) % len(colours)]):
            found[f"a {colour} {shape}"] = shape
    return found | {texture: texture for texture in TEXTURES}


def second() -> tuple[Classifier, float]:
    """Train a second model unless it is there; return it with the source's prompts, and its accuracy on new images."""
    torch.set_num_threads(1)
    if not SECOND.exists():
        save(train(STEPS, seed=2), SECOND, STEPS)
    model = SmallTwoTower()
    load_weights(model, SECOND, network="second")
    source = load(SOURCE)
    return to_classifier(
        Classifier(
            model.eval(),
            size=source.input.size,
            mean=source.input.mean,
            std=source.input.std,
            labels=list(source.labels),
            name="second",
        )
    ), accuracy(model)


def logits_of(classifier: Classifier, maps: list[ConceptMap]) -> Tensor:
    """Return a classifier's logits for the images of maps, (maps, classes)."""
    with Engine(classifier, device="cpu") as engine:
        return logits_of_maps(engine, maps)


def main() -> None:
    """Map, ask the others, print, and write the page."""
    target, right = second()
    named = texts()
    maps = list(
        map_concepts(
            SOURCE,
            [f"text:{text}" for text in named],
            out=ROOT / "runs" / "text" / "maps",
            device="cpu",
        )
    )
    found = {"by the second model, of 66 texts": (target, [one.label for one in maps])}
    for spec in ("demo:shapes", "demo:shapes-plain"):
        found[f"shape, by `{spec}`, of 12"] = (load(spec), [named[one.label] for one in maps])
    rows, wrong = [], {}
    for target_name, (classifier, truth) in found.items():
        names = [classifier.labels[index] for index in logits_of(classifier, maps).argmax(1).tolist()]
        rows.append([target_name, share(sum(map(str.__eq__, names, truth)), len(maps))])
        mistakes = {one.label: name for one, name, true in zip(maps, names, truth, strict=True) if name != true}
        wrong[target_name] = mistakes
    missed = " ".join(
        f"Missed {target_name}: {', '.join(f'*{text}* as {name}' for text, name in mistakes.items())}."
        for target_name, mistakes in wrong.items()
        if mistakes
    )
    seconds = sum(one.seconds for one in maps) / len(maps)
    machine = hardware()
    how = (
        f"Recipe `vivid`, samples `demo:shapes`, one seed, {seconds:.1f} s per map. "
        f"The second model gives the right one of its 66 texts for {100 * right:.1f} % of 2,400 new images. "
        f"Measured on 1 thread of {machine['cpu']}, torch {machine['torch']}."
    )
    table = markdown_table(["maps of texts", "recognised"], rows)
    text = "\n\n".join([table, missed or "None was missed.", how])
    print(text)
    write_result("text", {"rows": rows, "wrong": wrong, "second_accuracy": right, "seconds": seconds})
    write_sheet("concepts-text", [one.image for one in maps], [one.label for one in maps], columns=7, side=112)
    write_section(DOCS / "concepts-results.md", "text", text)


if __name__ == "__main__":
    main()
