"""Views and their transpose, the preconditioner, the falling step."""

import pytest
import torch

from phosphene.concept_map import Job
from phosphene.engine import Engine, MeanGradients
from phosphene.mapper import map_jobs
from phosphene.mapper.algorithm import project, step_size
from phosphene.mapper.smoothing import Smoothing, centre_window
from phosphene.mapper.views import apply_views, draw_views, mean_view_gradients
from phosphene.recipe import Recipe
from phosphene.samples.pool import make_pool
from tests import tiny

MOVING = Recipe(batch_size=4, views=4, view_least=0.67, view_most=1.5, view_shift=0.2, view_turn=15.0)


def views(recipe: Recipe, maps: int = 2, seed: int = 0, size: tuple[int, int] = (16, 16)) -> torch.Tensor:
    drawn = draw_views(recipe, [torch.Generator().manual_seed(seed + k) for k in range(maps)], size)
    assert drawn is not None
    return drawn


class Linear:
    """Stands for an engine whose loss is linear in the views, so that its gradient is known: minus ``slope``."""

    def __init__(self, slope: torch.Tensor) -> None:
        self.slope = slope

    def mean_gradients(
        self, samples: torch.Tensor, nu: torch.Tensor, classes: torch.Tensor, loss: str, _: object
    ) -> MeanGradients:
        assert loss == MOVING.loss
        assert samples.shape == (8, 1, 3, 16, 16)
        assert classes.tolist() == [5] * 4 + [7] * 4
        return MeanGradients(self.slope, (nu * self.slope).sum((1, 2, 3)), torch.zeros(8), torch.zeros(8))


def test_the_gradient_comes_back_through_the_views() -> None:
    """The loss is the mean over views of <look(nu), slope>; moving nu changes it as the returned gradient says."""
    torch.manual_seed(0)
    seen, engine = views(MOVING), Linear(torch.randn(8, 3, 16, 16, dtype=torch.float64))
    nu, step = torch.randn(2, 2, 3, 16, 16, dtype=torch.float64)
    samples, classes = torch.zeros(2, 4, 3, 16, 16, dtype=torch.uint8), torch.tensor([5, 7])
    before = mean_view_gradients(engine, samples, nu, seen, classes, MOVING.loss)
    after = mean_view_gradients(engine, samples, nu + step, seen, classes, MOVING.loss)
    torch.testing.assert_close(after.loss - before.loss, (step * before.gradient).sum((1, 2, 3)))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (12, 20)])
def test_half_of_the_views_are_mirrored(height: int, width: int) -> None:
    recipe = Recipe(batch_size=64, views=64, view_mirror=True)
    nu = torch.rand(1, 2, height, width)
    seen = apply_views(nu, views(recipe, 1, size=(height, width)).float())
    flipped = [(one - nu[0].flip(2)).abs().max() < 1e-4 for one in seen]
    assert [(one - nu[0]).abs().max() < 1e-4 for one in seen] == [not flip for flip in flipped]
    assert 16 < sum(flipped) < 48


def test_a_mirrored_view_is_scaled_shifted_and_turned_as_others() -> None:
    recipe = MOVING.replace(view_mirror=True)
    nu = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    matrices = views(recipe)
    mirrored = torch.linalg.det(matrices[:, :, :2]) < 0
    assert 0 < int(mirrored.sum()) < 8
    sign = torch.where(mirrored, -1.0, 1.0).double()[:, None]
    upright = torch.stack([matrices[:, :, 0] * sign, matrices[:, :, 1], matrices[:, :, 2]], 2)
    zoom = torch.linalg.det(upright[:, :, :2]).sqrt()
    assert bool(((zoom >= 1 / 1.5 - 1e-6) & (zoom <= 1 / 0.67 + 1e-6)).all())
    seen, expected = apply_views(nu, matrices), apply_views(nu, upright)
    for flip, one, other in zip(mirrored, seen, expected, strict=True):
        torch.testing.assert_close(one, other.flip(2) if flip else other)


def test_a_shift_moves_the_map_and_leaves_nothing_outside() -> None:
    recipe = MOVING.replace(view_least=1.0, view_most=1.0, view_turn=0.0, view_shift=0.25)
    nu = torch.ones(1, 1, 16, 16)
    seen = apply_views(nu, views(recipe, 1).float())
    assert seen.shape == (4, 1, 16, 16)
    assert float(seen.min()) == 0  # what moved out of sight
    assert float(seen.max()) == pytest.approx(1)


def test_a_turned_disk_is_a_disk_though_the_map_is_wide() -> None:
    recipe = Recipe(batch_size=16, views=16, view_turn=80.0)
    y, x = torch.meshgrid(torch.arange(32) - 15.5, torch.arange(96) - 47.5, indexing="ij")
    nu = (x.square() + y.square() < 100).float()[None, None]
    seen = apply_views(nu, views(recipe, 1, size=(32, 96)).float())
    tall, wide = ((side.square() * seen).sum((1, 2, 3)) / seen.sum((1, 2, 3)) for side in (y, x))
    torch.testing.assert_close(tall, wide, rtol=0.03, atol=0)


def test_zoom_covers_its_range() -> None:
    """A square of ones grows and shrinks in area by up to the square of the zoom."""
    recipe = Recipe(batch_size=256, views=256, view_least=0.67, view_most=1.5)
    nu = torch.zeros(1, 1, 64, 64)
    nu[..., 24:40, 24:40] = 1
    area = apply_views(nu, views(recipe, 1).float()).sum((1, 2, 3)) / 256
    assert 0.40 < float(area.min()) < 0.55
    assert 1.9 < float(area.max()) < 2.4


def test_each_map_draws_from_its_own_generator() -> None:
    together = views(MOVING, 2, seed=3).view(2, 4, 2, 3)
    torch.testing.assert_close(together[1], views(MOVING, 1, seed=4))
    assert not torch.allclose(together[0], together[1])


def test_no_number_of_views_gives_every_sample_its_own() -> None:
    assert len(views(MOVING.replace(views=0), maps=2)) == 2 * MOVING.batch_size


def test_with_the_paper_s_recipe_the_only_view_is_the_map_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert draw_views(Recipe(), [generator], (16, 16)) is None
    assert torch.equal(generator.get_state(), before)


def test_smoothing_keeps_the_deviation_of_white_noise_and_damps_what_is_fine() -> None:
    torch.manual_seed(0)
    noise = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    smoothed = Smoothing(1.0, noise)(noise)
    assert float(smoothed.std()) == pytest.approx(1, abs=0.15)
    rough = [float((x - x.roll(1, -1)).std() / x.std()) for x in (noise, smoothed)]
    assert rough[1] < 0.6 * rough[0]
    assert Smoothing(0.0, noise)(noise) is noise


def test_smoothing_is_its_own_transpose() -> None:
    torch.manual_seed(1)
    a, b = torch.randn(2, 1, 1, 12, 10, dtype=torch.float64)
    smooth = Smoothing(0.7, a)
    assert float((smooth(a) * b).sum()) == pytest.approx(float((a * smooth(b)).sum()))


def test_the_step_falls_from_its_size_to_its_decay() -> None:
    recipe = Recipe(steps=11, step_size=0.5, step_decay=0.1)
    sizes = [step_size(recipe, k) for k in range(1, 12)]
    assert sizes[0] == pytest.approx(0.5)
    assert sizes[-1] == pytest.approx(0.05)
    assert sizes == sorted(sizes, reverse=True)
    assert {step_size(Recipe(), k) for k in (1, 300, 650)} == {1.0}
    assert step_size(Recipe(steps=1), 1) == 1.0


def test_projection_keeps_what_is_inside_and_the_direction_of_what_is_outside() -> None:
    nu = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 5.0), torch.zeros(3, 4, 4)])
    projected = project(nu, 2.0)
    torch.testing.assert_close(projected[0], nu[0])
    assert float(projected[1].norm()) == pytest.approx(2.0)
    torch.testing.assert_close(projected[1] / projected[1].norm(), nu[1] / nu[1].norm())
    assert torch.equal(projected[2], nu[2])


def test_the_window_is_a_gaussian_around_the_middle_and_none_with_width_0() -> None:
    maps = torch.zeros(2, 3, 5, 8)
    window = centre_window(0.7, maps)
    rows, columns = torch.arange(5) * 2 / 5 - 0.8, torch.arange(8) / 4 - 0.875  # middles of pixels in [-1, 1]
    assert torch.allclose(window, torch.exp(-(rows[:, None] ** 2 + columns**2) / (2 * 0.7**2)))
    assert torch.equal(centre_window(0.0, maps), torch.ones(5, 8))


def test_with_a_centre_a_map_is_faint_at_the_border() -> None:
    def share_at_border(**changes: float) -> float:
        recipe = Recipe(batch_size=4, steps=6, rounds=1, refine_steps=0, sign_test=False).replace(**changes)
        pool = make_pool(torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8), "test")
        with Engine(tiny.classifier(size=16), device="cpu") as engine:
            (one,) = map_jobs(engine, pool, [Job(0, 0)], recipe)
        energy = one.nu.square().sum(0)
        return 1 - float(energy[4:12, 4:12].sum() / energy.sum())

    without, narrow = share_at_border(), share_at_border(centre=0.35)
    assert 0.6 < without < 0.9  # the border is three quarters of the area
    assert narrow < 0.4
