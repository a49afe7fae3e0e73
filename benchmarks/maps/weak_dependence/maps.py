"""Makes the maps that are compared, and caches each under the hash of everything that determines it."""

import hashlib
import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.maps.weak_dependence.setting import Setting
from benchmarks.maps.weak_dependence.similarity import Key, Maps, with_noise
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.mapper import map_jobs
from phosphene.recipe import Recipe
from phosphene.samples import SamplePool, load_samples

NOISE = 0.005  # standard deviation of noise that should change nothing: a little over one grey level of 255


def cached(setting: Setting, name: str, inputs: list[Any], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return what was made from the same inputs before, or make it."""
    digest = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    path = setting.folder / f"{name}-{digest}.safetensors".replace(":", "-").replace(" ", "-")
    if not path.exists():
        setting.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        save_file({key: value.contiguous() for key, value in make().items()}, part)
        part.rename(path)
    return load_file(path)


def image_maps(setting: Setting) -> dict[str, Maps]:
    """Return maps by methods that need an image: method -> key -> (1, h, w) in [0, 1].

    "p" holds the network's probability of the class for the image itself.
    """
    maps: dict[str, Maps] = {}
    base = setting.networks[0]
    for name in setting.networks:
        with Engine(setting.load(name)) as engine:
            for number, (image, own) in enumerate(zip(setting.images, setting.truth, strict=True)):
                for index in dict.fromkeys([*setting.classes, own]):
                    add_explanations(maps, setting, engine, (name, str(number), index), image)
                if name == base:
                    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(number))
                    key = (name, with_noise(str(number)), own)
                    add_explanations(maps, setting, engine, key, (image + NOISE * noise).clamp(0, 1))
        print(f"explained {name}", file=sys.stderr, flush=True)
    for draw in range(len(setting.classes)):
        for name, classifier in setting.randomised(draw):
            with Engine(classifier) as engine:
                for number in range(draw, len(setting.truth), len(setting.classes)):
                    key = (name, str(number), setting.truth[number])
                    add_explanations(maps, setting, engine, key, setting.images[number])
        print(f"explained draw {draw + 1} of {len(setting.classes)}", file=sys.stderr, flush=True)
    return maps


def add_explanations(maps: dict[str, Maps], setting: Setting, engine: Engine, key: Key, image: Tensor) -> None:
    """Explain an image for a class by every method, unless that is cached, and add the maps under their key."""
    from benchmarks.maps.weak_dependence.methods import PATH_STEPS, explain  # noqa: PLC0415  (needs captum)

    def make() -> dict[str, Tensor]:
        seed = int(hashlib.sha256(repr(key).encode()).hexdigest()[:8], 16)
        explanations = explain(engine, image, key[2], seed)
        probability = engine.logits(image[None]).softmax(1)[0, key[2]]
        return {**{method: one.half() for method, one in explanations.items()}, "p": probability.cpu()}

    content = hashlib.sha256(image.numpy().tobytes()).hexdigest()
    name = "-".join(map(str, ["explain", *key]))
    for method, one in cached(setting, name, [engine.classifier.sha256, content, PATH_STEPS, *key], make).items():
        maps.setdefault(method, {})[key] = one


def sample_pools(setting: Setting) -> dict[str, SamplePool]:
    """Return both kinds of samples, and the first again with a little noise."""
    pools = {}
    for number, spec in enumerate(setting.samples):
        pool = load_samples(spec, setting.base.input.shape)
        # Targeting rates are not compared here: fewer held-out samples save a tenth of the time.
        pools[str(number)] = SamplePool(pool.pixels, pool.held_out[:8], pool.spec)
    first = pools["0"].pixels
    generator = torch.Generator().manual_seed(0)
    noisy = torch.empty_like(first)
    for row, sample in enumerate(first):  # one by one: all at once would take gigabytes
        noise = 255 * NOISE * torch.randn(sample.shape, generator=generator)
        noisy[row] = (sample + noise).round().clamp(0, 255).to(torch.uint8)
    return {**pools, with_noise("0"): SamplePool(noisy, pools["0"].held_out, f"{setting.samples[0]} with noise")}


def concept_maps(setting: Setting) -> dict[str, Maps]:
    """Return our maps: recipe -> key -> nu (c, h, w)."""
    maps: dict[str, Maps] = {name: {} for name in setting.recipes}
    pools = sample_pools(setting)

    def add_maps(engine: Engine, network: str, samples: str, index: int) -> None:
        # Seeds differ with the samples: only class and network are the same for samples 0 and 1.
        job = [Job(index, seed=int(samples[0]))]
        for name, recipe in setting.recipes.items():
            inputs = [engine.classifier.sha256, pools[samples].sha256, recipe.sha256, index, network, samples]
            began = time.perf_counter()

            def make(recipe: Recipe = recipe) -> dict[str, Tensor]:
                return {"nu": map_jobs(engine, pools[samples], job, recipe)[0].nu}

            file = f"map-{recipe.name}-{network}-{samples}-{index}"
            maps[name][network, samples, index] = cached(setting, file, inputs, make)["nu"]
            if (seconds := time.perf_counter() - began) > 1:
                print(f"{file}: {seconds:.1f} s", file=sys.stderr, flush=True)

    for network in setting.networks:
        with Engine(setting.load(network)) as engine:
            kinds = [kind for kind in pools if network == setting.networks[0] or kind != with_noise("0")]
            for samples, index in itertools.product(kinds, setting.classes):
                add_maps(engine, network, samples, index)
    for draw, index in enumerate(setting.classes):
        for network, classifier in setting.randomised(draw):
            with Engine(classifier) as engine:
                add_maps(engine, network, "0", index)
    return maps
