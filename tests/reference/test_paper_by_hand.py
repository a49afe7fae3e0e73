"""The slow reference itself, held against cases small enough to work out on paper.

Most of them use a classifier of two classes with logits (0, f(I)), asked for class 1. Its probability is
p = sigmoid(f), its cross-entropy J = -log p, and so the gradient of J is -(1 - p) f'(I).
"""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from tests.reference import paper

LN3 = math.log(3)

# The direction v of step 2 if the gradients of steps 1 and 2 are 2a and a, with a > 0:
#   mu    = 0.9 * 0.1 * 2a + 0.1 * a            = 0.28 a         corrected by 1 - 0.9^2   = 0.19
#   sigma = 0.999 * 0.001 * 4a^2 + 0.001 * a^2  = 0.004996 a^2   corrected by 1 - 0.999^2 = 0.001999
# That of step 1 is 1. Both up to Adam's 1e-8.
SECOND_V = (28 / 19) / math.sqrt(4996 / 1999)


def tensor(values: object) -> Tensor:
    """A float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def image(*pixels: float) -> Tensor:
    """An image (1, 1, n) of n pixels in a row."""
    return tensor([[list(pixels)]])


def batch(*samples: Tensor) -> Tensor:
    """The samples as a batch (b, c, h, w)."""
    return torch.stack(samples)


def endless(*samples: Tensor) -> Iterator[Tensor]:
    """The same batch for every step."""
    while True:
        yield batch(*samples)


def two_classes(f: Callable[[Tensor], Tensor]) -> paper.Network:
    """The classifier with logits (0, f(I)); f maps (n, c, h, w) to (n,)."""

    def logits(images: Tensor) -> Tensor:
        score = f(images)
        return torch.stack([torch.zeros_like(score), score], dim=1)

    return logits


def linear(weights: Tensor) -> paper.Network:
    """f(I) = <weights, I>."""
    return two_classes(lambda images: (images * weights).sum(dim=(1, 2, 3)))


def of_mean(f: Callable[[Tensor], Tensor]) -> paper.Network:
    """f of (the mean pixel - 1/2)."""
    return two_classes(lambda images: f(images.mean(dim=(1, 2, 3)) - 0.5))


def close(actual: Tensor, expected: Tensor) -> None:
    """Equal up to Adam's epsilon of 1e-8 beside gradients of the order of 1; shape and type exactly."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-7)


def flat_base(images: Tensor) -> Tensor:
    """A convolutional base that answers the same to everything: its Xi is zeros."""
    return torch.ones(len(images), 2, 1, 1, dtype=torch.float64)


# ------------------------------------------------------------------------------------------------ Alg. 1


def test_the_gradient_is_that_of_a_linear_classifier_averaged_over_samples() -> None:
    # f = ln(3) I: p is 1/2 at 0 and 3/4 at 1, so the gradients are -ln(3)/2 and -ln(3)/4.
    gradient = paper.mean_gradient(linear(image(LN3)), 1, batch(image(0.0), image(1.0)), image(0.0))
    close(gradient, image(-0.375 * LN3))


def test_the_gradient_is_taken_at_the_clipped_input() -> None:
    # f = I^2 / 2 has slope I. I - nu = -0.5 is clipped to 0, slope 0; at -0.5 itself the slope would not be 0.
    logits = two_classes(lambda images: (images**2).sum(dim=(1, 2, 3)) / 2)
    close(paper.mean_gradient(logits, 1, batch(image(0.25)), image(0.75)), image(0.0))


def test_the_gradient_is_not_taken_through_the_clip() -> None:
    # I - nu = 1.5 is clipped to 1, where p = 3/4; through the clip the gradient would be 0.
    gradient = paper.mean_gradient(linear(image(LN3)), 1, batch(image(0.5)), image(-1.0))
    close(gradient, image(-0.25 * LN3))


def test_the_other_class_has_the_other_gradient() -> None:
    # Asked for class 0 of (0, ln(3) I) at I = 1: J = -log(1 - p), whose gradient is p ln(3).
    gradient = paper.mean_gradient(linear(image(LN3)), 0, batch(image(1.0)), image(0.0))
    close(gradient, image(0.75 * LN3))


@pytest.mark.parametrize("sign_test", [True, False])
def test_the_first_step_is_the_step_size_times_the_sign_of_the_gradient(sign_test: bool) -> None:
    # Subtracting nu must raise f, so nu goes against the weights; where a weight is 0 it stays.
    weights = image(3.0, -0.5, 0.0, 1.0)
    nu, signs = paper.alg1(
        linear(weights),
        1,
        endless(image(0.5, 0.5, 0.5, 0.5), image(0.2, 0.9, 0.4, 0.1)),
        image(0.0, 0.1, 0.2, 0.3),
        steps=1,
        radius=100.0,
        step_size=0.25,
        sign_test=sign_test,
    )
    close(nu, image(-0.25, 0.35, 0.2, 0.05))
    assert signs == [1]


def test_the_moments_of_the_second_step() -> None:
    # Step 1: I = 0, gradient -ln(3)/2. Step 2: I - nu = 1.5, clipped to 1, gradient -ln(3)/4: the case of SECOND_V.
    batches = iter([batch(image(0.0)), batch(image(1.0))])
    nu, _ = paper.alg1(
        linear(image(LN3)), 1, batches, image(0.0), steps=2, radius=100.0, step_size=0.5, sign_test=False
    )
    close(nu, image(-0.5 * (1 + SECOND_V)))


def test_the_map_is_projected_in_every_step() -> None:
    # The third pixel only says which of the other two counts: the first in step 1, the second in step 2. Both times
    # f = 0 and p = 1/2, so the gradients are (-1/2, 0) and (0, -1/2). Step 1 goes to (-2, 0), projected (-1, 0).
    def f(images: Tensor) -> Tensor:
        first, second, switch = images[:, 0, 0].unbind(dim=1)
        return torch.where(switch > 0.5, first, second)

    batches = iter([batch(image(0.0, 0.0, 1.0)), batch(image(0.0, 0.0, 0.0))])
    nu, _ = paper.alg1(
        two_classes(f), 1, batches, image(0.0, 0.0, 0.0), steps=2, radius=1.0, step_size=2.0, sign_test=False
    )
    first_v = (0.09 / 0.19) / math.sqrt(0.999 / 1.999)
    second_v = (0.10 / 0.19) / math.sqrt(1.000 / 1.999)
    x, y = -1 - 2 * first_v, -2 * second_v
    close(nu, image(x, y, 0.0) / math.hypot(x, y))


def test_every_step_draws_one_batch() -> None:
    batches = iter([batch(image(0.5))] * 3)
    _, signs = paper.alg1(
        linear(image(1.0)), 1, batches, image(0.0), steps=3, radius=100.0, step_size=0.1, sign_test=True
    )
    assert signs == [1, 1, 1]
    with pytest.raises(StopIteration):
        next(batches)


def test_the_seed_is_left_as_it_was() -> None:
    seed = image(0.0)
    paper.alg1(linear(image(1.0)), 1, endless(image(0.5)), seed, steps=2, radius=1.0, step_size=1.0, sign_test=True)
    assert torch.equal(seed, image(0.0))


# ----------------------------------------------------------------------------------------- the sign test


def step_from_grey(logits: paper.Network, *, pixels: int, sign_test: bool = True) -> tuple[Tensor, list[int]]:
    """One step of Alg. 1 with step size 1/4 from a grey sample and an empty map."""
    grey = image(*[0.5] * pixels)
    return paper.alg1(
        logits,
        1,
        endless(grey),
        torch.zeros_like(grey),
        steps=1,
        radius=100.0,
        step_size=0.25,
        sign_test=sign_test,
    )


def test_the_sign_test_takes_minus_where_the_class_fades_along_v() -> None:
    # f = t - 8 t^3 rises at t = 0, so v = -1; but it ends at f(1/2) = -1/2 there, and at +1/2 on the other side.
    hill = of_mean(lambda t: t - 8 * t**3)
    nu, signs = step_from_grey(hill, pixels=1)
    close(nu, image(0.25))
    assert signs == [-1]
    nu, signs = step_from_grey(hill, pixels=1, sign_test=False)
    close(nu, image(-0.25))
    assert signs == [1]


def test_a_tie_keeps_plus() -> None:
    # f = t - 4 t^3 is 0 at both ends, exactly.
    nu, signs = step_from_grey(of_mean(lambda t: t - 4 * t**3), pixels=1)
    close(nu, image(-0.25))
    assert signs == [1]


def test_a_classifier_without_a_gradient_is_a_tie_and_moves_nothing() -> None:
    nu, signs = step_from_grey(of_mean(lambda t: 0 * t), pixels=4)
    assert torch.equal(nu, image(0.0, 0.0, 0.0, 0.0))
    assert signs == [1]


def test_the_trial_goes_along_the_unit_vector_and_the_update_along_v_itself() -> None:
    # 16 pixels: v is -1 each, its unit vector -1/4 each, so t is +-1/4 at the trials and would be +-1/2 along v.
    # f = t - 32 t^3 + 200 t^5 is odd; f(1/4) = -0.0547 < 0 (so minus), f(1/2) = 2.75 > 0 (so plus).
    nu, signs = step_from_grey(of_mean(lambda t: t - 32 * t**3 + 200 * t**5), pixels=16)
    assert signs == [-1]
    close(nu, image(*[0.25] * 16))


def test_the_sign_test_compares_mean_probabilities() -> None:
    # The first pixel only tells the samples apart (slope 0), the second is t. Sample A: f = 10 (t + 1/2), B:
    # f = -3 (t + 1/2). Gradient at t = 0: A -10 (1 - 0.993) = -0.067, B 3 (1 - 0.182) = 2.453, so v = (0, 1), and
    # plus is t = -1/2: p is 1/2 for both. Minus is t = 1/2: p = 1.000 and 0.047, mean 0.5237: minus it is, though
    # the mean log p is -0.69 on the plus side and -1.52 on the minus side.
    def f(images: Tensor) -> Tensor:
        first = (images[:, 0, 0, 0] > 0.5).to(torch.float64)
        t = images[:, 0, 0, 1]
        return (10 * first - 3 * (1 - first)) * t

    nu, signs = paper.alg1(
        two_classes(f),
        1,
        endless(image(1.0, 0.5), image(0.0, 0.5)),
        image(0.0, 0.0),
        steps=1,
        radius=100.0,
        step_size=0.25,
        sign_test=True,
    )
    assert signs == [-1]
    close(nu, image(0.0, -0.25))


def test_the_trials_start_from_the_unclipped_batch_and_the_map_so_far() -> None:
    # f = t^2. Plus: I - nu = 0.5 + 1.25 - 1 = 0.75, t = 1/4. Minus: 2.75, clipped to 1, t = 1/2: minus it is. Had
    # 0.5 + 1.25 been clipped first, both would end at t = 1/2; from an empty map at t = -1/2 and 1/2: ties, so plus.
    bowl = of_mean(lambda t: t**2)
    assert paper.better_sign(bowl, 1, batch(image(0.5)), image(-1.25), image(1.0)) == -1


def test_the_probability_at_a_trial_is_that_of_the_clipped_image() -> None:
    # 0.5 + 0.75 is clipped to 1: p = 3/4. 0.5 - 0.75 to 0: p = 1/2.
    logits = linear(image(LN3))
    assert paper.mean_probability(logits, 1, batch(image(0.5)), image(-0.75)) == pytest.approx(0.75)
    assert paper.mean_probability(logits, 1, batch(image(0.5)), image(0.75)) == pytest.approx(0.5)
    assert paper.mean_probability(logits, 0, batch(image(0.0), image(1.0)), image(0.0)) == pytest.approx(0.375)


# ---------------------------------------------------------------------------------------- the projection


def test_the_projection_keeps_the_direction() -> None:
    close(paper.project(image(3.0, -4.0), 1.0), image(0.6, -0.8))


def test_the_projection_takes_the_norm_over_channels_too() -> None:
    close(paper.project(tensor([[[3.0]], [[4.0]]]), 2.5), tensor([[[1.5]], [[2.0]]]))


def test_the_projection_leaves_what_is_inside() -> None:
    inside = image(0.3, -0.4)
    assert torch.equal(paper.project(inside, 1.0), inside)
    assert torch.equal(paper.project(image(0.0, 0.0), 1.0), image(0.0, 0.0))


def test_the_radius_scales_with_the_root_of_the_number_of_elements() -> None:
    assert paper.scaled_radius(30.0, (3, 224, 224)) == 30.0
    assert paper.scaled_radius(30.0, (3, 112, 112)) == 15.0
    assert paper.scaled_radius(30.0, (3, 448, 448)) == 60.0
    assert paper.scaled_radius(30.0, (1, 32, 32)) == pytest.approx(30 * 32 / math.sqrt(150528))


# ------------------------------------------------------------------------------------- rendering and Xi


def test_the_rendered_map_is_grey_minus_nu() -> None:
    # The values have mean 0 and deviation 2 (over n, not n - 1): 0.5 -+ 0.2.
    close(paper.render(image(2.0, -2.0), 0.2), image(0.3, 0.7))


def test_the_rendered_map_keeps_its_mean_and_is_clipped() -> None:
    # 0, 0, 0, 4: mean 1, deviation sqrt(3). Grey where nu is 0; 0.5 - 0.5 * 4 / sqrt(3) < 0 is cut off.
    close(paper.render(image(0.0, 0.0, 0.0, 4.0), 0.2), image(0.5, 0.5, 0.5, 0.5 - 0.8 / math.sqrt(3)))
    close(paper.render(image(0.0, 0.0, 0.0, 4.0), 0.5), image(0.5, 0.5, 0.5, 0.0))
    close(paper.render(image(0.0, 0.0, 0.0, -4.0), 0.5), image(0.5, 0.5, 0.5, 1.0))


def test_a_constant_map_is_rendered_grey() -> None:
    close(paper.render(image(0.0, 0.0), 0.2), image(0.5, 0.5))
    close(paper.render(image(*[0.1] * 7), 0.2), image(*[0.5] * 7))  # whose mean is not 0.1 to the last bit


def test_xi_is_the_mean_of_the_positive_part_resized_and_stretched() -> None:
    # The positive parts are (0, 8; 0, 8) and (2, 2; 6, 6): mean (1, 5; 3, 7). With its sign left in, the -40 would
    # make another image. Resized to 4 x 4, rows and columns stand at 0, 1/4, 3/4, 1 of the way, so the mean is the
    # plane 1 + 4 x + 2 y, which is then stretched by 1/6.
    seen = []

    def base(images: Tensor) -> Tensor:
        seen.append(images)
        return tensor([[[[-40.0, 8.0], [0.0, 8.0]], [[2.0, 2.0], [6.0, 6.0]]]])

    nu = torch.ones(3, 4, 4, dtype=torch.float64)
    nu[1] = -1.0
    weights = paper.xi(base, nu, 0.2)
    way = (0.0, 0.25, 0.75, 1.0)
    close(weights, tensor([[[(4 * x + 2 * y) / 6 for x in way] for y in way]]))
    assert len(seen) == 1
    close(seen[0], paper.render(nu, 0.2)[None])


def test_xi_of_a_constant_activation_is_zeros() -> None:
    # 1/3 has no exact binary form: blending it with itself by sevenths must not leave a range to stretch.
    def base(images: Tensor) -> Tensor:
        return torch.full((len(images), 3, 2, 2), 1 / 3, dtype=torch.float64)

    assert torch.equal(paper.xi(base, torch.zeros(3, 7, 5, dtype=torch.float64), 0.2), tensor([[[0.0] * 5] * 7]))


def test_xi_of_a_wholly_negative_activation_is_zeros() -> None:
    def base(images: Tensor) -> Tensor:
        return -torch.arange(1.0, 5.0, dtype=torch.float64).reshape(1, 1, 2, 2).expand(len(images), 1, 2, 2)

    assert torch.equal(paper.xi(base, image(1.0, 2.0), 0.2), tensor([[[0.0, 0.0]]]))


@pytest.mark.parametrize("size", [(4, 6), (7, 5), (1, 9), (3, 2), (2, 1)])
def test_resizing_is_torchs_bilinear_without_aligned_corners(size: tuple[int, int]) -> None:
    pixels = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.nn.functional.interpolate(pixels[None, None], size=size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(paper.resize_bilinear(pixels, *size), expected[0, 0], rtol=0, atol=1e-12)


def test_resizing_by_hand() -> None:
    close(paper.resize_bilinear(tensor([[0.0, 1.0]]), 1, 4), tensor([[0.0, 0.25, 0.75, 1.0]]))
    close(paper.resize_bilinear(tensor([[0.0, 1.0, 2.0, 9.0]]), 1, 2), tensor([[0.5, 5.5]]))


# ------------------------------------------------------------------------------------------------- Eq. 2


def refine(nu: Tensor, weights: Tensor, logits: paper.Network, *, steps: int, penalty: float, lr: float) -> Tensor:
    """Eq. 2 for class 1 on one grey sample."""
    grey = torch.full_like(nu, 0.5)
    return paper.eq2(logits, 1, endless(grey), nu, weights, steps=steps, lr=lr, penalty=penalty)


def test_the_first_refining_step_weighs_the_cross_entropy_against_the_mean_of_the_penalty() -> None:
    # f = I1 + I2 - I3 - I4 is 0 for a constant I - nu, p = 1/2, so J falls by nu at (-1/2, -1/2, 1/2, 1/2). The
    # penalty rises at penalty/4 where Xi is 0 and nowhere where it is 1. Adam's first step is lr against the sign.
    logits = linear(tensor([[[1.0, 1.0], [-1.0, -1.0]]]))
    weights = tensor([[[0.0, 1.0], [0.0, 1.0]]])
    nu = torch.full((1, 2, 2), 0.1, dtype=torch.float64)
    # penalty 1: slopes 0.5 + 0.25, 0.5, -0.5 + 0.25, -0.5 (the sum instead of the mean would turn the third)
    refined = refine(nu, weights, logits, steps=1, penalty=1.0, lr=0.01)
    close(refined, tensor([[[0.09, 0.09], [0.11, 0.11]]]))
    # penalty 4: slopes 0.5 + 1, 0.5, -0.5 + 1, -0.5
    refined = refine(nu, weights, logits, steps=1, penalty=4.0, lr=0.01)
    close(refined, tensor([[[0.09, 0.09], [0.09, 0.11]]]))


def test_the_mean_of_the_penalty_is_over_channels_too() -> None:
    # Two channels of one pixel, f = I1 - I2, nu = 0.1: J has the slopes (1/2, -1/2), the penalty penalty/2 each: the
    # second slope is negative for penalty 0.8, and would be positive were the mean over the one pixel of Xi alone.
    logits = linear(tensor([[[1.0]], [[-1.0]]]))
    nu = torch.full((2, 1, 1), 0.1, dtype=torch.float64)
    refined = refine(nu, tensor([[[0.0]]]), logits, steps=1, penalty=0.8, lr=0.01)
    close(refined, tensor([[[0.09]], [[0.11]]]))


def test_the_penalty_alone_shrinks_what_xi_leaves_out() -> None:
    # Under a constant slope every Adam step is lr long. Negative values rise, zeros stay, Xi = 1 protects.
    flat = of_mean(lambda t: 0 * t)
    refined = refine(image(0.5, -0.5, 0.0, 0.5), image(0.0, 0.5, 0.0, 1.0), flat, steps=3, penalty=50.0, lr=0.1)
    close(refined, image(0.2, -0.2, 0.0, 0.5))


def test_the_second_refining_step() -> None:
    # The same gradients as in the second step of Alg. 1; every step draws its own batch.
    batches = iter([batch(image(0.0)), batch(image(1.0))])
    nu = paper.eq2(linear(image(LN3)), 1, batches, image(0.0), image(0.0), steps=2, lr=0.5, penalty=0.0)
    close(nu, image(-0.5 * (1 + SECOND_V)))


def test_the_refinement_is_torchs_adam_with_the_gradient_in_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = 3 * torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    samples = torch.rand(3, 2, 3, 4, generator=generator, dtype=torch.float64)
    weighting = torch.rand(1, 3, 4, generator=generator, dtype=torch.float64)
    start = 0.5 * torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)

    nu = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([nu], lr=0.02)
    for _ in range(15):
        (from_penalty,) = torch.autograd.grad(5.0 * (nu * (1 - weighting)).abs().mean(), nu)
        scores = ((samples - nu.detach()).clamp(0, 1) * weights).sum(dim=(1, 2, 3))
        nu.grad = from_penalty + (1 - torch.sigmoid(scores)).mean() * weights
        optimiser.step()

    refined = paper.eq2(linear(weights), 1, endless(*samples), start, weighting, steps=15, lr=0.02, penalty=5.0)
    torch.testing.assert_close(refined, nu.detach(), rtol=1e-9, atol=1e-12)


# --------------------------------------------------------------------------------------------- the cycle


def one_pixel_map(
    *,
    batches: Iterator[Tensor],
    base: paper.Network = flat_base,
    radius: float = 1e9,
    step_size: float = 0.25,
    rounds: int = 1,
    refine_steps: int = 1,
    refine_lr: float = 0.01,
) -> tuple[Tensor, Tensor, list[int]]:
    """The whole method on one pixel with f = 2 I, one step of Alg. 1 a round, no penalty."""
    return paper.saliency_map(
        linear(image(2.0)),
        base,
        1,
        batches,
        (1, 1, 1),
        steps=1,
        radius=radius,
        step_size=step_size,
        sign_test=True,
        rounds=rounds,
        refine_steps=refine_steps,
        refine_lr=refine_lr,
        penalty=0.0,
        contrast=0.2,
    )


def test_two_rounds_start_from_zero_and_restart_their_moments() -> None:
    # The first step of anything is 1 long whatever the gradient, and every stage here has one step only: the map
    # moves by -0.25, -0.01, -0.25, -0.01. Kept moments would not give 1: the gradient falls as p grows.
    batches = iter([batch(image(0.0))] * 4)
    nu, weights, signs = one_pixel_map(batches=batches, rounds=2)
    close(nu, image(-0.52))
    close(weights, image(0.0))
    assert signs == [1, 1]
    with pytest.raises(StopIteration):
        next(batches)


def test_the_refined_map_is_clipped_and_then_projected() -> None:
    black = endless(image(0.0))
    close(one_pixel_map(batches=black, refine_lr=3.0)[0], image(-1.0))
    # eta for a ball of radius 1/2 at one element
    close(one_pixel_map(batches=black, refine_lr=3.0, radius=0.5 * math.sqrt(150528))[0], image(-0.5))


def cut_off(second_weight: float) -> paper.Network:
    """Two pixels, f = 2 min(I1, 0.6) + second_weight I2: above 0.6 the first pixel has no slope."""
    return two_classes(lambda images: 2 * images[:, 0, 0, 0].clamp(max=0.6) + second_weight * images[:, 0, 0, 1])


def test_clipping_comes_before_projecting() -> None:
    # Alg. 1 sees I = (0, 0): nu = (-0.3, -0.3). The refinement sees I = (0.5, 0), so I - nu = (0.8, 0.3) and only the
    # second pixel moves, to -3.3. Clipped (-0.3, -1), then projected on radius 1.
    nu, _, _ = paper.saliency_map(
        cut_off(2.0),
        flat_base,
        1,
        iter([batch(image(0.0, 0.0)), batch(image(0.5, 0.0))]),
        (1, 1, 2),
        steps=1,
        radius=math.sqrt(150528 / 2),
        step_size=0.3,
        sign_test=True,
        rounds=1,
        refine_steps=1,
        refine_lr=3.0,
        penalty=0.0,
        contrast=0.2,
    )
    close(nu, image(-0.3, -1.0) / math.sqrt(1.09))


def test_without_refining_steps_nothing_is_clipped_but_xi_is_there() -> None:
    batches = iter([batch(image(0.0))])
    nu, weights, signs = one_pixel_map(batches=batches, refine_steps=0, step_size=3.0)
    close(nu, image(-3.0))
    close(weights, image(0.0))
    assert signs == [1]


def test_the_last_xi_is_the_one_that_the_last_refinement_used() -> None:
    # The base returns its input. Alg. 1 sees I = (0, 0) and gives nu = (-0.25, 0.25), rendered
    # (0.7, 0.3): Xi = (1, 0). The refinement sees I = (0.5, 0), so I - nu = (0.75, 0): no slope in the first pixel,
    # neither from f nor, as Xi is 1 there, from the penalty; in the second the penalty's 25 wins: nu = (-0.25, -0.5).
    # The Xi of that would be (0, 1).
    nu, weights, signs = paper.saliency_map(
        cut_off(-2.0),
        lambda images: images,
        1,
        iter([batch(image(0.0, 0.0)), batch(image(0.5, 0.0))]),
        (1, 1, 2),
        steps=1,
        radius=1e9,
        step_size=0.25,
        sign_test=False,
        rounds=1,
        refine_steps=1,
        refine_lr=0.75,
        penalty=50.0,
        contrast=0.2,
    )
    close(weights, image(1.0, 0.0))
    close(nu, image(-0.25, -0.5))
    assert signs == [1]


# ---------------------------------------------------------------------------------------------- M_score

CONFIDENT = 1000.0 * torch.eye(4, dtype=torch.float64)


def test_confident_and_distinct_maps_score_one() -> None:
    assert paper.m_score(CONFIDENT, [0, 1, 2, 3]) == pytest.approx(1.0)
    assert paper.m_score(CONFIDENT.repeat(3, 1), [0, 1, 2, 3]) == pytest.approx(1.0)


def test_maps_that_are_all_alike_score_one_in_l() -> None:
    assert paper.m_score(CONFIDENT[[2, 2, 2, 2]], [0, 1, 2, 3]) == pytest.approx(0.25)
    assert paper.m_score(torch.zeros(5, 4, dtype=torch.float64), [0, 1, 2, 3]) == pytest.approx(0.25)


def test_a_target_with_permuted_labels_scores_one_too() -> None:
    assert paper.m_score(CONFIDENT[:, [1, 2, 3, 0]], [0, 1, 2, 3]) == pytest.approx(1.0)
    assert paper.m_score(CONFIDENT, [3, 1, 0, 2]) == pytest.approx(1.0)


def test_other_classes_have_no_part() -> None:
    # Each of the two maps is classified as 2, by far; among the concepts 1 and 3 alone they differ.
    logits = tensor([[0.0, 500.0, 9999.0, 0.0], [0.0, 0.0, 9999.0, 500.0]])
    assert paper.m_score(logits, [1, 3]) == pytest.approx(1.0)
    assert paper.m_score(logits, [0, 2]) == pytest.approx(0.5)


def test_half_sure_maps() -> None:
    # p = (3/4, 1/4) and (1/4, 3/4), marginal 1/2: KL = 3/4 ln(3/2) + 1/4 ln(1/2), its exponential
    # (3/2)^(3/4) (1/2)^(1/4).
    logits = tensor([[LN3, 0.0], [0.0, LN3]])
    assert paper.m_score(logits, [0, 1]) == pytest.approx(1.5**0.75 * 0.5**0.25 / 2)


def test_the_marginal_is_the_mean_over_the_maps() -> None:
    # Two maps of one concept, one of the other: marginal (2/3, 1/3), mean KL = 2/3 ln(3/2) + 1/3 ln(3).
    logits = tensor([[900.0, 0.0], [900.0, 0.0], [0.0, 900.0]])
    assert paper.m_score(logits, [0, 1]) == pytest.approx(6.75 ** (1 / 3) / 2)
