"""
Types of whole numbers in C, and the smallest one that holds a range.
"""

from dataclasses import dataclass
from typing import final

from spikeloom.errors import InternalError


@final
@dataclass(frozen=True)
class Number:
    """A type of C. `short` is its name in the names of kernels."""

    name: str
    short: str
    bytes: int
    low: int
    high: int

    def holds(self, low: int, high: int) -> bool:
        """Whether every number of a range fits."""
        return self.low <= low and high <= self.high


def _signed(bits: int) -> Number:
    return Number(f"int{bits}_t", f"i{bits}", bits // 8, -(1 << bits - 1), (1 << bits - 1) - 1)


def _unsigned(bits: int) -> Number:
    return Number(f"uint{bits}_t", f"u{bits}", bits // 8, 0, (1 << bits) - 1)


U8, U16, U32 = _unsigned(8), _unsigned(16), _unsigned(32)
I8, I16, I32, I64 = _signed(8), _signed(16), _signed(32), _signed(64)


def holding(low: int, high: int, among: tuple[Number, ...] = (U8, I8, I16, I32, I64)) -> Number:
    """The first of these types that holds a range. Raises InternalError where none does."""
    for number in among:
        if number.holds(low, high):
            return number
    raise InternalError(f"no type of C holds {low} to {high}")


def kept(low: int, high: int) -> Number:
    """The smallest type for a constant."""
    return holding(low, high, (I8, U8, I16, U16, I32, I64))


def reckoned(*bounds: int) -> Number:
    """The type in which numbers up to these absolute values are reckoned with: 32 bits where they fit, else 64."""
    most = max(bounds, default=0)
    return holding(-most, most, (I32, I64))
