"""
What a netlist becomes in hardware: stages that gather events into accumulators and, at a tick's end, sweep over them and send events.

    Stage     banks of accumulators, one link of arriving events each; at the tick's end what stands between the accumulators and what is
              sent: a tree of sums and multiply-shifts, then perhaps a population
    Maximum   sums of what arrived, and at the tick's end the maximum of each window
    Link      how an event reaches its accumulators: rows of weights, a kernel, a table of places, or its own place

Every value has a place (channel, row, column); a vector is channels of one pixel. In memory a pixel's channels lie side by side,
`lanes` of them in a word: word (row·W + column)·groups + channel / lanes. Events of 0 are never sent.
"""

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from math import prod
from typing import Literal, final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.ir.hardware import Membrane, Requantise

Tap = tuple[int, int]
Range = tuple[int, int]


def bits_of(low: int, high: int) -> int:
    """The width of two's complement that holds low to high."""
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0) + 1


def as_image(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(channels, rows, columns) of a shape of one, two or three axes."""
    channels, *sides = shape
    height, width = (*(1 for _ in range(2 - len(sides))), *sides)
    return channels, height, width


@final
@dataclass(frozen=True)
class Layout:
    """Places of a value: C channels of H × W pixels, `lanes` (a power of two) of them in a word."""

    channels: int
    height: int
    width: int
    lanes: int

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.channels * self.height * self.width

    @property
    def groups(self) -> int:
        """Words of a pixel."""
        return -(-self.channels // self.lanes)

    @property
    def words(self) -> int:
        """Words of all pixels."""
        return self.groups * self.height * self.width

    @property
    def flat(self) -> Int[ndarray, " n"]:
        """For each number in the netlist's order (channel, row, column) its number in the hardware's (row, column, channel)."""
        return np.arange(self.size).reshape(self.height, self.width, self.channels).transpose(2, 0, 1).reshape(-1)

    @property
    def places(self) -> Int[ndarray, " n"]:
        """For each number in the netlist's order word·lanes + lane."""
        padded = np.arange(self.words * self.lanes).reshape(self.height, self.width, self.groups * self.lanes)
        return padded[..., : self.channels].transpose(2, 0, 1).reshape(-1)


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """Every event touches all words: weights [n·words, lanes], n the sender's number in the hardware's order."""

    source: str
    weights: Int[ndarray, "r lanes"]
    words: int


@final
@dataclass(frozen=True, eq=False)
class Kernel:
    """An event touches the pixels its kernel's window reaches: weights [C·KH·KW·words, lanes]; for each row (and column) of the sender the
    taps that lead to a row (column): (tap's number, where it leads); the first word of a pixel for each channel of the sender."""

    source: str
    weights: Int[ndarray, "r lanes"]
    words: int
    size: tuple[int, int]
    rows: tuple[tuple[Tap, ...], ...]
    columns: tuple[tuple[Tap, ...], ...]
    first: tuple[int, ...]


@final
@dataclass(frozen=True, eq=False)
class Table:
    """Where each number of the sender (hardware's order) goes: places [n, m], -1: nowhere."""

    source: str
    places: Int[ndarray, "n m"]


@final
@dataclass(frozen=True)
class Place:
    """Every event goes to its own place."""

    source: str


Link = Rows | Kernel | Table | Place


@final
@dataclass(frozen=True, eq=False)
class Bank:
    """Accumulators of one link, `bits` wide; they start each tick at `start` [C]."""

    link: Link
    bits: int
    start: Int[ndarray, " c"]


@final
@dataclass(frozen=True)
class Leaf:
    """What a bank gathered."""

    bank: int
    bits: int


@final
@dataclass(frozen=True, eq=False)
class Sum:
    """Σ gains·parts + bias, gains and bias [C]."""

    parts: tuple["Node", ...]
    gains: tuple[Int[ndarray, " c"], ...]
    bias: Int[ndarray, " c"]
    bits: int


@final
@dataclass(frozen=True, eq=False)
class Rescale:
    """A multiply-shift that saturates; multiplier [C]."""

    part: "Node"
    operation: Requantise
    multiplier: Int[ndarray, " c"]
    bits: int


Node = Leaf | Sum | Rescale


def depth(node: Node) -> int:
    """How many cycles a tree takes."""
    match node:
        case Leaf():
            return 0
        case Sum():
            return 1 + max(depth(part) for part in node.parts)
        case Rescale():
            return 1 + depth(node.part)


@final
@dataclass(frozen=True, eq=False)
class Neurons:
    """A population with its parameters for each channel: `thresholds` [C, K], `heights` and `taken` [C, K+1], `silent` [C].

    `where` says what keeps the membrane: nothing, the accumulators themselves ("bank"), or a memory of its own.
    """

    thresholds: Int[ndarray, "c k"]
    heights: Int[ndarray, "c k1"]
    taken: Int[ndarray, "c k1"]
    silent: Int[ndarray, " c"]
    where: Literal["nowhere", "bank", "memory"]
    membrane: Membrane | None
    current_bits: int
    membrane_bits: int

    @property
    def levels(self) -> int:
        """K."""
        return self.thresholds.shape[1]

    def each(self, values: Int[ndarray, " _"]) -> Int[ndarray, " c"]:
        """A number for each channel."""
        return np.broadcast_to(values, self.silent.shape)


@final
@dataclass(frozen=True, eq=False)
class Stage:
    """`sends` is the range of what it sends. The last one (`final`) gathers over all ticks and sends every number once."""

    name: str
    layout: Layout
    banks: tuple[Bank, ...]
    tree: Node
    neurons: Neurons | None
    sends: Range
    final: bool = False


@final
@dataclass(frozen=True, eq=False)
class Maximum:
    """Sums of what arrives from `bank` (one lane, laid out as `inside`), and for each number sent (hardware's order) the places of its
    window, taps [n, m], -1: none."""

    name: str
    inside: Layout
    layout: Layout
    bank: Bank
    taps: Int[ndarray, "n m"]
    sends: Range


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """Stages in order; the last one answers. `outputs` is how many numbers it sends."""

    source: str
    given: Layout
    takes: Range
    stages: tuple[Stage | Maximum, ...]
    timesteps: int

    @property
    def last(self) -> Stage:
        """The stage that answers."""
        found = self.stages[-1]
        return found if isinstance(found, Stage) else _none()

    def layouts(self) -> Mapping[str, Layout]:
        """The places of what each sends, by name."""
        return {self.source: self.given} | {stage.name: stage.layout for stage in self.stages}

    def ranges(self) -> Mapping[str, Range]:
        """The range of what each sends, by name."""
        return {self.source: self.takes} | {stage.name: stage.sends for stage in self.stages}


def banks_of(stage: Stage | Maximum) -> tuple[Bank, ...]:
    """Its banks."""
    return stage.banks if isinstance(stage, Stage) else (stage.bank,)


def longest(parts: Iterable[Sized]) -> int:
    """The length of the longest part; 1 where all are empty."""
    return max([1, *map(len, parts)])


def synapses(link: Link, layout: Layout) -> int:
    """The most accumulators that one event touches, in words."""
    match link:
        case Rows():
            return link.words
        case Kernel():
            return link.words * prod(max((len(taps) for taps in axis), default=0) for axis in (link.rows, link.columns))
        case Table():
            return link.places.shape[1]
        case Place():
            return min(1, layout.words)


def _none() -> Stage:
    raise LookupError("a plan ends in a stage")
