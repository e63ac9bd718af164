"""Limits: what contradicts itself is refused, grids hold their values, rates are measured against the band."""

from typing import Any

import pytest
import torch
from tests.evolve.networks import spiking

from spikeloom.errors import ConfigError
from spikeloom.evolve import Limits, Space
from spikeloom.evolve.limits import on_lattice, reaches


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"min_rate": 0.5, "max_rate": 0.1}, "min_rate 0.5 above max_rate 0.1"),
        ({"min_rate": -0.1}, "share of neuron-steps"),
        ({"max_rate": 2.0}, "share of neuron-steps"),
        ({"threshold_bits": 0}, "1 … 24"),
        ({"leak_bits": 1}, "2 … 24"),
        ({"decay": 0.0}, "0 < decay <= 1"),
        ({"decay": 1.5}, "0 < decay <= 1"),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Limits(**given)


def test_a_rate_outside_of_the_band_violates_it_by_as_much() -> None:
    limits = Limits(min_rate=0.1, max_rate=0.5)
    assert limits.violation([0.1, 0.3, 0.5]) == 0.0
    assert limits.violation([0.05, 0.7]) == pytest.approx(0.25)


def test_a_lattice_takes_the_nearest_point_within_its_ends_and_passes_gradients() -> None:
    x = torch.tensor([0.1, 1.3, 9.0, -9.0, torch.inf], dtype=torch.float64, requires_grad=True)
    y = on_lattice(x, torch.tensor(0.5, dtype=torch.float64), 1, 6)
    assert y.tolist() == [0.5, 1.5, 3.0, 0.5, torch.inf]
    y[:4].sum().backward()
    assert x.grad is not None
    assert x.grad[:4].tolist() == [1.0] * 4


def test_a_range_between_two_points_reaches_none() -> None:
    unit = torch.tensor(1.0)
    assert reaches(torch.tensor([0.9]), torch.tensor([1.1]), unit, 3)
    assert not reaches(torch.tensor([1.1]), torch.tensor([1.9]), unit, 3)
    assert not reaches(torch.tensor([4.0]), torch.tensor([5.0]), unit, 3)


def test_a_grid_without_a_value_inside_the_bounds_is_refused() -> None:
    program = spiking()
    name = next(name for name, tensor in program.tensors.items() if name.endswith("step") and tensor.ndim == 1)
    uneven = program.tensors[name] * torch.logspace(0, -3, len(program.tensors[name]))
    with pytest.raises(ConfigError, match=r"thresholds of 2 bits have no value within the bounds"):
        Space(program.replaced(tensors={**program.tensors, name: uneven}), 1, Limits(threshold_bits=2))
