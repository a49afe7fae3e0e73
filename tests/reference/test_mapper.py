"""The mapper, in float64, against the slow reference written from the paper."""

import pytest
import torch
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.mapper import map_jobs
from phosphene.recipe import Recipe
from phosphene.samples.pool import SamplePool, make_pool
from tests.reference import paper

SHAPE = (3, 12, 12)
RECIPE = Recipe(batch_size=4, steps=5, rounds=2, refine_steps=3, radius=25.0)


class Wavy(nn.Module):
    """A small network with a loss surface so uneven that a unit step along the gradient often overshoots."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 4)
        self.keep = nn.Identity()  # the last spatial module
        self.drop = nn.Dropout(0.5)  # must be off

    def base(self, x: Tensor) -> Tensor:
        return torch.sin(6 * self.second(torch.sin(8 * self.first(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.spatial(x).mean((2, 3))))

    def spatial(self, x: Tensor) -> Tensor:
        return self.keep(self.base(x))


def wavy() -> Classifier:
    torch.manual_seed(3)
    net = Wavy()
    nn.init.normal_(net.head.weight, std=3.0)
    return Classifier(net, size=SHAPE[1:], mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.25], name="wavy")


def pool() -> SamplePool:
    generator = torch.Generator().manual_seed(11)
    return make_pool(torch.randint(0, 256, (40, *SHAPE), dtype=torch.uint8, generator=generator), "test")


def run_both(recipe: Recipe, job: Job) -> tuple[Tensor, Tensor, Tensor, Tensor, list[int]]:
    """Return nu and Xi of the mapper, then of the reference, which gets the very batches that the mapper drew."""
    classifier, samples = wavy(), pool()
    drawn: list[Tensor] = []

    class Recording(SamplePool):
        def to(self, device: object) -> SamplePool:
            return self

        def draw_rows(self, count: int, generators: list[torch.Generator]) -> Tensor:
            rows = super().draw_rows(count, generators)
            drawn.append(self.pixels[rows])
            return rows

    recording = Recording(samples.pixels, samples.held_out, samples.spec)
    with Engine(classifier, device="cpu", precision="fp64", micro_batch=3) as engine:
        found = map_jobs(engine, recording, [job], recipe)[0]
        module = classifier.module
        space = classifier.input

        def normalised(x: Tensor) -> Tensor:
            mean = torch.tensor(space.mean, dtype=torch.float64).view(1, 3, 1, 1)
            return (x - mean) / torch.tensor(space.std, dtype=torch.float64).view(1, 3, 1, 1)

        nu, xi, signs = paper.saliency_map(
            lambda x: module(normalised(x)),
            lambda x: module.spatial(normalised(x)),
            job.index,
            iter([batch[0].double() / 255 for batch in drawn]),
            SHAPE,
            steps=recipe.steps,
            radius=recipe.radius,
            step_size=recipe.step_size,
            sign_test=recipe.sign_test,
            rounds=recipe.rounds,
            refine_steps=recipe.refine_steps,
            refine_lr=recipe.refine_lr,
            penalty=recipe.penalty,
            contrast=recipe.contrast,
        )
    assert len(drawn) == recipe.rounds * (recipe.steps + recipe.refine_steps)
    return found.nu, found.xi, nu, xi, signs


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_two_rounds_agree_with_the_paper(index: int) -> None:
    nu, xi, expected, expected_xi, signs = run_both(RECIPE, Job(index))
    assert float((nu - expected).norm() / expected.norm()) < 1e-6
    assert float((xi - expected_xi).abs().max()) < 1e-6
    assert len(signs) == 10


def test_the_sign_test_goes_both_ways() -> None:
    signs = {sign for index in range(4) for sign in run_both(RECIPE, Job(index))[4]}
    assert signs == {1, -1}


@pytest.mark.parametrize(
    "changes",
    [
        {"sign_test": False},
        {"refine_steps": 0},
        {"step_size": 0.05, "radius": 1000.0},
        {"penalty": 5000.0, "refine_lr": 0.2},
        {"rounds": 1, "contrast": 0.7},
    ],
    ids=",".join,
)
def test_each_field_means_what_the_paper_means(changes: dict[str, object]) -> None:
    nu, xi, expected, expected_xi, _ = run_both(RECIPE.replace(**changes), Job(2))
    assert float((nu - expected).norm() / expected.norm()) < 1e-6
    assert float((xi - expected_xi).abs().max()) < 1e-6


def test_maps_do_not_depend_on_others_in_their_group() -> None:
    """Classes and seeds that are made together come out as they do alone."""
    jobs = [Job(0), Job(3, seed=5), Job(1), Job(3)]
    with Engine(wavy(), device="cpu", precision="fp64", micro_batch=5) as engine:
        together = map_jobs(engine, pool(), jobs, RECIPE)
        alone = [map_jobs(engine, pool(), [job], RECIPE)[0] for job in jobs]
    for one, other in zip(together, alone, strict=True):
        assert float((one.nu - other.nu).norm() / other.nu.norm()) < 1e-6
        assert (one.p_class, one.targeting_rate) == pytest.approx((other.p_class, other.targeting_rate))
    assert not torch.allclose(together[1].nu, together[3].nu)  # another seed, another map
