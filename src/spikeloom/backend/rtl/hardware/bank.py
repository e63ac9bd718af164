"""
A bank: accumulators in a memory with one port to read and one to write. Arriving events add to it; between ticks the sweep has it.

A word that is written in the very cycle in which it is read again comes from `newest`, not from the memory.
"""

from dataclasses import dataclass
from typing import Any, final

from spikeloom.backend.rtl.hardware.hdl import Module, Mux, Signal, signed
from spikeloom.backend.rtl.hardware.links import Arrivals, joined
from spikeloom.backend.rtl.hardware.ports import memory, span
from spikeloom.backend.rtl.plan import Layout


@final
@dataclass(frozen=True, eq=False)
class Sweeping:
    """The sweep's side of memories: in cycle 0 the word's `address`; `write` with each bank's own numbers. `active` while it has them."""

    active: Any
    address: Any
    write: Any


def bank(m: Module, arrivals: Arrivals, layout: Layout, bits: int, sweeping: Sweeping, written: list[Any]) -> list[Any]:
    """The hardware of a bank; gives its lanes at the sweep's address, a cycle later. `written` is what the sweep writes, for each lane."""
    store = memory(m, "accumulators", bits * layout.lanes, layout.words, [])
    read, write = store.read_port(domain="sync"), store.write_port()
    size = len(read.addr)
    valid, word = Signal(name="valid2"), Signal(span(layout.words), name="word2")
    m.d.sync += [valid.eq(arrivals.valid), word.eq(arrivals.word)]
    m.d.comb += read.addr.eq(Mux(sweeping.active, sweeping.address, arrivals.word))
    newest, at, fresh = Signal(bits * layout.lanes, name="newest"), Signal(size, name="newest_at"), Signal(name="fresh")
    old = Mux(fresh & (at == word), newest, read.data)
    sums = [Signal(signed(bits), name=f"sum{lane}") for lane in range(layout.lanes)]
    for lane, total in enumerate(sums):
        m.d.comb += total.eq(old[lane * bits : (lane + 1) * bits].as_signed() + arrivals.adds[lane])
    m.d.sync += [newest.eq(joined(sums)), at.eq(word), fresh.eq(valid)]
    with m.If(sweeping.active):
        m.d.comb += [write.addr.eq(sweeping.address), write.en.eq(sweeping.write), write.data.eq(joined([part[:bits] for part in written]))]
    with m.Else():
        m.d.comb += [write.addr.eq(word), write.en.eq(valid), write.data.eq(joined(sums))]
    return [read.data[lane * bits : (lane + 1) * bits].as_signed() for lane in range(layout.lanes)]
