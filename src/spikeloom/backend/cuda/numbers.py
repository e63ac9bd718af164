"""
Types of whole numbers on the device, and constants as arrays of the smallest one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.errors import InternalError

LINE = 130


@final
@dataclass(frozen=True)
class Number:
    """A type of the device."""

    name: str
    bytes: int
    low: int
    high: int

    def holds(self, low: int, high: int) -> bool:
        """Whether every number of a range fits."""
        return self.low <= low and high <= self.high


def _signed(bits: int) -> Number:
    return Number(f"int{bits}_t", bits // 8, -(1 << bits - 1), (1 << bits - 1) - 1)


def _unsigned(bits: int) -> Number:
    return Number(f"uint{bits}_t", bits // 8, 0, (1 << bits) - 1)


I8, I16, I32, I64 = _signed(8), _signed(16), _signed(32), _signed(64)
U8, U16, U32 = _unsigned(8), _unsigned(16), _unsigned(32)
STORED = (I8, U8, I16, U16, I32)
"""What values and constants may be kept in."""


def holding(low: int, high: int, among: tuple[Number, ...] = STORED) -> Number:
    """The first of these types that holds a range. Raises InternalError where none does."""
    for number in among:
        if number.holds(low, high):
            return number
    raise InternalError(f"no type of the device holds {low} to {high}")


def reckoned(bound: int) -> Number:
    """The type in which numbers up to this absolute value are reckoned with."""
    return holding(-bound, bound, (I32, I64))


@final
@dataclass(frozen=True, eq=False)
class Array:
    """A constant array on the device: words of a type, or pairs of words."""

    name: str
    kind: str
    values: Int[ndarray, "..."]
    bytes: int

    @property
    def text(self) -> str:
        """Its definition."""
        lines = "\n".join(_written(self.values, hexadecimal=self.kind == U32.name))
        return f"static __device__ const {self.kind} {self.name}[{len(self.values)}] = {{\n{lines}\n}};\n"


@final
@dataclass
class Constants:
    """All constant arrays of a network; equal ones are kept once."""

    arrays: dict[tuple[str, bytes], Array] = field(default_factory=dict[tuple[str, bytes], Array])

    @property
    def bytes(self) -> int:
        """What all of them take."""
        return sum(array.bytes for array in self.arrays.values())

    def put(self, name: str, values: Int[ndarray, "..."], number: Number | None = None) -> tuple[str, Number]:
        """An array of these values (flattened): its name and type, the smallest that holds them or the one given."""
        flat = np.ascontiguousarray(values, np.int64).reshape(-1)
        number = number or holding(int(flat.min()), int(flat.max()), (*STORED, I64))
        return self._kept(Array(name, number.name, flat, flat.size * number.bytes)), number

    def planes(self, name: str, positive: Int[ndarray, " n"], negative: Int[ndarray, " n"]) -> str:
        """Pairs of words of bits."""
        values = np.stack([positive, negative], 1).astype(np.int64)
        return self._kept(Array(name, "spikeloom::Planes", values, values.size * U32.bytes))

    def _kept(self, array: Array) -> str:
        return self.arrays.setdefault((array.kind, array.values.tobytes()), array).name


def _written(values: Int[ndarray, "..."], *, hexadecimal: bool) -> Iterator[str]:
    line = "   "
    for value in values.tolist():
        word = (
            " {" + ", ".join(f"0x{part:08X}U" for part in value) + "}," if isinstance(value, list) else f" {_literal(value, hexadecimal)},"
        )
        if len(line) + len(word) > LINE:
            yield line
            line = "   "
        line += word
    yield line


def _literal(value: int, hexadecimal: bool) -> str:
    return f"0x{value:08X}U" if hexadecimal else literal(value)


def literal(value: int) -> str:
    """A number of up to 64 bits as C++ writes it."""
    if value == -(1 << 31):
        return "INT32_MIN"
    if value == -(1 << 63):
        return "INT64_MIN"
    return str(value) if -(1 << 31) < value < 1 << 31 else f"INT64_C({value})"
