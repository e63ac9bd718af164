"""
What a word's lanes do in a sweep: parameters of each channel, the tree between accumulators and neurons, and the neurons.
"""

from itertools import accumulate
from typing import Any, final

from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.rtl.columns import Column, fields_of, ladder_of, ladder_words, own_fields, takes, width_of, words_of
from spikeloom.backend.rtl.hardware.hdl import Array, Const, Module, Mux, Signal, signed
from spikeloom.backend.rtl.hardware.ports import span, stored
from spikeloom.backend.rtl.plan import Leaf, Neurons, Node, Stage, Sum, bits_of, depth

Lanes = list[Any]


@final
class Parameters:
    """A stage's numbers for the lanes of the word at hand: constants, or from memory by the word's group of channels."""

    def __init__(self, m: Module, stage: Stage, group: Any) -> None:
        self.lanes, self.fields, own = stage.layout.lanes, fields_of(stage), own_fields(stage)
        widths = {name: width_of(values) for name, values in own.items()}
        self.at = dict(zip(widths, accumulate(widths.values(), initial=0), strict=False))
        self.stride = sum(widths.values())
        words = words_of(own, widths, stage.layout)
        self.data = stored(m, "parameters", self.stride * self.lanes, words, group) if own else None

    def __getitem__(self, name: str) -> Lanes:
        """The number of each lane."""
        values = self.fields[name]
        bits = width_of(values)
        if name not in self.at or self.data is None:
            return [Const(int(values[0]), signed(bits))] * self.lanes
        starts = (lane * self.stride + self.at[name] for lane in range(self.lanes))
        return [self.data[start : start + bits].as_signed() for start in starts]


def tree(m: Module, node: Node, banks: list[Lanes], given: Parameters, name: str = "node") -> Lanes:
    """The values of a tree, `depth(node)` cycles after the banks' words are there."""
    if isinstance(node, Leaf):
        return [lane[: node.bits].as_signed() for lane in banks[node.bank]]
    made = [Signal(signed(node.bits), name=f"{name}_{lane}") for lane in range(given.lanes)]
    if isinstance(node, Sum):
        parts = [tree(m, part, banks, given, f"{name}_{place}") for place, part in enumerate(node.parts)]
        for lane, total in enumerate(made):
            terms = (given[f"{name}_gain{place}"][lane] * part[lane] for place, part in enumerate(parts))
            m.d.sync += total.eq(sum(terms, given[f"{name}_bias"][lane]))
        return made
    part, told = tree(m, node.part, banks, given, f"{name}_0"), node.operation
    for lane, total in enumerate(made):
        scaled = (given[f"{name}_multiplier"][lane] * part[lane] + ((1 << told.shift) >> 1)) >> told.shift
        m.d.sync += total.eq(Mux(scaled < told.low, told.low, Mux(scaled > told.high, told.high, scaled)))
    return made


def slowest(stage: Stage) -> int:
    """Cycles from the banks' words to the neurons."""
    return depth(stage.tree) + (1 if stage.neurons is not None and stage.neurons.where == "memory" else 0)


@final
class Crossing:
    """Lanes that are compared with one threshold after the other, k = 0 … K−1, until none reaches it or there is none left.

    `start` loads the currents; each cycle of `step` compares; `over` says in the last one.
    """

    def __init__(self, m: Module, stage: Stage, neurons: Neurons, given: Parameters, group: Any) -> None:
        self.m, self.neurons, self.given, self.lanes = m, neurons, given, stage.layout.lanes
        self.columns = ladder_of(neurons)
        self.level = Signal(span(neurons.levels), name="level")
        bits = max(neurons.current_bits, neurons.membrane_bits)
        self.current = self._lanes("current", bits)
        low, high = int(neurons.heights.min()), int(neurons.heights.max())
        self.sent = self._lanes("sent", bits_of(low, high))
        self.taken = self._lanes("taken", width_of(neurons.taken)) if takes(neurons) else []
        self.reached = self._lanes("reached", neurons.levels.bit_length() + 1) if self._to_zero else []
        self.rising = {name: self._lanes(f"{name}_now", column.bits) for name, column in self.columns.items() if column.kind == "rising"}
        self.next_level = Signal(span(neurons.levels), name="next_level")
        self.read = self._memory(stage, group)
        self.crossed = [Signal(name=f"crossed{lane}") for lane in range(self.lanes)]
        self.over = Signal(name="over")
        for lane, crossed in enumerate(self.crossed):
            m.d.comb += crossed.eq(self.current[lane] >= self.now("threshold", lane))
        any_crossed = crossed_any(self.crossed)
        m.d.comb += self.over.eq(~any_crossed | (self.level == neurons.levels - 1))

    @property
    def _to_zero(self) -> bool:
        return self.neurons.membrane is not None and self.neurons.membrane.reset == "zero"

    def _lanes(self, name: str, bits: int) -> Lanes:
        return [Signal(signed(bits), name=f"{name}{lane}") for lane in range(self.lanes)]

    def _memory(self, stage: Stage, group: Any) -> dict[str, Lanes]:
        """What is kept for each channel and level; addressed by the next level, so that it is there in time."""
        words, width = ladder_words(self.neurons, stage.layout)
        if not words:
            return {}
        address = (group * self.neurons.levels + self.next_level)[: max(1, span(len(words)))]
        kept = {name: column for name, column in self.columns.items() if column.kind == "stored"}
        return _sliced(stored(self.m, "ladder", width, words, address), kept, self.lanes)

    def now(self, name: str, lane: int) -> Any:
        """A column's number at this level."""
        column = self.columns[name]
        match column.kind:
            case "rising":
                return self.rising[name][lane]
            case "stored":
                return self.read[name][lane]
            case "shared":
                return constants(column.values[0], self.level)

    def start(self, values: Lanes) -> None:
        """Load the currents; what a neuron sends and loses where it reaches nothing."""
        m = self.m
        m.d.sync += self.level.eq(0)
        for lane in range(self.lanes):
            m.d.sync += [self.current[lane].eq(values[lane]), self.sent[lane].eq(self.given["height"][lane])]
            m.d.sync += [part[lane].eq(self.given[f"{name}_first"][lane]) for name, part in self.rising.items()]
            m.d.sync += [self.taken[lane].eq(self.given["taken"][lane])] if self.taken else []
            m.d.sync += [self.reached[lane].eq(0)] if self.reached else []

    def step(self) -> None:
        """Compare with this level's threshold and go to the next."""
        m = self.m
        m.d.comb += self.next_level.eq(self.level + 1)
        m.d.sync += self.level.eq(self.next_level)
        for lane, crossed in enumerate(self.crossed):
            m.d.sync += [part[lane].eq(part[lane] + self.given[f"{name}_gap"][lane]) for name, part in self.rising.items()]
            with m.If(crossed):
                m.d.sync += self.sent[lane].eq(self.now("height", lane))
                m.d.sync += [self.taken[lane].eq(self.now("taken", lane))] if self.taken else []
                m.d.sync += [self.reached[lane].eq(self.reached[lane] + 1)] if self.reached else []

    def left(self, lane: int) -> Any:
        """Equation (3): the membrane after the reset."""
        if self.taken:
            return self.current[lane] - self.taken[lane]
        return Mux(self.reached[lane] == self.given["silent"][lane], self.current[lane], 0)


def extended(value: Any, bits: int) -> Any:
    """A signed number, `bits` wide."""
    return (value + Const(0, signed(bits)))[:bits]


def crossed_any(lanes: Lanes) -> Any:
    """Whether any lane is 1."""
    found = lanes[0]
    for lane in lanes[1:]:
        found = found | lane
    return found


def constants(values: Int[ndarray, " k"], level: Any) -> Any:
    """The number of a level."""
    shape = signed(width_of(values))
    return Array([Const(int(value), shape) for value in values])[level] if len(values) > 1 else Const(int(values[0]), shape)


def _sliced(data: Any, columns: dict[str, Column], lanes: int) -> dict[str, Lanes]:
    stride, at = sum(column.bits for column in columns.values()), 0
    found = dict[str, Lanes]()
    for name, column in columns.items():
        found[name] = [data[lane * stride + at : lane * stride + at + column.bits].as_signed() for lane in range(lanes)]
        at += column.bits
    return found
