"""The cascade check passes our maps and fails those of a method that ignores the network, as in Adebayo et al.

On the drawn world, with the default recipe cut to a quarter of its cost.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from phosphene.checks import CheckContext, examine
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.engine import Engine
from phosphene.mapper import map_jobs
from phosphene.recipe import DEFAULT_RECIPE, Recipe, resolve
from phosphene.samples import SamplePool, load_samples
from phosphene.sources import load

LABELS = ["star", "triangle", "spiral", "polka dots"]


@pytest.fixture(scope="module")
def world() -> tuple[Classifier, SamplePool, Recipe, list[ConceptMap]]:
    classifier = load("demo:shapes")
    pool = load_samples("synthetic:mixed", classifier.input.shape)
    recipe = resolve(DEFAULT_RECIPE, {"steps": 60})
    with Engine(classifier, device="cpu") as engine:
        maps = map_jobs(engine, pool, [Job(classifier.labels.find(label)) for label in LABELS], recipe)
    return classifier, pool, recipe, maps


def edges(pool: SamplePool, number: int) -> Tensor:
    """Edges of one of the samples, (c, h, w): an image that looks like a saliency map."""
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    grey = pool.pixels[number].float().mean(0)[None, None] / 255
    down, across = (functional.conv2d(grey, kernel[None, None], padding=1) for kernel in (sobel.mT, sobel))
    return torch.hypot(down, across)[0].expand(3, -1, -1).contiguous()


def test_our_maps_pass_and_change_with_the_network(world):
    classifier, pool, recipe, maps = world
    found = examine("cascade", CheckContext(classifier, pool, recipe, maps, most=4, device="cpu"))
    assert found.passed is True, found.explanation
    assert found.figures["top1_at_0"] == 1
    assert found.figures["hog_at_2"] <= found.figures["hog_limit"] < 0.2
    assert found.figures["top1_at_2"] <= 1 / 4


def test_an_edge_detector_fails_though_its_images_look_like_maps(world):
    classifier, _, recipe, maps = world
    pool = load_samples("demo:shapes", classifier.input.shape)

    def detector(engine, pool, jobs, recipe, watch=None):
        return [
            replace(template, nu=-edges(pool, 10 * one.index + one.seed), index=one.index, seed=one.seed)
            for one in jobs
            for template in maps
            if template.index == one.index
        ]

    drawn = [replace(one, nu=-edges(pool, 10 * one.index)) for one in maps]
    found = examine("cascade", CheckContext(classifier, pool, recipe, drawn, most=4, device="cpu", mapper=detector))
    assert found.passed is False, found.explanation
    assert found.figures["hog_at_2"] == pytest.approx(1)
    assert found.figures["hog_at_2"] > found.figures["hog_limit"]
