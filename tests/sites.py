"""Small runs for sites: of any labels, recipe and seeds."""

import dataclasses

import torch

from phosphene.concept_map import Job
from phosphene.recipe import Recipe
from phosphene.runs import RunDirectory, run_facts
from phosphene.samples.pool import make_pool
from tests import tiny


def make_run(folder, labels=tiny.LABELS, *, network=0, name="tiny", recipe=None, seeds=(0,), classes=None, side=16):
    """A run of ``classes`` (all by default) of a network with these labels; the maps have ``side`` pixels."""
    classifier = tiny.classifier(network, labels=tiny.LABELS, name=name)
    pool = make_pool(torch.zeros((4, 3, 16, 16), dtype=torch.uint8), "some samples")
    facts = run_facts(classifier, recipe or Recipe(), pool, "cpu", "fp32")
    facts["model"]["classes"] = len(labels)
    maps = [
        dataclasses.replace(
            tiny.concept_map(index % 5, seed),
            index=index,
            label=labels[index],
            p_class=0.9 - 0.1 * (index % 5) - 0.01 * seed,
            nu=torch.randn((3, side, side), generator=torch.Generator().manual_seed(index)),
        )
        for index in (range(len(labels)) if classes is None else classes)
        for seed in seeds
    ]
    run = RunDirectory(folder)
    run.begin(facts, [(Job(one.index, one.seed), one.label) for one in maps])
    for one in maps:
        run.write(one)
    return run
