"""
The order of work: which operations become steps of their own, where each value lies, and which values are the same at every tick.

Sums and requantisations that only one elementwise operation reads are computed inside of that one's kernel. What depends on no membrane is
computed once where the same input is shown at every tick (`still`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np

from spikeloom.backend.cuda.layout import Layout, flat, natural, picture
from spikeloom.backend.cuda.numbers import U32, Number, holding
from spikeloom.backend.cuda.options import CudaOptions
from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Pool, Population, Requantise, Route, Wire

Way = Literal["product", "planes", "gather", "grouped", "pool", "greatest", "elementwise", "route"]
Elementwise = Add | Requantise | Population


@final
@dataclass(frozen=True, eq=False)
class Value:
    """Numbers on the device: `rows` of `layout.stride` numbers; `number` None: words of spikes, as many a row."""

    key: str
    wire: Wire
    layout: Layout
    number: Number
    still: bool
    slot: int


@final
@dataclass(frozen=True, eq=False)
class Step:
    """An operation (None: the input is put in order, or a value is laid out anew), how it is done, what it reads and makes. `within` are
    the operations computed inside."""

    number: int
    way: Way
    operation: Operation | None
    reads: tuple[Value, ...]
    made: Value
    within: tuple[Elementwise, ...] = ()
    packs: Value | None = None


@final
@dataclass(frozen=True, eq=False)
class Work:
    """All steps, the value that answers, and how many bytes a row each slot of memory needs."""

    netlist: Netlist
    options: CudaOptions
    steps: tuple[Step, ...]
    output: Value
    slots: tuple[int, ...]


def planned(netlist: Netlist, options: CudaOptions) -> Work:
    """The work of a netlist."""
    planner = _Planner(netlist, options)
    for operation in netlist:
        planner.take(operation)
    return Work(netlist, options, tuple(planner.steps), planner.values[netlist.output], tuple(planner.sizes))


def way_of(operation: Operation, netlist: Netlist, options: CudaOptions) -> Way:
    """How an operation is done."""
    match operation:
        case Affine() | Convolution():
            return _product_way(operation, netlist.wires[operation.reads[0]], options)
        case Pool():
            return "greatest" if operation.what == "max" and netlist.timesteps > 1 else "pool"
        case Route():
            return "route"
        case _:
            return "elementwise"


def _product_way(operation: Affine | Convolution, wire: Wire, options: CudaOptions) -> Way:
    if isinstance(operation, Convolution) and operation.groups > 1:
        return "grouped"
    if options.kernels == "event" and wire.spikes:
        return "gather"
    spikes = (wire.low, wire.high) == (0, 1) or (wire.low == 0 and wire.high == 0)
    ternary = bool((np.abs(operation.weight) <= 1).all())
    straight = isinstance(operation, Convolution) or len(wire.shape) == 1
    return "planes" if options.planes and spikes and ternary and straight else "product"


def within_next(operation: Operation, netlist: Netlist) -> bool:
    """Whether an operation is computed inside of the one that reads it."""
    if not isinstance(operation, Add | Requantise) or operation.name == netlist.output:
        return False
    readers = netlist.readers(operation.name)
    return len(readers) == 1 and isinstance(readers[0], Elementwise)


@dataclass
class _Planner:
    netlist: Netlist
    options: CudaOptions
    steps: list[Step] = field(default_factory=list[Step])
    values: dict[str, Value] = field(default_factory=dict[str, Value])
    sizes: list[int] = field(default_factory=list[int])
    free: list[int] = field(default_factory=list[int])
    held: dict[int, set[str]] = field(default_factory=dict[int, set[str]])

    def __post_init__(self) -> None:
        source = self.netlist.source.name
        wire = self.netlist.wires[source]
        number = holding(wire.low, wire.high)
        given = Value("input", wire, Layout(np.arange(wire.size), wire.size, wire.size, wire.size), number, True, -1)
        self._step("route", None, (given,), self._new(source, wire, natural(wire.shape), number, True))

    def take(self, operation: Operation) -> None:
        """One operation's steps."""
        if within_next(operation, self.netlist):
            return
        way = way_of(operation, self.netlist, self.options)
        if isinstance(operation, Route) and operation.index is None and len(operation.reads) == 1:
            self._renamed(operation)
        elif isinstance(operation, Elementwise):
            self._elementwise(operation)
        else:
            self._plain(operation, way)
        self._release(operation)

    def _renamed(self, operation: Route) -> None:
        read = self.values[operation.reads[0]]
        wire = self.netlist.wires[operation.name]
        self.values[operation.name] = Value(operation.name, wire, read.layout, read.number, read.still, read.slot)
        self.held[read.slot].add(operation.name)

    def _elementwise(self, operation: Elementwise) -> None:
        chain = tuple(self._chain(operation))
        names = {each.name for each in chain}
        leaves = list(dict.fromkeys(read for each in chain for read in each.reads if read not in names))
        layout = self.values[leaves[0]].layout
        reads = tuple(self._laid(self.values[name], layout) for name in leaves)
        wire = self.netlist.wires[operation.name]
        membrane = isinstance(operation, Population) and operation.membrane is not None and self.netlist.timesteps > 1
        still = not membrane and all(read.still for read in reads)
        made = self._new(operation.name, wire, layout, holding(wire.low, wire.high), still)
        self._step("elementwise", operation, reads, made, within=chain)

    def _chain(self, operation: Elementwise) -> Iterator[Elementwise]:
        """What is computed inside of an operation, in order, and itself."""
        for before in self.netlist:
            if before.name in operation.reads and isinstance(before, Elementwise) and within_next(before, self.netlist):
                yield from self._chain(before)
        yield operation

    def _plain(self, operation: Operation, way: Way) -> None:
        wire = self.netlist.wires[operation.name]
        read_at = [self.netlist.wires[name] for name in operation.reads]
        reads = tuple(
            self._laid(self.values[name], _wanted(operation, self.values[name].layout, read))
            for name, read in zip(operation.reads, read_at, strict=True)
        )
        packs = self._packed(operation, reads[0]) if way == "planes" else None
        layout = flat(wire.shape) if isinstance(operation, Affine) else natural(wire.shape)
        still = way != "greatest" and all(read.still for read in reads)
        made = self._new(operation.name, wire, layout, holding(wire.low, wire.high), still)
        self._step(way, operation, reads, made, packs=packs)

    def _packed(self, operation: Operation, read: Value) -> Value:
        deep = read.layout.group if isinstance(operation, Convolution) else read.layout.stride
        words = read.layout.stride // deep * -(-deep // 32)
        return self._new(
            f"{operation.name}, packed", read.wire, Layout(np.zeros(0, np.int64), words, words, words), U32, read.still, brief=True
        )

    def _laid(self, value: Value, layout: Layout) -> Value:
        if value.layout.same(layout):
            return value
        made = self._new(value.key, value.wire, layout, value.number, value.still, brief=True)
        self._step("route", None, (value,), made)
        return made

    def _new(self, key: str, wire: Wire, layout: Layout, number: Number, still: bool, *, brief: bool = False) -> Value:
        size = layout.stride * number.bytes
        slot = min(self.free, key=lambda each: abs(self.sizes[each] - size), default=len(self.sizes))
        if slot == len(self.sizes):
            self.sizes.append(0)
        else:
            self.free.remove(slot)
        self.sizes[slot] = max(self.sizes[slot], size)
        self.held[slot] = set() if brief else {key}
        value = Value(key, wire, layout, number, still, slot)
        if not brief:
            self.values[key] = value
        return value

    def _step(
        self,
        way: Way,
        operation: Operation | None,
        reads: tuple[Value, ...],
        made: Value,
        within: tuple[Elementwise, ...] = (),
        packs: Value | None = None,
    ) -> None:
        self.steps.append(Step(len(self.steps), way, operation, reads, made, within, packs))

    def _release(self, operation: Operation) -> None:
        """Slots whose values no later operation reads are free again."""
        place = self.netlist.operations.index(operation)
        needed = {read for later in self.netlist.operations[place + 1 :] for read in later.reads} | {self.netlist.output}
        done = {each.name for step in self.steps for each in step.within}
        waiting = [each for each in self.netlist.operations[: place + 1] if within_next(each, self.netlist) and each.name not in done]
        needed |= {read for each in waiting for read in each.reads}
        for slot, names in self.held.items():
            if slot not in self.free and not names & needed:
                self.free.append(slot)


def _wanted(operation: Operation, has: Layout, wire: Wire) -> Layout:
    """The layout in which an operation reads a value."""
    if isinstance(operation, Convolution | Pool):
        return picture(wire.shape)
    if isinstance(operation, Affine) and len(wire.shape) > 1:
        return flat(wire.shape)
    return has
