"""
Layers with weights: which kernel sums their products, what their sums can be on the way, and their weights as the kernel reads them.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.c.layout import Layout
from spikeloom.backend.c.numbers import I8, I16, I32, I64, U8, Number, holding
from spikeloom.backend.c.options import COptions
from spikeloom.ir.hardware import Affine, Convolution, Wire

Layer = Affine | Convolution
Kernel = Literal["dot", "wide", "depthwise", "planes", "event", "event planes"]
LANES = 16
"""Outputs of a block of `kernels/dot.c`."""
SHORTEST = 3
"""Numbers of a run below which multiplying four at a time is of no use."""
FEWEST = 5
"""Weights of an output, or inputs of a group's pixel, below which planes would take more room than bytes."""


def kernel_of(layer: Layer, read: Wire, options: COptions) -> Kernel:
    """The kernel that sums a layer's products."""
    ternary = int(np.abs(layer.weight).max(initial=0)) <= 1 and options.planes != "none"
    spikes, groups = read.low >= 0 and read.high <= 1, groups_of(layer)
    if options.kernels == "event":
        return "event planes" if ternary and spikes and groups == 1 else "event"
    many = layer.weight[0].size >= FEWEST and (groups == 1 or layer.weight.shape[1] >= FEWEST)
    if many and ternary and (spikes or (options.planes == "levels" and U8.holds(read.low, read.high))):
        return "planes"
    if isinstance(layer, Convolution) and layer.weight.shape[1] == 1 and groups == layer.weight.shape[0] > 1:
        return "depthwise"
    small = U8.holds(read.low, read.high) and I8.holds(int(layer.weight.min()), int(layer.weight.max()))
    return "dot" if small and bound_of(layer, read) < 1 << 31 and length_of(layer) >= SHORTEST else "wide"


def raised_by(layer: Layer, read: Wire, options: COptions) -> int:
    """What signed bytes are raised by, so that instructions for unsigned ones take them; 0 where that is of no use."""
    above = Wire(read.shape, read.low + 128, read.high + 128, read.spikes)
    return 128 if read.low < 0 and I8.holds(read.low, read.high) and kernel_of(layer, above, options) == "dot" else 0


def raised(layer: Layer, by: int) -> Layer:
    """The layer that gives for inputs raised by a number what it gave for them as they were."""
    taken = by * layer.weight.reshape(layer.weight.shape[0], -1).sum(1)
    return dataclasses.replace(layer, bias=-taken if layer.bias is None else layer.bias - taken)


def groups_of(layer: Layer) -> int:
    """Groups of a convolution; 1 of others."""
    return layer.groups if isinstance(layer, Convolution) else 1


def bound_of(layer: Layer, read: Wire) -> int:
    """No sum of a layer is ever larger in absolute value, whole or in part, in whatever order it is made."""
    weights = np.abs(layer.weight.reshape(layer.weight.shape[0], -1)).sum(1, dtype=np.int64)
    bias = 0 if layer.bias is None else np.abs(layer.bias)
    return int((weights * max(abs(read.low), abs(read.high)) + bias).max())


def sums_of(layer: Layer, read: Wire, kernel: Kernel) -> Number:
    """The type in which a kernel sums: the smallest proven one; 32 bits where the instruction has no other."""
    bound = bound_of(layer, read)
    return holding(-bound, bound, (I32, I64) if kernel in ("dot", "planes") else (I16, I32, I64))


@final
@dataclass(frozen=True, eq=False)
class Seen:
    """What one output pixel sees of its input: runs of `length` numbers that begin at row + column, from the pixel's own first place on.
    `weights` are [group, output, run, length]."""

    rows: Int[ndarray, " s"]
    columns: Int[ndarray, " s"]
    length: int
    weights: Int[ndarray, "g o s l"]


def merged(layer: Layer) -> bool:
    """Whether a window's row is one run in memory."""
    return isinstance(layer, Affine) or (layer.groups == 1 and layer.dilation[1] == 1)


def length_of(layer: Layer) -> int:
    """How long the runs are that one output sees."""
    return layer.weight.shape[1] * (layer.weight.shape[3] if isinstance(layer, Convolution) and merged(layer) else 1)


def seen(layer: Layer, layout: Layout) -> Seen:
    """The runs of a layer that reads a wire that lies so."""
    if isinstance(layer, Affine):
        zero, weight = np.zeros(1, np.int64), layer.weight
        if layout.order is not None:
            weight = np.empty_like(layer.weight)
            weight[:, layout.order] = layer.weight
        return Seen(zero, zero, weight.shape[1], weight[None, :, None, :])
    out, ins, height, width = layer.weight.shape
    ky, kx = (part.reshape(-1) for part in np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))
    grouped = layer.weight.reshape(layer.groups, out // layer.groups, ins, height, width).transpose(0, 1, 3, 4, 2)
    rows, columns = ky * layer.dilation[0], kx * layer.dilation[1] * layout.shape[0]
    if merged(layer):
        rows, columns = rows[::width], columns[::width]
        return Seen(rows, columns, width * ins, grouped.reshape(1, out, height, width * ins))
    return Seen(rows, columns, ins, grouped.reshape(layer.groups, out // layer.groups, height * width, ins))


def dot_order(weights: Int[ndarray, "g o s l"]) -> Int[ndarray, " n"]:
    """Weights as `kernels/dot.c` reads them: [group][block of outputs][run][four inputs][output][input of the four]."""
    groups, outs, runs, length = weights.shape
    quads = -(-length // 4)
    padded = np.zeros((groups, outs, runs, quads * 4), np.int64)
    padded[..., :length] = weights
    fours = padded.reshape(groups, outs, runs, quads, 4).transpose(0, 2, 3, 1, 4)  # [group, run, four, output, input]
    blocks = [fours[:, :, :, first : first + LANES].reshape(groups, -1) for first in range(0, outs, LANES)]
    return np.concatenate(blocks, 1).reshape(-1)


def wide_order(weights: Int[ndarray, "g o s l"]) -> Int[ndarray, " n"]:
    """[group][run][input][output]."""
    return weights.transpose(0, 2, 3, 1).reshape(-1)


@final
@dataclass(frozen=True, eq=False)
class Planes:
    """Ternary weights as bits, of each group: [word][+1, -1][output], and the last bits of each output as bytes, [byte][+1, -1][output]."""

    words: Int[ndarray, "g w"]
    bytes: Int[ndarray, "g b"]
    full: int
    tail: int


def planes_order(weights: Int[ndarray, "g o s l"]) -> Planes:
    """Planes of ternary weights."""
    groups, outs, runs, length = weights.shape
    count = runs * length
    full, rest = divmod(count, 32)
    tail = -(-rest // 8)
    full, tail = (full + 1, 0) if tail == 4 else (full, tail)
    flat = weights.reshape(groups, outs, count)
    bits = np.zeros((groups, outs, 2, full * 32 + tail * 8), np.int64)
    bits[:, :, 0, :count], bits[:, :, 1, :count] = flat > 0, flat < 0
    words, last = bits[..., : full * 32].reshape(groups, outs, 2, full, 32), bits[..., full * 32 :].reshape(groups, outs, 2, tail, 8)
    return Planes(
        _packed(words).transpose(0, 3, 2, 1).reshape(groups, -1), _packed(last).transpose(0, 3, 2, 1).reshape(groups, -1), full, tail
    )


def _packed(bits: Int[ndarray, "... n"]) -> Int[ndarray, "..."]:
    return (bits << np.arange(bits.shape[-1])).sum(-1)


def column_order(layer: Layer, layout: Layout) -> Int[ndarray, " n"]:
    """Weights as event-driven kernels read them: [input][output], or [input channel][row][column from the right][output of the group]."""
    if isinstance(layer, Affine):
        return seen(layer, layout).weights[0, :, 0].T.reshape(-1)
    return _columns(layer)[:, :, ::-1].reshape(-1)


def _columns(layer: Convolution) -> Int[ndarray, "c kh kw o"]:
    out, ins, height, width = layer.weight.shape
    grouped = layer.weight.reshape(layer.groups, out // layer.groups, ins, height, width)
    return grouped.transpose(0, 2, 3, 4, 1).reshape(layer.groups * ins, height, width, out // layer.groups)


def column_planes(layer: Layer, layout: Layout, bits: int) -> Int[ndarray, " n"]:
    """Ternary weights as event-driven kernels read them: [input][+1, -1][word of outputs], an input being channel, row, column from the
    right."""
    columns = seen(layer, layout).weights[0, :, 0].T if isinstance(layer, Affine) else _columns(layer)[:, :, ::-1]
    flat = columns.reshape(-1, layer.weight.shape[0])
    words = -(-flat.shape[1] // bits)
    planes = np.zeros((len(flat), 2, words * bits), np.int64)
    planes[:, 0, : flat.shape[1]], planes[:, 1, : flat.shape[1]] = flat > 0, flat < 0
    return _packed(planes.reshape(len(flat), 2, words, bits)).reshape(-1)


def word_bits(outs: int) -> int:
    """Outputs of a word of an event-driven plane: as many as leave no more bits unused than bytes would."""
    return next(bits for bits in (32, 16, 8) if -(-outs // bits) * bits == -(-outs // 8) * 8)
