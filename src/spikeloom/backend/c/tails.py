"""
What is done with each number of a row: sums, requantisation, neurons; one loop for all of it, which the compiler makes vectors of.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.c.arrays import literal
from spikeloom.backend.c.code import Code
from spikeloom.backend.c.layout import Elementwise, Layout
from spikeloom.backend.c.neurons import neurons
from spikeloom.backend.c.numbers import I32, I64, Number, reckoned
from spikeloom.backend.c.plan import Step
from spikeloom.ir.hardware import Add, Population, Requantise


@final
@dataclass
class Row:
    """The loop over a row while it is written: its parameters, its lines, and which number stands in which variable."""

    code: Code
    step: Step
    layout: Layout
    takes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    before: list[str] = field(default_factory=list[str])
    lines: list[str] = field(default_factory=list[str])
    known: dict[str, tuple[str, Number]] = field(default_factory=dict[str, tuple[str, Number]])
    by_channel: bool = False
    rows_used: bool = False

    def take(self, declared: str, given: str) -> None:
        """One more parameter of the row's function, and what it is given."""
        if (declared, given) not in self.takes:
            self.takes.append((declared, given))

    def value(self, name: str, number: Number) -> str:
        """A wire's number at this place, in a type."""
        if name not in self.known:
            self._read(name)
        variable, held = self.known[name]
        return variable if held == number else f"({number.name}){variable}"

    def _read(self, name: str) -> None:
        number, layout = self.code.plan.number(name), self.code.plan.layout(name)
        pointer, variable = f"in{len(self.takes)}", f"x{len(self.known)}"
        at = "" if layout.rows == 1 and not layout.origin else f" + {_row(layout)}"
        self.take(f"const {number.name} *restrict {pointer}", self.code.address(name, self.step) + at)
        wide = I64 if number == I64 else I32
        self.put(variable, wide, name, f"{pointer}[i]")

    def put(self, variable: str, number: Number, wire: str | None, expression: str) -> None:
        """One more variable; it is the number of a wire, if one is named."""
        self.lines.append(f"const {number.name} {variable} = {expression};")
        if wire is not None:
            self.known[wire] = (variable, number)

    def index(self, axis: int) -> str:
        """The place on an axis, in the loop."""
        shape = self.layout.shape
        if self.layout.image:
            self.by_channel |= axis != 1
            self.rows_used |= axis == 1
            return "crx"[axis]
        if axis == len(shape) - 1:
            return "i"
        self.rows_used = True
        line = f"const int32_t g{axis} = r / {int(np.prod(shape[axis + 1 : -1], dtype=np.int64))} % {shape[axis]};"
        if line not in self.before:
            self.before.append(line)
        return f"g{axis}"

    def parameter(self, values: Int[ndarray, " c"], axis: int, name: str, about: str) -> str:
        """A parameter of each place of an axis, or of all: an element of a constant array, or a number."""
        if (values == values[0]).all():
            return literal(int(values[0]))
        array = self.code.constants.put(f"{name}{self.step.number}", values, about)
        return f"{array.name}[{self.index(axis)}]"


def _row(layout: Layout) -> str:
    parts = [] if layout.rows == 1 else [f"r * {layout.pitch}"]
    return " + ".join(parts + ([str(layout.origin)] if layout.origin else []))


def row_function(code: Code, step: Step, number: Number | None, what: Callable[[Row], None] | None = None) -> str:
    """Writes the function that finishes a row of a step; `number` is the type of the head's sums, `what` says more of what they are.
    Gives the call, in which `acc` is where the sums lie and r the row."""
    layout = code.plan.layout(step.name)
    row = Row(code, step, layout)
    if number is not None and step.head is not None:
        row.take(f"const {number.name} *restrict acc", "ACC")
        if what is None:
            row.put("sum", I64 if number == I64 else I32, step.head.name, "acc[i]")
        else:
            what(row)
    for operation in step.tails:
        _element(row, operation)
    out = code.plan.number(step.name)
    at = f" + {_row(layout)}" if _row(layout) else ""
    row.take(f"{out.name} *restrict out", f"arena.b{step.number}.at{at}")
    row.lines.append(f"out[i] = ({out.name}){row.known[step.name][0]};")
    if row.rows_used:
        row.take("int32_t r", "r" if layout.rows > 1 else "0")
    code.functions.append(_written(row))
    return f"row_{step.number}({', '.join(given for _, given in row.takes)});"


def _written(row: Row) -> str:
    """The text of a row's function."""
    head = f"static void row_{row.step.number}({', '.join(declared for declared, _ in row.takes)})\n{{\n"
    before = "".join(f"    {line}\n" for line in row.before)
    if row.layout.image and row.by_channel:
        channels, width = row.layout.shape[0], row.layout.shape[2]
        loop = f"    for (int32_t x = 0; x < {width}; x++) {{\n        for (int32_t c = 0; c < {channels}; c++) {{\n"
        loop += f"            const int32_t i = x * {channels} + c;\n"
        body = "".join(f"            {line}\n" for line in row.lines)
        return head + before + loop + body + "        }\n    }\n}\n"
    body = "".join(f"        {line}\n" for line in row.lines)
    return f"{head}{before}    for (int32_t i = 0; i < {row.layout.row}; i++) {{\n{body}    }}\n}}\n"


def _element(row: Row, operation: Elementwise) -> None:
    match operation:
        case Add():
            _added(row, operation)
        case Requantise():
            _requantised(row, operation)
        case Population():
            neurons(row, operation)


def _added(row: Row, operation: Add) -> None:
    """y = Σ g·x + b."""
    plan, bias = row.code.plan, operation.bias
    reach = [max(abs(plan.wire(read).low), abs(plan.wire(read).high)) for read in operation.reads]
    parts = [int(np.abs(gain).max()) * most for gain, most in zip(operation.gains, reach, strict=True)]
    number = reckoned(*reach, sum(parts) + (0 if bias is None else int(np.abs(bias).max())))
    terms = list[str]()
    for place, (gain, read) in enumerate(zip(operation.gains, operation.reads, strict=True)):
        value = row.value(read, number)
        factor = row.parameter(gain, operation.axis, f"gain_{place}_{_at(row, operation)}_", f"gains of {operation.name}")
        terms.append(value if factor == "1" else f"{factor} * {value}")
    if bias is not None and (bias != 0).any():
        terms.append(row.parameter(bias, operation.axis, f"bias_{_at(row, operation)}_", f"bias of {operation.name}"))
    row.put(f"s{_at(row, operation)}", number, operation.name, " + ".join(terms))


def _requantised(row: Row, operation: Requantise) -> None:
    """y = clip((m·x + 2^(s-1)) >> s)."""
    wire, place = row.code.plan.wire(operation.reads[0]), _at(row, operation)
    most, half = max(abs(wire.low), abs(wire.high)), (1 << operation.shift) >> 1
    number = reckoned(most, int(np.abs(operation.multiplier).max()) * most + half, abs(operation.low), abs(operation.high))
    shift = min(operation.shift, number.bytes * 8 - 1)
    factor = row.parameter(operation.multiplier, operation.axis, f"scale_{place}_", f"multipliers of {operation.name}")
    value = row.value(operation.reads[0], number)
    scaled = f"{factor} * {value}" + (f" + {literal(half)}" if half else "")
    row.put(f"m{place}", number, None, f"SHIFTED({scaled}, {shift})" if shift else scaled)
    low, high = literal(operation.low), literal(operation.high)
    row.put(f"q{place}", number, operation.name, f"m{place} < {low} ? {low} : m{place} > {high} ? {high} : m{place}")


def _at(row: Row, operation: Elementwise) -> int:
    """The place of an operation in its step."""
    return row.step.tails.index(operation)
