"""Eligibility traces: pre before post leaves a mark, post before pre none; the mark fades by its own time; normalised, it is a mean."""

import math

import pytest
import torch
from tests.plasticity.trains import at, train

from spikeloom.errors import ConfigError
from spikeloom.plasticity import Eligibility


def run(rule: Eligibility, pre: torch.Tensor, post: torch.Tensor) -> torch.Tensor:
    """e after each step, [T, out, in]."""
    state, rows = rule.init(1, pre.shape[1], post.shape[1], pre), []
    for before, after in zip(pre, post, strict=True):
        trace, state = rule.step(state, before[None], after[None])
        rows.append(trace[0])
    return torch.stack(rows)


def test_marks_are_causal_and_fade() -> None:
    rule = Eligibility(200.0, 20.0)
    marks = run(rule, at(300, 50), at(300, 60)).flatten()
    assert marks[:60].eq(0).all()
    assert float(marks[60]) == pytest.approx(math.exp(-10 / 20))
    assert float(marks[260]) == pytest.approx(math.exp(-10 / 20 - 200 / 200))
    assert run(rule, at(300, 60), at(300, 50)).eq(0).all()


def test_without_a_presynaptic_trace_only_spikes_of_one_step_mark() -> None:
    assert run(Eligibility(100.0), at(50, 10), at(50, 11)).eq(0).all()
    assert float(run(Eligibility(100.0), at(50, 10), at(50, 10))[10]) == 1


def test_a_normalised_trace_of_what_stays_the_same_is_that() -> None:
    pre, post = torch.full((2000, 1), 3.0, dtype=torch.float64), torch.full((2000, 1), 2.0, dtype=torch.float64)
    for tau_ms in (10.0, 100.0):
        assert float(run(Eligibility(tau_ms, normalised=True), pre, post)[-1]) == pytest.approx(6)
        assert float(run(Eligibility(tau_ms), pre, post)[-1]) == pytest.approx(6 / (1 - math.exp(-1 / tau_ms)))


def test_it_is_the_sum_written_out() -> None:
    rule, pre, post = Eligibility(30.0, 8.0, dt_ms=2.0), train(40, 3, 0, levels=3), train(40, 2, 1, levels=3)
    found = run(rule, pre, post)[-1]
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for t in range(40):
        held = sum(pre[s] * math.exp(-2 * (t - s) / 8) for s in range(t + 1))
        expected += torch.outer(post[t], held) * math.exp(-2 * (39 - t) / 30)
    torch.testing.assert_close(found, expected)


def test_every_sample_has_its_own_marks_and_nothing_given_is_written_to() -> None:
    rule = Eligibility(30.0, 8.0)
    state = rule.init(2, 1, 1)
    pre, post = torch.tensor([[1.0], [0.0]]), torch.ones(2, 1)
    trace, _ = rule.step(state, pre, post)
    assert trace.flatten().tolist() == [1, 0]
    assert state.trace.eq(0).all()


def test_time_constants_are_checked() -> None:
    with pytest.raises(ConfigError, match="tau_pre_ms must be positive"):
        Eligibility(10.0, 0.0)
