"""BCM: the sign changes at θ, θ slides after y², a neuron becomes selective. Oja: the first principal component."""

import math

import pytest
import torch
from tests.plasticity.trains import generator

from spikeloom.errors import ConfigError
from spikeloom.plasticity import BCM, oja
from spikeloom.plasticity.curves import bcm_curve


def test_the_sign_changes_at_theta_and_at_no_output() -> None:
    post = torch.tensor([-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0], dtype=torch.float64)
    assert bcm_curve(BCM(1.0, 100.0), 1.5, post).tolist() == [2.5, 0.0, -0.5, -0.5, 0.0, 1.0, 4.5]
    rule, pre = BCM(0.1, 100.0), torch.tensor([[2.0, 0.0]])
    for y, sign in ((0.9, -1), (1.0, 0), (1.1, 1)):
        change, _ = rule.step(torch.ones(1), pre, torch.full((1, 1), y))
        assert change.sign().tolist() == [[sign, 0]]


def test_theta_slides_to_the_mean_square_of_the_output_at_its_own_pace() -> None:
    rule, theta = BCM(0.0, 50.0, dt_ms=2.0), torch.zeros(1, dtype=torch.float64)
    pre, post = torch.zeros(2, 1, dtype=torch.float64), torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    for step in range(1, 501):
        _, theta = rule.step(theta, pre, post)
        if step == 25:
            assert float(theta) == pytest.approx(5 * (1 - math.exp(-1)), rel=1e-9)
    assert float(theta) == pytest.approx(5.0, rel=1e-6)


def test_theta_of_another_power_is_in_units_of_the_reference() -> None:
    rule, theta = BCM(0.0, 1.0, reference=2.0, power=3.0), torch.zeros(1, dtype=torch.float64)
    for _ in range(60):
        _, theta = rule.step(theta, torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), 2.0, dtype=torch.float64))
    assert float(theta) == pytest.approx(2.0)  # y = y₀ is its own threshold
    _, raised = rule.step(theta, torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), 4.0, dtype=torch.float64))
    assert float(raised) > 2


@pytest.mark.parametrize(("start", "chosen"), [((0.5, 0.4), 0), ((0.4, 0.5), 1), ((0.31, 0.3), 0)])
def test_a_neuron_with_two_inputs_becomes_selective_for_one(start: tuple[float, float], chosen: int) -> None:
    """Intrator & Cooper 1992: of two inputs, shown equally often, the neuron ends with y = 1/p = 2 for one and y = 0 for the other."""
    shown = torch.tensor([[1.0, 0.2], [0.2, 1.0]], dtype=torch.float64)
    weights, rule = torch.tensor([start], dtype=torch.float64), BCM(0.05, 10.0)
    theta = rule.init(1, 0.2, weights)
    for _ in range(1500):
        change, theta = rule.step(theta, shown, shown @ weights.T)
        weights = weights + change
    ends = (shown @ weights.T).flatten().tolist()
    assert ends[chosen] == pytest.approx(2, abs=1e-3)
    assert ends[1 - chosen] == pytest.approx(0, abs=1e-3)
    assert float(theta) == pytest.approx(2, abs=1e-3)


def test_without_a_sliding_threshold_weights_die_or_grow() -> None:
    rule = BCM(0.05, 1e12)
    ends = []
    for start in (0.9, 1.1):
        weights, theta = torch.full((1, 1), start, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        for _ in range(60):
            change, theta = rule.step(theta, torch.ones(1, 1, dtype=torch.float64), weights)
            weights = weights + change
        ends.append(float(weights))
    assert ends[0] < 0.5
    assert ends[1] > 2


def test_oja_finds_the_first_principal_component_of_length_one() -> None:
    g = generator(1)
    mixing = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.5]], dtype=torch.float64)
    data = torch.randn(4000, 3, generator=g, dtype=torch.float64) @ mixing
    leading = torch.linalg.eigh(data.T @ data)[1][:, -1]
    weights = torch.full((1, 3), 0.1, dtype=torch.float64)
    for _ in range(5):
        for pre in data.split(10):
            weights = weights + oja(weights, pre, pre @ weights.T, 0.01)
    assert float(weights.norm()) == pytest.approx(1, abs=0.05)
    assert abs(float(weights[0] @ leading)) == pytest.approx(1, abs=0.05)


def test_oja_over_a_batch_is_the_sum_or_the_mean_of_its_samples() -> None:
    g = generator(2)
    weights, pre, post = (torch.randn(*shape, generator=g) for shape in ((2, 3), (5, 3), (5, 2)))
    each = torch.stack([oja(weights, pre[b : b + 1], post[b : b + 1], 0.1) for b in range(5)])
    torch.testing.assert_close(oja(weights, pre, post, 0.1, "sum"), each.sum(0))
    torch.testing.assert_close(oja(weights, pre, post, 0.1), each.mean(0))


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="tau_theta_ms must be positive"):
        BCM(0.1, 0.0)
    with pytest.raises(ConfigError, match="power is out of range"):
        BCM(0.1, 1.0, power=0.5)
