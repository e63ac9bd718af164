"""
Whether a network is what lava-dl's netx layout holds: a chain of dense layers and convolutions of the built-in LIF with hard reset.

The built-in LIF fires at v > vth, a population at h ≥ θ: in whole numbers vth = θ - 1. Its state is shifted up by 6 bits, so that a decay
is rounded otherwise than a population's; everything else is equal to the bit.
"""

import math
from collections.abc import Iterator

import numpy as np

from spikeloom.backend.loihi2.layers import Layer, Lowered
from spikeloom.backend.loihi2.limits import LIMITS, signed
from spikeloom.ir.hardware import Netlist, Population, Requantise, Wire, membrane_wires


def strict(netlist: Netlist, found: Lowered) -> list[str]:
    """What keeps a network from the plain netx layout, in words; nothing where it can be written so."""
    inside = membrane_wires(netlist)
    reasons = list[str]()
    for number, layer in enumerate(found.layers):
        if layer.links:
            reasons += [f"{layer.name}: {reason}" for reason in _strict(netlist, number, layer, found.layers, inside.get(layer.name))]
    return reasons


def _strict(netlist: Netlist, number: int, layer: Layer, layers: tuple[Layer, ...], inside: tuple[Wire, Wire] | None) -> Iterator[str]:
    link = layer.links[0]
    if len(layer.links) > 1 or link.source != number - 1:
        yield "more than one edge arrives, or one from further back"
        return
    image = len(link.reads) == 3 and link.reads == layers[link.source].shape
    own = link.kind == "scale" and (link.axis == 0 or link.weight.size == 1)
    written = image if link.kind == "conv" else len(link.reads) == 1 if link.kind == "dense" else own and (image or len(link.reads) == 1)
    if link.index is not None or not written or link.gives != layer.shape:
        yield "its edge is neither a dense layer nor a convolution"
    if len(link.terms) != 1 or link.terms[0].exponent > 0 or not link.weight.any():
        yield f"weights from {int(link.weight.min())} to {int(link.weight.max())} do not fit 8 bits in one synapse, or are all 0"
    yield from _neuron(netlist, layer, inside)


def _neuron(netlist: Netlist, layer: Layer, inside: tuple[Wire, Wire] | None) -> Iterator[str]:
    program = layer.program
    if isinstance(program, Requantise):
        yield "it is a relay of graded spikes"
        return
    if program is not None:
        yield from _law(netlist, program)
    offset = offsets(netlist, layer)
    if offset is None:
        yield "its thresholds or biases are not the same for all neurons of a channel"
        return
    bias, theta = offset
    for what, low, high, bits in (
        ("bias", int(bias.min()), int(bias.max()), LIMITS["bias_bits"].value),
        ("threshold - 1", 0, theta - 1, LIMITS["threshold_bits"].value + 1),
    ):
        if signed(low, high) > bits:
            yield f"{what} from {low} to {high} is wider than the mantissa's {bits} bits"
    wire = netlist.wires[layer.reads]
    spread = 0 if layer.bias is None else int(np.abs(layer.bias).max())
    if signed(wire.low - spread, wire.high + spread) > LIMITS["cuba_accumulator_bits"].value:
        yield f"sums from {wire.low} to {wire.high} are wider than 16 bits"
    ticks = netlist.timesteps if program is None else 1
    ends = [abs(end) * ticks for part in (wire, *(inside or ())) for end in (part.low, part.high)]
    if max(ends) + int(np.abs(bias).max()) * ticks >= 1 << LIMITS["threshold_bits"].value:
        yield f"voltages up to {max(ends)} are wider than 24 bits less 6"


def _law(netlist: Netlist, program: Population) -> Iterator[str]:
    if not program.binary:
        yield f"it sends {program.levels} levels"
    if netlist.timesteps == 1 or program.membrane is None:
        if netlist.timesteps > 1:
            yield "its neurons have no membrane"
        return
    membrane = program.membrane
    if membrane.reset != "zero":
        yield "reset by subtraction"
    if membrane.decays:
        yield "a decay (the built-in LIF rounds it with 6 bits more, toward 0)"
    if membrane.initial.any():
        yield f"an initial potential of up to {int(np.abs(membrane.initial).max())}"
    if (program.thresholds != program.thresholds.flat[0]).any() or program.thresholds.flat[0] < 1:
        yield "thresholds differ, or are below 1"


def offsets(netlist: Netlist, layer: Layer) -> tuple[np.ndarray, int] | None:
    """(bias of each channel, θ) of the built-in LIF; None where one bias for each channel does not say it.

    At T = 1 nothing is remembered, so that what differs between neurons (threshold, start, leak) is part of their bias."""
    program, shape = layer.program, layer.shape
    total = np.zeros(shape, np.int64) if layer.bias is None else layer.bias.copy()
    theta = 1 << LIMITS["threshold_bits"].value
    if isinstance(program, Population):
        total, theta = _joined(netlist, program, total)
    rows = total.reshape(shape[0], -1)
    return (rows[:, 0], theta) if bool((rows == rows[:, :1]).all()) else None


def _joined(netlist: Netlist, program: Population, total: np.ndarray) -> tuple[np.ndarray, int]:
    def wide(row: np.ndarray) -> np.ndarray:
        return row.reshape([-1 if place == program.axis else 1 for place in range(total.ndim)])

    membrane = program.membrane
    if membrane is not None:
        total = total - wide(membrane.leak)
    if netlist.timesteps > 1:
        return total, int(program.thresholds.flat[0])
    if membrane is not None:
        total = total + wide((membrane.decay * membrane.initial) >> membrane.decay_shift)
    total = total - wide(program.thresholds[:, 0])
    theta = max(1, -math.floor((int(total.min()) + int(total.max())) / 2))
    return total + theta, theta
