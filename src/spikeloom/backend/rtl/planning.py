"""
From a netlist to a plan: which operations share a stage, and what each link carries.

A wire becomes a stage of its own where its values are sent: what populations and maxima give, what several operations read, and the
output. All else is inlined: a sum's operands and a multiply-shift into the sweep of the stage that reads them, an index of a route into the
columns of the weights that follow.
"""

from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.rtl.plan import (
    Bank,
    Kernel,
    Layout,
    Leaf,
    Link,
    Maximum,
    Neurons,
    Node,
    Place,
    Plan,
    Rescale,
    Rows,
    Stage,
    Sum,
    Table,
    Tap,
    as_image,
    bits_of,
    longest,
)
from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Pool, Population, Requantise, Route, membrane_wires

Sources = list[tuple[str, Int[ndarray, " n"]]]
"""Streams, and for each number of a wire where in the stream it comes from (netlist's order), -1: not from this one."""


def lanes_of(channels: int, parallel: int) -> int:
    """How many numbers a word has: `parallel`, or the least power of two that holds all channels."""
    return min(parallel, 1 << (channels - 1).bit_length())


def plan_of(netlist: Netlist, parallel: int) -> Plan:
    """The plan of a netlist that nothing stands against (`refusals`)."""
    return _Planner(netlist, parallel).plan()


@final
class _Planner:
    def __init__(self, netlist: Netlist, parallel: int) -> None:
        self.netlist, self.parallel = netlist, parallel
        self.made = {operation.name: operation for operation in netlist.operations}
        self.inside = membrane_wires(netlist)
        self.stages: dict[str, Stage | Maximum] = {}

    def plan(self) -> Plan:
        output, source = self.netlist.output, self.netlist.source.name
        operation, layout = self.made.get(output), self.layout(output)
        if isinstance(operation, Affine) and not self.netlist.readers(output) and len(self.sources(operation.reads[0])) == 1:
            self.stages[output] = self.answering(output, self.leaves(operation)[0], operation.bias)
        else:
            sender, name = self.stream(output), f"{output}_sum"
            link = Place(sender) if layout.height * layout.width == 1 else Table(sender, _inverse(layout.flat)[:, None])
            self.stages[name] = self.answering(name, link, None)
        wire = self.netlist.wires[source]
        return Plan(source, self.layout(source), (wire.low, wire.high), tuple(self.stages.values()), self.netlist.timesteps)

    def answering(self, name: str, link: Link, bias: Int[ndarray, " c"] | None) -> Stage:
        wire, ticks = self.netlist.wires[self.netlist.output], self.netlist.timesteps
        layout = Layout(wire.size, 1, 1, lanes_of(wire.size, self.parallel))
        bits = bits_of(ticks * wire.low, ticks * wire.high)
        start = np.zeros(wire.size, np.int64) if bias is None else ticks * bias
        bank = Bank(link, bits, start)
        return Stage(name, layout, (bank,), Leaf(0, bits), None, (ticks * wire.low, ticks * wire.high), True)

    def layout(self, name: str) -> Layout:
        channels, height, width = as_image(self.netlist.wires[name].shape)
        return Layout(channels, height, width, lanes_of(channels, self.parallel))

    def stream(self, name: str) -> str:
        """Makes the stage that sends a wire, once, and gives its name."""
        if name != self.netlist.source.name and name not in self.stages:
            operation = self.made[name]
            made = self.maximum(operation) if isinstance(operation, Pool) and operation.what == "max" else self.stage(operation)
            self.stages[name] = made
        return name

    def sent(self, name: str) -> bool:
        """Whether a wire is sent as events even where one operation could take it in."""
        operation = self.made.get(name)
        if operation is None or isinstance(operation, Population) or (isinstance(operation, Pool) and operation.what == "max"):
            return True
        return sum(reader.reads.count(name) for reader in self.netlist.readers(name)) != 1 or name == self.netlist.output

    # --- stages -----------------------------------------------------------------------------------------------------------

    def stage(self, operation: Operation) -> Stage:
        banks, layout, wire = list[Bank](), self.layout(operation.name), self.netlist.wires[operation.name]
        if not isinstance(operation, Population):
            tree = self.tree(operation, banks)
            return Stage(operation.name, layout, tuple(banks), tree, None, (wire.low, wire.high))
        read = operation.reads[0]
        tree = self.placed(read, banks) if self.sent(read) else self.tree(self.made[read], banks)
        neurons = self.neurons(operation, layout, tree)
        if neurons.where == "bank":
            banks = [Bank(bank.link, max(neurons.current_bits, neurons.membrane_bits), bank.start) for bank in banks]
            tree = Leaf(0, neurons.current_bits)
        return Stage(operation.name, layout, tuple(banks), tree, neurons, (wire.low, wire.high))

    def neurons(self, population: Population, layout: Layout, tree: Node) -> Neurons:
        count, membrane = layout.channels, population.membrane
        rows = [np.broadcast_to(part, (count, part.shape[1])) for part in (population.thresholds, population.heights)]
        silent = (rows[0] <= 0).sum(1)
        if membrane is None:
            return Neurons(rows[0], rows[1], np.zeros_like(rows[1]), silent, "nowhere", None, tree.bits, 0)
        h, v = self.inside[population.name]
        taken = np.broadcast_to(membrane.taken, rows[1].shape) if membrane.reset == "subtract" else np.zeros_like(rows[1])
        where = "bank" if isinstance(tree, Leaf) else "memory"
        widths = bits_of(h.low, h.high), bits_of(v.low, v.high)
        return Neurons(rows[0], rows[1], taken, silent, where, membrane, *widths)

    def maximum(self, operation: Pool) -> Maximum:
        read, wire = operation.reads[0], self.netlist.wires[operation.name]
        shape, ticks, given = as_image(self.netlist.wires[read].shape), self.netlist.timesteps, self.netlist.wires[read]
        inside, layout = Layout(*shape, 1), self.layout(operation.name)
        bits = bits_of(ticks * min(given.low, 0), ticks * max(given.high, 0))
        bank = Bank(Place(self.stream(read)), bits, np.zeros(shape[0], np.int64))
        taps = inside.flat[_windows(operation, shape)]
        taps = np.where(_windows(operation, shape) < 0, -1, taps)[_inverse(layout.flat)]
        return Maximum(operation.name, inside, layout, bank, taps, (wire.low, wire.high))

    # --- trees ------------------------------------------------------------------------------------------------------------

    def tree(self, operation: Operation, banks: list[Bank]) -> Node:
        wire, count = self.netlist.wires[operation.name], self.layout(operation.name).channels
        bits = bits_of(wire.low, wire.high)
        match operation:
            case Add():
                parts = tuple(
                    self.placed(read, banks) if self.sent(read) else self.tree(self.made[read], banks) for read in operation.reads
                )
                gains = tuple(np.broadcast_to(gain, count) for gain in operation.gains)
                bias = np.broadcast_to(np.zeros(1, np.int64) if operation.bias is None else operation.bias, count)
                return Sum(parts, gains, bias, bits)
            case Requantise():
                read = operation.reads[0]
                part = self.placed(read, banks) if self.sent(read) else self.tree(self.made[read], banks)
                return Rescale(part, operation, np.broadcast_to(operation.multiplier, count), bits)
            case Affine() | Convolution() | Pool() | Route():
                bias = operation.bias if isinstance(operation, Affine | Convolution) else None
                return self.gathered(self.leaves(operation), bias, bits, count, banks)
            case Population():
                return self.placed(operation.name, banks)

    def gathered(self, links: list[Link], bias: Int[ndarray, " c"] | None, bits: int, count: int, banks: list[Bank]) -> Node:
        """A bank for each link, and their sum: each may wrap around, the sum does not."""
        none, parts = np.zeros(count, np.int64), list[Node]()
        for link in links:
            parts.append(Leaf(len(banks), bits))
            banks.append(Bank(link, bits, none if bias is None or len(parts) > 1 else bias))
        return parts[0] if len(parts) == 1 else Sum(tuple(parts), (none + 1,) * len(parts), none, bits)

    def placed(self, name: str, banks: list[Bank]) -> Node:
        wire, count = self.netlist.wires[name], self.layout(name).channels
        return self.gathered([Place(self.stream(name))], None, bits_of(wire.low, wire.high), count, banks)

    # --- links ------------------------------------------------------------------------------------------------------------

    def sources(self, name: str) -> Sources:
        """Where a wire's numbers come from when the routes before it are undone."""
        operation = self.made.get(name)
        if not isinstance(operation, Route):
            return [(name, np.arange(self.netlist.wires[name].size))]
        found, first = dict[str, Int[ndarray, " n"]](), 0
        size = self.netlist.wires[name].size
        index = np.arange(size) if operation.index is None else operation.index
        for read in operation.reads:
            length = self.netlist.wires[read].size
            here = (index >= first) & (index < first + length)
            for stream, origin in self.sources(read):
                moved = np.where(here, origin[np.where(here, index - first, 0)], -1)
                found[stream] = np.maximum(found[stream], moved) if stream in found else moved
            first += length
        return list(found.items())

    def leaves(self, operation: Affine | Convolution | Pool | Route) -> list[Link]:
        layout = self.layout(operation.name)
        match operation:
            case Affine():
                return [self.rows(operation, stream, origin, layout) for stream, origin in self.sources(operation.reads[0])]
            case Convolution():
                return [self.kernel(operation, layout)]
            case Pool():
                stream = self.stream(operation.reads[0])
                windows = _windows(operation, as_image(self.netlist.wires[stream].shape))
                return [self.table(stream, windows, layout)]
            case Route():
                return [self.moved(stream, origin, layout) for stream, origin in self.sources(operation.name)]

    def rows(self, operation: Affine, stream: str, origin: Int[ndarray, " n"], layout: Layout) -> Rows:
        given = self.layout(self.stream(stream))
        weight = np.zeros((given.size, layout.channels), np.int64)
        there = origin >= 0
        np.add.at(weight, given.flat[origin[there]], operation.weight.T[there])
        return Rows(stream, _words(weight, layout), layout.groups)

    def kernel(self, operation: Convolution, layout: Layout) -> Kernel:
        stream = self.stream(operation.reads[0])
        given, (high, wide) = self.layout(stream), operation.weight.shape[2:]
        each_in, each_out = operation.weight.shape[1], operation.weight.shape[0] // operation.groups
        starts = [channel // each_in * each_out for channel in range(given.channels)]
        words = max((start + each_out - 1) // layout.lanes - start // layout.lanes + 1 for start in starts)
        first = tuple(min(start // layout.lanes, layout.groups - words) for start in starts)
        full = np.zeros((given.channels, high, wide, layout.groups * layout.lanes), np.int64)
        for channel, start in enumerate(starts):
            full[channel, :, :, start : start + each_out] = operation.weight[start : start + each_out, channel % each_in].transpose(1, 2, 0)
        cut = [full[c, ..., f * layout.lanes : (f + words) * layout.lanes] for c, f in enumerate(first)]
        weights = np.stack(cut).reshape(-1, layout.lanes)
        axes = zip((high, wide), operation.stride, operation.padding, operation.dilation, strict=True)
        sides = ((given.height, layout.height), (given.width, layout.width))
        rows, columns = (_taps(before, after, *axis) for (before, after), axis in zip(sides, axes, strict=True))
        return Kernel(stream, weights, words, (high, wide), rows, columns, first)

    def table(self, stream: str, windows: Int[ndarray, "n m"], layout: Layout) -> Table:
        """From what each place reads to where each number goes."""
        given, places = self.layout(stream), layout.places
        goes: list[list[int]] = [[] for _ in range(given.size)]
        for number, window in enumerate(windows):
            for read in window[window >= 0]:
                goes[int(given.flat[read])].append(int(places[number]))
        most = longest(goes)
        return Table(stream, np.array([each + [-1] * (most - len(each)) for each in goes], np.int64))

    def moved(self, stream: str, origin: Int[ndarray, " n"], layout: Layout) -> Link:
        given = self.layout(self.stream(stream))
        same = given == layout and bool((origin == np.arange(len(origin))).all())
        return Place(stream) if same else self.table(stream, origin[:, None], layout)


def _words(weight: Int[ndarray, "n c"], layout: Layout) -> Int[ndarray, "r lanes"]:
    """Rows of weights for every channel as words, 0 where a word has lanes without a channel."""
    padded = np.pad(weight, ((0, 0), (0, layout.groups * layout.lanes - layout.channels)))
    return padded.reshape(-1, layout.lanes)


def _taps(before: int, after: int, size: int, stride: int, padding: int, dilation: int) -> tuple[tuple[Tap, ...], ...]:
    """For each place of a side before a convolution (tap, place after it), where there is one."""
    found = list[tuple[Tap, ...]]()
    for place in range(before):
        led = [(tap, place + padding - tap * dilation) for tap in range(size)]
        found.append(tuple((tap, far // stride) for tap, far in led if far % stride == 0 and 0 <= far // stride < after))
    return tuple(found)


def _windows(operation: Pool, shape: tuple[int, int, int]) -> Int[ndarray, "n m"]:
    """For each number of a pool what its window reads, in the netlist's order, -1: outside."""
    channels, height, width = shape
    (high, wide), (down, right), (top, left) = operation.kernel, operation.stride, operation.padding
    rows = np.arange((height + 2 * top - high) // down + 1)[:, None] * down - top + np.arange(high)
    columns = np.arange((width + 2 * left - wide) // right + 1)[:, None] * right - left + np.arange(wide)
    y, x = rows[:, None, :, None], columns[None, :, None, :]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    plane = np.where(inside, y * width + x, -1).reshape(len(rows) * len(columns), high * wide)
    return np.concatenate([np.where(plane < 0, -1, plane + channel * height * width) for channel in range(channels)])


def _inverse(order: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
    found = np.empty_like(order)
    found[order] = np.arange(len(order))
    return found
