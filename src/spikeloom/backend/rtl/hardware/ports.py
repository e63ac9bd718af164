"""
Signals that belong together: a stream of events, and queues of them.

    event   valid and ready; place (channel, x = column, y = row) and value, or `end`: the tick is over
"""

from dataclasses import dataclass
from typing import Any, final

from spikeloom.backend.rtl.hardware.hdl import Cat, Const, Memory, Module, Signal, SyncFIFOBuffered, signed, unsigned
from spikeloom.backend.rtl.plan import Layout, Range, bits_of


def span(count: int) -> int:
    """The width of a number below `count`; 0 where there is one only."""
    return (count - 1).bit_length()


def shape_of(limits: Range) -> Any:
    """The shape that holds a range: unsigned where nothing is below 0."""
    low, high = limits
    return unsigned(max(high.bit_length(), 1)) if low >= 0 else signed(bits_of(low, high))


@final
@dataclass(frozen=True, eq=False)
class Events:
    """A stream of events of a layout; values in `limits`."""

    layout: Layout
    limits: Range
    valid: Any
    ready: Any
    end: Any
    channel: Any
    column: Any
    row: Any
    value: Any

    @property
    def flat(self) -> Any:
        """Its number in the hardware's order."""
        return (self.row * self.layout.width + self.column) * self.layout.channels + self.channel

    @property
    def payload(self) -> Any:
        """All of it as one value; the value itself is left out where it can only be 1."""
        parts = (self.end, self.channel, self.column, self.row, *(() if isinstance(self.value, Const) else (self.value,)))
        return Cat(*parts)


def events(name: str, layout: Layout, limits: Range, zeros: bool = False) -> Events:
    """A stream's signals; `zeros` where it sends numbers that are 0, too."""
    sides = ("channel", layout.channels), ("column", layout.width), ("row", layout.height)
    channel, column, row = (Signal(span(count), name=f"{name}_{side}") for side, count in sides)
    valid, ready, end = (Signal(name=f"{name}_{part}") for part in ("valid", "ready", "end"))
    value = Const(1, 1) if limits == (0, 1) and not zeros else Signal(shape_of(limits), name=f"{name}_value")
    return Events(layout, limits, valid, ready, end, channel, column, row, value)


def queued(m: Module, name: str, given: Events, readers: int, depth: int) -> list[Events]:
    """A queue for each reader of a stream: an event goes into all of them at once, or waits."""
    made, fits = list[Events](), list[Any]()
    for place in range(readers):
        queue = SyncFIFOBuffered(width=len(given.payload), depth=depth)
        m.submodules[f"{name}_{place}"] = queue
        fits.append(queue.w_rdy)
        out = events(f"{name}_{place}_out", given.layout, given.limits)
        m.d.comb += [out.payload.eq(queue.r_data), out.valid.eq(queue.r_rdy), queue.r_en.eq(out.ready & out.valid)]
        m.d.comb += [queue.w_data.eq(given.payload), queue.w_en.eq(given.valid & given.ready)]
        made.append(out)
    m.d.comb += given.ready.eq(Cat(*fits).all())
    return made


def memory(m: Module, name: str, width: int, depth: int, words: list[int]) -> Memory:
    """A memory that begins with these words (two at least, so that there is an address)."""
    made = Memory(shape=unsigned(max(width, 1)), depth=max(depth, 2), init=words)
    m.submodules[name] = made
    return made


def stored(m: Module, name: str, width: int, words: list[int], address: Any) -> Any:
    """What a memory that nothing writes holds at an address, a cycle later."""
    port = memory(m, name, width, len(words), words).read_port(domain="sync")
    m.d.comb += port.addr.eq(address)
    return port.data
