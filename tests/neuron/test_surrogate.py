"""Surrogate gradients: the spike is a step, its gradient the named bump, each bump a unit of area and the width it says."""

import pytest
import torch

from spikeloom.errors import ConfigError
from spikeloom.neuron import SURROGATES, spike

BUMPS = [name for name in SURROGATES if name != "straight_through"]
PEAKS = {"triangle": 1.0, "rectangle": 1.0, "sigmoid": 0.25, "arctan": 1 / torch.pi, "fast_sigmoid": 0.5}
SMOOTH_STEPS = {
    "sigmoid": lambda u, w: torch.sigmoid(u / w),
    "arctan": lambda u, w: torch.atan(u / w) / torch.pi + 0.5,
    "fast_sigmoid": lambda u, w: u / w / (1 + (u / w).abs()) / 2 + 0.5,
}


@pytest.mark.parametrize("name", SURROGATES)
def test_forward_is_the_step_and_backward_the_bump(name: str) -> None:
    u = torch.tensor([-2.0, -0.1, 0.0, 0.1, 2.0], requires_grad=True)
    s = spike(u, name, 0.5)
    assert s.tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    (s * weight).sum().backward()
    assert u.grad is not None
    torch.testing.assert_close(u.grad, weight * SURROGATES[name](u.detach(), 0.5))


@pytest.mark.parametrize("width", [0.5, 2.0])
@pytest.mark.parametrize("name", BUMPS)
def test_bumps_are_even_have_unit_area_and_their_peak(name: str, width: float) -> None:
    u = torch.linspace(-2000, 2000, 2_000_001, dtype=torch.float64)
    g = SURROGATES[name](u, width)
    assert torch.trapezoid(g, u).item() == pytest.approx(1.0, abs=5e-3)
    torch.testing.assert_close(g, g.flip(0))
    assert g.max().item() == pytest.approx(PEAKS[name] / width, rel=1e-6)


@pytest.mark.parametrize("name", SMOOTH_STEPS)
def test_smooth_bumps_are_derivatives_of_their_smooth_steps(name: str) -> None:
    u = torch.linspace(-3, 3, 41, dtype=torch.float64).requires_grad_()
    (expected,) = torch.autograd.grad(SMOOTH_STEPS[name](u, 0.7).sum(), u)
    torch.testing.assert_close(SURROGATES[name](u.detach(), 0.7), expected)


def test_straight_through_passes_everything() -> None:
    u = torch.tensor([-9.0, 0.3], requires_grad=True)
    spike(u, "straight_through").sum().backward()
    assert u.grad is not None
    assert u.grad.tolist() == [1.0, 1.0]


def test_triangle_and_rectangle_end() -> None:
    edge = torch.tensor([-1.01, 1.01])
    assert SURROGATES["triangle"](edge, 1.0).tolist() == [0.0, 0.0]
    assert SURROGATES["rectangle"](edge / 2, 1.0).tolist() == [0.0, 0.0]


def test_unknown_names_and_widths_are_refused() -> None:
    with pytest.raises(ConfigError, match="triangle"):
        spike(torch.zeros(1), "gaussian")
    with pytest.raises(ConfigError, match="width"):
        spike(torch.zeros(1), "triangle", 0.0)
