"""Step sizes: torch's Adam and RMSProp turned uphill; weights of a norm."""

import pytest
import torch
from tests.plasticity.trains import generator

from spikeloom.errors import ConfigError
from spikeloom.plasticity import StepSize, normalised


def asked(steps: int) -> list[torch.Tensor]:
    g = generator()
    scales = torch.tensor([[1e-4, 1.0, 100.0], [1e-2, 5.0, 1e3]], dtype=torch.float64)
    return [torch.randn(2, 3, generator=g, dtype=torch.float64) * scales + scales / 2 for _ in range(steps)]


def test_with_a_mean_it_is_adam() -> None:
    rule, weights = StepSize(0.01, 0.99, 0.9), torch.zeros(2, 3, dtype=torch.float64)
    state, parameter = rule.init(weights), torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))
    peer = torch.optim.Adam([parameter], lr=0.01, betas=(0.9, 0.99), eps=1e-8)
    for each in asked(20):
        change, state = rule.step(state, each)
        weights = weights + change
        parameter.grad = -each
        peer.step()
        torch.testing.assert_close(weights, parameter.data)


def test_without_a_mean_every_synapse_steps_by_its_own_scale() -> None:
    rule = StepSize(0.01)
    state, steps = rule.init(torch.zeros(2, 3, dtype=torch.float64)), []
    for each in asked(300):
        change, state = rule.step(state, each)
        assert torch.equal(change.sign(), each.sign())
        steps.append(change)
    sizes = torch.stack(steps).square().mean(0).sqrt()
    assert float(sizes.max() / sizes.min()) < 1.3  # what was asked differs by 10⁷
    assert float(sizes.mean()) == pytest.approx(0.01, rel=0.1)


def test_the_first_step_is_the_sign() -> None:
    for rule in (StepSize(0.5), StepSize(0.5, 0.99, 0.9), StepSize(0.5, 0.0)):
        change, _ = rule.step(rule.init(torch.zeros(1, 3)), torch.tensor([[1e-3, -7.0, 0.0]]))
        torch.testing.assert_close(change, torch.tensor([[0.5, -0.5, 0.0]]), rtol=1e-4, atol=0)


def test_nothing_given_is_written_to() -> None:
    rule = StepSize(0.1)
    state, given = rule.init(torch.ones(2, 2)), torch.ones(2, 2)
    rule.step(state, given)
    assert state.square.eq(0).all()
    assert given.eq(1).all()


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_rows_have_the_norm_asked_for_and_rows_of_zeros_stay(order: float) -> None:
    weights = torch.randn(5, 7, generator=generator(), dtype=torch.float64)
    weights[3] = 0
    found = normalised(weights, 2.5, order)
    norms = torch.linalg.vector_norm(found, ord=order, dim=1)
    torch.testing.assert_close(norms, torch.tensor([2.5, 2.5, 2.5, 0, 2.5], dtype=torch.float64))
    torch.testing.assert_close(found[0] / found[0, 0], weights[0] / weights[0, 0])


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="beta_square is out of range"):
        StepSize(0.1, 1.0)
    with pytest.raises(ConfigError, match="epsilon must be positive"):
        StepSize(0.1, epsilon=0.0)
