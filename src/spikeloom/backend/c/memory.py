"""
Where buffers lie in RAM: one arena, in which a place is used again once nobody reads what was there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from spikeloom.backend.c.numbers import Number

WIDE, NARROW, LARGE = 64, 8, 512
"""Alignment of buffers, in bytes: of those of at least LARGE bytes, and of others."""


@final
@dataclass(frozen=True)
class Buffer:
    """Numbers in RAM, needed from one step to another (both included); with `kept` from tick to tick."""

    name: str
    number: Number
    count: int
    first: int = 0
    last: int = 0
    kept: bool = False
    about: str = ""

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.count * self.number.bytes


@final
@dataclass(frozen=True)
class Placed:
    """A buffer's place in the arena, in bytes."""

    buffer: Buffer
    offset: int


def arranged(buffers: Iterable[Buffer]) -> tuple[Placed, ...]:
    """Places for buffers so that none overlaps another that lives at the same time: the largest first, each as low as it can lie."""
    placed = list[Placed]()
    for buffer in sorted(buffers, key=lambda each: (-each.bytes, each.first, each.name)):
        align = WIDE if buffer.bytes >= LARGE else NARROW
        beside = [other for other in placed if other.buffer.first <= buffer.last and buffer.first <= other.buffer.last]
        offset = 0
        for other in sorted(beside, key=lambda each: each.offset):
            if other.offset >= offset + buffer.bytes:
                break
            offset = max(offset, _up(other.offset + other.buffer.bytes, align))
        placed.append(Placed(buffer, offset))
    return tuple(sorted(placed, key=lambda each: (each.offset, each.buffer.first, each.buffer.name)))


def arena_bytes(placed: Iterable[Placed]) -> int:
    """The size of the union that holds all buffers."""
    placed = tuple(placed)
    widest = max((each.buffer.number.bytes for each in placed), default=1)
    return _up(max((each.offset + each.buffer.bytes for each in placed), default=0), widest)


def state_bytes(buffers: Iterable[Buffer]) -> int:
    """The size of the struct that holds what is kept from tick to tick, the widest types first."""
    buffers = tuple(buffers)
    return _up(sum(buffer.bytes for buffer in buffers), max((buffer.number.bytes for buffer in buffers), default=1))


def _up(size: int, align: int) -> int:
    return -(-size // align) * align
