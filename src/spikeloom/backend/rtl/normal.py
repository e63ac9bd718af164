"""
A netlist with as little to store as possible, and the same answers.

At T = 1 what a membrane starts with, its leak, and the bias before it are constants that go into the thresholds:

    h ≥ θ_j   ⇔   x + b + a·v[0] − ℓ ≥ θ_j   ⇔   x ≥ θ_j − b − a·v[0] + ℓ                         (1)

so that accumulators start at 0 and neither membranes nor biases take memory.
"""

import dataclasses

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.ir.hardware import Affine, Convolution, Netlist, Operation, Population, netlist_of


def normalised(netlist: Netlist) -> Netlist:
    """The netlist with (1) done where T is 1; any other one as it is."""
    if netlist.timesteps > 1:
        return netlist
    made = {operation.name: operation for operation in netlist.operations}
    for population in netlist.populations:
        before = made.get(population.reads[0])
        moved, bare = _folded(netlist, population, before)
        made[population.name] = moved
        if bare is not None:
            made[bare.name] = bare
    told = {"unit": netlist.unit, "timesteps": netlist.timesteps, "settings": netlist.settings}
    return netlist_of(netlist.source, netlist.wires[netlist.source.name], made.values(), netlist.output, **told)  # pyright: ignore[reportArgumentType]


def _folded(netlist: Netlist, population: Population, before: Operation | None) -> tuple[Population, Operation | None]:
    """(the population without a membrane, the operation before it without a bias where that moved)."""
    shift: Int[ndarray, " c"] = np.zeros(1, np.int64)
    if population.membrane is not None:
        membrane = population.membrane
        shift = shift + ((membrane.decay * membrane.initial) >> membrane.decay_shift) - membrane.leak
    bare = None
    if isinstance(before, Affine | Convolution) and before.bias is not None and _alone(netlist, before) and population.axis == 0:
        shift, bare = shift + before.bias, dataclasses.replace(before, bias=None)
    return dataclasses.replace(population, thresholds=population.thresholds - shift[:, None], membrane=None), bare


def _alone(netlist: Netlist, operation: Affine | Convolution) -> bool:
    """Whether one population alone reads it, and its outputs are the first axis."""
    first = isinstance(operation, Convolution) or len(netlist.wires[operation.name].shape) == 1
    return first and len(netlist.readers(operation.name)) == 1 and netlist.output != operation.name
