"""
A person's rules as lessons: the network is taught until it does what they say, and stays as it was where they say nothing.

    wanted      where a rule holds, what it says; elsewhere what the network did before                               (1)
    a pass      the states in which the network does not do what is wanted are taught, by the agent's three factors   (2)
    kept        of all passes that which does most of (1), half for the rules, half for the rest                       (3)

(2) is Rosenblatt's: what is right already teaches nothing, so that no state is sharpened that nobody complained of. Weights as of
`rules.corrections`: rules weigh as a person says, however rarely they hold. Source: Rosenblatt 1958, Psychological Review 65, 386.
"""

import dataclasses
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from numpy import ndarray

from spikeloom.agent.agent import Agent
from spikeloom.agent.body import Body
from spikeloom.agent.rules.corrections import corrections
from spikeloom.agent.rules.ruleset import SILENT, RuleSet
from spikeloom.agent.state import AgentState
from spikeloom.agent.tail import Weights
from spikeloom.datasets.spaces import NEAR, Action, Continuous, Discrete, acted, readable

PASSES = 300
SIZES = (1.0, 0.3, 0.1)
"""Of the agent's steps, in the parts of a lesson: each goes on from the best so far."""
KEEP = 1.0
"""What a state weighs in which nobody complained, against one of a rule."""


@final
@dataclass(frozen=True)
class Taught:
    """What a lesson did: over the states it was made of, in which share of them a rule speaks, and the share of these in which the network
    did what it says before and does after; and the share of the others in which it does what it did."""

    weights: Weights
    speaks: float
    before: float
    after: float
    kept: float


def done_by(agent: Agent, weights: Weights, observations: Float[ndarray, "n d"], body: Body | None = None) -> Num[ndarray, "n *k"]:
    """The best actions of these weights in a body (None: the one that was taught), discrete ones numbered from 0."""
    own = body or agent.body
    inputs = agent.tail.inputs(torch.from_numpy(readable(own.perceived(observations), agent.policy.observation)))
    outputs = agent.tail.run(inputs, agent.tail.on_grid(weights))
    action = agent.policy.action
    return own.commanded(acted(outputs, action) - (action.start if isinstance(action, Discrete) else 0))


def apart(actions: Num[ndarray, "n *k"], wanted: Num[ndarray, "n *k"], action: Action) -> Float[ndarray, " n"]:
    """How far what is done is from what is wanted: of discrete actions 0 or 1, of numbers the largest distance as a share of its range."""
    if isinstance(action, Discrete):
        return (actions != wanted).astype(np.float64)
    return np.minimum((np.abs(actions - wanted) / _widths(action)).max(1), 1.0)


def obeyed(rules: RuleSet, observations: Float[ndarray, "n d"], actions: Num[ndarray, "n *k"], action: Action) -> tuple[float, float]:
    """In which share of states a rule speaks, and in which share of these the action is what it says, of numbers to within a twentieth
    of their range (NaN where none speaks)."""
    speaks = (rules.fired(observations) != SILENT) | (rules.otherwise is not None)
    if not speaks.any():
        return 0.0, float("nan")
    right = apart(actions[speaks], rules(observations[speaks]), action) <= NEAR
    return float(speaks.mean()), float(right.mean())


def instructed(
    agent: Agent, state: AgentState, rules: RuleSet, observations: Float[ndarray, "n d"], passes: int = PASSES
) -> tuple[AgentState, Taught]:
    """The agent after so many passes (2) or fewer, over these states, and what came of it (3)."""
    action, first = agent.policy.action, done_by(agent, state.weights, observations, state.body)
    lesson = corrections(rules, observations, first, keep=KEEP, tolerance=_tolerance(action))
    ruled = (rules.fired(observations) != SILENT) | (rules.otherwise is not None)
    best, most = state, -1.0
    for size in SIZES:
        state = dataclasses.replace(best, sizes=agent.learning.init(best.weights))
        for _ in range(passes // len(SIZES)):
            off = apart(done_by(agent, state.weights, observations, state.body), lesson.actions, action)
            good, wrong = _good(off, ruled), off > NEAR
            best, most = (state, good) if good > most else (best, most)
            if not wrong.any():
                break
            wanted = outputs_of(state.body.effected(lesson.actions[wrong]), action)
            seen = state.body.perceived(observations[wrong])
            state = agent.taught(state, seen, wanted, lesson.weights[wrong], passes=1, size=size)
    share, before = obeyed(rules, observations, first, action)
    last = done_by(agent, best.weights, observations, best.body)
    after = obeyed(rules, observations, last, action)[1]
    kept = float((apart(last, first, action) <= NEAR)[~ruled].mean()) if (~ruled).any() else float("nan")
    return dataclasses.replace(best, sizes=agent.learning.init(best.weights)), Taught(best.weights, share, before, after, kept)


def reminded(agent: Agent, state: AgentState, rules: RuleSet, observations: Float[ndarray, "n d"], passes: int) -> AgentState:
    """The agent after so many passes over the states in which a rule speaks and the network does not do what it says."""
    for _ in range(passes):
        lesson = corrections(
            rules, observations, done_by(agent, state.weights, observations, state.body), tolerance=_tolerance(agent.policy.action)
        )
        if not len(lesson):
            return state
        wanted = outputs_of(state.body.effected(lesson.actions), agent.policy.action)
        state = agent.taught(state, state.body.perceived(lesson.observations), wanted, lesson.weights, passes=1)
    return state


def outputs_of(actions: Num[ndarray, "n *k"], action: Action) -> Num[ndarray, "n *k"]:
    """What a lesson takes: discrete actions as they are, of numbers the outputs that become them (within ±3 where they are squashed)."""
    if isinstance(action, Discrete) or action.squash == "clip":
        return actions
    low, high = np.asarray(action.low, np.float32), np.asarray(action.high, np.float32)
    share = np.clip(2 * (actions - low) / (high - low) - 1, -0.995, 0.995)
    limit = 3.0 if action.limit is None else action.limit
    return np.arctanh(share).clip(-limit, limit).astype(np.float32)


def _good(off: Float[ndarray, " n"], ruled: Bool[ndarray, " n"]) -> float:
    """(3); a part that has no states counts as done."""
    return 0.5 * sum(1.0 - float(off[part].mean()) if part.any() else 1.0 for part in (ruled, ~ruled))


def _widths(action: Continuous) -> Float[ndarray, " k"]:
    widths = np.subtract(action.high, action.low)
    return np.where(np.isfinite(widths), widths, 1.0)


def _tolerance(action: Action) -> float:
    return 0.0 if isinstance(action, Discrete) else NEAR * float(_widths(action).min())
