"""Lists of events and dense steps give the same weights, on random trains, with bounds or without, in one run or in two."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.plasticity.trains import generator, train
from torch import Tensor

from spikeloom.errors import DataError
from spikeloom.plasticity import (
    STDP,
    Bounds,
    Eligibility,
    RewardSTDP,
    ThreeFactor,
    additive,
    events,
    events_of,
    interpolating,
    run_eligibility,
    run_reward,
    run_stdp,
    run_three_factor,
)
from spikeloom.plasticity.events import Events

INPUTS, OUTPUTS, STEPS = 4, 3, 40
PAIR = STDP(0.05, 0.06, 8.0, 15.0)
TRIPLET = STDP(0.03, 0.04, 8.0, 15.0, 0.05, 0.02, 30.0, 50.0)
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
seeds = st.integers(0, 10**6)


def trains(seed: int, rate: float, levels: int = 2) -> tuple[Tensor, Tensor]:
    return train(STEPS, INPUTS, seed, rate, levels), train(STEPS, OUTPUTS, seed + 1, rate, levels)


def start(seed: int) -> Tensor:
    return torch.rand(OUTPUTS, INPUTS, generator=generator(seed), dtype=torch.float64)


def halves(given: Events, at_ms: float) -> tuple[Events, Events]:
    first = given.time_ms <= at_ms
    return tuple(Events(given.time_ms[part], given.neuron[part], given.level[part]) for part in (first, ~first))  # type: ignore[return-value]


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    rate=st.floats(0, 0.6),
    rule=st.sampled_from([PAIR, TRIPLET]),
    nearest=st.booleans(),
    bounds=st.sampled_from([None, additive(), interpolating(0.4), Bounds(0.0, 1.0, 0.0, 1.0)]),
    dt_ms=st.sampled_from([1.0, 2.5]),
)
def test_stdp(seed: int, rate: float, rule: STDP, nearest: bool, bounds: Bounds | None, dt_ms: float) -> None:
    rule = replace(rule, nearest=nearest, bounds=bounds, dt_ms=dt_ms)
    pre, post = trains(seed, rate)
    weights = start(seed)
    state = rule.init(1, INPUTS, OUTPUTS, pre)
    for before, after in zip(pre, post, strict=True):
        change, state = rule.step(state, before[None], after[None], weights)
        weights = weights + change
    found, _ = run_stdp(rule, start(seed), events_of(pre, dt_ms), events_of(post, dt_ms))
    torch.testing.assert_close(found, weights, **CLOSE)


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds, rate=st.floats(0, 0.6), tau_pre_ms=st.sampled_from([None, 5.0]), normalised=st.booleans(), dt_ms=st.sampled_from([1.0, 2.0])
)
def test_eligibility(seed: int, rate: float, tau_pre_ms: float | None, normalised: bool, dt_ms: float) -> None:
    rule = Eligibility(25.0, tau_pre_ms, dt_ms, normalised)
    pre, post = trains(seed, rate)
    state = rule.init(1, INPUTS, OUTPUTS, pre)
    for before, after in zip(pre, post, strict=True):
        trace, state = rule.step(state, before[None], after[None])
    until_ms = (STEPS - 1) * dt_ms
    found, memory = run_eligibility(rule, INPUTS, OUTPUTS, events_of(pre, dt_ms), events_of(post, dt_ms), until_ms)
    torch.testing.assert_close(found, trace[0], **CLOSE)
    torch.testing.assert_close(torch.from_numpy(memory.held), state.pre[0], **CLOSE)


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    rate=st.floats(0, 0.5),
    rule=st.sampled_from([PAIR, TRIPLET]),
    tau_dopamine_ms=st.sampled_from([None, 20.0]),
    bounded=st.booleans(),
    dt_ms=st.sampled_from([1.0, 2.0]),
)
def test_reward(seed: int, rate: float, rule: STDP, tau_dopamine_ms: float | None, bounded: bool, dt_ms: float) -> None:
    whole = RewardSTDP(replace(rule, dt_ms=dt_ms), 0.5, 60.0, tau_dopamine_ms, additive() if bounded else None)
    pre, post = trains(seed, rate)
    reward = train(STEPS, 1, seed + 2, 0.15) * torch.randn(STEPS, 1, generator=generator(seed), dtype=torch.float64)
    weights = start(seed)
    state = whole.init(1, INPUTS, OUTPUTS, pre)
    for before, after, got in zip(pre, post, reward, strict=True):
        change, state = whole.step(state, before[None], after[None], got, weights)
        weights = weights + change
    given_ms = [events_of(each, dt_ms) for each in (pre, post, reward)]
    found, memory = run_reward(whole, start(seed), *given_ms, (STEPS - 1) * dt_ms)
    torch.testing.assert_close(found, weights, **CLOSE)
    torch.testing.assert_close(torch.from_numpy(memory.marks), state.eligibility[0], **CLOSE)
    assert memory.dopamine[0] == pytest.approx(float(state.dopamine), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    rate=st.floats(0, 0.6),
    decay=st.sampled_from([0.0, 0.9, 1.0]),
    pre_decay=st.sampled_from([0.0, 0.7]),
    shared=st.booleans(),
    dt_ms=st.sampled_from([1.0, 2.5]),
    cut=st.integers(0, STEPS - 2),
)
def test_three_factors(seed: int, rate: float, decay: float, pre_decay: float, shared: bool, dt_ms: float, cut: int) -> None:
    """Whole, and in two parts."""
    rule = ThreeFactor(decay, pre_decay)
    (pre, gain), signal = trains(seed, rate), train(STEPS, 1 if shared else OUTPUTS, seed + 2, 0.3)
    signal = signal * torch.randn(signal.shape, generator=generator(seed), dtype=torch.float64)
    weights, state = start(seed), rule.init(1, INPUTS, OUTPUTS, pre)
    for before, answer, got in zip(pre, gain, signal, strict=True):
        change, state = rule.step(state, before[None], answer[None], got[None])
        weights = weights + change
    given_ms = [events_of(each, dt_ms) for each in (pre, gain, signal)]
    found, _ = run_three_factor(rule, start(seed), *given_ms, dt_ms=dt_ms, shared=shared)
    torch.testing.assert_close(found, weights, **CLOSE)
    first, then = zip(*(halves(each, cut * dt_ms) for each in given_ms), strict=True)
    found, memory = run_three_factor(rule, start(seed), *first, dt_ms=dt_ms, shared=shared)
    found, _ = run_three_factor(rule, found, *then, dt_ms=dt_ms, shared=shared, memory=memory)
    torch.testing.assert_close(found, weights, **CLOSE)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, cut=st.integers(0, STEPS - 2))
def test_a_run_in_two_parts_is_the_run(seed: int, cut: int) -> None:
    pre, post = (events_of(each) for each in trains(seed, 0.3))
    rewards = events_of(train(STEPS, 1, seed + 2, 0.2))
    (pre1, pre2), (post1, post2), (reward1, reward2) = (halves(each, float(cut)) for each in (pre, post, rewards))
    whole, _ = run_stdp(TRIPLET, start(seed), pre, post)
    weights, memory = run_stdp(TRIPLET, start(seed), pre1, post1)
    torch.testing.assert_close(run_stdp(TRIPLET, weights, pre2, post2, memory)[0], whole, **CLOSE)

    rule, end = RewardSTDP(PAIR, 0.5, 60.0, 20.0), STEPS - 1.0
    whole, _ = run_reward(rule, start(seed), pre, post, rewards, end)
    weights, kept = run_reward(rule, start(seed), pre1, post1, reward1, float(cut))
    torch.testing.assert_close(run_reward(rule, weights, pre2, post2, reward2, end, kept)[0], whole, **CLOSE)

    mark = Eligibility(25.0, 5.0)
    whole, _ = run_eligibility(mark, INPUTS, OUTPUTS, pre, post, end)
    _, marked = run_eligibility(mark, INPUTS, OUTPUTS, pre1, post1, float(cut))
    torch.testing.assert_close(run_eligibility(mark, INPUTS, OUTPUTS, pre2, post2, end, marked)[0], whole, **CLOSE)


def test_time_is_continuous_for_stdp() -> None:
    weights, _ = run_stdp(PAIR, torch.zeros(1, 1, dtype=torch.float64), events([0.25], [0]), events([3.5], [0]))
    assert float(weights) == pytest.approx(0.05 * np.exp(-3.25 / 8))


def test_events_are_sorted_and_added_up() -> None:
    found = events([5.0, 1.0, 5.0, 5.0, 2.0, 2.0], [1, 0, 1, 0, 3, 3], [1.0, 2.0, 3.0, 1.0, 1.0, -1.0])
    assert found.time_ms.tolist() == [1, 5, 5]
    assert found.neuron.tolist() == [0, 0, 1]
    assert found.level.tolist() == [2, 1, 4]
    again = events_of(torch.tensor([[0.0, 2.0], [0.0, 0.0], [1.0, 0.0]]), 0.5)
    assert (again.time_ms.tolist(), again.neuron.tolist(), again.level.tolist()) == ([0, 1], [1, 0], [2, 1])


def test_weights_given_stay_and_their_kind_is_kept() -> None:
    weights = torch.full((1, 1), 0.5)
    found, _ = run_stdp(PAIR, weights, events([0.0], [0]), events([3.0], [0]))
    assert found.dtype == torch.float32
    assert float(found) > 0.5 == float(weights)


def test_no_events_change_nothing() -> None:
    none = events([], [])
    assert torch.equal(run_stdp(TRIPLET, start(0), none, none)[0], start(0))
    assert torch.equal(run_reward(RewardSTDP(PAIR, 0.5), start(0), none, none, none, 10.0)[0], start(0))


def test_events_that_are_none_are_refused() -> None:
    one, late = events([1.0], [0]), events([50.0], [0])
    with pytest.raises(DataError, match="a time, a neuron and a level each"):
        events([1.0, 2.0], [0])
    with pytest.raises(DataError, match="no numbers"):
        events([float("nan")], [0])
    with pytest.raises(DataError, match="not there"):
        run_stdp(PAIR, torch.zeros(1, 1), events([1.0], [1]), one)
    with pytest.raises(DataError, match="after the end"):
        run_eligibility(Eligibility(5.0), 1, 1, one, late, 10.0)
    with pytest.raises(DataError, match="between the steps"):
        run_reward(RewardSTDP(PAIR, 0.5), torch.zeros(1, 1), events([0.5], [0]), one, one, 10.0)
    with pytest.raises(DataError, match="between the steps of the three-factor rule"):
        run_three_factor(ThreeFactor(0.9), torch.zeros(1, 1), one, one, events([0.5], [0]))
    with pytest.raises(DataError, match="not there"):
        run_three_factor(ThreeFactor(0.9), torch.zeros(2, 1), one, one, events([2.0], [1]), shared=True)
    _, memory = run_stdp(PAIR, torch.zeros(1, 1), one, late)
    with pytest.raises(DataError, match="before the end of what is remembered"):
        run_stdp(PAIR, torch.zeros(1, 1), one, late, memory)


def test_three_factors_are_of_neurons_that_are_there_and_come_after_what_is_remembered() -> None:
    rule, weights, one, late = ThreeFactor(0.9), torch.zeros(1, 1), events([1.0], [0]), events([50.0], [0])
    for gain, signal in ((events([2.0], [1]), one), (one, events([2.0], [1]))):
        with pytest.raises(DataError, match="not there"):
            run_three_factor(rule, weights, one, gain, signal)
    _, memory = run_three_factor(rule, weights, one, events([9.0], [0]), one)
    for given_ms in ((one, late, late), (late, one, late), (late, late, one)):
        with pytest.raises(DataError, match="before the end of what is remembered"):
            run_three_factor(rule, weights, *given_ms, memory=memory)
