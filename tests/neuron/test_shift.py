"""Staircases whose heights are powers of two: the best ones, by comparison with every choice there is."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

from spikeloom.neuron import FUNCTIONS, are_shifts, fit_shift_staircase, read_table, staircase_error
from spikeloom.neuron.shift import best_values

SAMPLES = torch.randn(4000, generator=torch.Generator().manual_seed(0)).double() * 2


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("most", [2, 3, 4])
def test_the_best_powers_are_those_that_trying_all_finds(seed: int, most: int) -> None:
    generator = np.random.default_rng(seed)
    y = np.sort(generator.normal(size=12) * 3)
    mass = generator.random(12)
    options = [0.0, *(sign * 2.0**k for k in range(-4, 5) for sign in (-1, 1))]

    def error(values: tuple[float, ...]) -> float:
        return float((mass * np.min((y[:, None] - np.array(values)) ** 2, axis=1)).sum())

    found = best_values(y, mass, most)
    assert len(found) <= most
    assert error(tuple(found)) == pytest.approx(min(error(values) for values in combinations(options, most)), rel=1e-9)


@pytest.mark.parametrize("name", ["exp", "gelu", "silu", "sigmoid", "tanh", "square"])
def test_heights_are_powers_of_two_and_levels_never_hurt(name: str) -> None:
    function, errors = FUNCTIONS[name], list[float]()
    for levels in (3, 7, 15, 31):
        thresholds, values = fit_shift_staircase(function, SAMPLES, levels, signed=True)
        assert are_shifts(values)
        assert len(values.unique()) <= 2 * levels + 1
        assert bool((thresholds.diff() > 0).all())
        errors.append(staircase_error(function, SAMPLES, (thresholds, values)))
        h = torch.linspace(-5, 5, 77, dtype=torch.float64)
        wanted, found = function(h), read_table(h, thresholds, values, 0)
        assert float((found - wanted).abs().max()) <= 0.34 * float(function(SAMPLES).abs().max()) + 1e-9
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(errors))
    assert errors[-1] <= float(function(SAMPLES).square().mean()) / 9  # no value is more than a third off


def test_a_function_that_is_one_value_is_one_height() -> None:
    thresholds, values = fit_shift_staircase(lambda h: torch.full_like(h, 0.9), SAMPLES, 4)
    assert len(thresholds) == 1
    assert values.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("values", "wanted"), [([0.0, 0.5, -4.0], True), ([0.0, 0.75], False), ([0.0], False), ([float("nan")], False)])
def test_powers_of_two_are_recognised(values: list[float], wanted: bool) -> None:
    assert are_shifts(torch.tensor(values)) is wanted
