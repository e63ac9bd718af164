"""
A netlist as layers of binary neurons: everything between them as one matrix of whole weights for each pair of layers.

    memoryless   at T = 1: sends 1[x ≥ θ] of its input x, and forgets
    integrator   at T > 1: h = v + x + drive, sends 1[h ≥ θ], v = h - θ or 0 where it fired (reset by subtraction, to zero)
"""

import math
from dataclasses import dataclass, field
from typing import cast, final

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.target import Refusal
from spikeloom.backend.truenorth import limits
from spikeloom.errors import InternalError
from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Pool, Population, Requantise, Route, along, membrane_wires

Matrix = sp.csr_array


@final
@dataclass(frozen=True, eq=False)
class Gates:
    """A layer: `reads` has a matrix [neurons, elements] for each source (0 is the input, else the layer's number); all else is [neurons].
    `drive` is what is added at each tick; `start` the membrane at rest; `hard` whether a spike resets to zero."""

    name: str
    shape: tuple[int, ...]
    reads: dict[int, Matrix]
    threshold: Int[ndarray, " n"]
    drive: Int[ndarray, " n"]
    start: Int[ndarray, " n"]
    hard: bool
    memoryless: bool

    @property
    def size(self) -> int:
        """Neurons."""
        return math.prod(self.shape)

    @property
    def sizes(self) -> dict[int, int]:
        """Elements of each source, by number."""
        return {source: width(part) for source, part in sorted(self.reads.items())}


@final
@dataclass(frozen=True, eq=False)
class Current:
    """A wire as a sum over layers' spikes, flattened, and a bias."""

    reads: dict[int, Matrix]
    bias: Int[ndarray, " n"]


@final
@dataclass(frozen=True, eq=False)
class Layers:
    """Layers 1 … n in order, and what the host adds up at the end."""

    elements: Int[ndarray, " i"]
    """Which element of a sample each input spike is of; it is sent where that element is at least"""
    levels: Int[ndarray, " i"]
    """this: the host's part. Binary inputs are sent as they are."""
    layers: tuple[Gates, ...]
    answer: Current


def obstacles(netlist: Netlist) -> list[Refusal]:
    """Operations that the chip has nothing for."""
    found, source = list[Refusal](), netlist.wires[netlist.source.name]
    if reads_values(netlist) and (source.low < 0 or source.high > 1):
        what = f"inputs from {source.low} to {source.high}"
        found.append(Refusal(netlist.source.name, what, "0 and 1 (a tick carries one bit)", "send bits, or a rate over T ticks"))
    for operation in netlist:
        found += [Refusal(operation.name, *problem) for problem in _problems(netlist, operation)]
    return found


def encodes(netlist: Netlist, operation: Operation) -> bool:
    """Whether an operation makes bits of the input and remembers nothing: the host does it, as it sends them."""
    if not isinstance(operation, Population) or not operation.binary or operation.reads[0] not in reshaped(netlist):
        return False
    return operation.membrane is None or netlist.timesteps == 1


def reshaped(netlist: Netlist) -> set[str]:
    """The input's wire and those that are the same values in another shape."""
    found = {netlist.source.name}
    for operation in netlist:
        if isinstance(operation, Route) and operation.index is None and len(operation.reads) == 1 and operation.reads[0] in found:
            found.add(operation.name)
    return found


def reads_values(netlist: Netlist) -> bool:
    """Whether something else than encoders reads the input."""
    same = reshaped(netlist)
    others = (each for each in netlist if each.name not in same and not encodes(netlist, each))
    return netlist.output in same or any(name in same for each in others for name in each.reads)


def _problems(netlist: Netlist, operation: Operation) -> list[tuple[str, str, str]]:
    match operation:
        case Requantise():
            return [("a requantisation", "thresholds: the chip sends bits", "convert with binary neurons (if, logic_gated)")]
        case Pool(what="max"):
            read = netlist.wires[operation.reads[0]]
            if netlist.timesteps > 1 or read.low < 0 or read.high > 1:
                what = f"a maximum of {read.low} to {read.high} over {netlist.timesteps} ticks"
                return [(what, "of 0 and 1 at one tick", "use average pooling")]
            return []
        case Population():
            return _population(netlist, operation)
        case _:
            return []


def _population(netlist: Netlist, population: Population) -> list[tuple[str, str, str]]:
    if not population.binary:
        heights = sorted({int(value) for value in population.heights.ravel()})
        return [(f"neurons that send {len(heights)} values, {heights[:6]}…", "0 or 1", "convert with binary neurons (if, logic_gated)")]
    membrane = population.membrane
    if membrane is None or netlist.timesteps == 1:
        return []
    found = list[tuple[str, str, str]]()
    theta = population.thresholds[:, 0]
    if membrane.decays:
        found.append(("a membrane that decays by a share", "a leak of a fixed amount", "use if instead of lif"))
    if int(theta.min()) < 1 or int(theta.max()) > limits.THRESHOLD:
        found.append((f"thresholds from {theta.min()} to {theta.max()}", f"1 to {limits.THRESHOLD:,}", "scale weights"))
    if membrane.reset == "subtract" and not bool((membrane.taken == np.stack([0 * theta, theta], 1)).all()):
        found.append(("a reset by another amount than the threshold", "by the threshold, or to zero", "use reset by subtraction"))
    h, v = membrane_wires(netlist)[population.name]
    if min(h.low, v.low) < -limits.THRESHOLD or max(h.high, v.high) > limits.MEMBRANE:
        ends = f"membranes from {min(h.low, v.low):,} to {max(h.high, v.high):,}"
        found.append((ends, f"-{limits.THRESHOLD:,} to {limits.MEMBRANE:,}", "use fewer weight bits"))
    return found


def layers_of(netlist: Netlist) -> Layers:
    """The layers of a netlist that `obstacles` has nothing against."""
    builder = _Builder(netlist)
    for operation in netlist:
        builder.take(operation)
    elements, levels = (np.concatenate(part) for part in zip(*builder.encoded, strict=True))
    return Layers(elements, levels, tuple(builder.layers), builder.wires[netlist.output])


@final
@dataclass
class _Builder:
    netlist: Netlist
    layers: list[Gates] = field(default_factory=list[Gates])
    wires: dict[str, Current] = field(default_factory=dict[str, Current])

    encoded: list[tuple[ndarray, ndarray]] = field(default_factory=list[tuple[ndarray, ndarray]])

    def __post_init__(self) -> None:
        name, raw = self.netlist.source.name, reads_values(self.netlist)
        size = self.netlist.wires[name].size
        encoders = [each for each in self.netlist.populations if encodes(self.netlist, each)]
        total = size * (len(encoders) + raw)
        levels = [(each.name, self.parameters(each, Current({}, np.zeros(size, np.int64)))[0]) for each in encoders]
        levels += [(name, np.ones(size, np.int64))] if raw else []
        for place, (wire, level) in enumerate(levels):
            picks = (np.ones(size, np.int64), (np.arange(size), np.arange(size) + place * size))
            self.wires[wire] = Current({0: Matrix(picks, shape=(size, total))}, np.zeros(size, np.int64))
            self.encoded.append((np.arange(size), level))

    def take(self, operation: Operation) -> None:
        if operation.name in self.wires or operation.reads[0] not in self.wires:  # an encoder, or only what encoders read
            return
        read = self.wires[operation.reads[0]]
        shape = self.netlist.wires[operation.reads[0]].shape
        match operation:
            case Affine() | Convolution():
                bias = _zeros(self.netlist, operation) if operation.bias is None else self.wide(operation, operation.bias)
                self.wires[operation.name] = _through(matrix_of(operation, shape), read, bias)
            case Pool():
                summed = _through(windows(operation, shape), read, _zeros(self.netlist, operation))
                self.wires[operation.name] = summed if operation.what == "sum" else self.either(operation, summed)
            case Add():
                self.wires[operation.name] = self.added(operation)
            case Route():
                self.wires[operation.name] = self.routed(operation)
            case Population():
                self.wires[operation.name] = self.neurons(operation, read)
            case Requantise():
                raise InternalError(f"{operation.name} should have been refused")

    def wide(self, operation: Affine | Convolution, bias: Int[ndarray, " o"]) -> Int[ndarray, " n"]:
        shape = self.netlist.wires[operation.name].shape
        axis = 0 if isinstance(operation, Convolution) else len(shape) - 1
        return _broad(bias, axis, shape)

    def added(self, operation: Add) -> Current:
        shape = self.netlist.wires[operation.name].shape
        bias = _zeros(self.netlist, operation) if operation.bias is None else _broad(operation.bias, operation.axis, shape)
        reads = dict[int, Matrix]()
        for name, gain in zip(operation.reads, operation.gains, strict=True):
            row = _broad(gain, operation.axis, shape)
            bias = bias + row * self.wires[name].bias
            _add(reads, {source: Matrix(sp.diags_array(row, dtype=np.int64) @ part) for source, part in self.wires[name].reads.items()})
        return Current(reads, bias)

    def routed(self, operation: Route) -> Current:
        sizes = [len(self.wires[name].bias) for name in operation.reads]
        index = np.arange(sum(sizes)) if operation.index is None else operation.index
        first, reads, bias = 0, dict[int, Matrix](), np.zeros(len(index), np.int64)
        for name, size in zip(operation.reads, sizes, strict=True):
            rows = np.flatnonzero((index >= first) & (index < first + size))
            picks = Matrix((np.ones(len(rows), np.int64), (rows, index[rows] - first)), shape=(len(index), size))
            part = _through(picks, self.wires[name], 0)
            bias = bias + part.bias
            _add(reads, part.reads)
            first += size
        return Current(reads, bias)

    def either(self, operation: Pool, summed: Current) -> Current:
        """The maximum of binary spikes is a gate of threshold 1."""
        return self.neurons(Population(operation.name, operation.reads, np.array([[1]]), np.array([[0, 1]])), summed)

    def neurons(self, population: Population, read: Current) -> Current:
        shape, membrane = self.netlist.wires[population.name].shape, population.membrane
        threshold, drive, start = self.parameters(population, read)
        memoryless = membrane is None or self.netlist.timesteps == 1
        hard = membrane is None or membrane.reset == "zero"
        reads = {source: _tidy(part) for source, part in read.reads.items()}
        self.layers.append(Gates(population.name, shape, reads, threshold, drive, start, hard, memoryless))
        return _spikes(len(self.layers), len(threshold))

    def parameters(self, population: Population, read: Current) -> tuple[ndarray, ndarray, ndarray]:
        """(threshold, drive, start) of every neuron; a memoryless one has all in its threshold."""
        shape, membrane = self.netlist.wires[population.name].shape, population.membrane
        threshold, drive, start = _broad(population.thresholds[:, 0], population.axis, shape), read.bias, 0 * read.bias
        if membrane is not None:
            drive = drive - _broad(membrane.leak, population.axis, shape)
            start = _broad((membrane.decay * membrane.initial) >> membrane.decay_shift, population.axis, shape)
        if membrane is None or self.netlist.timesteps == 1:
            threshold, drive, start = threshold - drive - start, 0 * drive, 0 * start
        return threshold, drive, start


def width(matrix: Matrix) -> int:
    """How many columns a matrix has."""
    return cast(tuple[int, int], matrix.shape)[1]


def _tidy(part: Matrix) -> Matrix:
    part.sum_duplicates()
    part.eliminate_zeros()
    return part


def _spikes(source: int, size: int) -> Current:
    return Current({source: _identity(size)}, np.zeros(size, np.int64))


def _identity(size: int) -> Matrix:
    return Matrix((np.ones(size, np.int64), (np.arange(size), np.arange(size))), shape=(size, size))


def _through(matrix: Matrix, read: Current, bias: Int[ndarray, " n"] | int) -> Current:
    return Current({source: Matrix(matrix @ part) for source, part in read.reads.items()}, matrix @ read.bias + bias)


def _add(reads: dict[int, Matrix], more: dict[int, Matrix]) -> None:
    for source, part in more.items():
        reads[source] = Matrix(reads[source] + part) if source in reads else part


def _broad(values: Int[ndarray, " _"], axis: int, shape: tuple[int, ...]) -> Int[ndarray, " n"]:
    return np.broadcast_to(along(values, axis, len(shape)), shape).ravel().astype(np.int64)


def _zeros(netlist: Netlist, operation: Operation) -> Int[ndarray, " n"]:
    return np.zeros(netlist.wires[operation.name].size, np.int64)


def matrix_of(operation: Affine | Convolution, shape: tuple[int, ...]) -> Matrix:
    """The weights as a matrix of flattened samples."""
    if isinstance(operation, Affine):
        return Matrix(sp.kron(_identity(math.prod(shape[:-1])), Matrix(operation.weight)).astype(np.int64))  # of zeros kron makes floats
    taken = _unfolded(shape, operation.weight.shape[2:], operation.dilation, operation.padding, operation.stride)
    places, own = taken.shape[1], operation.weight.shape[0] // operation.groups
    rows = list[ndarray]()
    columns, values = list[ndarray](), list[ndarray]()
    weight = operation.weight.reshape(len(operation.weight), -1)
    for output, row in enumerate(weight):
        group = output // own
        part = taken[group * weight.shape[1] : (group + 1) * weight.shape[1]]
        used = (part >= 0) & (row != 0)[:, None]
        where, place = np.nonzero(used)
        rows.append(output * places + place)
        columns.append(part[where, place])
        values.append(row[where])
    told = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return Matrix(told, shape=(len(weight) * places, math.prod(shape)))


def windows(pool: Pool, shape: tuple[int, ...]) -> Matrix:
    """A sum pool as a matrix."""
    one = np.ones((shape[0], 1, *pool.kernel), np.int64)
    return matrix_of(Convolution(pool.name, pool.reads, one, None, pool.stride, pool.padding, groups=shape[0]), shape)


def _unfolded(
    shape: tuple[int, ...], kernel: tuple[int, ...], dilation: tuple[int, int], padding: tuple[int, int], stride: tuple[int, int]
) -> Int[ndarray, "k l"]:
    """Which element every weight of a channel's kernel reads at every place; -1 outside."""
    places = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64).reshape(1, *shape)
    return torch.nn.functional.unfold(places, kernel, dilation, padding, stride)[0].numpy().astype(np.int64) - 1
