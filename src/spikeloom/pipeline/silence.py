"""
Silence: a population in which no neuron ever fires carries nothing, and makes a constant of all that stands behind it.
"""

from collections.abc import Iterable
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.errors import NumericError
from spikeloom.ir import Program
from spikeloom.simulate import executable, populations, repeated


@final
class _Listener(fx.Interpreter):
    """Runs a program and strikes out the populations that were heard."""

    def __init__(self, program: Program, timesteps: int) -> None:
        super().__init__(executable(program, timesteps))
        self.silent = [node.name for node in populations(program)]

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.silent and bool((value != 0).any()):
            self.silent.remove(n.name)
        return value


def silent_populations(program: Program, batches: Iterable[tuple[Tensor, ...]], timesteps: int) -> list[str]:
    """The populations that send nothing on all of these inputs [B, …] in T steps; no batch is taken once all were heard."""
    listener = _Listener(program, timesteps)
    with torch.no_grad():
        for inputs in batches:
            listener.run(*(repeated(value, timesteps) for value in inputs))
            if not listener.silent:
                break
    return listener.silent


def audible(program: Program, batches: Iterable[tuple[Tensor, ...]], timesteps: int) -> Program:
    """The program itself. Raises NumericError naming the populations in which no neuron fires on the calibration data."""
    silent = silent_populations(program, batches, timesteps)
    if silent:
        raise NumericError(
            "no neuron of these populations ever fires on the calibration data",
            found=", ".join(silent),
            todo="check the weights and the preprocessing; for IF and LIF, give more time steps",
        )
    return program
