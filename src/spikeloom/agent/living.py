"""
An agent in its environments: the closed loop, and the time in the usual world before anything changes.
"""

import dataclasses
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from typing import Any, NamedTuple, Protocol, final, runtime_checkable

import numpy as np
import torch
from numpy import ndarray

from spikeloom.agent.agent import Agent
from spikeloom.agent.arrival import Arrival
from spikeloom.agent.body import Body, flat
from spikeloom.agent.critic import CriticState
from spikeloom.agent.episodes import returns
from spikeloom.agent.forward import ForwardModel, drive_of, fitted
from spikeloom.agent.guarding import Keeping
from spikeloom.agent.policy import Acting, Policy
from spikeloom.agent.rules.guard import Guard, Log
from spikeloom.agent.state import AgentState, Usual
from spikeloom.agent.tail import Weights
from spikeloom.agent.trials import Score
from spikeloom.datasets.episodes import Act, Moment, autoreset_of, checked, gathered, played, shares, wandering
from spikeloom.datasets.spaces import Discrete, acted, readable

OWN_SEED = 20_000
"""Where the seeds of the usual world's episodes begin."""
STRAY = 0.3
"""The share of actions at random with which the usual world is seen beside the usual road."""
ENDLESS = 1_000_000


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
    """Steps without end in a vector environment, from its reset on. The consumer stops. All autoreset modes are honoured: environments
    that reset when they are told to are told as soon as their episode has ended, which is the life of those that reset in the same step.

    DataError where observations or rewards are no numbers, or change their shape."""
    count, mode = env.num_envs, autoreset_of(env)
    observations, _ = env.reset(seed=None if seed is None else [seed + place for place in range(count)])
    shape, waiting = np.shape(observations), np.zeros(count, bool)
    arrival = Arrival(np.array(observations, np.float32), np.ones(count, bool))
    while True:
        checked(arrival.observations, shape)
        actions, state = agent.step(state, arrival)
        observations, rewards, terminated, truncated, info = env.step(actions)
        terminated = np.array(terminated)
        ended, playing = (terminated | truncated) & ~waiting, ~waiting
        last = _last(observations, info, ended) if mode == "SameStep" else np.array(observations)
        if mode == "Disabled" and ended.any():
            observations, _ = env.reset(options={"reset_mask": ended})
        fresh, waiting = (waiting, ended) if mode == "NextStep" else (ended, np.zeros(count, bool))
        rewards = np.asarray(rewards, np.float64)
        running = state.returns + np.where(playing, rewards, 0.0)
        explored, judged = (tuple(running[ended & rows].tolist()) for rows in (~state.roles, state.roles))
        arrival = Arrival(np.array(observations, np.float32), fresh, rewards, ended, terminated, np.array(last, np.float32), playing)
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


def settled(
    agent: Agent,
    state: AgentState,
    env: Any,
    episodes: int = 64,
    seed: int | None = None,
    log: Log | None = None,
    watch: Callable[[Moment], None] | None = None,
) -> tuple[Score, tuple[Score, ...]]:
    """The weights to keep, with the body they act in, and the scores of those that it was between: what it began with (as converted, or as
    a person taught it), in the body that it was taught with and in the one that is believed now; the best of all trials; the weights of
    now. Each acts its best in a share of the environments for so many episodes in all. Of the same mean the older ones are kept. What the
    agent's guard vetoes goes to the `log`; `watch` is told of every moment."""
    taught, body = agent.body, state.body
    tried = [(agent.begun, taught), (agent.begun, body), (state.origin, body), (agent.best(state), body), (state.weights, body)]
    arms = [(arm, own) for place, (arm, own) in enumerate(tried) if not any(arm is w and own == b for w, b in tried[:place])]
    rows = np.arange(env.num_envs) % len(arms)
    act = Keeping(Acting(*(agent.network(arm, own) for arm, own in arms), owner=rows), agent.policy.action, agent.guard, log)

    def noted(moment: Moment) -> None:
        act.note(moment)
        if watch is not None:
            watch(moment)

    found = returns(act, env, max(episodes, env.num_envs), seed if seed is not None else OWN_SEED, noted)
    owner = np.repeat(rows, shares(max(episodes, env.num_envs), env.num_envs))
    scores = tuple(_score(arm, own, found[owner == place]) for place, (arm, own) in enumerate(arms))
    return max(scores, key=lambda score: score.mean), scores


def _score(arm: Weights, body: Body, found: ndarray) -> Score:
    error = float(found.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else 0.0
    return Score(arm, float(found.mean()), error, len(found), body)


def foreseen(agent: Agent, env: Any, steps: int = 800, seed: int = OWN_SEED) -> ForwardModel:
    """A forward model of the usual world, in the network's terms: half of so many control steps explore there, half of them act as the
    policy does but for a share of the actions at random. That of the policy where it has one."""
    if agent.policy.forward is not None:
        return agent.policy.forward
    acts = (_explorer(agent, seed), wandering(agent.policy.actor(), env, STRAY, seed))
    parts = [part for act in acts for part in islice(transitions(env, act, seed), steps // 2)]
    before, taken, after = (np.concatenate(each) for each in zip(*parts, strict=True))
    embodied = agent.policy.embodied
    drive = drive_of(embodied.body.effected(embodied.placed(taken)), embodied.count, discrete=isinstance(embodied.action, Discrete))
    x, y = (torch.from_numpy(flat(embodied.body.perceived(each))) for each in (before, after))
    return fitted(x, drive, y)


def _explorer(agent: Agent, seed: int) -> Act:
    """What explores as the agent does, and learns nothing."""
    generator, weights = torch.Generator().manual_seed(seed), agent.tail.on_grid(agent.tail.converted)
    embodied, action = agent.policy.embodied, agent.policy.action

    def act(observations: ndarray, fresh: ndarray) -> ndarray:
        x = torch.from_numpy(readable(embodied.body.perceived(observations), agent.policy.observation))
        choice = agent.exploration.draw(agent.tail.run(agent.tail.inputs(x), weights).clone(), generator).choice
        return embodied.commanded(acted(choice, action) if choice.dim() == 2 else choice.numpy())

    return act


def transitions(env: Any, act: Act, seed: int) -> Iterator[tuple[ndarray, ndarray, ndarray]]:
    """What was observed, done and observed next, in every environment whose episode goes on, step by step without end."""
    for before, after in pairwise(played(env, act, ENDLESS * env.num_envs, seed)):
        rows = before.playing & ~before.ended & after.playing
        yield before.observations[rows], np.asarray(before.actions)[rows], after.observations[rows]


def usual_of(policy: Policy, env: Any, episodes: int = 64, stray: float = STRAY, seed: int = OWN_SEED, guard: Guard | None = None) -> Usual:
    """The usual world as the policy meets it: returns of its own episodes, within the guard where there is one, and what is seen in them
    with a share of actions at random."""
    found = returns(Keeping(Acting(policy), policy.action, guard), env, max(episodes, env.num_envs), seed)
    seen = gathered(env, wandering(policy.actor(), env, stray, seed), max(episodes, env.num_envs), seed)
    order = np.random.default_rng(seed).permutation(len(seen))[:8192]
    return Usual(torch.from_numpy(policy.embodied.body.perceived(seen[order])), found)


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
