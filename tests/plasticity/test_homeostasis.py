"""Homeostasis: rates come to the target from below and from above, by weights whose ratios stay or by thresholds."""

import pytest
import torch
from tests.plasticity.trains import generator

from spikeloom.errors import ConfigError
from spikeloom.plasticity import Homeostasis
from spikeloom.plasticity.curves import settling


@pytest.mark.parametrize("start", [0.1, 3.0])
def test_synaptic_scaling_brings_a_linear_neuron_to_its_target(start: float) -> None:
    drive = torch.full((1500,), 2.0, dtype=torch.float64)
    rates = settling(Homeostasis(0.5, 0.02, 20.0), drive, start)
    assert float(rates[-1]) == pytest.approx(0.5, rel=1e-3)


def test_scaling_keeps_the_ratios_of_a_neurons_weights_and_zeros() -> None:
    rule, weights = Homeostasis(1.0, 0.1, 1.0), torch.tensor([[1.0, 2.0, 0.0], [4.0, -1.0, 3.0]])
    change, _ = rule.scale(rule.init(2), torch.tensor([[0.0, 5.0]]), weights)
    factors = (weights + change) / weights
    assert factors[0, 0] == factors[0, 1] > 1
    torch.testing.assert_close(factors[1], factors[1, :1].expand(3))
    assert factors[1, 0] < 1
    assert change[0, 2] == 0


def test_a_neuron_at_half_its_target_gains_half_of_the_rate_whatever_the_target_is() -> None:
    """(1 − r̄/r*)·η of the weight; the threshold moves by η·(r̄ − r*)."""
    for target in (0.1, 0.5, 4.0):
        rule, post = Homeostasis(target, 0.2, 1e-3), torch.full((3, 1), target / 2, dtype=torch.float64)
        change, mean = rule.scale(rule.init(1, post), post, torch.full((1, 2), 3.0, dtype=torch.float64))
        assert change.flatten().tolist() == pytest.approx([0.5 * 0.2 * 3.0] * 2)
        assert float(mean) == pytest.approx(target / 2)
        assert float(rule.shift(mean, post)[0]) == pytest.approx(-0.2 * target / 2)


@pytest.mark.parametrize("start", [-2.0, 4.0])
def test_thresholds_bring_noisy_neurons_to_the_target_rate(start: float) -> None:
    """16 neurons whose input is normal noise of different strength: each ends firing in a tenth of the steps."""
    g, rule = generator(), Homeostasis(0.1, 0.1, 10.0)
    theta, strength = torch.full((16,), start), torch.linspace(0.5, 3, 16)
    mean, fired = rule.init(16), torch.zeros(16)
    for step in range(2000):
        post = (strength * torch.randn(20, 16, generator=g) >= theta).float()
        change, mean = rule.shift(mean, post)
        theta = theta + change
        fired = fired + post.mean(0) * (step >= 1500)
    assert (fired / 500 - 0.1).abs().max() < 0.01
    assert (theta.diff() > 0).float().mean() > 0.9  # stronger noise, higher threshold
    torch.testing.assert_close(theta / strength, torch.full((16,), 1.2816), atol=0.12, rtol=0)


def test_the_watched_rate_follows_by_its_time_constant() -> None:
    rule = Homeostasis(1.0, 0.0, 50.0, dt_ms=5.0)
    mean = rule.init(1, torch.zeros(1, dtype=torch.float64))
    for _ in range(10):
        mean = rule.watch(mean, torch.zeros(3, 1, dtype=torch.float64))
    assert float(mean) == pytest.approx(torch.tensor(-1.0).exp().item())


def test_at_the_target_nothing_moves() -> None:
    rule, post = Homeostasis(0.5, 1.0, 10.0), torch.tensor([[1.0], [0.0]])
    assert rule.shift(rule.init(1), post)[0].abs().max() < 1e-7
    assert rule.scale(rule.init(1), post, torch.ones(1, 3))[0].abs().max() < 1e-7


def test_a_target_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="target must be positive"):
        Homeostasis(0.0, 0.1, 10.0)
