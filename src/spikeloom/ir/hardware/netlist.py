"""
The HW dialect (DESIGN.md §3): a network in whole numbers, a small netlist of frozen values that every back end reads.

    Affine        y = W·x + b, on the last axis
    Convolution   two-dimensional, zeros at the edges
    Pool          the sum or the maximum of a window
    Add           y = Σ g_i·x_i + b, with a whole gain for each operand and channel
    Route         values put elsewhere, copied or left out: an index for each
    Requantise    y = clip(⌊(m·x + 2^(s-1)) / 2^s⌋, low, high): multiply, shift, saturate
    Population    neurons, the law of DESIGN.md §4 in whole numbers

A tick runs all operations once, in order; at the next tick only membranes (and the sums of a maximum over time) are remembered. All
arrays are integers; the only floating numbers are the steps of the input and the unit of the output, by which a person reads them.

Values travel on wires. A wire holds the shape of one sample and the smallest and largest number that it can ever carry.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

Reset = Literal["subtract", "zero"]
Pair = tuple[int, int]


@final
@dataclass(frozen=True)
class Wire:
    """What a value can be: the shape of one sample, its least and greatest number, and whether it is sent as spikes (the input, what
    populations send and what only moves those) or is a current that a membrane gathers."""

    shape: tuple[int, ...]
    low: int
    high: int
    spikes: bool = False

    @property
    def size(self) -> int:
        """How many numbers a sample has."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """The width that holds every number: of an unsigned one where none is below 0, else of two's complement."""
        return max(self.high.bit_length(), 1) if self.low >= 0 else max((-self.low - 1).bit_length(), self.high.bit_length()) + 1

    @property
    def signed(self) -> bool:
        """Whether a number can be below 0."""
        return self.low < 0


@final
@dataclass(frozen=True)
class Source:
    """The network's input: x becomes clip(round(x / step), low, high) of its wire (rounded half to even). It is shown at every tick."""

    name: str
    step: float


@final
@dataclass(frozen=True, eq=False)
class Affine:
    """y[..., o] = Σ_i weight[o, i]·x[..., i] + bias[o]."""

    name: str
    reads: tuple[str, ...]
    weight: Int[ndarray, "o i"]
    bias: Int[ndarray, " o"] | None = None


@final
@dataclass(frozen=True, eq=False)
class Convolution:
    """x [I, H, W] to y [O, H', W']: cross-correlation as in torch, zeros outside; pairs are (height, width)."""

    name: str
    reads: tuple[str, ...]
    weight: Int[ndarray, "o i kh kw"]
    bias: Int[ndarray, " o"] | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1


@final
@dataclass(frozen=True)
class Pool:
    """x [C, H, W] to y [C, H', W']: the sum or the maximum of each window; what is outside counts as 0 in a sum and not at all in a
    maximum. At T > 1 a maximum is that of the sums since the first tick, of which it sends the differences (DESIGN.md §4)."""

    name: str
    reads: tuple[str, ...]
    what: Literal["sum", "max"]
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)


@final
@dataclass(frozen=True, eq=False)
class Add:
    """y = Σ_i gains[i]·reads[i] + bias; all operands have one shape. A gain, or the bias, is [1] or one number for each place of `axis`."""

    name: str
    reads: tuple[str, ...]
    gains: tuple[Int[ndarray, " _"], ...]
    bias: Int[ndarray, " _"] | None = None
    axis: int = 0


@final
@dataclass(frozen=True, eq=False)
class Route:
    """y = the operands, flattened and put one behind the other, at `index`; 0 where the index is -1. `shape` is the new shape; without
    an index the values stay in their order."""

    name: str
    reads: tuple[str, ...]
    shape: tuple[int, ...]
    index: Int[ndarray, " n"] | None = None


@final
@dataclass(frozen=True, eq=False)
class Requantise:
    """y = clip((multiplier·x + 2^(shift-1)) >> shift, low, high), with no rounding where shift is 0. `multiplier` is [1] or one number
    for each place of `axis`."""

    name: str
    reads: tuple[str, ...]
    multiplier: Int[ndarray, " _"]
    shift: int
    low: int
    high: int
    axis: int = 0


@final
@dataclass(frozen=True, eq=False)
class Membrane:
    """What neurons remember from tick to tick, for each place of the population's axis or ([1], [1, K+1]) for all.

    v starts at `initial`; decay is a = decay / 2^decay_shift (decay = 2^decay_shift: none); `leak` is taken away at each tick; `taken`
    [C, K+1] is what leaves the membrane where k thresholds are reached (reset by subtraction), and is not read at reset to zero.
    """

    initial: Int[ndarray, " _"]
    taken: Int[ndarray, "_ k1"]
    decay: Int[ndarray, " _"] = field(default_factory=lambda: np.ones(1, np.int64))
    decay_shift: int = 0
    leak: Int[ndarray, " _"] = field(default_factory=lambda: np.zeros(1, np.int64))
    reset: Reset = "subtract"

    @property
    def decays(self) -> bool:
        """Whether a membrane loses a share of itself at each tick."""
        return bool((self.decay != 1 << self.decay_shift).any())

    @property
    def leaks(self) -> bool:
        """Whether a fixed amount leaves it at each tick."""
        return bool((self.leak != 0).any())


@final
@dataclass(frozen=True, eq=False)
class Population:
    """Neurons (DESIGN.md §4), one for each number of what it reads, with C = 1 or as many rows of parameters as `axis` has places:

        h = ((decay·v) >> decay_shift) + x - leak                         (1)  (without a membrane h = x)
        k = #{j: h ≥ thresholds[j]},  o = heights[k]                      (2)
        v = h - taken[k]; or h where k = #{j: thresholds[j] ≤ 0}, else 0  (3)

    >> rounds down. `thresholds` ascend (equal ones are allowed: no h lies between them).
    """

    name: str
    reads: tuple[str, ...]
    thresholds: Int[ndarray, "_ k"]
    heights: Int[ndarray, "_ k1"]
    axis: int = 0
    membrane: Membrane | None = None

    @property
    def levels(self) -> int:
        """K: how many thresholds a neuron has."""
        return self.thresholds.shape[1]

    @property
    def binary(self) -> bool:
        """Whether a neuron sends 0 or 1."""
        return self.levels == 1 and bool((self.heights == np.array([0, 1])).all())

    @property
    def uniform(self) -> bool:
        """Whether it is an identity staircase: heights are consecutive, and thresholds equally far apart, the one of level 1 at the
        distance (of level 0, at 0): o = clip(⌊h/θ⌋, lowest, highest)."""
        low = self.heights[:, :1]
        consecutive = bool((self.heights == low + np.arange(self.levels + 1)).all())
        quantum = self.quantum[:, None]
        return consecutive and bool((quantum > 0).all() and (self.thresholds == quantum * (low + 1 + np.arange(self.levels))).all())

    @property
    def quantum(self) -> Int[ndarray, " c"]:
        """θ of a uniform staircase, [C]; it means nothing for others."""
        low = np.broadcast_to(self.heights[:, 0], self.thresholds.shape[0])
        if self.levels > 1:
            return self.thresholds[:, 1] - self.thresholds[:, 0]
        return np.where(low == -1, 1, self.thresholds[:, 0])


Operation = Affine | Convolution | Pool | Add | Route | Requantise | Population


@final
@dataclass(frozen=True, eq=False)
class Netlist:
    """A network for T ticks. `wires` has one for every name; `output` is what answers: Σ over the ticks, times `unit` / T, is the answer
    on the ANN's scale. `settings` holds what is known of where it comes from (JSON only)."""

    source: Source
    operations: tuple[Operation, ...]
    output: str
    unit: float
    timesteps: int
    wires: Mapping[str, Wire]
    settings: Mapping[str, object] = field(default_factory=dict[str, object])

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def readers(self, name: str) -> tuple[Operation, ...]:
        """The operations that read a wire, in order."""
        return tuple(operation for operation in self.operations if name in operation.reads)

    @property
    def populations(self) -> tuple[Population, ...]:
        """The populations in order."""
        return tuple(operation for operation in self.operations if isinstance(operation, Population))

    @property
    def neurons(self) -> int:
        """How many neurons there are."""
        return sum(self.wires[population.name].size for population in self.populations)

    @property
    def parameters(self) -> int:
        """How many weights there are."""
        return sum(operation.weight.size for operation in self.operations if isinstance(operation, Affine | Convolution))

    def replaced(self, **changes: object) -> "Netlist":
        """This netlist with some fields changed."""
        return dataclasses.replace(self, **changes)  # pyright: ignore[reportArgumentType]
