"""
An agent in its environments: the closed loop, and the time in the usual world before anything changes.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, final, runtime_checkable

import numpy as np
import torch
from numpy import ndarray

from spikeloom.agent.agent import Agent, AgentState, Arrival, Usual
from spikeloom.agent.critic import CriticState
from spikeloom.agent.episodes import returns
from spikeloom.agent.policy import Policy
from spikeloom.agent.tail import Weights
from spikeloom.agent.trials import Score
from spikeloom.datasets.episodes import checked, gathered, shares, wandering

OWN_SEED = 20_000
"""Where the seeds of the usual world's episodes begin."""


@runtime_checkable
class Stepping(Protocol):
    """What can be lived: `Agent`, and whatever steps as one does."""

    def step(self, state: AgentState, arrival: Arrival) -> tuple[ndarray, AgentState]:
        """`Agent.step`."""
        ...


@final
class Told(NamedTuple):
    """What happened at a control step: the state after it, and the returns of exploring and of sentinels' (or usual) episodes that
    ended."""

    state: AgentState
    explored: tuple[float, ...]
    judged: tuple[float, ...]


def live(agent: Stepping, state: AgentState, env: Any, seed: int | None = None) -> Iterator[Told]:
    """Steps without end in a vector environment (autoreset at the next step or in the same one), from its reset on. The consumer stops.

    DataError where observations or rewards are no numbers, or change their shape."""
    count, mode = env.num_envs, _mode(env)
    observations, _ = env.reset(seed=None if seed is None else [seed + place for place in range(count)])
    shape, waiting = np.shape(observations), np.zeros(count, bool)
    arrival = Arrival(np.array(observations, np.float32), np.ones(count, bool))
    while True:
        checked(arrival.observations, shape)
        actions, state = agent.step(state, arrival)
        observations, rewards, terminated, truncated, info = env.step(actions)
        ended, playing = np.asarray(terminated | truncated) & ~waiting, ~waiting
        last = _last(observations, info, ended) if mode == "SameStep" else observations
        fresh = ended if mode == "SameStep" else waiting
        waiting = np.zeros(count, bool) if mode == "SameStep" else ended
        rewards = np.asarray(rewards, np.float64)
        running = state.returns + np.where(playing, rewards, 0.0)
        explored, judged = (tuple(running[ended & rows].tolist()) for rows in (~state.roles, state.roles))
        arrival = Arrival(
            np.array(observations, np.float32), fresh, rewards, ended, np.asarray(terminated), np.array(last, np.float32), playing
        )
        yield Told(state, explored if state.learning else (), judged if state.learning else (*explored, *judged))


def lived(
    agent: Agent, state: AgentState, env: Any, episodes: int, seed: int | None = None, watch: Callable[[Told], None] | None = None
) -> AgentState:
    """The state after so many more episodes of all environments together (the last step's rewards are in it)."""
    goal = state.episodes + episodes
    for told in live(agent, state, env, seed):
        state = told.state
        if watch is not None:
            watch(told)
        if state.episodes >= goal:
            break
    return state


def settled(agent: Agent, state: AgentState, env: Any, episodes: int = 64, seed: int | None = None) -> tuple[Weights, tuple[Score, ...]]:
    """The weights to keep, and the scores of those that it was between: the ones of now, the best of all trials and the ones that were
    converted, each acting its best in a share of the environments for so many episodes in all. Of the same mean the older ones are kept."""
    tried = [agent.tail.converted, agent.best(state), state.weights]
    arms = [arm for place, arm in enumerate(tried) if all(arm is not other for other in tried[:place])]
    rows = np.arange(env.num_envs) % len(arms)
    acts = [agent.network(arm).actor() for arm in arms]

    def act(observations: ndarray, fresh: ndarray) -> ndarray:
        chosen = [each(observations, fresh) for each in acts]
        return np.stack(chosen)[rows, np.arange(len(rows))]

    found = returns(act, env, max(episodes, env.num_envs), seed if seed is not None else OWN_SEED)
    owner = np.repeat(rows, shares(max(episodes, env.num_envs), env.num_envs))
    scores = tuple(_score(arm, found[owner == place]) for place, arm in enumerate(arms))
    return max(scores, key=lambda score: score.mean).weights, scores


def _score(weights: Weights, found: ndarray) -> Score:
    return Score(weights, float(found.mean()), float(found.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else 0.0, len(found))


def usual_of(policy: Policy, env: Any, episodes: int = 64, stray: float = 0.3, seed: int = OWN_SEED) -> Usual:
    """The usual world as the policy meets it: returns of its own episodes, and what is seen in them with a share of actions at random."""
    act = policy.actor()
    found = returns(act, env, max(episodes, env.num_envs), seed)
    seen = gathered(env, wandering(policy.actor(), env, stray, seed), max(episodes, env.num_envs), seed)
    order = np.random.default_rng(seed).permutation(len(seen))[:8192]
    return Usual(torch.from_numpy(seen[order]), found)


def acquainted(agent: Agent, state: AgentState, env: Any, steps: int = 400, seed: int = OWN_SEED) -> CriticState:
    """A critic that knows the usual world: what exploring there for so many control steps of each environment teaches it."""
    alone = agent.replaced(plastic="critic")
    begun = dataclasses.replace(alone.init(env.num_envs, seed), critic=state.critic)
    for number, told in enumerate(live(alone, begun, env, seed), start=1):
        if number >= steps:
            return told.state.critic
    return state.critic


def _last(observations: ndarray, info: dict[str, Any], ended: ndarray) -> ndarray:
    """What was observed at the end of episodes, and of the others what is observed now."""
    last = np.array(observations)
    for row in np.flatnonzero(ended):
        last[row] = info["final_obs"][row]
    return last


def _mode(env: Any) -> str:
    mode = env.metadata.get("autoreset_mode", "NextStep")
    return str(getattr(mode, "value", mode))
