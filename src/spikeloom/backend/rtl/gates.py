"""
A small network as threshold gates: what a netlist of binary signals is when it is unrolled.

At T = 1 every number before a population is a sum over binary signals, Σ w·s + b: its rows of w are found by showing the operations one
signal at a time. A binary neuron is then the gate Σ w·s ≥ θ − b of `spikeloom.logic`, the maximum of binary signals a gate of threshold 1,
and the output a count of the signals that speak for it less those against.

Source: McCulloch & Pitts 1943; Muroga 1971 (see `spikeloom.logic.gates`).
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.rtl.normal import normalised
from spikeloom.backend.target import Refusal
from spikeloom.ir.hardware import Netlist, Operation, Pool, Population, Requantise, Route, evaluate
from spikeloom.logic import ClassCount, GateList, InputBit, ThresholdGate
from spikeloom.logic.gates import swept_gates

MOST_GATES, MOST_WIRES = 4096, 400_000
"""Gates of a network, and their inputs together (a weight of 3 is three inputs)."""


@final
@dataclass(frozen=True, eq=False)
class Counts:
    """Numbers that are sums over signals: rows [signals, ...], and what is added [...]."""

    signals: tuple[str, ...]
    rows: Int[ndarray, "s ..."]
    plus: Int[ndarray, "..."]


def logic_refusals(netlist: Netlist) -> list[Refusal]:
    """What stands against a network as gates alone."""
    found = list[Refusal]()
    if netlist.timesteps != 1:
        found.append(Refusal("the network", f"T = {netlist.timesteps}", "T = 1 (gates remember nothing)", "--option style=event"))
    for operation in netlist.operations:
        if isinstance(operation, Population) and not operation.binary:
            found.append(Refusal(operation.name, f"{operation.levels} levels", "binary neurons", "--option style=event"))
        if isinstance(operation, Requantise):
            found.append(Refusal(operation.name, "a multiply-shift", "sums, maxima and binary neurons", "--option style=event"))
        if isinstance(operation, Pool) and operation.what == "max" and not _binary(netlist, operation.reads[0]):
            found.append(Refusal(operation.name, "a maximum of numbers", "a maximum of binary signals", "--option style=event"))
    source = netlist.wires[netlist.source.name]
    if (source.low, source.high) != (0, 1) and not _compared_first(netlist, netlist.source.name):
        wanted = "0 or 1, or neurons that read them first"
        found.append(Refusal(netlist.source.name, f"inputs from {source.low} to {source.high}", wanted, "--option style=event"))
    if netlist.neurons > MOST_GATES:
        found.append(Refusal("the network", f"{netlist.neurons:,} neurons", f"at most {MOST_GATES:,} gates", "--option style=event"))
    if found:
        return found
    wires = gates_of(netlist).wires
    if wires > MOST_WIRES:
        found.append(Refusal("the network", f"{wires:,} inputs of gates", f"at most {MOST_WIRES:,}", "--option style=event"))
    return found


def _compared_first(netlist: Netlist, name: str) -> bool:
    """Whether all that read a value are neurons, or move it to where neurons read it."""
    readers = netlist.readers(name)
    return name != netlist.output and all(
        isinstance(each, Population) or (_moves(each) and _compared_first(netlist, each.name)) for each in readers
    )


def _moves(operation: Operation) -> bool:
    """Whether every number that an operation gives is one of the one value that it reads."""
    whole = isinstance(operation, Route) and (operation.index is None or bool((operation.index >= 0).all()))
    return whole and len(operation.reads) == 1


def _binary(netlist: Netlist, name: str) -> bool:
    wire = netlist.wires[name]
    return wire.spikes and (wire.low, wire.high) in ((0, 1), (0, 0), (1, 1))


def gates_of(netlist: Netlist) -> GateList:
    """The netlist as gates; classes are its outputs, in order."""
    plain, source = normalised(netlist), netlist.wires[netlist.source.name]
    bits, gates, known = list[InputBit](), list[ThresholdGate](), dict[str, Counts]()
    if (source.low, source.high) == (0, 1):
        bits = [InputBit(f"x{place}", place, 1.0) for place in range(source.size)]
        known[netlist.source.name] = _signals([bit.name for bit in bits], source.shape)
    places = {netlist.source.name: np.arange(source.size).reshape(source.shape)}
    for operation in plain.operations:
        shape = plain.wires[operation.name].shape
        if operation.reads[0] in places and operation.reads[0] not in known and _moves(operation):
            places[operation.name] = evaluate(operation, [places[operation.reads[0]][None]])[0]
        elif isinstance(operation, Population) and operation.reads[0] not in known:
            made = _compared(operation, shape, places[operation.reads[0]])
            bits += made
            known[operation.name] = _signals([bit.name for bit in made], shape)
        elif isinstance(operation, Population) or (isinstance(operation, Pool) and operation.what == "max"):
            fired = _fired(operation, known[operation.reads[0]], shape)
            gates += fired
            known[operation.name] = _signals([gate.name for gate in fired], shape)
        else:
            known[operation.name] = _summed(operation, [known[read] for read in operation.reads])
    answers = known[netlist.output]
    sides = zip(_sides(answers), answers.plus.reshape(-1).tolist(), strict=True)
    classes = tuple(ClassCount(f"y{place}", plus, minus, offset) for place, ((plus, minus), offset) in enumerate(sides))
    return swept_gates(GateList(source.shape, tuple(bits), tuple(gates), classes))


def _signals(names: list[str], shape: tuple[int, ...]) -> Counts:
    """Signals themselves."""
    return Counts(tuple(names), np.eye(len(names), dtype=np.int64).reshape(-1, *shape), np.zeros(shape, np.int64))


def _compared(operation: Population, shape: tuple[int, ...], places: Int[ndarray, "..."]) -> list[InputBit]:
    """Neurons that read inputs, which lie at these places."""
    told = zip(places.reshape(-1).tolist(), _thresholds(operation, shape), strict=True)
    return [InputBit(f"{_word(operation.name)}_{neuron}", place, float(threshold)) for neuron, (place, threshold) in enumerate(told)]


def _fired(operation: Population | Pool, read: Counts, shape: tuple[int, ...]) -> list[ThresholdGate]:
    name = _word(operation.name)
    if isinstance(operation, Pool):
        windows = _windowed(operation, read)
        return [ThresholdGate(f"{name}_{place}", names, (), 1) for place, names in enumerate(windows)]
    thresholds = _thresholds(operation, shape) - read.plus.reshape(-1)
    return [
        ThresholdGate(f"{name}_{place}", plus, minus, int(threshold))
        for place, ((plus, minus), threshold) in enumerate(zip(_sides(read), thresholds, strict=True))
    ]


def _windowed(operation: Pool, read: Counts) -> list[tuple[str, ...]]:
    """The signals of each window."""
    seen = evaluate(operation, [read.rows]).reshape(len(read.signals), -1)
    return [tuple(read.signals[signal] for signal in np.flatnonzero(column)) for column in seen.T]


def _summed(operation: Operation, reads: list[Counts]) -> Counts:
    """What a linear operation makes of sums."""
    signals = tuple(dict.fromkeys(name for read in reads for name in read.signals))
    shown = list[Int[ndarray, "s ..."]]()
    for read in reads:
        rows = np.zeros((len(signals) + 1, *read.plus.shape), np.int64)
        where = {name: place for place, name in enumerate(signals)}
        rows[[where[name] for name in read.signals]] = read.rows
        shown.append(rows)
    given = evaluate(operation, shown)  # the last row shows no signal at all
    plus = evaluate(operation, [read.plus[None] for read in reads])[0]
    return Counts(signals, given[:-1] - given[-1:], plus)


def _sides(counts: Counts) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """For each number the signals that count for it and against it, as often as they do."""
    found = list[tuple[tuple[str, ...], tuple[str, ...]]]()
    for column in counts.rows.reshape(len(counts.signals), -1).T:
        named = [(counts.signals[signal], int(column[signal])) for signal in np.flatnonzero(column)]
        plus = tuple(name for name, weight in named for _ in range(weight))
        found.append((plus, tuple(name for name, weight in named for _ in range(-weight))))
    return found


def _thresholds(operation: Population, shape: tuple[int, ...]) -> Int[ndarray, " n"]:
    where = [-1 if place == operation.axis % len(shape) else 1 for place in range(len(shape))]
    return np.broadcast_to(operation.thresholds[:, 0].reshape(where), shape).reshape(-1)


def _word(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)
