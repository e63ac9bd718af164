"""
What stands against running a netlist on a Xylo chip, each limit by its name and with numbers.
"""

from typing import Any

import numpy as np

from spikeloom.backend.target import Refusal
from spikeloom.backend.xylo.chips import (
    CHIPS,
    INPUT_EVENTS,
    INPUTS,
    SPIKES,
    STATE_HIGH,
    STATE_LOW,
    WEIGHT_HIGH,
    WEIGHT_LOW,
    Chip,
)
from spikeloom.backend.xylo.currents import currents, linear
from spikeloom.backend.xylo.options import XyloOptions
from spikeloom.backend.xylo.placing import Placement, bands_and_frames, each, place, readout, rest
from spikeloom.ir.hardware import Netlist, Population

NETWORK = "the network"


def refusals(netlist: Netlist, options: XyloOptions) -> list[Refusal]:
    """What the chip's neurons cannot do; where they can do all of it, what does not fit."""
    kinds = [*_time(netlist), *_input(netlist), *_operations(netlist)]
    if kinds:
        return kinds
    large = _large(netlist, CHIPS[options.chip])
    if large:
        return large
    levels = _levels(netlist)
    return levels or fitting(place(netlist), CHIPS[options.chip])


def _time(netlist: Netlist) -> list[Refusal]:
    if netlist.timesteps == 1:
        return []
    allowed = "1: a membrane that lasts loses at least 1 at each tick, and currents outlast their tick, so sums over ticks are never exact"
    return [Refusal(NETWORK, f"{netlist.timesteps} ticks", allowed, f"convert with one tick and {SPIKES} levels")]


def _input(netlist: Netlist) -> list[Refusal]:
    wire, found = netlist.wires[netlist.source.name], list[Refusal]()
    shape = wire.shape
    if len(shape) > 3 or (len(shape) == 3 and shape[0] != 1) or bands_and_frames(shape)[0] > INPUTS:
        allowed = f"up to {INPUTS} numbers, or [bands, frames] of up to {INPUTS} bands"
        found.append(Refusal(netlist.source.name, f"an input of shape {shape}", allowed, "encode the input in fewer channels"))
    if wire.low < 0 or wire.high > INPUT_EVENTS:
        allowed = f"0 to {INPUT_EVENTS} events a channel and tick"
        found.append(Refusal(netlist.source.name, f"inputs from {wire.low} to {wire.high}", allowed, "encode the input as events"))
    return found


def _operations(netlist: Netlist) -> list[Refusal]:
    found = list[Refusal]()
    for operation in netlist.operations:
        kind = type(operation).__name__.lower()
        if not isinstance(operation, Population):
            if not linear(operation):
                kind = "a maximum" if kind == "pool" else f"a {kind}"
                found.append(Refusal(operation.name, kind, "weights, sums, sums of windows, routes", "use sum pooling; fewer weight bits"))
            continue
        if not operation.uniform or operation.heights[0, 0] != 0:
            low, high = int(operation.heights.min()), int(operation.heights.max())
            allowed = f"equal steps from 0 to {SPIKES} (θ taken away for each spike)"
            found.append(
                Refusal(operation.name, f"a staircase from {low} to {high}", allowed, "convert with uniform levels, none negative")
            )
    return found


def _large(netlist: Netlist, chip: Chip) -> list[Refusal]:
    """Too many neurons even without relays."""
    last = readout(netlist)
    hidden = netlist.neurons - (netlist.wires[last.name].size if last else 0)
    return _hidden(hidden, 0, chip) + _outputs(netlist.wires[netlist.output].size, chip)


def _hidden(neurons: int, relays: int, chip: Chip) -> list[Refusal]:
    if neurons + relays <= chip.hidden:
        return []
    found = f"{neurons + relays} hidden neurons" + (f" ({relays} of them relays)" if relays else "")
    return [Refusal(NETWORK, found, f"{chip.hidden} on {chip.title}", "a smaller network, fewer frames, or another chip")]


def _outputs(outputs: int, chip: Chip) -> list[Refusal]:
    if outputs <= chip.outputs:
        return []
    return [Refusal(NETWORK, f"{outputs} output neurons", f"{chip.outputs} on {chip.title}", "another chip")]


def _levels(netlist: Netlist) -> list[Refusal]:
    """A neuron stops at 31 spikes, not earlier: fewer levels only where no input reaches more."""
    found, known, last = list[Refusal](), currents(netlist), readout(netlist)
    for population in netlist.populations:
        current, shape = known[population.reads[0]], netlist.wires[population.name].shape
        high = current.bias + each(rest(population), population, shape)
        for source, weight in current.weights.items():
            high = high + weight.clip(min=0).sum(1) * netlist.wires[source].high
        reached = int((high // each(population.quantum, population, shape)).max())
        if population is not last and population.levels != SPIKES and reached > population.levels:
            todo = f"convert with {SPIKES} levels"
            found.append(Refusal(population.name, f"{population.levels} levels, and currents for {reached}", f"{SPIKES} levels", todo))
    return found


def fitting(placed: Placement, chip: Chip) -> list[Refusal]:
    """Neurons, fan-out, weights, thresholds, biases and states of a placement against a chip's limits."""
    found = _hidden(len(placed.threshold) - placed.relays, placed.relays, chip) + _outputs(len(placed.threshold_out), chip)
    most = int(placed.fan_out.max(initial=0))
    if most > chip.fan_out:
        count = int((placed.fan_out > chip.fan_out).sum())
        where = f"a fan-out of {most} ({count} neurons above the limit)"
        found.append(Refusal(NETWORK, where, f"{chip.fan_out} on {chip.title}", "narrower layers, fewer connections, or another chip"))
    for name in ("weights_in", "weights_rec", "weights_out"):
        found += _between(name, getattr(placed, name), WEIGHT_LOW, WEIGHT_HIGH, "--option weight_bits with fewer bits")
    for name in ("threshold", "threshold_out"):
        found += _between(name, getattr(placed, name), 1, STATE_HIGH, "--option weight_bits with fewer bits")
    for name in ("bias_hidden", "bias_out"):
        found += _between(name, getattr(placed, name), STATE_LOW, STATE_HIGH, "--option weight_bits with fewer bits")
    return found + _states(placed)


def _between(name: str, values: Any, low: int, high: int, todo: str) -> list[Refusal]:
    if not values.size or (low <= values.min() and values.max() <= high):
        return []
    return [Refusal(name, f"{int(values.min())} to {int(values.max())}", f"{low} to {high}", todo)]


def _states(placed: Placement) -> list[Refusal]:
    """What synaptic currents and membranes can hold, for any input and in any order of spikes."""
    spikes, found = placed.highest_spikes, list[Refusal]()
    gathered = {
        "hidden": (placed.weights_rec, placed.weights_in, placed.bias_hidden, placed.currents[0]),
        "output": (placed.weights_out, np.zeros((1, len(placed.bias_out)), np.int64), placed.bias_out, placed.currents[1]),
    }
    for name, (recurrent, inward, bias, (low, high)) in gathered.items():
        left = int(placed.way == "stream")  # what is left of the tick before
        up = sum(part.clip(min=0).T @ most for part, most in ((recurrent, spikes), (inward, np.full(len(inward), INPUT_EVENTS))))
        down = sum(part.clip(max=0).T @ most for part, most in ((recurrent, spikes), (inward, np.full(len(inward), INPUT_EVENTS))))
        synapse = np.maximum((up << placed.shift) + left * high, -(down << placed.shift) - left * low)
        brought = INPUT_EVENTS * inward[[channel for channel, _ in placed.clocks]].sum(0) if name == "hidden" else 0
        membrane = (np.maximum(high, -low) + brought) * (1 + left) + 2 * np.abs(bias)
        for what, state in (("synaptic current", synapse), ("membrane", membrane)):
            most = int(state.max(initial=0))
            if most > STATE_HIGH:
                where = f"{int((state > STATE_HIGH).sum())} {name} neurons"
                todo = "--option weight_bits with fewer bits, or fewer connections"
                found.append(Refusal(where, f"a {what} of up to {most}", f"{STATE_HIGH} (16 bits)", todo))
    return found
