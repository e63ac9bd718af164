"""Episodes are counted as they are played: fixed shares, every autoreset mode, and errors that name the environment."""

import gymnasium
import numpy as np
import pytest
from tests.agent.worlds import clocks, network

from spikeloom.agent import Discrete, Policy, Signal, normalised, observations, returns, with_residue
from spikeloom.datasets.environment import environments
from spikeloom.datasets.episodes import gathered, played, shares
from spikeloom.errors import ConfigError, DataError

MODES = ("NextStep", "SameStep", "Disabled")


def still(observations: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    return np.zeros(len(observations), np.int64)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("episodes", [3, 4, 11])
def test_each_environment_plays_its_share_however_short_its_episodes(mode: str, episodes: int) -> None:
    found = returns(still, clocks([2, 5, 9], mode), episodes)
    expected = np.repeat([2.0, 5.0, 9.0], shares(episodes, 3))
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("mode", MODES)
def test_fresh_marks_the_first_observation_of_every_episode_and_nothing_else(mode: str) -> None:
    seen = list[tuple[bool, float]]()

    def act(observed: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        seen.extend(zip(fresh.tolist(), (observed[:, 1] == 0).tolist(), strict=True))
        return np.zeros(len(observed), np.int64)

    returns(act, clocks([2, 5], mode), 6)
    assert any(fresh for fresh, _ in seen)
    assert all(fresh == begins for fresh, begins in seen)


@pytest.mark.parametrize("mode", MODES)
def test_moments_that_count_are_the_steps_of_the_episodes(mode: str) -> None:
    moments = list(played(clocks([2, 5], mode), still, 4, 0))
    steps = [moment.observations[row, :2].tolist() for moment in moments for row in np.flatnonzero(moment.playing)]
    assert sorted(steps) == sorted([[0.0, t] for t in (0, 1)] * 2 + [[1.0, t] for t in range(5)] * 2)
    assert sum(int(moment.ended.sum()) for moment in moments) == 4


def test_with_as_many_environments_as_episodes_seeds_are_those_of_reset() -> None:
    first = gathered(environments("CartPole-v1", 3), still, 3, 1000)[:3]
    expected = [gymnasium.make("CartPole-v1").reset(seed=1000 + place)[0] for place in range(3)]
    assert np.array_equal(first, np.stack(expected))


def test_observations_are_at_most_as_many_as_asked_for_and_all_of_them_else() -> None:
    env = clocks([4, 4])
    assert observations(still, env, 4, limit=5).shape == (5, 3)
    assert sorted(observations(still, env, 2, limit=None)[:, 1].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_fewer_episodes_than_environments_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one episode"):
        returns(still, clocks([2, 2]), 1)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_an_observation_that_is_no_number_names_its_environment(poison: float) -> None:
    with pytest.raises(DataError, match=r"(?s)no number.*environment 0"):
        returns(still, clocks([5, 5], poison=poison), 2)


def test_a_reward_that_is_no_number_is_an_error() -> None:
    with pytest.raises(DataError, match="reward"):
        returns(still, clocks([5], reward=float("nan")), 1)


def test_normalised_return() -> None:
    assert normalised(80.0, 20.0, 100.0) == pytest.approx(0.75)
    with pytest.raises(ConfigError, match="better than chance"):
        normalised(1.0, 5.0, 5.0)


def test_an_environment_nobody_knows_is_one_clear_error() -> None:
    with pytest.raises(DataError, match="no environment 'CartPool-v1'"):
        environments("CartPool-v1")


def test_an_unknown_residue_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown residue"):
        with_residue(Policy(network(3, 2), Signal((3,), (-1.0,) * 3, (1.0,) * 3), Discrete(2)), clocks([2]), "keep")
