"""
The loop over a row while it is written.
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.c.arrays import literal
from spikeloom.backend.c.code import Code, row_at
from spikeloom.backend.c.layout import Layout
from spikeloom.backend.c.numbers import I32, I64, Number
from spikeloom.backend.c.plan import Step


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
        at = place_of(layout)
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


def place_of(layout: Layout) -> str:
    """What is added to a wire's address to reach row r."""
    at = row_at(layout)
    return "" if at == "0" else f" + {at}"
