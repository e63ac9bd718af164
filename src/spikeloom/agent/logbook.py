"""
What happens in a life: the return of every episode, and what the agent did about it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, final

from spikeloom.agent.living import Told
from spikeloom.agent.rules.guard import Guard, Log, Veto
from spikeloom.agent.state import AgentState

NOTICED, TRIED, LED_BACK, CALMED, REWIRED = "drift noticed", "trial ended", "led back", "calmed", "body changed"
RECENT = 32


@final
class Episode(NamedTuple):
    """The `number`-th episode that ended, at which control step, its return, and whether the agent explored in it (else: its best
    actions, of a sentinel or while it did not learn)."""

    number: int
    step: int
    value: float
    explored: bool


@final
class Event(NamedTuple):
    """What the agent did (NOTICED, TRIED, LED_BACK, CALMED, REWIRED) after so many episodes, at which control step."""

    number: int
    step: int
    what: str


@final
class Logbook:
    """The episodes, events and vetoes of a life, from `state` on; `told` is what an earlier logbook wrote. Of the vetoes of `guard` the
    last `keep` are in full; `write` takes each."""

    def __init__(
        self,
        state: AgentState,
        told: Mapping[str, Any] | None = None,
        guard: Guard | None = None,
        keep: int = 0,
        write: Callable[[Veto], None] | None = None,
    ) -> None:
        told = told or {"steps": 0, "episodes": [], "events": []}
        self.before, self.steps = state, int(told["steps"])
        self.vetoes = None if guard is None else Log(guard, keep, told.get("vetoes"), write)
        self.episodes = [Episode(int(n), int(step), float(value), bool(explored)) for n, step, value, explored in told["episodes"]]
        self.events = [Event(int(n), int(step), str(what)) for n, step, what in told["events"]]

    @property
    def count(self) -> int:
        """Episodes so far."""
        return len(self.episodes)

    def note(self, told: Told) -> None:
        """A control step more."""
        self.steps += 1
        decision = told.state.decision
        if self.vetoes is not None and decision is not None and told.state.pending is not None:
            self.vetoes.note(told.state.pending.observations.numpy(), decision)
        for what in _between(self.before, told.state):
            self.events.append(Event(self.count, self.steps, what))
        for values, explored in ((told.explored, True), (told.judged, False)):
            for value in values:
                self.episodes.append(Episode(self.count + 1, self.steps, value, explored))
        self.before = told.state

    def recent(self) -> float:
        """The mean return of the last episodes; 0 before the first."""
        last = [episode.value for episode in self.episodes[-RECENT:]]
        return sum(last) / max(len(last), 1)

    def told(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        vetoes = {} if self.vetoes is None else {"vetoes": self.vetoes.told()}
        lists = {"episodes": [list(each) for each in self.episodes], "events": [list(each) for each in self.events]}
        return {"steps": self.steps, **lists, **vetoes}


def _between(before: AgentState, after: AgentState) -> tuple[str, ...]:
    """What was done between two states."""
    if before.learning != after.learning:
        return (NOTICED,) if after.learning else (TRIED, CALMED)
    if before.body != after.body:
        return (REWIRED,)
    if after.trial.ended == before.trial.ended:
        return ()
    return (TRIED, LED_BACK) if after.trial.led_back > before.trial.led_back else (TRIED,)
