"""
A life that can be interrupted: what an agent did is recorded, and done again after an interruption, until the world is where it was.

No environment says its whole state; all of them repeat themselves from the same seed under the same actions. So a checkpoint is the agent's
state, the actions so far, and a checksum of what was observed: an environment that does not repeat itself is noticed, not lived in.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy import ndarray

from spikeloom.agent.agent import Agent
from spikeloom.agent.arrival import Arrival
from spikeloom.agent.living import Told, live
from spikeloom.agent.state import AgentState
from spikeloom.agent.store import copied
from spikeloom.errors import DataError

EVERY = 256
"""Control steps between two checkpoints."""

Keep = Callable[[AgentState, ndarray, int], None]
"""Is told the state, all actions so far [steps, E, …], and the checksum of what was observed."""


@final
class Recorded:
    """Steps as its agent does, after it has done again what was recorded. Every `EVERY` steps the state becomes as it would be loaded,
    kept or not, so that a life that was interrupted is the same as one that was not."""

    def __init__(self, agent: Agent, past: Sequence[ndarray], checksum: int, keep: Keep | None, every: int) -> None:
        self.agent, self.keep, self.every = agent, keep, every
        self.actions, self.again, self.due = list(past), len(past), checksum
        self.place = self.seen = 0

    def step(self, state: AgentState, arrival: Arrival) -> tuple[ndarray, AgentState]:
        """As `Agent.step`. DataError where the world was not as it had been."""
        if self.place < self.again:
            self._see(arrival)
            return self.actions[self.place - 1], state
        if self.place == self.again and self.again and self.seen != self.due:
            todo = "begin anew, without resuming"
            raise DataError("the environment does not repeat itself from the same seed", found="other observations", todo=todo)
        if self.place and self.place % self.every == 0:
            state = self._rested(state)
        self._see(arrival)
        actions, state = self.agent.step(state, arrival)
        self.actions.append(actions)
        return actions, state

    def _see(self, arrival: Arrival) -> None:
        self.seen, self.place = zlib.crc32(np.ascontiguousarray(arrival.observations).tobytes(), self.seen), self.place + 1

    def _rested(self, state: AgentState) -> AgentState:
        state = copied(state, self.agent.known)
        if self.keep is not None and self.place > self.again:
            self.keep(state, np.stack(self.actions), self.seen)
        return state


def relived(
    agent: Agent,
    state: AgentState,
    env: Any,
    seed: int,
    watch: Callable[[Told], bool],
    *,
    past: Sequence[ndarray] = (),
    checksum: int = 0,
    keep: Keep | None = None,
    every: int = EVERY,
) -> AgentState:
    """The state when `watch`, which is told of each new step, says that it is enough. `past` and `checksum` are those of the checkpoint
    that `state` is from."""
    recorded = Recorded(agent, past, checksum, keep, every)
    for number, told in enumerate(live(recorded, state, env, seed), start=1):
        if number > len(past) and watch(told):
            return told.state
    return state
