"""
Constants as arrays of the smallest type, and their text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.c.numbers import Number, kept

LINE = 130


@final
@dataclass(frozen=True, eq=False)
class Array:
    """A constant array of the emitted code."""

    name: str
    number: Number
    values: Int[ndarray, " n"]
    about: str

    @property
    def bytes(self) -> int:
        """What it takes in ROM."""
        return self.values.size * self.number.bytes

    @property
    def declared(self) -> str:
        """Its type, name and size."""
        return f"const {self.number.name} {self.name}[{self.values.size}]"


@final
@dataclass
class Constants:
    """All constant arrays of a network; equal ones are kept once."""

    prefix: str
    arrays: list[Array] = field(default_factory=list[Array])
    known: dict[tuple[str, bytes], Array] = field(default_factory=dict[tuple[str, bytes], Array])

    def put(self, name: str, values: Int[ndarray, "..."], about: str, number: Number | None = None) -> Array:
        """An array of these values (flattened), in the smallest type that holds them or in the one given."""
        flat = np.ascontiguousarray(values, np.int64).reshape(-1)
        number = number or kept(int(flat.min()), int(flat.max()))
        key = (number.name, flat.tobytes())
        if key not in self.known:
            self.known[key] = Array(f"{self.prefix}_{name}", number, flat, about)
            self.arrays.append(self.known[key])
        return self.known[key]

    @property
    def bytes(self) -> int:
        """What all of them take in ROM."""
        return sum(array.bytes for array in self.arrays)


def written(values: Int[ndarray, " n"], *, bits: bool = False) -> Iterator[str]:
    """Numbers as lines of C; words of bits in hexadecimal."""
    line = "   "
    for value in values.tolist():
        word = f" 0x{value:08X}U," if bits else f" {literal(value)},"
        if len(line) + len(word) > LINE:
            yield line
            line = "   "
        line += word
    yield line


def literal(value: int) -> str:
    """A number of up to 64 bits as C writes it."""
    if value == -(1 << 63):
        return "INT64_MIN"
    if value == -(1 << 31):
        return "INT32_MIN"
    if -(1 << 31) < value < 1 << 31:
        return str(value)
    return f"INT64_C({value})"
