"""
Layers with weights as code: rows of sums from dense kernels, all sums at once from event-driven ones.
"""

import re
from dataclasses import dataclass
from typing import final

import numpy as np

from spikeloom.backend.c.arrays import Array
from spikeloom.backend.c.code import Code, words
from spikeloom.backend.c.numbers import I8, I16, I32, U8, U16, U32, Number
from spikeloom.backend.c.plan import Step
from spikeloom.backend.c.synapses import (
    Layer,
    column_order,
    column_planes,
    dot_order,
    groups_of,
    kernel_of,
    planes_order,
    seen,
    sums_of,
    wide_order,
    word_bits,
)
from spikeloom.backend.c.tails import row_function
from spikeloom.ir.hardware import Affine, Convolution


@final
@dataclass(frozen=True, eq=False)
class Made:
    """A layer while it is written."""

    code: Code
    step: Step
    layer: Layer
    sums: Number

    @property
    def read(self) -> str:
        """The wire that it reads."""
        return self.layer.reads[0]

    @property
    def outs(self) -> int:
        """Outputs of a pixel."""
        return self.layer.weight.shape[0]

    @property
    def pixels(self) -> int:
        """Pixels of a row of the output."""
        layout = self.code.plan.layout(self.layer.name)
        return layout.row // self.outs

    @property
    def rows(self) -> int:
        """Rows of the output."""
        return self.code.plan.layout(self.layer.name).rows

    @property
    def about(self) -> str:
        """What its arrays belong to."""
        return words(self.layer.name)

    def weights(self, values: np.ndarray, about: str, number: Number | None = None, name: str = "w") -> Array:
        """An array of its weights."""
        return self.code.constants.put(f"{name}{self.step.number}", values, f"{about} of {self.about}", number)

    def address(self) -> str:
        """Where its input lies."""
        return self.code.address(self.read, self.step)

    def begun(self, acc: str, rows: int) -> str:
        """The call that puts the bias, or 0, into sums."""
        pixels, bias = self.pixels * rows, self.layer.bias
        if bias is None or not (bias != 0).any():
            return f"memset({acc}, 0, {pixels * self.outs} * sizeof *{acc});"
        array = self.code.constants.put(f"bias{self.step.number}", bias, f"bias of {self.about}")
        filled = self.code.kernel("filled", AT=self.sums.name, XT=array.number.name)
        return f"{filled}({acc}, {pixels}, {array.name}, {self.outs});"


def layer_step(code: Code, step: Step, layer: Layer) -> list[str]:
    """The lines of a step whose head is a layer."""
    read = code.plan.wire(layer.reads[0])
    kernel = kernel_of(layer, read, code.plan.options)
    made = Made(code, step, layer, sums_of(layer, read, kernel))
    whole, out = kernel.startswith("event"), code.plan.layout(step.name)
    straight = not step.tails and made.sums == code.plan.number(step.name) and out.halo == (0, 0)
    many = made.rows if whole else 1
    if straight:
        acc, at = f"arena.b{step.number}.at", "" if made.rows == 1 else f" + r * {out.row}"
    else:
        acc = code.scratch(step, "acc", made.sums, out.row * many, f"sums of {made.about}")
        at = "" if not whole or made.rows == 1 else f" + r * {out.row}"
    call = "" if straight else row_function(code, step, made.sums).replace("ACC", acc + at)
    before = code.cleared(step)
    if whole:
        before += [f"    {made.begun(acc, made.rows)}", *(f"    {line}" for line in _event(made, kernel, acc))]
        return before + (_rows(made, [call]) if call else [])
    pre, lines = _dense(made, kernel, acc + (at if straight else ""))
    begun = made.begun("acc", 1)
    pointer = f"{made.sums.name} *const acc = {acc}{at if straight else ''};"
    return before + [f"    {line}" for line in pre] + _rows(made, [pointer, begun, *lines, *([call] if call else [])])


def _rows(made: Made, lines: list[str]) -> list[str]:
    """Lines for each row."""
    lines = [line for line in lines if line]
    if made.rows == 1 and not any(re.search(r"\br\b", line) for line in lines):
        return ["    {", *(f"        {line}" for line in lines), "    }"]
    return [f"    for (int32_t r = 0; r < {made.rows}; r++) {{", *(f"        {line}" for line in lines), "    }"]


def _from(made: Made) -> tuple[str, int]:
    """What is added to the input's address to reach what row r sees first, and how far the next pixel's is from it."""
    layer, layout = made.layer, made.code.plan.layout(made.read)
    if isinstance(layer, Affine):
        return ("" if made.rows == 1 else f" + r * {layout.row}"), 0
    down = (layout.halo[0] - layer.padding[0]) * layout.pitch + (layout.halo[1] - layer.padding[1]) * layout.shape[0]
    first = f" + {down}" if down else ""
    return f"{first} + r * {layer.stride[0] * layout.pitch}", layer.stride[1] * layout.shape[0]


def _dense(made: Made, kernel: str, acc: str) -> tuple[list[str], list[str]]:
    """(lines before all rows, lines of a row) of a dense kernel, which adds to `acc`."""
    if kernel == "planes":
        return _planes(made)
    code, layout = made.code, made.code.plan.layout(made.read)
    sight, (start, step) = seen(made.layer, layout), _from(made)
    number, groups = code.plan.number(made.read), groups_of(made.layer)
    offsets = code.constants.put(f"sees{made.step.number}", sight.rows * layout.pitch + sight.columns, f"what {made.about} sees", I32)
    runs, x = len(sight.rows), made.address() + start
    each = made.outs // groups
    if kernel == "depthwise":
        weights = made.weights(sight.weights[:, 0, :, 0].T, "weights")
        name = code.kernel("depthwise", XT=number.name, WT=weights.number.name, AT=made.sums.name)
        return [], [f"{name}({x}, {offsets.name}, {runs}, {step}, {made.pixels}, {weights.name}, {made.outs}, acc);"]
    if kernel == "dot":
        weights = made.weights(dot_order(sight.weights), "weights", I8)
        name, length = code.kernel("dot", "dot"), -(-sight.length // 4)
    else:
        weights = made.weights(wide_order(sight.weights), "weights")
        name = code.kernel("wide", XT=number.name, WT=weights.number.name, AT=made.sums.name)
        length = sight.length
    size = weights.values.size // groups
    told = f"{x}{{x}}, {offsets.name}, {runs}, {length}, {step}, {made.pixels}, {weights.name}{{w}}, {each}, acc{{acc}}, {made.outs}"
    return [], _by_group(groups, f"{name}({told});", x=sight.length, w=size, acc=each)


def _by_group(groups: int, line: str, **steps: int) -> list[str]:
    """A line for all groups: {x} in it stands for what is added to an address, so many a group."""
    if groups == 1:
        return [line.format(**dict.fromkeys(steps, ""))]
    moved = line.format(**{name: f" + g * {step}" for name, step in steps.items()})
    return [f"for (int32_t g = 0; g < {groups}; g++)", f"    {moved}"]


def _planes(made: Made) -> tuple[list[str], list[str]]:
    """Ternary layers: their input is packed once, and each pixel's view of it counted."""
    code, layout, layer = made.code, made.code.plan.layout(made.read), made.layer
    wire, groups, sight = code.plan.wire(made.read), groups_of(made.layer), seen(made.layer, layout)
    planes, each = planes_order(sight.weights), made.outs // groups_of(made.layer)
    depth = wire.high.bit_length() if wire.high > 1 else 1
    code.kernel("planes", "planes")
    times = "times *" if depth > 1 else ""
    name = code.kernel("counted", f"counted_{made.sums.short}{'_levels' if times else ''}", AT=made.sums.name, TIMES=times)
    full = made.weights(planes.words, "planes", U32) if planes.full else None
    last = made.weights(planes.bytes, "last bits of the planes", U8, "t") if planes.tail else None
    flat = isinstance(layer, Affine)
    height = layout.rows if flat or not layout.image else layout.shape[1] + 2 * layout.halo[0]
    line = -(-layout.pitch // 32) + 1
    bits = code.scratch(made.step, "bits", U32, height * depth * line, f"inputs of {made.about}, packed")
    pack = [f"for (int32_t r = 0; r < {height}; r++) {{"]
    pack += [
        f"    packed({made.address()} + r * {layout.pitch}, {layout.pitch}, {bit}, {bits} + (r * {depth} + {bit}) * {line});"
        for bit in range(depth)
    ]
    pack.append("}")
    weights = f"{full.name if full else 'NULL'}, {last.name if last else 'NULL'}"
    told = f"{planes.full}, {planes.tail}"
    if flat:
        row = "0" if made.rows == 1 else "r"
        each_bit = [
            f"{name}({bits} + ({row} * {depth} + {bit}) * {line}, {told}, {1 << bit}, {weights}, {made.outs}, acc);" for bit in range(depth)
        ]
        return pack, each_bit
    code.kernel("patch", "patch")
    patch = code.scratch(made.step, "seen", U32, planes.full + 2, f"what a pixel of {made.about} sees")
    step, pixels = layer.stride[1] * layout.shape[0], made.pixels
    left = (layout.halo[1] - layer.padding[1]) * layout.shape[0]
    top = layout.halo[0] - layer.padding[0]
    code_rows = code.constants.put(f"rows{made.step.number}", sight.rows * depth, f"rows that {made.about} sees", I32)
    code_bits = code.constants.put(f"bits{made.step.number}", sight.columns, f"bits that {made.about} sees", I32)
    row = f"(r * {layer.stride[0]} + {top})" if top else f"r * {layer.stride[0]}"
    lines = [f"for (int32_t p = 0; p < {pixels}; p++) {{"]
    ws = f"{full.name + '{w}' if full else 'NULL'}, {last.name + '{t}' if last else 'NULL'}"
    steps = {"x": sight.length, "w": planes.words.shape[1], "t": planes.bytes.shape[1], "acc": each}
    for bit in range(depth):
        rows, at = f"{bits} + ({row} * {depth} + {bit}) * {line}", f"p * {step}" + (f" + {left}" if left else "")
        seen_by = f"{code_rows.name}, {code_bits.name}, {len(sight.rows)}, {sight.length}, {line}, {at}{{x}}, {patch}, {planes.full + 1}"
        call = f"patched({rows}, {seen_by}), {name}({patch}, {told}, {1 << bit}, {ws}, {each}, acc + p * {made.outs}{{acc}});"
        lines += [f"    {each_line}" for each_line in _by_group(groups, call, **steps)]
    return pack, [*lines, "}"]


def _event(made: Made, kernel: str, acc: str) -> list[str]:
    """Lines that add what active inputs send to all sums."""
    code, layer = made.code, made.layer
    number = code.plan.number(made.read)
    planes = kernel == "event planes"
    weights, add, words = _added_planes(made) if planes else _added(made)
    types, kind = {"XT": number.name, "WT": weights.number.name, "AT": made.sums.name, "ADD": add}, "_planes" if planes else ""
    types |= {"BITS": str(weights.number.bytes * 8)} if planes else {}
    types["ACTIVE"] = code.kernel("active", XT=number.name, EIGHT=str(8 // number.bytes))
    told, x = add.removeprefix("added_"), made.address()
    if isinstance(layer, Convolution):
        code.kernel("window", "window")
        types["TAPS"] = code.kernel(f"taps{kind}", f"taps_{told}", **types)
        name = code.kernel("scatter_window", f"scatter_window_{told}", **types)
        return [_window(made, layer, words), f"{name}({x}, &s, {weights.name}, {acc});"]
    name, inputs = code.kernel(f"scatter{kind}", f"scatter_{told}", **types), layer.weight.shape[1]
    if made.rows == 1:
        return [f"{name}({x}, {inputs}, {weights.name}, {words}, {made.outs}, {acc});"]
    call = f"{name}({x} + r * {inputs}, {inputs}, {weights.name}, {words}, {made.outs}, {acc} + r * {made.outs});"
    return [f"for (int32_t r = 0; r < {made.rows}; r++)", f"    {call}"]


def _added(made: Made) -> tuple[Array, str, int]:
    """(weights, the kernel that adds columns of them, numbers of a column)."""
    code, wire, number = made.code, made.code.plan.wire(made.read), made.code.plan.number(made.read)
    weights = made.weights(column_order(made.layer, code.plan.layout(made.read)), "weights")
    binary, most = wire.low >= 0 and wire.high <= 1, max(abs(wire.low), abs(wire.high))
    together = max(most, 4 * most * int(np.abs(made.layer.weight).max()))
    part = I16 if together <= I16.high else made.sums
    outs = made.outs // groups_of(made.layer)
    block = next((block for block in (64, 32, 16) if outs % block == 0), 64 if outs >= 128 else 16)
    told = [number.short, weights.number.short, part.short, made.sums.short, str(block), *(["one"] if binary else [])]
    types = {"XT": number.name, "WT": weights.number.name, "PT": part.name, "AT": made.sums.name, "BLOCK": str(block)}
    add = code.kernel("added", "_".join(["added", *told]), LEVEL="LEVEL_ONE" if binary else "LEVEL_TIMES", **types)
    return weights, add, outs


def _added_planes(made: Made) -> tuple[Array, str, int]:
    """The same of ternary weights: (planes, kernel, words of a column)."""
    bits = word_bits(made.outs)
    word = {8: U8, 16: U16, 32: U32}[bits]
    weights = made.weights(column_planes(made.layer, made.code.plan.layout(made.read), bits), "planes", word)
    name = f"added_planes_{word.short}_{made.sums.short}"
    add = made.code.kernel("added_planes", name, WORD=word.name, AT=made.sums.name, BITS=str(bits))
    return weights, add, 2 * -(-made.outs // bits)


def _window(made: Made, layer: Convolution, words: int) -> str:
    """The shape of an event-driven convolution."""
    layout, out = made.code.plan.layout(made.read), made.code.plan.layout(layer.name)
    channels, height, width = layout.shape
    run = words == made.outs and layer.stride[1] == 1 and layer.dilation[1] == 1 and layer.groups == 1
    facts = {
        "height": height,
        "width": width,
        "channels": channels,
        "groups": layer.groups,
        "pitch": layout.pitch,
        "out_height": out.shape[1],
        "out_width": out.shape[2],
        "outs": made.outs,
        "group_ins": layer.weight.shape[1],
        "group_outs": made.outs // layer.groups,
        "words": words,
        "kernel_height": layer.weight.shape[2],
        "kernel_width": layer.weight.shape[3],
        "step_height": layer.stride[0],
        "step_width": layer.stride[1],
        "dilation_height": layer.dilation[0],
        "dilation_width": layer.dilation[1],
        "pad_height": layer.padding[0],
        "pad_width": layer.padding[1],
        "run": int(run),
    }
    return "static const window s = {" + ", ".join(f".{name} = {value}" for name, value in facts.items()) + "};"
