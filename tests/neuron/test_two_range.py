"""Two ranges: the staircase itself, never worse than one range, near the best there is, and what it is for."""

import itertools

import pytest
import torch
from torch import Tensor

from spikeloom.neuron import fit_two_range

Histograms = tuple[Tensor, Tensor]


def histograms(x: Tensor, bins: int = 1024) -> Histograms:
    """One histogram a row."""
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    edges = low + (high - low) * torch.arange(bins + 1, dtype=torch.float64) / bins
    place = ((x - low) / (high - low) * bins).long().clamp(0, bins - 1)
    return edges, torch.zeros(len(x), bins, dtype=torch.float64).scatter_add_(1, place, torch.ones_like(x))


def error(seen: Histograms, thresholds: Tensor, values: Tensor) -> Tensor:
    """The share of each row's power that a staircase loses."""
    edges, masses = seen
    h = (edges[:, 1:] + edges[:, :-1]) / 2
    o = values.gather(1, torch.searchsorted(thresholds.contiguous(), h.contiguous(), right=True))
    return ((h - o).square() * masses).sum(1) / (h.square() * masses).sum(1)


def uniform(seen: Histograms, levels: int) -> Tensor:
    """The error of the best equal steps."""
    top = seen[0].abs().amax(1, keepdim=True)
    found = list[Tensor]()
    for share in torch.linspace(0.02, 1.0, 99, dtype=torch.float64):
        values = share * top / levels * torch.arange(-levels, levels + 1)
        found.append(error(seen, (values[:, 1:] + values[:, :-1]) / 2, values))
    return torch.stack(found).amin(0)


@pytest.fixture
def seen() -> Histograms:
    """Normal inputs, the same with a few that are thirty times larger, and heavy tails."""
    x = torch.randn(3, 20_000, dtype=torch.float64)
    x[1, :50] *= 30
    x[2] = x[2] ** 3
    return histograms(x)


def test_values_are_whole_multiples_of_the_fine_step_and_thresholds_lie_half_way(seen: Histograms) -> None:
    thresholds, values = fit_two_range(lambda h: h, *seen, 7, signed=True)
    assert thresholds.shape == (3, 14)
    assert values.shape == (3, 15)
    torch.testing.assert_close(thresholds, (values[:, 1:] + values[:, :-1]) / 2)
    torch.testing.assert_close(values, -values.flip(1))
    units = values / values[:, 8:9]
    torch.testing.assert_close(units, units.round())
    steps = units.round().diff(dim=1)[:, 7:]
    ratios = steps.amax(1)
    assert bool(((steps == 1) | (steps == ratios[:, None])).all())
    assert bool((steps.diff(dim=1) >= 0).all())
    assert ratios[1] > 1
    assert set(ratios.tolist()) <= {1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0}


@pytest.mark.parametrize("levels", [3, 7, 15])
def test_two_ranges_are_never_worse_than_one_and_far_better_for_outliers(seen: Histograms, levels: int) -> None:
    gained = 10 * torch.log10(uniform(seen, levels) / error(seen, *fit_two_range(lambda h: h, *seen, levels, signed=True)))
    assert bool((gained > -0.05).all())
    assert gained[1] > 4


def test_the_fit_is_within_a_few_tenths_of_a_decibel_of_the_best_there_is(seen: Histograms) -> None:
    levels, found = 4, torch.full((3,), torch.inf, dtype=torch.float64)
    top = seen[0].abs().amax(1, keepdim=True)
    for fine, ratio, share in itertools.product(range(1, 5), (1, 2, 4, 8, 16, 32, 64, 128), torch.linspace(0.02, 1.05, 140).tolist()):
        u = torch.tensor([i if i <= fine else fine + ratio * (i - fine) for i in range(1, levels + 1)], dtype=torch.float64)
        heights = share * top * u / u[-1]
        values = torch.cat([-heights.flip(1), torch.zeros_like(top), heights], dim=1)
        found = torch.minimum(found, error(seen, (values[:, 1:] + values[:, :-1]) / 2, values))
    lost = 10 * torch.log10(error(seen, *fit_two_range(lambda h: h, *seen, levels, signed=True)) / found)
    assert bool((lost < 0.3).all())


def test_one_sided_levels_serve_a_clipped_function(seen: Histograms) -> None:
    thresholds, values = fit_two_range(lambda h: h.clamp(0, 2), *seen, 7, signed=False)
    assert thresholds.shape == (3, 7)
    assert bool((values[:, 0] == 0).all())
    assert bool((values >= 0).all())
    assert bool((values[:, -1] < 2.3).all())


def test_a_channel_that_is_always_zero_gets_finite_steps() -> None:
    edges = torch.linspace(-1e-9, 1e-9, 65, dtype=torch.float64)[None]
    masses = torch.zeros(1, 64, dtype=torch.float64)
    masses[0, 32] = 10.0
    thresholds, values = fit_two_range(lambda h: torch.zeros_like(h), edges, masses, 3, signed=True)
    assert bool(thresholds.isfinite().all())
    assert bool(values.isfinite().all())
