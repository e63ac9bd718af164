"""Curves: the formula of the table, nearly as good as the best table, silent where it should be, and found again."""

import math

import pytest
import torch
from tests.neuron.test_two_range import Histograms, error, histograms, uniform
from torch import Tensor

from spikeloom.neuron import curve_of, fit_curves, fit_staircases
from spikeloom.neuron.curve import EXACT, Curve, staircases


def same(h: Tensor) -> Tensor:
    return h


@pytest.fixture
def seen() -> Histograms:
    """Normal inputs, the same with a few that are ten times larger, heavy tails, and normal ones about 3."""
    x = torch.randn(4, 40_000, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x[1, :200] *= 10
    x[2] = x[2] * x[2].abs()
    x[3] = x[3] + 3
    return histograms(x)


def test_thresholds_and_values_are_what_the_formula_gives() -> None:
    curve = Curve("hyperbolic", *(torch.tensor([v], dtype=torch.float64) for v in (0.3, 0.1, 0.02)), -7, 7)
    thresholds, values = staircases(curve, torch.square)
    h = torch.linspace(-4, 4, 4001, dtype=torch.float64)[None]
    x = h - 0.3
    k = (x / (0.1 + 0.02 * x.abs())).round().clamp(-7, 7)
    along = (0.3 + 0.1 * k / (1 - 0.02 * k.abs())).square()
    looked_up = values.gather(1, torch.searchsorted(thresholds, h, right=True))
    assert float((along != looked_up).double().mean()) < 1e-3  # on a threshold itself
    torch.testing.assert_close(along[along == looked_up], looked_up[along == looked_up])


def test_a_curve_without_growth_is_the_uniform_staircase() -> None:
    thresholds, values = staircases(Curve("hyperbolic", torch.zeros(1), torch.tensor([0.5]), torch.zeros(1), 0, 4), same)
    assert values.tolist() == [[0.0, 0.5, 1.0, 1.5, 2.0]]
    assert thresholds.tolist() == [[0.25, 0.75, 1.25, 1.75]]


@pytest.mark.parametrize("levels", [7, 31])
def test_identities_along_a_curve_come_near_the_best_table_and_beat_equal_steps(levels: int, seen: Histograms) -> None:
    thresholds, values = fit_curves(same, *seen, levels, kind="hyperbolic", signed=True)
    assert thresholds.shape == (4, 2 * levels)
    found, best = error(seen, thresholds, values), error(seen, *fit_staircases(lambda h, _: h, *seen, 2 * levels))
    assert bool((found < torch.tensor([1.3, 1.7, 1.3, 1.3]) * best).all())  # two crowds of inputs suit a curve less
    assert bool((found < 1.02 * uniform(seen, levels)).all())
    assert bool((found[1:] < 0.8 * uniform(seen, levels)[1:]).all())


def test_nothing_is_sent_for_nothing(seen: Histograms) -> None:
    for signed in (True, False):
        thresholds, values = fit_curves(torch.relu if not signed else same, *seen, 9, kind="hyperbolic", signed=signed)
        at_zero = values.gather(1, torch.searchsorted(thresholds.contiguous(), torch.zeros(4, 1, dtype=torch.float64), right=True))
        assert at_zero.abs().max() <= 1e-15
    thresholds, values = fit_curves(torch.exp, *exponents(), 20, kind="power", signed=True)
    assert values[0, 0] == 0.0
    assert float(torch.searchsorted(thresholds, torch.tensor([[-1e30]], dtype=torch.float64))) == 0


def test_a_channel_far_from_0_has_its_levels_where_it_is() -> None:
    x = torch.randn(2, 40_000, dtype=torch.float64, generator=torch.Generator().manual_seed(7)) + torch.tensor([[30.0], [-30.0]])
    edges, masses = histograms(x)
    tables = fit_curves(same, edges, masses, 15, kind="hyperbolic", signed=True)
    assert bool((900 * error((edges, masses), *tables) < 0.004).all())  # of the variance, which is a 901st of the power
    again = curve_of(tables[0].float(), tables[1].float(), same, kind="hyperbolic", signed=True)
    assert again is not None
    torch.testing.assert_close(again.centre, torch.tensor([30.0, -30.0]), atol=1.0, rtol=0.0)


def test_what_is_at_the_end_of_a_range_is_sent_as_nothing_too() -> None:
    edges = torch.linspace(0, 6, 2049, dtype=torch.float64) * torch.tensor([[1.0], [1e-10]], dtype=torch.float64)
    masses = torch.exp(-edges[0, 1:]).expand(2, -1).clone()  # a sum of ReLUs, and a channel that was always 0
    masses[:, 0], masses[1, 1:] = 1000.0, 0.0
    for side in (1, -1):
        histogram = (edges, masses) if side == 1 else (-edges.flip(1), masses.flip(1))
        thresholds, values = fit_curves(same, *histogram, 15, kind="hyperbolic", signed=True)
        assert not values.gather(1, torch.searchsorted(thresholds, torch.zeros(2, 1, dtype=torch.float64), right=True)).any()


def test_even_functions_keep_their_centre(seen: Histograms) -> None:
    thresholds, values = fit_curves(torch.square, *seen, 15, kind="hyperbolic", signed=True, centred=True)
    torch.testing.assert_close(thresholds, -thresholds.flip(1))
    torch.testing.assert_close(values, values.flip(1))


def exponents() -> Histograms:
    return histograms(-torch.randn(1, 40_000, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).abs() * 3)


def test_exponentials_by_a_power_come_near_the_best_table() -> None:
    edges, masses = exponents()
    h = (edges[:, 1:] + edges[:, :-1]) / 2

    def missed(thresholds: Tensor, values: Tensor) -> float:
        o = values.gather(1, torch.searchsorted(thresholds.contiguous(), h.contiguous(), right=True))
        return float(((h.exp() - o).square() * masses).sum())

    found = missed(*fit_curves(torch.exp, edges, masses, 62, kind="power", signed=True))
    best = missed(*fit_staircases(lambda h, _: h.exp(), edges, masses, 62, pin=0.0))
    assert found < 1.6 * best


@pytest.mark.parametrize(
    ("f", "kind", "signed"), [(same, "hyperbolic", True), (torch.square, "hyperbolic", True), (torch.exp, "power", True)]
)
def test_a_curve_is_found_again_in_its_table(f: object, kind: str, signed: bool, seen: Histograms) -> None:
    about = exponents() if kind == "power" else seen
    tables = [part.float() for part in fit_curves(f, *about, 15, kind=kind, signed=signed, centred=f is torch.square)]  # type: ignore[arg-type]
    found = curve_of(*tables, f, kind=kind, signed=signed)  # type: ignore[arg-type]
    assert found is not None
    again = staircases(found, f)  # type: ignore[arg-type]
    steps = torch.nn.functional.pad(tables[0].diff(dim=1), (1, 0), value=math.inf)
    assert bool(((again[0] - tables[0]).abs() <= 2 * EXACT * steps).all())
    assert bool((again[1][tables[1] == 0] == 0).all())
    moved = tables[0].clone()
    moved[0, 3] += 0.01 * (moved[0, 4] - moved[0, 3])
    assert curve_of(moved, tables[1], f, kind=kind, signed=True) is None


def test_channels_of_different_powers_are_no_curve_of_one_run() -> None:
    numbers = (torch.zeros(2, dtype=torch.float64), torch.full((2,), 9.0, dtype=torch.float64))
    for powers, known in (([2.0, 2.0], True), ([2.0, 3.0], False)):
        thresholds, values = staircases(Curve("power", *numbers, torch.tensor(powers, dtype=torch.float64), 0, 9), torch.exp)
        assert (curve_of(thresholds.float(), values.float(), torch.exp, kind="power", signed=True) is not None) is known


def test_a_clipped_identity_is_found_again_and_one_with_a_cap_is_not(seen: Histograms) -> None:
    tables = [part.float() for part in fit_curves(torch.relu, *seen, 15, kind="hyperbolic", signed=False)]
    assert curve_of(*tables, same, kind="hyperbolic", signed=False) is not None
    assert curve_of(tables[0], tables[1].clamp_max(float(tables[1].median())), same, kind="hyperbolic", signed=False) is None


def test_a_channel_that_was_always_silent_has_a_curve_too(seen: Histograms) -> None:
    edges, masses = (part.clone() for part in seen)
    edges[0] = torch.linspace(-1e-9, 1e-9, edges.shape[1], dtype=torch.float64)
    masses[0] = 0.0
    masses[0, masses.shape[1] // 2] = 1.0
    tables = [part.float() for part in fit_curves(same, edges, masses, 15, kind="hyperbolic", signed=True)]
    assert bool(tables[0].isfinite().all())
    assert curve_of(*tables, same, kind="hyperbolic", signed=True) is not None
