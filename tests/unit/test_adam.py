"""The searches' Adam takes the steps of torch's."""

import pytest
import torch

from phosphene.backdoor.adam import BETA1, BETA2, EPSILON, Adam


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_steps_are_those_of_torch(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    own = torch.rand(4, 5, dtype=torch.float64, generator=generator)
    other = own.clone()
    adam = Adam(own, 0.05)
    reference = torch.optim.Adam([other], lr=0.05, betas=(BETA1, BETA2), eps=EPSILON)
    for _ in range(20):
        other.grad = scale * torch.randn(4, 5, dtype=torch.float64, generator=generator)
        adam.step(other.grad)
        reference.step()
        own.clamp_(0, 1)
        other.clamp_(0, 1)
    torch.testing.assert_close(own, other)
