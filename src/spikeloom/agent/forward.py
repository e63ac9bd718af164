"""
The forward model: what an agent expects to observe next, given what it does. Learnt in the usual world, while it explores there.

    ô' = ô + σ·Σ_m u_m·R_m·φ(ô)                                                                          (1)

φ are spiking neurons with fixed random wires (`features`) and the observation itself, u the action (of discrete ones a 1 at its place, of
numbers themselves and a 1), σ how much observations usually change. R is the ridge regression on what was met; no prediction changes an
observation by more than it was ever seen to change.

Late actions are undone by it: what was chosen and has not acted yet is played forward, and the network sees what will be when its next
action acts (a Smith predictor).

Sources: Jordan & Rumelhart 1992, Cognitive Science 16, 307 (forward models); Miall, Weir, Wolpert & Stein 1993, Journal of Motor
Behavior 25, 203 (the cerebellum as a Smith predictor).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from spikeloom.agent.features import Wires, spikes_of, wires_for
from spikeloom.errors import DataError, ProgramError
from spikeloom.ir import write_bytes

NEURONS, RIDGE = 512, 1e-4
NAME = "forward.safetensors"


@final
@dataclass(frozen=True)
class ForwardModel:
    """(1): wires, R [m, f, d], the usual change σ [d] and the greatest one [d]."""

    wires: Wires
    readout: Float[Tensor, "m f d"]
    change: Float[Tensor, " d"]
    reach: Float[Tensor, " d"]

    def changes(self, observations: Float[Tensor, "n d"]) -> Float[Tensor, "n m d"]:
        """What every part of u adds to an observation, in σ."""
        features = _features(observations, self.wires)
        return torch.einsum("nf,mfd->nmd", features, self.readout)

    def added(self, changes: Float[Tensor, "n m d"], drive: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """How observations change, in σ and within what was seen."""
        wanted = torch.einsum("nm,nmd->nd", drive, changes)
        return torch.minimum(torch.maximum(wanted, -self.reach), self.reach)

    def predicted(self, observations: Float[Tensor, "n d"], drive: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """ô' of (1)."""
        return observations + self.change * self.added(self.changes(observations), drive)

    def save(self, folder: Path) -> None:
        """The folder holds the model. ResourceError where the disk refuses."""
        parts = {**self.wires._asdict(), "readout": self.readout, "change": self.change, "reach": self.reach}
        write_bytes(folder / NAME, save({name: value.contiguous() for name, value in parts.items()}))


def load_forward(folder: Path) -> ForwardModel:
    """The model in a folder. ProgramError where there is none that is whole."""
    try:
        parts = load((folder / NAME).read_bytes())
        wires = Wires(**{name: parts[name] for name in Wires._fields})
        return ForwardModel(wires, parts["readout"], parts["change"], parts["reach"])
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        todo = "adapt the policy anew, or copy the whole folder"
        raise ProgramError(f"the forward model in {folder / NAME} cannot be read", found=error, todo=todo) from error


def drive_of(actions: Num[ndarray, "n *k"], count: int, *, discrete: bool) -> Float[Tensor, "n m"]:
    """u of (1): of actions as places [n] among `count`, or as numbers [n, k]."""
    if discrete:
        return torch.nn.functional.one_hot(torch.as_tensor(actions, dtype=torch.int64), count).float()
    numbers = torch.as_tensor(actions, dtype=torch.float32)
    return torch.cat([torch.ones(len(numbers), 1), numbers], 1)


def fitted(
    observations: Float[Tensor, "n d"],
    drive: Float[Tensor, "n m"],
    after: Float[Tensor, "n d"],
    *,
    neurons: int = NEURONS,
    seed: int = 0,
) -> ForwardModel:
    """The model of what was met. DataError for fewer moments than say anything."""
    if len(observations) < 64:
        raise DataError("too little was met for a forward model", found=len(observations), allowed="64 moments or more")
    wires = wires_for(observations, neurons, torch.Generator().manual_seed(seed))
    moved = after - observations
    change = moved.std(0).clamp_min(1e-6)
    reach = (moved / change).abs().quantile(0.999, dim=0).clamp_min(3.0) if len(moved) < 1 << 20 else torch.full_like(change, 30.0)
    features, target = _features(observations, wires), moved / change
    return ForwardModel(wires, _solved(features, drive, target), change, reach)


def _features(observations: Float[Tensor, "n d"], wires: Wires) -> Float[Tensor, "n f"]:
    steady = (observations - wires.centre) / wires.width
    return torch.cat([spikes_of(observations, wires), steady, torch.ones(len(observations), 1)], 1)


def _solved(features: Float[Tensor, "n f"], drive: Float[Tensor, "n m"], target: Float[Tensor, "n d"]) -> Float[Tensor, "m f d"]:
    """The ridge regression; where only one part of u is there at a time, one for each."""
    count, size = drive.shape[1], features.shape[1]
    if bool(((drive == 0) | (drive == 1)).all()) and bool((drive.sum(1) == 1).all()):
        return torch.stack([_ridge(features[rows], target[rows]) for rows in drive.T.bool()])
    design = (drive[:, :, None] * features[:, None, :]).flatten(1)
    return _ridge(design, target).view(count, size, -1)


def _ridge(design: Tensor, target: Tensor) -> Tensor:
    square = design.T @ design + RIDGE * max(len(design), 1) * torch.eye(design.shape[1])
    return torch.linalg.solve(square, design.T @ target)


@final
@dataclass(frozen=True)
class Flight:
    """Actions that were chosen and have not acted yet: the last `delay` of each environment [delay, e, m] (as u, the oldest first), and
    how many its episode has had [e]."""

    sent: Float[Tensor, "s e m"]
    age: Int[ndarray, " e"]

    def begun(self, fresh: Bool[ndarray, " e"]) -> "Flight":
        """Where episodes begin nothing is under way."""
        return Flight(self.sent, np.where(fresh, 0, self.age))

    def after(self, drive: Float[Tensor, "e m"]) -> "Flight":
        """One action more is under way. The first of an episode acts until others do."""
        if not len(self.sent):
            return Flight(self.sent, self.age + 1)
        return Flight(torch.cat([self.first(drive).sent[1:], drive[None]]), self.age + 1)

    def first(self, drive: Float[Tensor, "e m"]) -> "Flight":
        """Where an episode begins its first action is all that is under way."""
        return Flight(torch.where(torch.from_numpy(self.age == 0)[:, None], drive, self.sent), self.age)


def grounded(environments: int, delay: int, parts: int) -> Flight:
    """Nothing is under way."""
    return Flight(torch.zeros(delay, environments, parts), np.zeros(environments, np.int64))


def ahead(model: ForwardModel, observations: Float[Tensor, "e d"], flight: Flight) -> Float[Tensor, "e d"]:
    """What will be observed when all that is under way has acted."""
    if not len(flight.sent):
        return observations
    moving = torch.from_numpy(flight.age > 0)[:, None]
    found = observations
    for drive in flight.sent:
        found = torch.where(moving, model.predicted(found, drive), found)
    return found
