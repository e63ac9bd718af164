"""
Weighted sums: a layer's constants and weights in the form that its kernel reads, and how the kernel is launched.

An affine layer is a convolution of one tap over places in a line. Weights lie word by word of the input, all outputs of a word side by
side.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.cuda.layout import padded
from spikeloom.backend.cuda.numbers import I8, STORED, U8, U32, Constants, holding
from spikeloom.backend.cuda.plan import Step, Value
from spikeloom.ir.hardware import Affine, Convolution

FEWEST = 64
"""With fewer places than this a block takes 16 of them, else 64."""


@final
@dataclass(frozen=True)
class Shape:
    """A layer as `Window` sees it, in numbers of its input: height, width and depth of a place, and of the output."""

    height: int
    width: int
    depth: int
    out_height: int
    out_width: int
    out_depth: int
    out_used: int
    taps: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    @property
    def places(self) -> int:
        """Places of the output."""
        return self.out_height * self.out_width

    def text(self, depth: int, sample: int, out_sample: int) -> str:
        """The constants that `Window` and `answer` read, with so many words a place and a row."""
        numbers = {
            "HEIGHT": self.height,
            "WIDTH": self.width,
            "DEPTH": depth,
            "OUT_H": self.out_height,
            "OUT_W": self.out_width,
            "OUT_DEPTH": self.out_depth,
            "OUT_USED": self.out_used,
            "TAPS_H": self.taps[0],
            "TAPS_W": self.taps[1],
            "STRIDE_H": self.stride[0],
            "STRIDE_W": self.stride[1],
            "PAD_H": self.padding[0],
            "PAD_W": self.padding[1],
            "DILATION_H": self.dilation[0],
            "DILATION_W": self.dilation[1],
        }
        told = ", ".join(f"{name} = {number}" for name, number in numbers.items())
        return f"    static constexpr int {told};\n    static constexpr int64_t SAMPLE = {sample}, OUT_SAMPLE = {out_sample};\n"


def shape_of(operation: Affine | Convolution, read: Value, made: Value) -> Shape:
    """How a layer's input and output lie."""
    if isinstance(operation, Convolution):
        (_, height, width), (out, out_height, out_width) = read.wire.shape, made.wire.shape
        deep = (read.layout.group, out_height, out_width, made.layout.group, padded(out))
        return Shape(height, width, *deep, operation.weight.shape[2:], operation.stride, operation.padding, operation.dilation)
    out, into = operation.weight.shape
    if len(read.wire.shape) == 1:
        return Shape(1, 1, read.layout.stride, 1, 1, made.layout.stride, made.layout.stride)
    rows = read.wire.size // into
    return Shape(rows, 1, into, rows, 1, out, out)


def laid_weight(operation: Affine | Convolution, read: Value, shape: Shape) -> Int[ndarray, "k o"]:
    """Weights [numbers of a window as they lie, outputs]; 0 where nothing lies."""
    if isinstance(operation, Convolution):
        channels = operation.weight.shape[1]
        deep = np.zeros((*operation.weight.shape[2:], shape.depth if operation.groups == 1 else channels, len(operation.weight)), np.int64)
        deep[:, :, :channels] = operation.weight.transpose(2, 3, 1, 0)
        return deep.reshape(-1, len(operation.weight))
    if len(read.wire.shape) > 1:
        return operation.weight.T
    laid = np.zeros((shape.depth, len(operation.weight)), np.int64)
    laid[read.layout.place] = operation.weight.T
    return laid


def operator(step: Step, weight: Int[ndarray, "..."], shape: Shape) -> str:
    """What multiplies: "quad" for bytes by bytes four at a time, "planes" for spikes by ternary weights, "single" for the rest."""
    if step.way == "planes":
        return "planes"
    bytes_ = step.reads[0].number in (I8, U8) and I8.holds(int(weight.min()), int(weight.max()))
    return "quad" if step.way == "product" and bytes_ and shape.depth % 4 == 0 else "single"


def product(step: Step, operation: Affine | Convolution, constants: Constants) -> tuple[str, list[str]]:
    """The struct of a layer, and the lines that launch its kernel."""
    read, made = step.reads[0], step.made
    shape = shape_of(operation, read, made)
    weight = laid_weight(operation, read, shape)
    kind = operator(step, operation.weight, shape)
    depth, sample = shape.depth, read.layout.stride
    if kind == "quad":
        depth, sample = depth // 4, sample // 4
        array, element = constants.put(f"weight_{step.number}", _quads(weight, shape), U32)[0], "uint32_t"
        op = f"spikeloom::Quad<{'true' if read.number is I8 else 'false'}>"
    elif kind == "planes":
        depth = -(-depth // 32)
        sample = read.layout.stride // shape.depth * depth
        array, element, op = _planes(step, weight, shape, constants), "spikeloom::Planes", "spikeloom::Ternary"
    else:
        number = holding(int(weight.min()), int(weight.max()), STORED)
        array, element = constants.put(f"weight_{step.number}", weight, number)[0], number.name
        op = f"spikeloom::Single<{read.number.name}, {element}>"
    body = f"    using Op = {op};\n    using Y = {made.number.name};\n"
    body += shape.text(depth, sample, made.layout.stride)
    body += f"    static constexpr int OUT = {weight.shape[1]};\n"
    if step.way == "grouped":
        groups = operation.groups if isinstance(operation, Convolution) else 1
        body += f"    static constexpr int GROUP_IN = {operation.weight.shape[1]}, GROUP_OUT = {weight.shape[1] // groups};\n"
    body += f"    static __device__ __forceinline__ const {element} *weight() {{ return {array}; }}\n"
    body += f"    static __device__ __forceinline__ int32_t bias(int o) {{ return {_bias(step, operation, constants)}; }}\n"
    text = f"// {operation.name} ({type(operation).__name__}, {step.way}, {kind})\nstruct Layer{step.number} {{\n{body}}};\n"
    return text, _launch(step, shape, depth, kind)


def _bias(step: Step, operation: Affine | Convolution, constants: Constants) -> str:
    if operation.bias is None or not operation.bias.any():
        return "static_cast<void>(o), 0"
    array, _ = constants.put(f"bias_{step.number}", operation.bias)
    return f"o < OUT ? {array}[o] : 0"


def _quads(weight: Int[ndarray, "k o"], shape: Shape) -> Int[ndarray, "k4 o"]:
    """Four rows of bytes in a word, the first one lowest."""
    bytes_ = (weight & 0xFF).reshape(-1, 4, weight.shape[1])
    return (bytes_ << np.array([0, 8, 16, 24])[:, None]).sum(1)


def _planes(step: Step, weight: Int[ndarray, "k o"], shape: Shape, constants: Constants) -> str:
    """Each place's rows in words of 32 bits: where weights are +1, where they are -1."""
    words, out = -(-shape.depth // 32), weight.shape[1]
    wide = np.zeros((len(weight) // shape.depth, words * 32, out), np.int64)
    wide[:, : shape.depth] = weight.reshape(-1, shape.depth, out)
    bits = wide.reshape(-1, 32, out)
    powers = (1 << np.arange(32, dtype=np.int64))[:, None]
    positive, negative = (((bits == sign) * powers).sum(1).reshape(-1) for sign in (1, -1))
    return constants.planes(f"weight_{step.number}", positive, negative)


def _launch(step: Step, shape: Shape, depth: int, kind: str) -> list[str]:
    layer, read, made = f"Layer{step.number}", step.reads[0], step.made
    given, put = f"at<{read.number.name}>({read.slot})", f"at<{made.number.name}>({made.slot})"
    lines = [f"const int64_t positions = rows({_word(made.still)}) * {shape.places};"]
    if step.packs is not None:
        packed = f"at<uint32_t>({step.packs.slot})"
        places = read.layout.stride // shape.depth
        lines += [
            f"const int64_t words = rows({_word(read.still)}) * {places * depth};",
            f"launch<true>(packed<{read.number.name}, {shape.depth}, {depth}, {places}, {read.layout.stride}>, "
            f"blocks(words * 32, 256), 256, stream, {given}, {packed}, words);",
        ]
        given = packed
    if step.way == "grouped":
        return [
            *lines,
            f"launch<false>(grouped<{layer}>, blocks(positions * {shape.out_used}, 256), 256, stream, {given}, {put}, positions);",
        ]
    if step.way == "gather":
        grid = f"dim3(static_cast<unsigned>(positions), {-(-shape.out_used // 128)})"
        return [*lines, f"launch<true>(gather<{layer}>, {grid}, 128, stream, {given}, {put});"]
    element = {"quad": "uint32_t", "planes": "uint32_t"}.get(kind, read.number.name)
    given = given if kind != "quad" else f"reinterpret_cast<const {element} *>({given})"
    along = -(-shape.out_used // 64)
    return [
        *lines,
        f"if (positions < {FEWEST})",
        f"    launch<true>(product<{layer}, 1, 4>, blocks(positions, 16, {along}), 256, stream, {given}, {put}, positions);",
        "else",
        f"    launch<true>(product<{layer}, 4, 4>, blocks(positions, 64, {along}), 256, stream, {given}, {put}, positions);",
    ]


def _word(value: bool) -> str:
    return "true" if value else "false"
