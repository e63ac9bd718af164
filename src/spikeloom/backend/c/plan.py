"""
What the emitted code does, step by step, and where it keeps what.

A step is one operation that makes rows of numbers, with all the operations behind it that treat each number for itself (sums,
requantisation, neurons), as long as nobody else reads what lies between: those never leave the row. Event-driven convolutions make all
rows first.
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.c.layout import Elementwise, Laid, Layout, Wishes, Work, laid_out
from spikeloom.backend.c.numbers import I8, I16, I32, I64, U8, Number, holding
from spikeloom.backend.c.options import COptions
from spikeloom.backend.c.synapses import kernel_of, length_of, raised, raised_by
from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Pool, Population, Requantise, Route, Wire, membrane_wires

SLACK = 3
"""Bytes that may be read beyond the end of a buffer, four at a time."""


@final
@dataclass(frozen=True, eq=False)
class Step:
    """Work that makes rows (None: the first of `tails` reads whole wires), and what is done with each number of them."""

    number: int
    head: Work | None
    tails: tuple[Elementwise, ...]

    @property
    def operations(self) -> tuple[Work, ...]:
        """All of it, in order."""
        return (() if self.head is None else (self.head,)) + self.tails

    @property
    def name(self) -> str:
        """The wire that it makes."""
        return self.operations[-1].name

    @property
    def reads(self) -> tuple[str, ...]:
        """The wires that it reads whole."""
        inside = {work.name for work in self.operations}
        return tuple(dict.fromkeys(read for work in self.operations for read in work.reads if read not in inside))


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """A netlist ready to be written: `membranes` gives the ranges of (h, v)."""

    netlist: Netlist
    options: COptions
    laid: Laid
    steps: tuple[Step, ...]
    membranes: dict[str, tuple[Wire, Wire]] = field(default_factory=dict[str, tuple[Wire, Wire]])

    def wire(self, name: str) -> Wire:
        """What a wire carries."""
        return self.laid.wires[name]

    def layout(self, name: str) -> Layout:
        """How it lies."""
        return self.laid.layouts[name]

    def number(self, name: str) -> Number:
        """The type of its numbers in memory."""
        wire = self.laid.wires[name]
        return holding(wire.low, wire.high, (U8, I8, I16, I32, I64))

    def made_by(self, name: str) -> Step | None:
        """The step whose buffer a wire lies in; None: the network's input."""
        root = self.laid.root(name)
        return next((step for step in self.steps if step.name == root), None)

    def last_read(self, step: Step) -> int:
        """The last step that reads what a step makes; the number of steps for the output."""
        if self.laid.root(self.netlist.output) == step.name:
            return len(self.steps)
        return max(
            (later.number for later in self.steps if any(self.laid.root(read) == step.name for read in later.reads)), default=step.number
        )


def plan(netlist: Netlist, options: COptions) -> Plan:
    """The steps of a netlist."""

    def framed(work: Convolution, wire: Wire) -> bool:
        return not kernel_of(work, wire, options).startswith("event")

    def beyond(work: Work, wire: Wire) -> bool:
        return isinstance(work, Affine | Convolution) and kernel_of(work, wire, options) == "dot" and length_of(work) % 4 > 0

    def by(layer: Affine | Convolution, wire: Wire) -> int:
        return raised_by(layer, wire, options)

    laid = laid_out(composed(netlist), Wishes(framed, by, raised, beyond))
    chains = list[list[Work]]()
    for work in laid:
        chain = _chain(laid, chains, work)
        if chain is None:
            chains.append([work])
        else:
            chains.remove(chain)
            chains.append([*chain, work])
    steps = [_step(number, chain) for number, chain in enumerate(chains)]
    return Plan(netlist, options, laid, tuple(steps), membrane_wires(netlist))


def composed(netlist: Netlist) -> Netlist:
    """Routes of routes as one, where nobody else reads what lies between."""
    kept = dict[str, Operation]()
    for operation in netlist.operations:
        before = kept.get(operation.reads[0])
        alone = isinstance(before, Route) and len(netlist.readers(before.name)) == 1 and before.name != netlist.output
        if isinstance(operation, Route) and isinstance(before, Route) and alone and len(operation.reads) == 1:
            del kept[before.name]
            operation = Route(operation.name, before.reads, operation.shape, _through(before.index, operation.index))
        kept[operation.name] = operation
    wires = {name: wire for name, wire in netlist.wires.items() if name in kept or name == netlist.source.name}
    return netlist.replaced(operations=tuple(kept.values()), wires=wires)


def _through(first: Int[ndarray, " n"] | None, second: Int[ndarray, " m"] | None) -> Int[ndarray, " m"] | None:
    if first is None or second is None:
        return second if first is None else first
    return np.where(second < 0, -1, first[second])


def _chain(laid: Laid, chains: list[list[Work]], work: Work) -> list[Work] | None:
    """The chain that an operation can be put behind: the latest one that nobody else reads."""
    if not isinstance(work, Elementwise):
        return None
    for chain in reversed(chains):
        end = chain[-1]
        alone = laid.readers(end.name) == [work] and end.name != laid.netlist.output
        if end.name in work.reads and alone and isinstance(end, Affine | Convolution | Pool | Add | Requantise | Population):
            return chain
    return None


def _step(number: int, chain: list[Work]) -> Step:
    if isinstance(chain[0], Elementwise):
        return Step(number, None, tuple(work for work in chain if isinstance(work, Elementwise)))
    return Step(number, chain[0], tuple(work for work in chain[1:] if isinstance(work, Elementwise)))
