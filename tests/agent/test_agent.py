"""Agents: they learn what they are rewarded for, stay as they are where nothing is wrong, and keep nothing worse than what they had."""

import dataclasses
from itertools import islice

import numpy as np
import pytest
import torch
from tests.agent.learners import Bandit, agent, arrival, policy

from spikeloom.agent.agent import Agent
from spikeloom.agent.living import live, lived, settled
from spikeloom.agent.monitor import Monitor
from spikeloom.agent.state import AgentState
from spikeloom.agent.trials import Trials
from spikeloom.errors import ConfigError, DataError


def right(made: Agent, weights: object, flip: bool = False) -> float:
    x = np.random.default_rng(9).normal(size=(2000, 3)).astype(np.float32)
    acts = made.network(weights).actor()(x, np.ones(2000, bool))  # pyright: ignore[reportArgumentType]
    said = acts if acts.ndim == 1 else acts[:, 0] > 0
    return float((said == ((x[:, 0] > 0) != flip)).mean())


def after(made: Agent, episodes: int, seed: int = 0, flip: bool = False) -> AgentState:
    return lived(made, made.init(16, seed), Bandit(16, flip=flip), episodes, seed=seed)


@pytest.mark.parametrize("continuous", [False, True])
def test_an_agent_learns_what_it_is_rewarded_for(continuous: bool) -> None:
    of = policy(1, continuous=True) if continuous else policy()
    made = agent(of=of, exploration=0.5) if continuous else agent(of=of)
    state = after(made, 600)
    assert right(made, state.weights) > max(0.85, right(made, made.tail.converted))


def test_weights_of_few_bits_learn_on_their_grids() -> None:
    made = agent(of=policy(compress="4"))
    state = after(made, 600)
    assert right(made, state.weights) > 0.85


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    made = agent()
    one, two, other = after(made, 40), after(made, 40), after(made, 40, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.weights, two.weights, strict=True))
    assert not torch.equal(one.weights[0], other.weights[0])


def test_states_are_values() -> None:
    made, env = agent(), Bandit(8)
    told = next(islice(live(made, made.init(8), env, 0), 20, None))
    state, kept = told.state, [weight.clone() for weight in told.state.weights]
    random = state.randomness.clone()
    comes = arrival(rewards=np.ones(8), ended=np.zeros(8, bool), terminated=np.zeros(8, bool), playing=np.ones(8, bool))
    first = made.step(state, comes)
    second = made.step(state, comes)
    assert np.array_equal(first[0], second[0])
    assert all(torch.equal(a, b) for a, b in zip(kept, state.weights, strict=True))
    assert torch.equal(random, state.randomness)


def test_while_nothing_is_wrong_it_acts_as_its_policy() -> None:
    made = agent("on drift")
    comes = arrival()
    actions, state = made.step(made.init(8), comes)
    assert np.array_equal(actions, made.policy.actor()(comes.observations, comes.fresh))
    assert not state.learning


def test_a_fall_of_returns_turns_plasticity_up_and_a_good_trial_down() -> None:
    made = agent("on drift", monitor=Monitor(threshold=6.0), trials=Trials(episodes=32))
    made.usual.returns[:] = np.where(np.arange(32) % 2, 3.3, 3.5)
    state, env = made.init(16), Bandit(16, flip=right(made, made.tail.converted) > 0.5)
    noticed = calmed = False
    for told in live(made, state, env, 0):
        noticed = noticed or told.state.learning
        calmed = noticed and not told.state.learning
        if calmed or told.state.episodes > 3000:
            break
    assert noticed
    assert calmed
    assert right(made, told.state.weights, env.flip) > 0.9


def test_never_and_critic_leave_the_weights() -> None:
    for plastic in ("never", "critic"):
        made = agent(plastic)
        state = after(made, 40)
        assert all(torch.equal(a, b) for a, b in zip(state.weights, made.tail.converted, strict=True))
    assert state.critic.readout.abs().sum() > 0


def test_what_is_kept_is_not_worse_than_what_was_converted() -> None:
    """Weights that were broken on purpose lose against the converted ones."""
    made = agent()
    env = Bandit(32, flip=right(made, made.tail.converted) < 0.5)
    state = made.init(32)
    broken = dataclasses.replace(state, weights=(*state.weights[:-2], -state.weights[-2], -state.weights[-1]))
    kept, scores = settled(made, broken, env, 64, 0)
    assert len(scores) == 2
    assert all(torch.equal(a, b) for a, b in zip(kept.weights, made.tail.converted, strict=True))


def test_lessons_move_the_network_to_what_a_person_wants() -> None:
    made, x = agent(), np.random.default_rng(3).normal(size=(200, 3)).astype(np.float32)
    wanted = (x[:, 1] > 0).astype(np.int64)
    state = made.taught(made.init(4), x, wanted, np.ones(200), passes=200)
    said = made.network(state.weights).actor()(x, np.ones(200, bool))
    assert (said == wanted).mean() > 0.9
    none = made.taught(made.init(4), x, wanted, np.zeros(200))
    assert all(torch.equal(a, b) for a, b in zip(none.weights, made.tail.converted, strict=True))


@pytest.mark.parametrize("reward", [np.nan, np.inf, 1e9])
def test_a_reward_that_explodes_is_refused_and_nothing_learnt(reward: float) -> None:
    made = agent()
    _, state = made.step(made.init(8), arrival(fresh=np.ones(8, bool)))
    rewards, no = np.ones(8), np.zeros(8, bool)
    rewards[3] = reward
    with pytest.raises(DataError, match="exploded"):
        made.step(state, arrival(rewards=rewards, ended=no, terminated=no, playing=np.ones(8, bool)))
    playing = np.arange(8) != 3
    made.step(state, arrival(rewards=rewards, ended=no, terminated=no, playing=playing))


def test_bad_input_is_one_clear_error() -> None:
    made = agent()
    with pytest.raises(DataError, match="no number"):
        made.step(made.init(8), arrival(observations=np.full((8, 3), np.nan, np.float32)))
    with pytest.raises(ConfigError, match="not taken"):
        made.step(made.init(8), arrival(rewards=np.ones(8)))
    with pytest.raises(ConfigError, match="one step for a decision"):
        agent(of=policy(timesteps=2))
    with pytest.raises(ConfigError, match=r"(?s)begin at rest.*carry.*--residue reset"):
        agent(of=policy().replaced(residue="carry"))
    with pytest.raises(ConfigError, match="when an agent learns"):
        agent("sometimes")
    with pytest.raises(ConfigError, match="share"):
        agent(exploration=1.5)
