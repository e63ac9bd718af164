"""
A policy: a spiking network that reads observations and whose outputs are actions.

    discrete    a = start + argmax o                                                              (1)
    continuous  a = clip(o, low, high)                                                            (2)
                a = low + (high - low)·(tanh(clip(o, -limit, limit)) + 1)/2, where it is squashed (3)

A decision takes T steps. Between decisions the membranes go back to rest (`reset`), or each population begins with what it has not sent
yet (`carry`): then what it sends over many decisions sums to what it was given, to within one level. Whatever reads running means
begins anew at each decision either way.

Sources: (3) is the acting head of SAC (arXiv 1812.05905) as Stable-Baselines3 has it; carrying membranes over is Cross-Step Residual
Potential Initialization (CRPI, arXiv 2601.21778).
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.residue import Memory, decided
from spikeloom.errors import ConfigError, DataError
from spikeloom.simulate import SpikingModel, primary

Residue = Literal["reset", "carry"]
RESIDUES: tuple[Residue, ...] = ("reset", "carry")
Squash = Literal["clip", "tanh"]


@final
@dataclass(frozen=True)
class Signal:
    """Observations of a shape, each number within [low, high] (in the order of the flattened shape; infinite where it has no bound)."""

    shape: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@final
@dataclass(frozen=True)
class Discrete:
    """One of `count` actions, numbered from `start`; the network has an output for each (1)."""

    count: int
    start: int = 0


@final
@dataclass(frozen=True)
class Continuous:
    """`size` numbers within [low, high] each, an output for each: clipped (2), or squashed by tanh (3) with outputs beyond ± `limit`
    counting as these."""

    size: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    squash: Squash = "clip"
    limit: float | None = None


Action = Discrete | Continuous


@final
@dataclass(frozen=True)
class Policy:
    """A network with the spaces it acts between; see the module. `timesteps` None is the network's own T."""

    model: SpikingModel
    observation: Signal
    action: Action
    residue: Residue = "reset"
    timesteps: int | None = None

    def __post_init__(self) -> None:
        if self.residue not in RESIDUES:
            raise ConfigError(
                "what becomes of membranes between decisions has two answers", found=self.residue, allowed=", ".join(RESIDUES)
            )

    @property
    def steps(self) -> int:
        """T, the steps of a decision."""
        return self.model.timesteps if self.timesteps is None else self.timesteps

    def replaced(self, **fields: Any) -> "Policy":
        """The policy with other fields."""
        return dataclasses.replace(self, **fields)

    def outputs(
        self, observations: ndarray, state: Memory | None = None, fresh: Bool[ndarray, " e"] | None = None
    ) -> tuple[Float[Tensor, "e k"], Memory | None]:
        """The network's outputs for observations [E, ...], on the ANN's scale, and the membranes to go on from (None: at rest).

        Rows that `fresh` marks begin at rest whatever `state` says. DataError where observations have another shape or are not finite.
        """
        x = torch.from_numpy(checked(observations, self.observation))
        if self.residue == "reset":
            with torch.inference_mode():
                return primary(self.model(x, timesteps=self.steps)), None
        mask = None if fresh is None else torch.from_numpy(np.asarray(fresh, bool))
        return decided(self.model, x, state, mask, self.steps)

    def actions(self, outputs: Float[Tensor, "e k"]) -> Num[ndarray, "e *k"]:
        """The best actions by (1), int64 [E], or the ones of (2) or (3), float32 [E, k]."""
        return acted(outputs, self.action)


def checked(observations: ndarray, signal: Signal) -> Float[ndarray, "e ..."]:
    """Observations as float32 [E, ...]. DataError where they have another shape than the signal's, or hold what is no number."""
    x = np.ascontiguousarray(observations, np.float32)
    if x.shape[1:] != signal.shape or x.ndim == 0:
        raise DataError("observations have another shape than the policy's", found=x.shape, allowed=("environments", *signal.shape))
    if not np.isfinite(x).all():
        rows = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(1))
        raise DataError(
            "observations hold what is no number",
            found=f"environment {', '.join(map(str, rows[:6]))}: {x[rows[0]].tolist()}",
            todo="find out what breaks the environment; a policy has no answer to NaN or infinity",
        )
    return x


def acted(outputs: Float[Tensor, "e k"], action: Action) -> Num[ndarray, "e *k"]:
    """(1), (2) or (3)."""
    if isinstance(action, Discrete):
        return outputs.argmax(1).numpy() + action.start
    low, high = (torch.tensor(bound, dtype=torch.float32) for bound in (action.low, action.high))
    if action.squash == "clip":
        return torch.clamp(outputs, low, high).numpy()
    clipped = outputs if action.limit is None else outputs.clamp(-action.limit, action.limit)
    return (low + (high - low) * (torch.tanh(clipped) + 1) / 2).numpy()
