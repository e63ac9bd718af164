"""
What is done with each number of a row: sums, requantisation, neurons; one loop for all of it, which the compiler makes vectors of.
"""

from collections.abc import Callable

import numpy as np

from spikeloom.backend.c.arrays import literal
from spikeloom.backend.c.code import Code
from spikeloom.backend.c.layout import Elementwise
from spikeloom.backend.c.neurons import neurons
from spikeloom.backend.c.numbers import I32, I64, Number, reckoned
from spikeloom.backend.c.plan import Step
from spikeloom.backend.c.row import Row, place_of
from spikeloom.ir.hardware import Add, Population, Requantise


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
    row.take(f"{out.name} *restrict out", f"arena.b{step.number}.at{place_of(layout)}")
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
