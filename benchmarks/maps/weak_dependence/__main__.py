"""How much maps depend on the network, with or without an image: `python -m benchmarks.maps.weak_dependence`.

15 to 20 minutes on 2 quiet cores; needs the extras `compare` and `checks`. Parts:

- explain: Captum's methods and two controls; 10 images, 3 networks, 5 randomised depths (about 3 minutes)
- map: our maps, two recipes at 480 passes a map; 5 classes, the same networks and depths (about 11 minutes)
- compare: similarities, shares and readings of the maps that are there (about 3 minutes)
- page: the tables of docs/weak-dependence.md and its figures, from what compare kept (seconds)

Every map is kept below runs/weak-dependence/ under the hash of all that shapes it, so that a stopped benchmark goes on
where it was. `--demo` does the same on the embedded world, in a minute or two, and writes nowhere else.
"""

import argparse
import hashlib
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.common import CONCEPTS, ROOT, SHARED, images, keep, network
from benchmarks.maps.weak_dependence.likeness import (
    DEPTHS,
    TARGET,
    Maps,
    Place,
    again,
    alike,
    correlation,
    design,
    judge,
    kinds,
)
from phosphene.classifier import Classifier
from phosphene.concept_map import Job, render, to_image
from phosphene.contact_sheet import contact_sheet
from phosphene.engine import Engine
from phosphene.labels import first_synonym
from phosphene.mapper import map_jobs, passes_per_map
from phosphene.metrics.randomise import blocks, cascade, few_depths
from phosphene.metrics.reading import SCORE_CONTRAST
from phosphene.recipe import Recipe, resolve
from phosphene.samples import SamplePool, load_samples
from phosphene.samples.pool import decode
from phosphene.sources import load

NAME = "weak_dependence"
PARTS = ("explain", "map", "compare", "page")
# Deviation of the noise that should change nothing: a little over one grey level of 255.
TREMOR = 0.005


@dataclass(frozen=True)
class Setting:
    """What is compared.

    Attributes:
        name: Of its folder.
        networks: The one that is randomised, another training of it, another architecture.
        reader: Another network, that makes no maps: what it reads in ours is compared too.
        load: From a network's name to a classifier.
        pictures: (n, c, h, w) in [0, 1], each of another class.
        truth: Their classes.
        classes: Those that are mapped, and that every picture is explained for: the first of ``truth``.
        samples: What our maps are made from, two kinds: they stand where another method has two images.
        steps: Length of our recipes.
    """

    name: str
    networks: tuple[str, str, str]
    reader: str
    load: Callable[[str], Classifier]
    pictures: Tensor
    truth: list[int]
    classes: list[int]
    samples: tuple[str, str]
    steps: int

    @property
    def folder(self) -> Path:
        """Where maps are kept."""
        return ROOT / "runs" / "weak-dependence" / self.name

    @property
    def page(self) -> Path:
        """What the tables are written into."""
        return self.folder / "page.md" if self.name == "demo" else ROOT / "docs" / "weak-dependence.md"

    @property
    def figures(self) -> Path:
        """Where figures go."""
        return self.page.parent / "figures"

    @property
    def recipes(self) -> dict[str, Recipe]:
        """Two recipes at one cost: the published method and ours, both shortened."""
        refine = 3 * self.steps // 10
        return {
            "phosphene, quick": resolve("quick", {"steps": self.steps - refine, "refine_steps": refine}),
            "phosphene, vivid": resolve("vivid", {"steps": self.steps}),
        }

    @cached_property
    def base(self) -> Classifier:
        """The network that is randomised."""
        return self.load(self.networks[0])

    @cached_property
    def depths(self) -> list[int]:
        """How many blocks are drawn anew, at each depth."""
        found = few_depths(len(blocks(self.base)))
        # A small network has fewer depths: the last but one stands in for those between.
        return [*found[:-1], *[found[-2]] * (len(DEPTHS) - len(found)), found[-1]]

    def randomised(self, draw: int) -> Iterator[tuple[str, Classifier]]:
        """Randomise the first network, deeper and deeper, with one draw of new weights."""
        made = cascade(self.base, seed=draw, pictures=self.pictures, depths=self.depths)
        for number, (_, classifier) in enumerate(made):
            yield f"depth {number}", classifier


def zoo(steps: int) -> Setting:
    """The ImageNet networks, and the one picture that the sample holds of each of the ten concepts."""
    networks = ("mobilenet_v2_a", "mobilenet_v2_b", "mobilenet_v1_075")
    first = network(networks[0])
    truth = [first.labels.find(name) for name in CONCEPTS]
    files = sorted((SHARED / "data" / "imagenet-sample").glob("*.jpg"))  # in class order, without "background"
    for index in truth:
        written = files[index - 1].stem.split("_", 1)[1].replace("_", " ")
        if not first.labels[index].lower().startswith(written.lower()):
            raise SystemExit(f"{files[index - 1].name} does not show {first.labels[index]}")
    pixels = [torch.from_numpy(decode(files[index - 1], first.input.shape)) for index in truth]
    samples = (images(), "synthetic:mixed")
    pictures = torch.stack(pixels).float() / 255

    def at_one_size(name: str) -> Classifier:
        """Give every network the first one's input, so that maps compare pixel by pixel; these take any size."""
        own = network(name)
        size, space = first.input.size, own.input
        return Classifier(own.module, size=size, mean=space.mean, std=space.std, labels=own.labels, name=name)

    return Setting("zoo", networks, "mobilenet_v1_050", at_one_size, pictures, truth, truth[:5], samples, steps)


def drawn(steps: int) -> Setting:
    """The embedded world, to see that all of this works; its networks stand for trainings and architectures."""
    from phosphene.demo import world  # noqa: PLC0415

    networks = ("demo:shapes", "demo:shapes-trojan", "demo:shapes-plain")
    pixels, labels = world.pictures(len(world.LABELS), 1)
    order = labels.argsort()[:6]
    pictures = torch.from_numpy(pixels[order]).float() / 255
    samples = ("demo:shapes", "synthetic:mixed")
    return Setting("demo", networks, networks[2], load, pictures, [*range(6)], [*range(3)], samples, steps)


def kept(setting: Setting, name: str, facts: list[Any], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return what was made from the same facts before, or make it."""
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    path = setting.folder / f"{name}-{digest}.safetensors"
    if not path.exists():
        setting.folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part")
        save_file({key: value.contiguous() for key, value in make().items()}, beside)
        beside.rename(path)
    return load_file(path)


def explained(setting: Setting) -> dict[str, Maps]:
    """Maps that need an image: method -> place -> (1, h, w) in [0, 1]; "p" -> the class's probability for the image."""
    found: dict[str, Maps] = {}
    for tag in setting.networks:
        with Engine(setting.load(tag)) as engine:
            for number, (picture, own) in enumerate(zip(setting.pictures, setting.truth, strict=True)):
                for index in dict.fromkeys([*setting.classes, own]):
                    take(found, setting, engine, (tag, str(number), index), picture)
                if tag == setting.networks[0]:
                    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(number))
                    take(found, setting, engine, (tag, again(str(number)), own), (picture + TREMOR * noise).clamp(0, 1))
        print(f"explained {tag}", file=sys.stderr, flush=True)
    for draw in range(len(setting.classes)):
        for tag, classifier in setting.randomised(draw):
            with Engine(classifier) as engine:
                for number in range(draw, len(setting.truth), len(setting.classes)):
                    take(found, setting, engine, (tag, str(number), setting.truth[number]), setting.pictures[number])
        print(f"explained draw {draw + 1} of {len(setting.classes)}", file=sys.stderr, flush=True)
    return found


def take(found: dict[str, Maps], setting: Setting, engine: Engine, place: Place, picture: Tensor) -> None:
    """Explain a picture for a class by every method, or find what was kept, and put it in its place."""
    from benchmarks.maps.weak_dependence.methods import PATH, explain  # noqa: PLC0415  (needs captum)

    def make() -> dict[str, Tensor]:
        seed = int(hashlib.sha256(repr(place).encode()).hexdigest()[:8], 16)
        maps = explain(engine, picture[None], [place[2]], seed)
        probability = engine.logits(picture[None]).softmax(1)[0, place[2]]
        return {**{name: one[0].half() for name, one in maps.items()}, "p": probability.cpu()}

    content = hashlib.sha256(picture.numpy().tobytes()).hexdigest()
    name = "-".join(map(str, ["explain", *place])).replace(":", "-")
    for method, one in kept(setting, name, [engine.classifier.sha256, content, PATH, *place], make).items():
        found.setdefault(method, {})[place] = one


def pools_of(setting: Setting) -> dict[str, SamplePool]:
    """Samples of two kinds, and the first again with a little noise."""
    pools = {}
    for level, spec in enumerate(setting.samples):
        pool = load_samples(spec, setting.base.input.shape)
        # What a nudge does to held-out samples is not asked here: fewer of them save a tenth of the time.
        pools[str(level)] = SamplePool(pool.pixels, pool.held_out[:8], pool.spec)
    first = pools["0"].pixels
    generator = torch.Generator().manual_seed(0)
    trembling = torch.empty_like(first)
    for row, picture in enumerate(first):  # one by one: all at once would take gigabytes
        noise = 255 * TREMOR * torch.randn(picture.shape, generator=generator)
        trembling[row] = (picture + noise).round().clamp(0, 255).to(torch.uint8)
    return {**pools, again("0"): SamplePool(trembling, pools["0"].held_out, f"{setting.samples[0]} again")}


def mapped(setting: Setting) -> dict[str, Maps]:
    """Our maps: recipe -> place -> nu (c, h, w)."""
    found: dict[str, Maps] = {name: {} for name in setting.recipes}
    pools = pools_of(setting)

    def ask(engine: Engine, tag: str, level: str, index: int) -> None:
        # Seeds differ as well as samples: nothing but class and network is the same at levels 0 and 1.
        job = [Job(index, seed=int(level[0]))]
        for name, recipe in setting.recipes.items():
            facts = [engine.classifier.sha256, pools[level].sha256, recipe.sha256, index, tag, level]
            file = f"map-{recipe.name}-{tag}-{level}-{index}".replace(":", "-")
            began = time.perf_counter()

            def make(recipe: Recipe = recipe) -> dict[str, Tensor]:
                return {"nu": map_jobs(engine, pools[level], job, recipe)[0].nu}

            found[name][tag, level, index] = kept(setting, file, facts, make)["nu"]
            seconds = time.perf_counter() - began
            if seconds > 1:
                print(f"{file}: {seconds:.1f} s", file=sys.stderr, flush=True)

    for tag in setting.networks:
        with Engine(setting.load(tag)) as engine:
            levels = [level for level in pools if tag == setting.networks[0] or level != again("0")]
            for level, index in itertools.product(levels, setting.classes):
                ask(engine, tag, level, index)
    for draw, index in enumerate(setting.classes):
        for tag, classifier in setting.randomised(draw):
            with Engine(classifier) as engine:
                ask(engine, tag, "0", index)
    return found


def sheet(setting: Setting, maps: Maps, path: Path) -> None:
    """Save a picture of our maps: a row a class, a column a depth, the intact network first."""
    tags = [setting.networks[0], *(f"depth {number}" for number in range(len(DEPTHS)))]
    places = [(tag, "0", index) for index in setting.classes for tag in tags]
    captions = [
        first_synonym(setting.base.labels[index]) if tag == tags[0] else name
        for index in setting.classes
        for tag, name in zip(tags, ["", *DEPTHS], strict=True)
    ]
    pictures = [to_image(render(maps[place], SCORE_CONTRAST)) for place in places]
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(pictures, captions, columns=len(tags), side=112).save(path, quality=80)


def read(setting: Setting, maps: Maps) -> dict[str, dict[str, float]]:
    """What the intact network reads in our maps: samples of the first kind, by the network that made them."""
    found = {}
    with Engine(setting.base) as engine:
        for tag in dict.fromkeys(tag for tag, _, _ in maps):
            truth = torch.tensor([index for index in setting.classes if (tag, "0", index) in maps])
            pictures = render(torch.stack([maps[tag, "0", int(index)] for index in truth]), SCORE_CONTRAST)
            logits = engine.logits(pictures).cpu()
            own = logits.gather(1, truth[:, None])
            found[tag] = {
                "maps": len(truth),
                "top1": float((logits.argmax(1) == truth).double().mean()),
                "p_class": round(float(logits.softmax(1).gather(1, truth[:, None]).mean()), 5),
                # share of the other classes that are read as likelier: 0 is certain, 0.5 is chance
                "behind": round(float((logits > own).double().sum(1).mean() / (logits.shape[1] - 1)), 4),
            }
    return found


def designs(
    setting: Setting,
    kind: str,
    levels: list[str],
    followed: list[tuple[str, int]],
    maps: Maps,
    descriptions: "dict[str, Callable[[Tensor], Tensor]] | None" = None,
) -> dict[str, Any]:
    """Take two designs apart: images (or samples), classes and trained networks; and maps before and after."""
    networks, classes = setting.networks, setting.classes
    full = [(tag, level, index) for level, index, tag in itertools.product(levels, classes, networks)]
    before_after = [(tag, *one) for one in followed for tag in (networks[0], TARGET)]
    sizes = {kind: len(levels), "class": len(classes), "network": len(networks)}
    return {
        "shares": design(maps, full, sizes, descriptions),
        "survives": design(maps, before_after, {"map": len(followed), "training": 2}, descriptions),
    }


def compare(setting: Setting) -> dict[str, Any]:
    """Compare all maps that the setting asks for."""
    from benchmarks.maps.weak_dependence.methods import METHODS  # noqa: PLC0415  (needs captum)

    theirs, ours = explained(setting), mapped(setting)
    probability = theirs.pop("p")
    numbers = [str(number) for number in range(len(setting.truth))]
    networks, classes = setting.networks, setting.classes
    followed = [*zip(numbers, setting.truth, strict=True)]
    mine = [("0", index) for index in classes]
    by_image = kinds(networks, classes, followed, [*itertools.combinations(numbers, 2)])
    by_samples = kinds(networks, classes, mine, [("0", "1")])
    readings = {name: read(setting, maps) for name, maps in ours.items()}
    methods: dict[str, Any] = {}
    for name, nus in ours.items():
        sheet(setting, nus, setting.figures / f"weak-dependence-{setting.recipes[name].name}.webp")
        maps = {place: render(nu, SCORE_CONTRAST) for place, nu in nus.items()}
        with Engine(setting.load(setting.reader)) as engine:
            answers = engine.logits(torch.stack([*maps.values()])).cpu()
        logits = {place: row.view(1, 1, -1) for place, row in zip(maps, answers, strict=True)}
        found = {
            kind: {**alike(maps, pairs), **alike(logits, pairs, {"read": correlation})}
            for kind, pairs in by_samples.items()
        }
        seen, understood = (
            designs(setting, "samples", ["0", "1"], mine, pictures, descriptions)
            for pictures, descriptions in ((maps, None), (logits, {"read": torch.flatten}))
        )
        methods[name] = {
            "similarity": found,
            **{key: {**seen[key], **understood[key]} for key in seen},
            "verdict": judge(found, read=readings[name][networks[0]]["top1"] > 0.5),
        }
        print(f"compared {name}", file=sys.stderr, flush=True)
    for name in [method for method in METHODS if method in theirs]:
        maps = theirs[name]
        found = {kind: alike(maps, pairs) for kind, pairs in by_image.items()}
        methods[name] = {
            "similarity": found,
            **designs(setting, "image", numbers, followed, maps),
            "verdict": judge(found, read=False),
        }
        print(f"compared {name}", file=sys.stderr, flush=True)
    own = {
        tag: [(tag, number, index) for number, index in zip(numbers, setting.truth, strict=True)]
        for tag in dict.fromkeys(tag for tag, _, _ in probability)
    }
    return {
        "networks": networks,
        "reader": setting.reader,
        "classes": [setting.base.labels[index] for index in classes],
        "images": len(numbers),
        "passes": {name: passes_per_map(recipe) for name, recipe in setting.recipes.items()},
        "recipes": {name: recipe.to_dict() for name, recipe in setting.recipes.items()},
        "blocks": dict(zip(DEPTHS, setting.depths, strict=True)),
        "all_blocks": len(blocks(setting.base)),
        "methods": methods,
        "reading": readings,
        "image_read": {
            tag: round(float(torch.stack([probability[place] for place in places]).mean()), 4)
            for tag, places in own.items()
        },
    }


def main() -> None:
    """Make what is missing, compare, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, nargs="*", default=PARTS)
    parser.add_argument("--steps", type=int, default=30, help="of vivid; quick takes 7/10 of them and 3/10 of Eq. 2")
    parser.add_argument("--demo", action="store_true", help="the embedded world, small")
    arguments = parser.parse_args()
    setting = (drawn if arguments.demo else zoo)(arguments.steps)
    results = setting.folder / "compared.json" if arguments.demo else ROOT / "benchmarks" / "results" / f"{NAME}.json"
    for part in arguments.part:
        began = time.perf_counter()
        if part == "explain":
            explained(setting)
        elif part == "map":
            mapped(setting)
        elif part == "compare":
            document = compare(setting)
            if arguments.demo:
                results.write_text(json.dumps(document, indent=1) + "\n")
            else:
                keep(NAME, document)
        else:
            from benchmarks.maps.weak_dependence.page import write  # noqa: PLC0415  (needs matplotlib)

            write(json.loads(results.read_text()), setting.page, setting.figures)
        print(f"{part}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
