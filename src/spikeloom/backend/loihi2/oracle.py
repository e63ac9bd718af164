"""
The fixed-point oracle: runs what `chip` read from the files core by core, tick by tick, as the chip would.

Every core runs in every tick, on what reached it: a spike sent at tick s arrives at s + 1 + delay. A layer of depth d sees a sample's
tick t at s = t + d - 1, and starts from rest then (lava-dl: reset_interval, reset_offset). The answer is the last layer's voltages.

The built-in LIF, as Lava's fixed-point model has it (lava.proc.lif.models.PyLifModelBitAcc; Davies et al. 2018), a in units of weights:

    u ← wrap24(sgn(u)·⌊|u|·(4096 - iDecay) / 4096⌋ + a·2^6)                            (1)
    v ← clip(sgn(v)·⌊|v|·(4096 - vDecay) / 4096⌋ + u + bias·2^6, ±(2^23 - 1))          (2)
    s = 1[v > vThMant·2^6],  v ← 0 where s                                             (3)

The programs of the extension are those of `ir.hardware` (microcode on the chip). A sum or state that does not fit its width raises
InternalError: the constraint check has proven that it does.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.loihi2.chip import Chip, Edge, Neurons
from spikeloom.backend.loihi2.limits import ALIGN, LIMITS
from spikeloom.backend.loihi2.netx import UNITY
from spikeloom.errors import InternalError

Values = Int[ndarray, "b ..."]
STATE = 1 << (LIMITS["state_bits"].value - 1)


@final
@dataclass(eq=False)
class Trace:
    """What a run gave: the answer, and what travelled (events of neurons, and messages between cores)."""

    answer: Values
    events: int = 0
    messages: int = 0
    sent: dict[int, list[Values]] = field(default_factory=dict[int, list[Values]])
    voltages: dict[int, list[Values]] = field(default_factory=dict[int, list[Values]])


def run(chip: Chip, ticks: Int[ndarray, "t b ..."], *, keep: bool = False) -> Trace:
    """A batch of samples through the cores, T + depth - 1 ticks; with `keep`, what every layer sent and its voltages are kept by tick."""
    batch = ticks.shape[1]
    sizes = [math.prod(layer.shape) for layer in chip.layers]
    sent = [dict[int, Values]() for _ in chip.layers]
    states = [dict[str, Values]() for _ in chip.cores]
    trace = Trace(np.zeros((batch, sizes[-1]), np.int64))
    fan = _fan(chip)
    for step in range(1, chip.steps + 1):
        if step <= chip.timesteps:
            sent[0][step] = ticks[step - 1].reshape(batch, -1).astype(np.int64)
            _count(trace, sent[0][step], fan[0], 0)
        for number in range(1, len(chip.layers)):
            if chip.layers[number].depth <= step < chip.layers[number].depth + chip.timesteps:
                sent[number][step] = np.zeros((batch, sizes[number]), np.int64)
        for place, core in enumerate(chip.cores):
            number = core["layer"]
            if step in sent[number]:
                mine, spikes = _core(chip, core, states[place], sent, step)
                sent[number][step][:, mine] = spikes
                if number == len(chip.layers) - 1:
                    trace.answer[:, mine] = states[place]["v"]
        for number in range(1, len(chip.layers) - 1):
            if step in sent[number]:
                _count(trace, sent[number][step], fan[number], 1)
        if keep:
            _keep(trace, chip, sent, states, step)
    shift = ALIGN if chip.layers[-1].neuron["program"] == "cuba" else 0
    trace.answer = (trace.answer >> shift).reshape(batch, *chip.layers[-1].shape)
    return trace


def _fan(chip: Chip) -> list[int]:
    """How many cores read each layer."""
    found = [0] * len(chip.layers)
    for core in chip.cores:
        for source in {edge.source for edge in chip.layers[core["layer"]].edges}:
            found[source] += 1
    return found


def _count(trace: Trace, values: Values, fan: int, neurons: int) -> None:
    spikes = int((values != 0).sum())
    trace.events += spikes * neurons
    trace.messages += spikes * fan


def _keep(trace: Trace, chip: Chip, sent: list[dict[int, Values]], states: list[dict[str, Values]], step: int) -> None:
    for number in range(1, len(chip.layers)):
        if step in sent[number]:
            trace.sent.setdefault(number, []).append(sent[number][step])
            parts = [states[place].get("v") for place, core in enumerate(chip.cores) if core["layer"] == number]
            if all(part is not None for part in parts) and len(parts) == 1:
                trace.voltages.setdefault(number, []).append(np.array(parts[0]))


def _core(
    chip: Chip, core: Mapping[str, Any], state: dict[str, Values], sent: list[dict[int, Values]], step: int
) -> tuple[Int[ndarray, " n"], Values]:
    """One tick of one core: (its neurons, what they send); its state changes in place."""
    layer = chip.layers[core["layer"]]
    gives = {edge.gives for edge in layer.edges}
    shape = next(iter(gives)) if len(gives) == 1 else layer.shape
    mine = _places(shape, core["parts"])
    total: Any = 0
    for edge in layer.edges:
        values = sent[edge.source][step - 1 - edge.delay] if edge.source else sent[0][step - edge.delay]
        arrived = values if edge.index is None else np.where(edge.index < 0, 0, values[:, edge.index])
        total = total + _synapses(edge, arrived.reshape(len(values), *edge.reads), shape, core["parts"], mine)
    return mine, _neurons(layer, mine, total, state)


def _places(shape: tuple[int, ...], parts: list[list[int]]) -> Int[ndarray, " n"]:
    places = np.arange(math.prod(shape)).reshape(shape[0], shape[1] if len(shape) > 1 else 1, -1)
    (a, b), (c, d) = parts
    return places[a:b, c:d].ravel()


def _synapses(edge: Edge, x: Values, shape: tuple[int, ...], parts: list[list[int]], mine: Int[ndarray, " n"]) -> Values:
    """What arrives at a core's neurons [B, n]: their own weights only, where the edge has the layer's form."""
    (a, b), (c, d) = parts
    if edge.kind == "dense" and len(shape) == 1 and edge.gives == shape:
        return _product(x, edge.weight[a:b])
    if edge.kind == "conv" and edge.gives == shape:
        return _rows(edge, x, (a, b), (c, d)).reshape(len(x), -1)
    if edge.kind == "dense":
        return _product(x, edge.weight).reshape(len(x), -1)[:, mine]
    if edge.kind == "conv":
        return _rows(edge, x, (0, edge.gives[0]), (0, edge.gives[1])).reshape(len(x), -1)[:, mine]
    rank = len(edge.reads)
    row = edge.weight.reshape([-1 if place == edge.told["axis"] else 1 for place in range(rank)])
    return (x * row).reshape(len(x), -1)[:, mine]


def _product(x: Values, weight: ndarray) -> Values:
    return np.rint(x.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.int64)


def _rows(edge: Edge, x: Values, channels: tuple[int, int], rows: tuple[int, int]) -> Values:
    """A convolution's output channels and rows, from the input rows that they need."""
    told, (a, b), (c, d) = edge.told, channels, rows
    (sh, sw), (ph, pw), (dh, dw), groups = told["stride"], told["padding"], told["dilation"], told["groups"]
    first, last = c * sh - ph, (d - 1) * sh - ph + dh * (edge.weight.shape[2] - 1) + 1
    inside = x[:, :, max(first, 0) : max(last, 0)]
    missing = (max(-first, 0), max(last - x.shape[2], 0))
    inside = np.pad(inside, ((0, 0), (0, 0), (min(missing[0], last - first), missing[1]), (pw, pw)))
    own = edge.weight.shape[0] // groups
    low, high = a // own, (b - 1) // own + 1
    part = inside[:, low * edge.weight.shape[1] : high * edge.weight.shape[1]]
    taken = [torch.from_numpy(np.ascontiguousarray(item).astype(np.float64)) for item in (part, edge.weight[low * own : high * own])]
    found = torch.nn.functional.conv2d(taken[0], taken[1], None, (sh, sw), 0, (dh, dw), high - low)
    return np.rint(found.numpy()[:, a - low * own : b - low * own]).astype(np.int64)


def _neurons(layer: Neurons, mine: Int[ndarray, " n"], a: Values, state: dict[str, Values]) -> Values:
    """One tick of neurons on a core."""
    bias = 0 if layer.bias is None else np.broadcast_to(layer.bias, layer.shape).ravel()[mine]
    match layer.neuron["program"]:
        case "cuba":
            return _cuba(layer.neuron, a, bias, state)
        case "gather":
            state["v"] = _held(state.get("v", 0) + _held(a + bias))
            return np.zeros_like(a)
        case "relay":
            return _relay(layer, mine, _held(a + bias))
        case _:
            return _staircase(layer, mine, _held(a + bias), state)


def _held(values: Values) -> Values:
    if values.size and not (int(values.min()) >= -STATE and int(values.max()) < STATE):
        raise InternalError(f"a state of Loihi 2 left its {LIMITS['state_bits'].value} bits: {values.min()} to {values.max()}")
    return values


def _cuba(neuron: Mapping[str, Any], a: Values, bias: Any, state: dict[str, Values]) -> Values:
    u, v = state.get("u", np.zeros_like(a)), state.get("v", np.zeros_like(a))
    u = _decayed(u, neuron["iDecay"]) + (a << ALIGN)  # (1)
    u = np.where(u > STATE, u - 2 * STATE, u)
    u = np.where(u <= -STATE, u + 2 * STATE, u)
    v = (_decayed(v, neuron["vDecay"]) + u + (bias << ALIGN)).clip(1 - STATE, STATE - 1)  # (2)
    spikes = v > neuron["vThMant"] << ALIGN  # (3)
    state["u"], state["v"] = u, np.where(spikes, 0, v)
    return spikes.astype(np.int64)


def _decayed(values: Values, decay: int) -> Values:
    return np.sign(values) * ((np.abs(values) * (UNITY - decay)) >> 12)


def _row(layer: Neurons, mine: Int[ndarray, " n"], table: ndarray) -> ndarray:
    """A table's row for each of a core's neurons; [1, …] where all have the same."""
    if table.shape[0] == 1:
        return table
    shape, axis = layer.shape, int(layer.neuron["axis"])
    rows = np.arange(shape[axis]).reshape([-1 if place == axis else 1 for place in range(len(shape))])
    return table[np.broadcast_to(rows, shape).ravel()[mine]]


def _relay(layer: Neurons, mine: Int[ndarray, " n"], x: Values) -> Values:
    told = layer.neuron
    scaled = _row(layer, mine, told["multiplier"]) * x + ((1 << told["shift"]) >> 1)
    return (scaled >> told["shift"]).clip(told["low"], told["high"])


def _staircase(layer: Neurons, mine: Int[ndarray, " n"], x: Values, state: dict[str, Values]) -> Values:
    told, membrane = layer.neuron, layer.neuron.get("membrane")
    h = x
    if membrane is not None:
        rows = {name: _row(layer, mine, membrane[name]) for name in ("initial", "decay", "leak")}
        v = state.get("v", np.zeros_like(x) + rows["initial"])
        h = _held(((rows["decay"] * v) >> membrane["decay_shift"]) + x - rows["leak"])
    thresholds, heights = (_row(layer, mine, told[name]) for name in ("thresholds", "heights"))
    reached = np.zeros_like(h)
    for column in thresholds.T:  # the comparisons of the microcode, one after the other
        reached += h >= column
    if membrane is not None:
        state["v"] = _held(_reset(layer, mine, membrane, thresholds, reached, h))
    return _at(heights, reached)


def _reset(
    layer: Neurons, mine: Int[ndarray, " n"], membrane: Mapping[str, Any], thresholds: ndarray, reached: Values, h: Values
) -> Values:
    if membrane["reset"] == "subtract":
        return h - _at(_row(layer, mine, membrane["taken"]), reached)
    return np.where(reached == (thresholds <= 0).sum(1), h, 0)


def _at(table: ndarray, reached: Values) -> Values:
    return table[0][reached] if table.shape[0] == 1 else table[np.arange(len(table)), reached]


def by_tick(chip: Chip, inputs: Int[ndarray, "..."]) -> Int[ndarray, "t b ..."]:
    """Inputs [B, ...] for every tick, or [T, B, ...] as they are."""
    rank = len(chip.layers[0].shape)
    return inputs if inputs.ndim == rank + 2 else np.broadcast_to(inputs, (chip.timesteps, *inputs.shape))


def batches(ticks: Int[ndarray, "t b ..."], size: int = 64) -> Iterator[Int[ndarray, "t b ..."]]:
    """A few samples at a time."""
    for first in range(0, ticks.shape[1], size):
        yield ticks[:, first : first + size]
