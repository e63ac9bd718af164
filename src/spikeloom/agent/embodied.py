"""
Acting through a body: what a network feels of what was observed, and what is done of what it wants.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Num
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.body import Body
from spikeloom.agent.forward import Flight, ForwardModel, ahead, drive_of, grounded
from spikeloom.datasets.spaces import Action, Discrete
from spikeloom.errors import ConfigError


@final
@dataclass(frozen=True)
class Embodied:
    """A body, the actions it takes, and a forward model where they come late. ConfigError for a late body without one."""

    body: Body
    action: Action
    forward: ForwardModel | None = None

    def __post_init__(self) -> None:
        if self.body.delay and self.forward is None:
            found, todo = f"actions that come {self.body.delay} control steps late", "open the policy by its folder (`open_policy`)"
            raise ConfigError("a body whose actions come late needs its forward model", found=found, todo=todo)

    @property
    def count(self) -> int:
        """Discrete actions, or parts of a continuous one."""
        return self.action.count if isinstance(self.action, Discrete) else self.action.size

    def grounded(self, environments: int) -> Flight:
        """Nothing is under way."""
        return grounded(environments, self.body.delay, self.count + (not isinstance(self.action, Discrete)))

    def felt(self, observations: Num[ndarray, "e *d"], flight: Flight) -> Float[ndarray, "e *d"]:
        """What the network is given: sensors in the order it knows, at the time when its next action acts."""
        found = self.body.perceived(np.asarray(observations, np.float32))
        if self.forward is None or not self.body.delay:
            return found
        flat = torch.from_numpy(np.ascontiguousarray(found.reshape(len(found), -1)))
        return ahead(self.forward, flat, flight).numpy().reshape(found.shape)

    def wanted(self, places: Num[ndarray, "e *k"], flight: Flight) -> Flight:
        """What is under way after the network wanted these actions (discrete ones as places from 0)."""
        if not self.body.delay:
            return Flight(flight.sent, flight.age + 1)
        return flight.after(drive_of(places, self.count, discrete=isinstance(self.action, Discrete)))

    def shown(self, outputs: Float[Tensor, "e k"]) -> Float[Tensor, "e k"]:
        """A network's outputs, each in the column of the action that has its effect."""
        order = list(self.body.effects)
        if not self.body.signs:
            return outputs[:, order]
        found = torch.empty_like(outputs)
        found[:, order] = outputs * torch.tensor(self.body.signs, dtype=outputs.dtype)
        return found

    def placed(self, actions: Num[ndarray, "e *k"]) -> Num[ndarray, "e *k"]:
        """Actions as an environment has them, as places from 0 (numbers as they are)."""
        return actions - self.action.start if isinstance(self.action, Discrete) else actions

    def commanded(self, places: Num[ndarray, "e *k"]) -> Num[ndarray, "e *k"]:
        """The actions of an environment whose effects are the wanted ones."""
        found = self.body.commanded(places)
        return found + self.action.start if isinstance(self.action, Discrete) else found
