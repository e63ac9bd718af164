"""Traces: they halve when they should, at any step; all spikes count, or the last one; decays out of range are refused."""

import math

import pytest
import torch
from tests.plasticity.trains import train

from spikeloom.errors import ConfigError
from spikeloom.plasticity import Trace, decay_of, half_life_ms
from spikeloom.plasticity.curves import trace_curve


def pulse(steps: int) -> torch.Tensor:
    return torch.eye(steps, 1, dtype=torch.float64)[:, 0]


@pytest.mark.parametrize("dt_ms", [0.5, 1.0, 2.0])
def test_a_trace_halves_after_its_half_life_whatever_the_step(dt_ms: float) -> None:
    half_ms = 16.0
    trace = Trace(half_ms / math.log(2), dt_ms)
    assert half_life_ms(trace.tau_ms) == pytest.approx(half_ms)
    curve = trace_curve(trace, pulse(int(4 * half_ms / dt_ms) + 1))
    heights = [float(curve[int(k * half_ms / dt_ms)]) for k in range(5)]
    assert heights == pytest.approx([1, 1 / 2, 1 / 4, 1 / 8, 1 / 16], rel=1e-12)


def test_all_spikes_are_summed_or_the_last_one_counts() -> None:
    spikes = torch.tensor([1.0, 3.0, 0.0, 0.0, 2.0], dtype=torch.float64)
    a = decay_of(5.0, 1.0)
    ages = torch.arange(5.0, dtype=torch.float64)
    expected = torch.stack([(spikes[: t + 1] * a ** (t - ages[: t + 1])).sum() for t in range(5)])
    torch.testing.assert_close(trace_curve(Trace(5.0), spikes), expected)
    nearest = torch.tensor([1, 3, 3 * a, 3 * a**2, 2], dtype=torch.float64)
    torch.testing.assert_close(trace_curve(Trace(5.0, nearest=True), spikes), nearest)


def test_a_trace_that_never_decays_counts() -> None:
    spikes = train(50, 1, 3)[:, 0]
    assert decay_of(math.inf, 1.0) == 1
    assert float(trace_curve(Trace(math.inf), spikes)[-1]) == float(spikes.sum())


def test_kinds_and_what_was_given_are_kept() -> None:
    trace, spikes = Trace(20.0), torch.ones(2, 3, dtype=torch.float32)
    state = trace.init(2, 3, spikes)
    after = trace.step(state, spikes)
    assert after.dtype == torch.float32
    assert state.eq(0).all()
    assert spikes.eq(1).all()


@pytest.mark.parametrize("tau_ms", [0.0, -1.0, math.nan])
def test_time_constants_that_are_none_are_refused(tau_ms: float) -> None:
    with pytest.raises(ConfigError, match="tau_ms must be positive"):
        Trace(tau_ms)
