"""Reward-modulated STDP: the closed form of one rewarded pair, Florian's without dopamine, and the distal reward toy."""

import math
from dataclasses import replace

import pytest
import torch
from tests.plasticity.trains import at, generator, train

from spikeloom.errors import ConfigError
from spikeloom.plasticity import STDP, Bounds, RewardSTDP, multiplicative
from spikeloom.plasticity.curves import reward_curve

RULE = RewardSTDP(STDP(1.0, 1.5, 20.0, 20.0), rate=1e-3)


def run(rule: RewardSTDP, pre: torch.Tensor, post: torch.Tensor, reward: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    state = rule.init(1, pre.shape[1], post.shape[1], pre)
    for before, after, got in zip(pre, post, reward, strict=True):
        change, state = rule.step(state, before[None], after[None], got, weights)
        weights = weights + change
    return weights


@pytest.mark.parametrize("delay", [0, 500])
def test_one_rewarded_pair_is_the_closed_form(delay: int) -> None:
    """∫ d·e from the reward on: e₀·exp(−delay/τ_e) / (1/τ_e + 1/τ_d), here as the sum over steps."""
    e0, q = math.exp(-10 / 20), math.exp(-1 / 1000 - 1 / 200)
    expected = 1e-3 * e0 * math.exp(-delay / 1000) / (1 - q)
    none = torch.zeros(1, 1, dtype=torch.float64)
    steps = 1500 + delay
    found = run(RULE, at(steps, 10), at(steps, 20), at(steps, 20 + delay), none)
    assert float(found) == pytest.approx(expected, rel=2e-4)  # 1,480 steps of the sum: exp(−8.9) of it is left
    assert float(reward_curve(RULE, [float(delay)])) == pytest.approx(expected, rel=1e-9)
    assert expected == pytest.approx(1e-3 * e0 * math.exp(-delay / 1000) / (1 / 1000 + 1 / 200), rel=4e-3)


def test_dopamine_that_is_left_rewards_what_comes_after_it() -> None:
    none = torch.zeros(1, 1, dtype=torch.float64)
    assert float(run(RULE, at(400, 110), at(400, 120), at(400, 100), none)) > 0
    assert float(run(replace(RULE, tau_dopamine_ms=None), at(400, 110), at(400, 120), at(400, 100), none)) == 0


def test_without_dopamine_a_reward_pays_the_marks_of_its_own_step() -> None:
    """Florian's MSTDPET: Δw = η·r·e."""
    rule = replace(RULE, tau_dopamine_ms=None)
    none = torch.zeros(1, 1, dtype=torch.float64)
    found = run(rule, at(400, 10), at(400, 20), -2 * at(400, 300), none)
    assert float(found) == pytest.approx(-2e-3 * math.exp(-10 / 20) * math.exp(-280 / 1000))


def test_without_reward_nothing_changes() -> None:
    weights = torch.rand(2, 3, generator=generator(), dtype=torch.float64)
    assert torch.equal(run(RULE, train(50, 3, 1), train(50, 2, 2), torch.zeros(50, 1, dtype=torch.float64), weights), weights)


def test_samples_have_their_own_rewards() -> None:
    pre, post = torch.stack([train(60, 3, s) for s in range(3)], 1), torch.stack([train(60, 2, 7 + s) for s in range(3)], 1)
    reward = torch.stack([train(60, 1, 20 + s)[:, 0] for s in range(3)], 1)
    none = torch.zeros(2, 3, dtype=torch.float64)
    state, found = RULE.init(3, 3, 2, pre), none
    for t in range(60):
        change, state = RULE.step(state, pre[t], post[t], reward[t])
        found = found + change
    alone = [run(RULE, pre[:, b], post[:, b], reward[:, b, None], none) for b in range(3)]
    torch.testing.assert_close(found, torch.stack(alone).mean(0))


def distal(seed: int, tau_eligibility_ms: float, steps: int = 1500, worlds: int = 512, neurons: int = 5) -> torch.Tensor:
    """
    Izhikevich 2007, figure 1, small: each world's neurons fire at random and by their weights; where neuron 0 fires and then the other
    neuron 0 within 20 ms, a reward comes 1 to 3 s later. Steps of 10 ms; all worlds share the weights [5, 5].
    """
    g = generator(seed)
    rule = RewardSTDP(STDP(1.0, 2.0, 20.0, 20.0, dt_ms=10.0), 0.06, tau_eligibility_ms, 200.0, Bounds())
    weights = torch.full((neurons, neurons), 0.3, dtype=torch.float64)
    state, due = rule.init(worlds, neurons, neurons, weights), torch.zeros(steps + 300, worlds, dtype=torch.float64)
    before, ago = torch.zeros(worlds, neurons, dtype=torch.float64), torch.full((worlds,), 99)
    for t in range(steps):
        pre = (torch.rand(worlds, neurons, generator=g, dtype=torch.float64) < 0.02).double()
        chance = 0.02 + 0.2 * before @ weights.T
        post = (torch.rand(worlds, neurons, generator=g, dtype=torch.float64) < chance).double()
        hit = ((post[:, 0] > 0) & (ago <= 2)).nonzero().flatten()
        due[t + torch.randint(100, 300, (len(hit),), generator=g), hit] += 1
        ago[hit] = 99
        change, state = rule.step(state, pre, post, due[t], weights)
        weights = weights + change
        ago, before = torch.where(pre[:, 0] > 0, 1, ago + 1), pre
    return weights


def test_the_synapse_whose_reward_comes_seconds_later_is_found() -> None:
    weights = distal(0, tau_eligibility_ms=1000.0)
    others = weights.flatten()[1:]
    assert float(weights[0, 0]) > 1.5 * float(others.max())
    assert float(weights[0, 0]) > 2 * 0.3
    assert float(others.mean()) < 0.3


def test_marks_that_fade_before_the_reward_comes_find_nothing() -> None:
    weights = distal(0, tau_eligibility_ms=50.0)
    assert float(weights[0, 0]) < 1.5 * float(weights.flatten()[1:].max())


def test_weights_stay_within_bounds_and_soft_bounds_are_refused() -> None:
    rule = replace(RULE, rate=1.0, bounds=Bounds(0.2, 0.8))
    found = run(rule, train(80, 3, 1), train(80, 2, 2), train(80, 1, 3), torch.full((2, 3), 0.5, dtype=torch.float64))
    assert float(found.min()) >= 0.2
    assert float(found.max()) <= 0.8
    with pytest.raises(ConfigError, match="hard bounds"):
        replace(RULE, bounds=multiplicative())
    with pytest.raises(ConfigError, match="hard bounds"):
        RewardSTDP(STDP(1.0, 1.0, 20.0, 20.0, bounds=Bounds()), 0.1)
    with pytest.raises(ConfigError, match="needs the weights"):
        rule.step(rule.init(1, 1, 1), torch.ones(1, 1), torch.ones(1, 1), torch.ones(1))
