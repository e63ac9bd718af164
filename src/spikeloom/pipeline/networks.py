"""
The three networks side by side: the SNN, the ANN it came from and the control, on the same inputs in the same run, each timed.

Every step that runs is counted in T; the SNN's answer after t steps is the mean of its outputs over those steps.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from spikeloom.simulate import SpikingModel, executable, primary, repeated


@final
@dataclass(frozen=True)
class Outputs:
    """What came out for one batch: of the SNN after each step [T, B, …], of ANN and control [B, …] where they are there."""

    snn: Tensor
    others: dict[str, Tensor]


@final
class Networks:
    """The networks of one evaluation at T steps, the seconds each took so far, and the steps that its curve over time has: `points` up to
    T, by default powers of two."""

    def __init__(self, snn: SpikingModel, timesteps: int, points: Sequence[int] = ()) -> None:
        self.snn, self.timesteps = snn, timesteps
        self.points = sorted({*points, timesteps}) if points else checkpoints(timesteps)
        known = {name: program for name, program in (("ann", snn.ann), ("control", snn.control)) if program is not None}
        self.modules = {name: program.module() if name == "ann" else executable(program, 1) for name, program in known.items()}
        self.seconds: dict[str, float] = dict.fromkeys(("snn", *self.modules), 0.0)

    def run(self, inputs: tuple[Tensor, ...]) -> Outputs:
        """One batch through every network."""
        began = time.perf_counter()
        running = _running(self.snn, inputs, self.timesteps)
        self.seconds["snn"] += time.perf_counter() - began
        others: dict[str, Tensor] = {}
        for name, module in self.modules.items():
            began = time.perf_counter()
            others[name] = primary(module(*inputs))
            self.seconds[name] += time.perf_counter() - began
        return Outputs(running, others)

    def per_sample(self, count: int) -> dict[str, float | None]:
        """Seconds a sample of ANN and SNN; None for a network that is not there."""
        return {name: self.seconds[name] / count if name in self.seconds else None for name in ("ann", "snn")}

    def missing(self) -> dict[str, str]:
        """Why ANN or control have no numbers, where they have none."""
        return {name: "the folder does not hold it" for name in ("ann", "control") if name not in self.modules}


def _running(snn: SpikingModel, inputs: tuple[Tensor, ...], timesteps: int) -> Tensor:
    """The running mean of the output after every step: [T, B, …]."""
    raw = primary(snn.bound(timesteps)(*(repeated(value, timesteps) for value in inputs)))
    steps = torch.arange(1, timesteps + 1, dtype=raw.dtype).view(-1, *[1] * raw.dim())
    return raw.view(timesteps, -1, *raw.shape[1:]).cumsum(0) / steps


def checkpoints(timesteps: int) -> list[int]:
    """The steps of the curve: powers of two up to T, and T."""
    return sorted({1 << k for k in range(timesteps.bit_length()) if 1 << k <= timesteps} | {timesteps})
