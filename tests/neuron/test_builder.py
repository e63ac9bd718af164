"""Function staircases: optimal against dynamic programming, error falling as M^-2, tails, signs, reuse, pins, and what is refused."""

import itertools
import math
import time
from collections.abc import Callable
from functools import partial

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

from spikeloom.errors import ConfigError, NumericError, UnsupportedError
from spikeloom.neuron import (
    FUNCTIONS,
    Histogram,
    builder,
    fit_staircase,
    fit_staircases,
    least_staircase_error,
    read_table,
    scalar_function,
    staircase_error,
)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not executed: a user meets our errors, not the type checker's."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def histogram(kind: str, bins: int = 512) -> Histogram:
    """Bell: around 0; skew: positive, long-tailed; lumps: two narrow modes."""
    edges = torch.linspace(-6, 6, bins + 1, dtype=torch.float64)
    h = (edges[1:] + edges[:-1]) / 2
    if kind == "skew":
        return (edges / 2).exp(), (-h.square() / 2).exp()
    if kind == "lumps":
        return edges, (-(h - 2).square() / 0.1).exp() + 0.05 * (-(h + 3).square() / 0.02).exp()
    return edges, (-h.square() / 2).exp()


def test_the_optimum_is_that_of_all_ways_to_place_thresholds() -> None:
    edges, mass = torch.arange(9.0, dtype=torch.float64), torch.tensor([1, 5, 2, 4, 1, 3, 2, 6], dtype=torch.float64)
    y, w = (edges[:-1] + 0.5).sin(), mass / mass.sum()

    def spread(start: int, end: int) -> float:
        part, mean = slice(start, end), (w[start:end] @ y[start:end]) / w[start:end].sum()
        return float(w[part] @ (y[part] - mean).square())

    for values in (1, 2, 3, 4):
        ways = itertools.combinations(range(1, 8), values - 1)
        least = min(sum(spread(*pair) for pair in itertools.pairwise((0, *cuts, 8))) for cuts in ways)
        assert least_staircase_error(torch.sin, (edges, mass), values) == pytest.approx(least)
    assert least_staircase_error(torch.sin, (edges, mass), 2, every=4) == pytest.approx(spread(0, 4) + spread(4, 8))


@pytest.mark.parametrize("levels", [3, 7, 15, 31])
@pytest.mark.parametrize(
    ("name", "kind"),
    [(n, k) for n in ("relu", "silu", "gelu", "hardswish", "mish", "tanh", "sigmoid", "square") for k in ("bell", "lumps")]
    + [(n, "skew") for n in ("reciprocal", "rsqrt", "sqrt", "exp", "silu")],
)
def test_error_is_within_two_per_cent_of_the_optimum(name: str, kind: str, levels: int) -> None:
    inputs = histogram(kind)
    thresholds, values = fit_staircase(FUNCTIONS[name], inputs, levels)
    assert len(values) == len(thresholds) + 1 <= levels + 1
    assert bool((thresholds.diff() > 0).all())
    least = least_staircase_error(FUNCTIONS[name], inputs, levels + 1)
    assert staircase_error(FUNCTIONS[name], inputs, (thresholds, values)) <= 1.02 * least


@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "exp"])
def test_error_falls_as_the_square_of_the_number_of_values(name: str) -> None:
    inputs = histogram("bell", 4096)
    errors = [staircase_error(FUNCTIONS[name], inputs, fit_staircase(FUNCTIONS[name], inputs, n)) * (n + 1) ** 2 for n in (31, 127, 1023)]
    assert max(errors) <= 1.15 * min(errors)


def test_signed_has_one_value_per_level_and_sign_and_zero() -> None:
    _, values = fit_staircase(FUNCTIONS["identity"], histogram("bell"), 7, signed=True)
    assert len(values) == 15
    torch.testing.assert_close(values, -values.flip(0), atol=2e-3, rtol=0)


def test_heights_are_conditional_means() -> None:
    inputs = histogram("bell")
    thresholds, values = fit_staircase(FUNCTIONS["silu"], inputs, 3)
    h = torch.linspace(-6, 6, 512 * 64 + 1, dtype=torch.float64)
    h = (h[1:] + h[:-1]) / 2
    mass = inputs[1].repeat_interleave(64)
    cells = torch.bucketize(h, thresholds, right=True)
    means = [torch.sum((mass * FUNCTIONS["silu"](h))[cells == k]) / mass[cells == k].sum() for k in range(4)]
    torch.testing.assert_close(values, torch.stack(means), atol=1e-4, rtol=1e-3)


def test_inputs_outside_the_histogram_get_the_outermost_values() -> None:
    thresholds, values = fit_staircase(FUNCTIONS["exp"], histogram("bell"), 7)
    o = read_table(torch.tensor([-1e9, 1e9], dtype=torch.float64), thresholds, values, 0)
    assert o.tolist() == [values[0].item(), values[-1].item()]


@pytest.mark.parametrize("name", ["silu", "gelu", "hardswish", "square"])
def test_reuse_lowers_the_error_with_no_more_values(name: str) -> None:
    inputs = histogram("bell")
    once = fit_staircase(FUNCTIONS[name], inputs, 15)
    again = fit_staircase(FUNCTIONS[name], inputs, 15, reuse=True)
    assert len(again[1].unique()) <= 16 < len(again[1])
    assert staircase_error(FUNCTIONS[name], inputs, again) < 0.98 * staircase_error(FUNCTIONS[name], inputs, once)


@pytest.mark.parametrize("how", [{}, {"reuse": True}, {"method": "uniform"}])
@pytest.mark.parametrize("name", ["relu", "gelu", "hardswish"])
def test_a_pinned_value_is_there_exactly_at_a_small_price(name: str, how: dict[str, object]) -> None:
    inputs = histogram("bell")
    free = fit_staircase(FUNCTIONS[name], inputs, 15, **how)
    pinned = fit_staircase(FUNCTIONS[name], inputs, 15, pin=0.0, **how)
    assert 0.0 in pinned[1].tolist()
    assert len(pinned[1].unique()) <= 16
    assert staircase_error(FUNCTIONS[name], inputs, pinned) <= 1.1 * staircase_error(FUNCTIONS[name], inputs, free)


def test_uniform_thresholds_are_equally_spaced_over_a_range_that_leaves_out_the_tail() -> None:
    inputs = histogram("bell")
    thresholds, values = fit_staircase(FUNCTIONS["identity"], inputs, 7, method="uniform")
    assert len(thresholds) == 7
    torch.testing.assert_close(thresholds.diff(), thresholds.diff()[:1].expand(6))
    assert 1.5 < thresholds[-1] < 2.2  # the best uniform quantiser of 8 levels has steps of 0.586 (Max 1960)
    assert staircase_error(FUNCTIONS["identity"], inputs, (thresholds, values)) == pytest.approx(0.0374, rel=0.05)


def test_samples_serve_as_well_as_a_histogram() -> None:
    samples = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    staircase = fit_staircase(FUNCTIONS["gelu"], samples, 15)
    best = fit_staircase(FUNCTIONS["gelu"], histogram("bell"), 15)
    error = staircase_error(FUNCTIONS["gelu"], histogram("bell"), staircase)
    assert error <= 1.02 * staircase_error(FUNCTIONS["gelu"], histogram("bell"), best)


def test_a_function_that_is_constant_here_still_gives_a_staircase() -> None:
    edges = torch.linspace(-9, -4, 65, dtype=torch.float64)
    thresholds, values = fit_staircase(FUNCTIONS["hardsigmoid"], (edges, torch.ones(64)), 7)
    assert (len(thresholds), values.tolist()) == (1, [0.0, 0.0])
    thresholds, values = fit_staircase(FUNCTIONS["identity"], torch.tensor([2.0]), 7)
    assert (thresholds.tolist(), values.tolist()) == ([2.0], [2.0, 2.0])


def channels(count: int, bins: int = 1024, samples: int = 4000) -> tuple[Tensor, Tensor]:
    """Histograms of as many channels: bells, half of them at zero, long tails, few values, two modes; edges and counts."""
    random = np.random.default_rng(0)
    z = random.normal(size=(count, samples))
    kinds = [
        z,
        np.where(random.random(z.shape) < 0.5, 0.0, abs(z)),
        random.laplace(size=z.shape),
        random.standard_t(2, size=z.shape),
        np.round(4 * z) / 4,
        np.where(random.random(z.shape) < 0.3, 0.1 * z - 5, 0.4 * z + 3),
        random.uniform(-3, 3, size=z.shape),
    ]
    rows = [kinds[c % len(kinds)][c] * (1 + c % 3) + c % 2 for c in range(count)]
    edges = [np.linspace(row.min(), row.max(), bins + 1) for row in rows]
    counts = [np.histogram(row, edge)[0] for row, edge in zip(rows, edges, strict=True)]
    return torch.from_numpy(np.stack(edges)), torch.from_numpy(np.stack(counts)).double()


def everywhere(name: str) -> Callable[[Tensor, slice], Tensor]:
    """The same function in all channels."""
    return lambda h, _: FUNCTIONS[name](h)


@pytest.mark.parametrize("pin", [None, 0.0])
@pytest.mark.parametrize("levels", [3, 15, 63])
@pytest.mark.parametrize("name", ["identity", "relu", "gelu", "square", "sigmoid"])
def test_channels_together_fare_as_well_as_one_by_one(name: str, levels: int, pin: float | None) -> None:
    edges, counts = channels(7)
    thresholds, values = fit_staircases(everywhere(name), edges, counts, levels, pin=pin)
    assert (thresholds.shape, values.shape) == ((7, levels), (7, levels + 1))
    errors = []
    for c, inputs in enumerate(zip(edges, counts, strict=True)):
        alone = fit_staircase(FUNCTIONS[name], inputs, levels, pin=pin)
        together = (thresholds[c], values[c])
        assert bool((together[0].diff() > 0)[together[0][1:].isfinite()].all())
        assert (0.0 in alone[1].tolist()) == (0.0 in together[1].tolist())
        errors.append([staircase_error(FUNCTIONS[name], inputs, s) for s in (together, alone, (alone[0][:1], alone[1][:2]))])
    for together, alone, most in errors:
        assert together <= 1.05 * alone + 1e-9 * most
    assert sum(e[0] for e in errors) <= 1.02 * sum(e[1] for e in errors)


def test_channels_that_need_fewer_thresholds_get_infinite_ones() -> None:
    edges = torch.stack([torch.linspace(low, low + 4, 129, dtype=torch.float64) for low in (-9.0, -2.0)])
    counts = torch.ones(2, 128, dtype=torch.float64)
    counts[1, 3:-2] = 0.0
    thresholds, values = fit_staircases(everywhere("relu"), edges, counts, 7)
    assert thresholds.isfinite().sum(1).tolist() == [1, 2]
    assert values[0].tolist() == [0.0] * 8
    assert values[1].tolist() == pytest.approx([0.0, 4 * 126.5 / 128 - 2] + [4 * 127.5 / 128 - 2] * 6)
    h = torch.linspace(-10, 10, 50, dtype=torch.float64)
    both = read_table(torch.stack([h, h]), thresholds, values, 0)
    for c in range(2):
        alone = fit_staircase(FUNCTIONS["relu"], (edges[c], counts[c]), 7)
        torch.testing.assert_close(both[c], read_table(h, *alone, 0))


def test_every_channel_has_its_own_function_however_many_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    edges, counts = channels(9)
    slopes = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)[:, None]
    lengths = []

    def prelu(h: Tensor, which: slice) -> Tensor:
        lengths.append(len(h))
        return torch.where(h > 0, h, slopes[which] * h)

    whole = fit_staircases(prelu, edges, counts, 15)
    monkeypatch.setattr(builder, "POINTS", 4 * edges.shape[1])
    parts = fit_staircases(prelu, edges, counts, 15)
    assert lengths == [9, 4, 4, 1]
    for c in range(9):
        f = partial(FUNCTIONS["prelu"], weight=float(slopes[c]))
        errors = [staircase_error(f, (edges[c], counts[c]), (fit[0][c], fit[1][c])) for fit in (whole, parts)]
        assert errors[0] == pytest.approx(errors[1], rel=0.02)
        assert errors[0] <= 1.02 * staircase_error(f, (edges[c], counts[c]), fit_staircase(f, (edges[c], counts[c]), 15))


def test_a_pin_that_no_input_comes_near_is_left_out() -> None:
    edges, counts = channels(2)
    _, values = fit_staircases(everywhere("sigmoid"), edges + 10.0, counts, 7, pin=0.0)
    assert float(values.min()) > 0.9


def test_many_channels_are_quick() -> None:
    edges, counts = channels(256, samples=1000)
    started = time.process_time()
    fit_staircases(everywhere("gelu"), edges, counts, 62, pin=0.0)
    assert time.process_time() - started < 1.5  # ten times what it takes, for slow machines; one by one it is far more


def test_building_is_quick() -> None:
    inputs = histogram("bell", 4096)
    started = time.process_time()
    fit_staircase(FUNCTIONS["gelu"], inputs, 62)
    middle = time.process_time()
    fit_staircase(FUNCTIONS["gelu"], inputs, 2046)
    assert middle - started < 0.5  # ten times what it takes, for slow machines
    assert time.process_time() - middle < 5.0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_keeps_the_shape(name: str) -> None:
    x = torch.rand(2, 3, dtype=torch.float64) + 0.5
    extra = {"prelu": (0.25,), "pow": (3,), "clamp": (0.6, 0.9), "elu": (1.0, 1.0, 1.0), "softplus": (2.0, 20.0), "hardtanh": (-0.5, 0.5)}
    y = FUNCTIONS[name](x, *extra.get(name, ()))
    assert y.shape == x.shape
    assert bool(y.isfinite().all())


def test_functions_are_those_of_their_names() -> None:
    x = torch.tensor([-2.0, 3.0], dtype=torch.float64)
    assert FUNCTIONS["leaky_relu"](x, 0.1).tolist() == pytest.approx([-0.2, 3.0])
    assert FUNCTIONS["prelu"](x, 0.25).tolist() == [-0.5, 3.0]
    assert FUNCTIONS["mish"](x)[1].item() == pytest.approx(3 * math.tanh(math.log1p(math.exp(3))))
    assert FUNCTIONS["gelu_tanh"](x)[1].item() != FUNCTIONS["gelu"](x)[1].item()
    assert FUNCTIONS["gelu"](x, approximate="tanh").tolist() == FUNCTIONS["gelu_tanh"](x).tolist()
    assert scalar_function("rsqrt")(torch.tensor(4.0)).item() == 0.5
    with pytest.raises(UnsupportedError, match="hardswish"):
        scalar_function("swish")


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_built_is_refused() -> None:
    edges, mass = histogram("bell", 4)
    with pytest.raises(ConfigError, match="level"):
        fit_staircase(FUNCTIONS["relu"], (edges, mass), 0)
    with pytest.raises(ConfigError, match="uniform"):
        fit_staircase(FUNCTIONS["relu"], (edges, mass), 3, method="best")  # pyright: ignore[reportArgumentType]
    with pytest.raises(NumericError, match="not finite"):
        fit_staircase(FUNCTIONS["log"], (edges, mass), 3)
    with pytest.raises(NumericError, match="edges"):
        fit_staircase(FUNCTIONS["relu"], (edges.flip(0), mass), 3)
    with pytest.raises(NumericError, match="edges"):
        fit_staircases(everywhere("relu"), edges[None].expand(2, -1), mass.expand(3, -1), 3)
    with pytest.raises(NumericError, match="masses"):
        fit_staircases(everywhere("relu"), edges[None].expand(2, -1), torch.stack([mass, mass * 0]), 3)
    with pytest.raises(ConfigError, match="level"):
        fit_staircases(everywhere("relu"), edges[None], mass[None], 0)
    with pytest.raises(NumericError, match="masses"):
        fit_staircase(FUNCTIONS["relu"], (edges, mass * 0), 3)
    with pytest.raises(NumericError, match="samples"):
        fit_staircase(FUNCTIONS["relu"], torch.tensor([1.0, torch.nan]), 3)
