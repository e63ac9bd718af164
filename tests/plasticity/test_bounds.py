"""Bounds: hard, soft and in between; weights stay inside, soft ones settle where Gütig's equation says."""

import pytest
import torch
from tests.plasticity.trains import generator

from spikeloom.errors import ConfigError
from spikeloom.plasticity import Bounds, additive, interpolating, multiplicative
from spikeloom.plasticity.curves import room_curve


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=generator(seed), dtype=torch.float64)


def test_additive_steps_do_not_depend_on_the_weight_until_the_bound() -> None:
    weights = torch.tensor([[0.0, 0.5, 0.95, 1.0]])
    change = additive().change(weights, torch.full_like(weights, 0.1), torch.zeros_like(weights))
    torch.testing.assert_close(change, torch.tensor([[0.1, 0.1, 0.05, 0.0]]))
    change = additive().change(weights, torch.zeros_like(weights), torch.full_like(weights, 0.1))
    torch.testing.assert_close(change, torch.tensor([[0.0, -0.1, -0.1, -0.1]]))


def test_multiplicative_steps_are_in_proportion_to_the_room_left() -> None:
    weights = torch.tensor([[-2.0, -1.0, 1.0, 2.0]])
    up, down = torch.full_like(weights, 0.2), torch.full_like(weights, 0.1)
    room = torch.tensor([[1.0, 0.75, 0.25, 0.0]])
    torch.testing.assert_close(multiplicative(-2.0, 2.0).change(weights, up, down), 0.2 * room - 0.1 * (1 - room))


@pytest.mark.parametrize("mu", [0.25, 0.5, 1.0])
def test_soft_weights_settle_where_steps_up_and_down_are_equal(mu: float) -> None:
    """(1 − w)^μ·P = w^μ·D: w = 1/(1 + (D/P)^(1/μ)), Gütig et al. 2003; additive ones run to a bound."""
    up, down = torch.full((1, 1), 0.2, dtype=torch.float64), torch.full((1, 1), 0.21, dtype=torch.float64)
    soft = hard = torch.full((1, 1), 0.5, dtype=torch.float64)
    for _ in range(1000):
        soft = soft + interpolating(mu).change(soft, up, down)
        hard = hard + additive().change(hard, up, down)
    assert float(soft) == pytest.approx(1 / (1 + 1.05 ** (1 / mu)), rel=1e-6)
    assert float(hard) == 0


@pytest.mark.parametrize(
    "bounds", [additive(-1.0, 1.0), multiplicative(-1.0, 1.0), interpolating(0.3, -1.0, 1.0), Bounds(-1.0, 1.0, 0.0, 1.0)], ids=str
)
def test_no_step_however_large_leaves_the_bounds(bounds: Bounds) -> None:
    weights = 2 * drawn(20, 20) - 1
    for seed in range(20):
        weights = weights + bounds.change(weights, 5 * drawn(20, 20, seed=seed), 5 * drawn(20, 20, seed=99 + seed))
        assert -1 <= float(weights.min()) <= float(weights.max()) <= 1


def test_a_weight_outside_is_brought_back() -> None:
    weights = torch.tensor([[1.5, -0.5]])
    none = torch.zeros_like(weights)
    for bounds in (additive(), multiplicative()):
        torch.testing.assert_close(weights + bounds.change(weights, none, none), torch.tensor([[1.0, 0.0]]))


def test_the_exponent_lies_between_the_two() -> None:
    w = torch.linspace(0, 1, 11, dtype=torch.float64)
    (up0, _), (up, down), (up1, _) = (room_curve(interpolating(mu), w) for mu in (0.0, 0.5, 1.0))
    assert (up0 == 1).all()
    assert ((up1 <= up) & (up <= up0)).all()
    torch.testing.assert_close(up, down.flip(0))


def test_bounds_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="apart"):
        Bounds(1.0, 1.0)
    with pytest.raises(ConfigError, match="mu_plus is out of range"):
        interpolating(1.5)
    with pytest.raises(ConfigError, match="finite"):
        additive(0.0, float("inf"))
