"""A life is the same in every autoreset mode of Gymnasium, as far as it can be."""

from itertools import islice

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from tests.agent.balancing import balancing
from tests.agent.learners import agent
from tests.agent.worlds import Clock, clocks

from spikeloom.agent.agent import Agent
from spikeloom.agent.living import live, lived, settled
from spikeloom.agent.state import AgentState, Usual
from spikeloom.agent.worlds import world

MODES = ("NextStep", "SameStep", "Disabled")
ENV, SHIFT = "CartPole-v1", {"sign": -1.0}


def carted(plastic: str) -> Agent:
    return Agent(balancing(), Usual(torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), np.array([1.0, 2.0])), plastic=plastic)


def same(one: AgentState, other: AgentState) -> bool:
    facts = [(each.steps, each.episodes, each.windows) for each in (one, other)]
    return facts[0] == facts[1] and all(map(torch.equal, one.weights, other.weights))


@pytest.mark.parametrize("mode", MODES)
def test_gymnasiums_own_vectors_are_lived_in(mode: str) -> None:
    """Two clocks of 2 and 5 steps: what counts are the steps of their episodes."""
    made, judged = agent("never"), list[float]()
    state = lived(made, made.init(2), clocks([2, 5], mode), 7, 0, lambda told: judged.extend(told.judged))
    assert sorted(judged) == [2.0] * 5 + [5.0] * 2
    assert state.steps == sum(judged) + state.returns.sum()


@pytest.mark.parametrize("own", [True, False])
def test_a_world_that_is_told_to_reset_is_that_which_resets_in_the_same_step(own: bool) -> None:
    made = carted("always")
    vector = {"shifts": SHIFT} if own else {"vector": "sync"}
    told, same_step = (lived(made, made.init(4, 1), world(ENV, 4, **vector, autoreset=mode), 40, 3) for mode in ("Disabled", "SameStep"))
    assert told.windows > 3
    assert same(told, same_step)


def test_an_episode_that_ended_is_answered_by_its_own_last_observation() -> None:
    """Clocks observe the step within the episode: 2 at its end, 0 where the next one begins."""
    made = agent("always")
    for mode in MODES:
        told = next(islice(live(made, made.init(1), clocks([2], mode), 0), 2, None))
        (step,) = [step for step in told.state.window if step.terminated.any()]
        assert step.last[0, 1] == 2.0, mode


def test_while_nothing_is_learnt_episodes_are_the_same_in_all_modes() -> None:
    """One environment: every mode starts its episodes from the same generator, and acts the same in them."""
    made, found = carted("never"), list[list[float]]()
    for mode in MODES:
        lives = live(made, made.init(1), world(ENV, 1, SHIFT, autoreset=mode), 5)
        found.append(list(islice((value for told in lives for value in told.judged), 6)))
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) > 1


def test_buffers_that_are_written_to_again_do_no_harm() -> None:
    """A vector that hands out its own arrays, and clears them when it resets."""
    made = agent("always")
    plain = lived(made, made.init(2), clocks([2, 3], "Disabled"), 20, 0)
    shared = SyncVectorEnv([lambda: Clock(0, 2), lambda: Clock(1, 3)], copy=False, autoreset_mode=AutoresetMode.DISABLED)
    assert same(plain, lived(made, made.init(2), shared, 20, 0))


def test_the_steps_of_settling_can_be_counted() -> None:
    """Eight episodes of three steps in each of two environments; a moment of resetting is no step."""
    made, taken = agent(), list[int]()
    settled(made, made.init(2), clocks([3, 3]), 16, 0, watch=lambda moment: taken.append(int(moment.playing.sum())))
    assert sum(taken) == 48
