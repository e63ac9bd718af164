"""
What an agent knows: of the usual world, and at any moment.
"""

from dataclasses import dataclass
from typing import final

from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.body import Body
from spikeloom.agent.critic import CriticState
from spikeloom.agent.diagnosis import Seen
from spikeloom.agent.forward import Flight
from spikeloom.agent.learning import Step
from spikeloom.agent.monitor import MonitorState
from spikeloom.agent.rules.guard import Decision
from spikeloom.agent.tail import Weights
from spikeloom.agent.trials import TrialState
from spikeloom.plasticity import StepSizeState


@final
@dataclass(frozen=True)
class Usual:
    """The usual world: what is observed there when exploring [n, d], and the returns of its episodes [m]."""

    observations: Float[Tensor, "n *d"]
    returns: Float[ndarray, " m"]


@final
@dataclass(frozen=True)
class AgentState:
    """All that an agent knows and was about to do. `pending` is the step whose reward has not come yet, `sensed` the same before any body,
    and `decision` what a guard said of it. `origin` are the weights with which plasticity was turned up; `seen` and `asked` are what a
    diagnosis is made of, and the control steps since."""

    weights: Weights
    origin: Weights
    body: Body
    flight: Flight
    sizes: tuple[StepSizeState, ...]
    critic: CriticState
    monitor: MonitorState
    trial: TrialState
    roles: Bool[ndarray, " e"]
    returns: Float[ndarray, " e"]
    randomness: Tensor
    window: tuple[Step, ...] = ()
    pending: Step | None = None
    decision: Decision | None = None
    learning: bool = False
    steps: int = 0
    episodes: int = 0
    windows: int = 0
    sensed: Seen | None = None
    seen: tuple[Seen, ...] = ()
    asked: int = 0
