"""
What came of an adaptation: the lives, what rules taught, and all that a report needs of them.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from jaxtyping import Float
from numpy import ndarray

from spikeloom.agent.body import Body
from spikeloom.agent.changes import Change
from spikeloom.agent.course import Course
from spikeloom.agent.logbook import Episode, Event
from spikeloom.agent.policy import Policy
from spikeloom.agent.rules.guard import Log
from spikeloom.agent.rules.instructions import Instructions
from spikeloom.agent.teaching import Taught
from spikeloom.agent.trials import Score
from spikeloom.simulate import Profile


@final
@dataclass(frozen=True)
class Life:
    """One seed: every episode and event, the returns of the kept weights, what settling them found, and what the network costs now. `lived`
    and `judged` are what guards did while it lived and when the kept weights were judged; `obeyed` is the share of the states met then in
    which rules speak and the network does what they say."""

    seed: int
    episodes: tuple[Episode, ...]
    events: tuple[Event, ...]
    policy: Policy
    returns: Float[ndarray, " m"]
    score: Score
    profile: Profile
    changes: tuple[Change, ...]
    steps: int
    lived: Log | None = None
    judged: Log | None = None
    obeyed: float | None = None
    vetoes: tuple[Path, ...] = ()

    @property
    def body(self) -> Body | None:
        """The body that the kept weights act through."""
        return self.score.body


@final
@dataclass(frozen=True)
class Lesson:
    """What a person's rules did before the life began (`teaching`), and to the returns in the changed world; of the states in which rules
    speak, among those that each meets there, the share in which the frozen network and the taught one do what they say."""

    taught: Taught
    returns: Float[ndarray, " m"]
    frozen_obeys: float
    obeys: float


@final
@dataclass(frozen=True)
class Adaptation:
    """Returns in the usual world (of the network, of random actions, of its ANN where that was kept) and of the frozen network in the
    changed one, its cost a decision there, and the lives; `guarded` is what guards did to the frozen network there, `lesson` what rules
    were taught, `vetoes` the files (`agent.vetoes`) of all that guards took in the changed world, where there are checkpoints."""

    environment: str
    shifts: Mapping[str, float | str]
    course: Course
    policy: Policy
    usual: Float[ndarray, " m"]
    chance: Float[ndarray, " m"]
    ann: Float[ndarray, " m"] | None
    frozen: Float[ndarray, " m"]
    profile: Profile
    lives: tuple[Life, ...]
    instructions: Instructions = dataclasses.field(default_factory=Instructions)
    guarded: Log | None = None
    lesson: Lesson | None = None
    vetoes: tuple[Path, ...] = ()

    @property
    def best(self) -> Life:
        """The life whose weights settled best; what is judged afterwards has no say."""
        return max(self.lives, key=lambda life: life.score.mean)

    def recovered(self, life: Life) -> float:
        """(R_adapted − R_frozen)/(R_usual − R_frozen) of a life; NaN where the frozen network lost nothing."""
        lost = float(self.usual.mean() - self.frozen.mean())
        return float(life.returns.mean() - self.frozen.mean()) / lost if lost > 0 else float("nan")
