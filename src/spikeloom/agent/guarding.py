"""
Acting within guards: whatever a network wants, done only as far as a person's constraints allow (`rules.guard`).

A guard belongs to the world, not to the network: what it replaced is what was done, the reward is of that, and the critic learns from it.
The actor does not (`agent`): the score is of the action that was drawn, and that one was not tried.
"""

from collections.abc import Callable
from typing import Any, final

from jaxtyping import Float, Num
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.policy import Acting
from spikeloom.agent.rules.guard import Decision, Guard, Log
from spikeloom.datasets.episodes import Moment
from spikeloom.datasets.spaces import Action, Discrete, acted

KEPT = 10_000
"""Vetoes that are kept in memory, of all lives together; all are counted, and written where there is a folder (`vetoes`)."""
Tells = Callable[[ndarray, ndarray], Tensor]
"""(observations [E, ...], fresh [E]) → outputs [E, k]."""


def within(guard: Guard, observations: ndarray, outputs: Float[Tensor, "e k"], wanted: Num[ndarray, "e *k"], action: Action) -> Decision:
    """What is done where `wanted` was; actions as the environment takes them."""
    if not isinstance(action, Discrete):
        return guard.decided(observations, wanted)
    found = guard.decided(observations, outputs.numpy(), wanted - action.start)
    return Decision(found.wanted + action.start, found.taken + action.start, found.by, found.conflicts)


@final
class Keeping:
    """Acts (`Act`) as outputs say, within a guard where there is one. `note` is for `returns(watch=…)`: what was vetoed goes to a log."""

    def __init__(self, tells: Tells, action: Action, guard: Guard | None = None, log: Log | None = None) -> None:
        self.tells, self.action, self.guard = tells, action, guard
        self.log = log if log is not None or guard is None else Log(guard, 0)
        self.last: Decision | None = None

    def __call__(self, observations: ndarray, fresh: ndarray) -> ndarray:
        """Actions."""
        outputs = self.tells(observations, fresh)
        taken = acted(outputs, self.action)
        if self.guard is not None:
            self.last = within(self.guard, observations, outputs, taken, self.action)
            taken = self.last.taken
        if isinstance(self.tells, Acting):
            self.tells.took(taken)
        return taken

    def note(self, moment: Moment) -> None:
        """The moment of which this acted last."""
        if self.last is not None and self.log is not None:
            self.log.note(moment.observations[moment.playing], self.last.at(moment.playing))


def counted(log: Log | None) -> dict[str, Any]:
    """The counts of a log, as JSON has them."""
    return {} if log is None else {"states": log.states, "vetoes": dict(log.counts), "gave way": dict(log.conflicts)}
