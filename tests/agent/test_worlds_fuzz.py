"""
Fuzzed worlds: starts anywhere, pushes, and the truth beside what is read.
"""

from typing import Any

import numpy as np
import pytest

from spikeloom.agent.worlds import fuzzed, scales, world
from spikeloom.agent.worlds.fuzz import RANGES
from spikeloom.errors import ConfigError

FUZZED = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1", "LunarLander-v3")


def run(env: Any, steps: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, truths [steps + 1, E, d] and ends [steps, E] under random actions."""
    env.action_space.seed(seed)
    seen, info = env.reset(seed=seed)
    read, true, ends = [seen], [info["truth"]], []
    for _ in range(steps):
        seen, _, ended, cut, info = env.step(env.action_space.sample())
        read.append(seen)
        true.append(info["truth"])
        ends.append(ended | cut)
    return np.array(read), np.array(true), np.array(ends)


@pytest.mark.parametrize("env_id", FUZZED)
def test_episodes_start_anywhere(env_id: str) -> None:
    env, plain = fuzzed(env_id, 64, chance=0.0, noise=0.0), world(env_id, 64)
    starts, usual = env.reset(seed=0)[0], plain.reset(seed=0)[0]
    moving = [place for place in range(starts.shape[1]) if usual[:, place].std() > 0]
    assert (starts[:, moving].std(axis=0) > 0.9 * usual[:, moving].std(axis=0)).all()
    assert (starts.std(axis=0) > 2 * usual.std(axis=0)).any() or env_id == "Pendulum-v1"
    assert np.isfinite(run(env, 120)[1]).all()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_later_episodes_start_anywhere_too(mode: str) -> None:
    read, _, ends = run(fuzzed("CartPole-v1", 32, chance=0.0, noise=0.0, autoreset=mode), 60)
    begun = read[2:][ends[:-1]] if mode == "NextStep" else read[1:][ends]
    assert len(begun) > 60
    assert begun[:, 0].std() > 0.8  # ±2 m, where gymnasium's starts lie within ±0.05
    assert (np.abs(begun[:, 2]) <= RANGES["CartPole"].high[2]).all()


def test_states_are_pushed_and_sensors_are_not_the_truth() -> None:
    calm, pushed = (run(fuzzed("MountainCar-v0", 16, chance=chance, noise=0.0), 10)[1] for chance in (0.0, 1.0))
    assert (calm != pushed).any()
    jumps = np.abs(np.diff(pushed[..., 1], axis=0))
    assert jumps.max() > 0.004  # more than an engine and a hill give in one step
    read, true, _ = run(fuzzed("MountainCar-v0", 64, noise=0.1), 40)
    np.testing.assert_allclose((read - true).std(axis=(0, 1)), 0.1 * scales("MountainCar-v0"), rtol=0.1)


def test_a_seed_is_a_fuzzed_world() -> None:
    first, second = (run(fuzzed("LunarLander-v3", 4, chance=0.1), 60)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (run(fuzzed("LunarLander-v3", 4, chance=0.1), 60, seed=1)[0] != first).any()


def test_landers_are_placed_above_ground() -> None:
    env = fuzzed("LunarLander-v3", 64, chance=0.0, noise=0.0)
    env.reset(seed=3)
    _, _, ended, _, info = env.step(np.zeros(64, dtype=np.int64))
    assert not ended.any()
    assert not info["truth"][:, 6:].any()


def test_what_cannot_be_fuzzed_is_refused() -> None:
    with pytest.raises(ConfigError, match="own"):
        fuzzed("Taxi-v4")
    with pytest.raises(ConfigError, match="probability"):
        fuzzed("CartPole-v1", chance=2.0)
