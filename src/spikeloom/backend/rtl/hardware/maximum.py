"""
The maximum of windows: sums since a sample's first tick, and at each tick's end the change of every window's maximum.

    CLEAR   after a reset and after a sample's last tick: all sums are 0
    WAIT    values arrive and are added
    SCAN    the window's places are read, one a cycle
    SEND    what changed, where it is not 0
    END     the tick's end
"""

from typing import Any

from spikeloom.backend.rtl.hardware.bank import Sweeping, bank
from spikeloom.backend.rtl.hardware.hdl import Const, Module, Mux, Signal, signed
from spikeloom.backend.rtl.hardware.links import link
from spikeloom.backend.rtl.hardware.ports import Events, memory, span, stored
from spikeloom.backend.rtl.hardware.sweep import Walk
from spikeloom.backend.rtl.plan import Layout, Maximum


def maximum(told: Maximum, given: Events, sent: Events, timesteps: int) -> Module:
    """The hardware of a maximum: reads one stream, drives what it sends."""
    m, bits, most = Module(), told.bank.bits, told.taps.shape[1]
    walk = Walk(m, Layout(told.layout.channels, told.layout.height, told.layout.width, 1))
    tick = Signal(span(timesteps), name="tick")
    release, active, clears = Signal(name="release"), Signal(name="active", init=1), Signal(name="clears")
    cleared, turn = Signal(span(told.inside.words), name="cleared"), Signal(range(most + 3), name="turn")
    base = Signal(span(len(told.taps) * most), name="base")
    words = [2 * int(tap) + 1 if tap >= 0 else 0 for tap in told.taps.reshape(-1)]
    tap = stored(m, "taps", 1 + span(told.inside.words), words, (base + turn)[: max(1, span(len(words)))])
    sweeping = Sweeping(active, Mux(clears, cleared, tap[1:]), clears)
    m.submodules.bank = part = Module()
    arrivals = link(part, told.bank.link, given, told.inside, bits, release)
    (value,) = bank(part, arrivals, told.inside, bits, sweeping, [Const(0, signed(bits))])
    there, best, some = Signal(name="there"), Signal(signed(bits), name="best"), Signal(name="some")
    m.d.sync += there.eq(tap[0])
    through = Signal(name="through")
    before = _before(m, walk, best, bits, tick, through) if timesteps > 1 else Const(0)
    change = Signal(signed(bits + 1), name="change")
    m.d.comb += change.eq(best - before)
    over: Any = tick == timesteps - 1
    with m.FSM(name="sweep"):
        with m.State("CLEAR"):
            m.d.comb += clears.eq(1)
            m.d.sync += cleared.eq(cleared + 1)
            with m.If(cleared == told.inside.words - 1):
                m.d.sync += [cleared.eq(0), active.eq(0)]
                m.d.comb += release.eq(1)
                m.next = "WAIT"
        with m.State("WAIT"), m.If(arrivals.drained):
            m.d.sync += [active.eq(1), turn.eq(0), some.eq(0)]
            m.next = "SCAN"
        with m.State("SCAN"):
            m.d.sync += turn.eq(turn + 1)
            with m.If((turn >= 2) & there & (~some | (value > best))):
                m.d.sync += [best.eq(value), some.eq(1)]
            with m.If(turn == most + 1):
                m.next = "SEND"
        with m.State("SEND"):
            _send(m, walk, change, sent)
            m.d.comb += through.eq(sent.ready | (change == 0))
            with m.If(through):
                m.d.sync += [turn.eq(0), some.eq(0), base.eq(Mux(walk.last, 0, base + most))]
                walk.on()
                m.next = "SCAN"
                with m.If(walk.last):
                    m.next = "END"
        with m.State("END"):
            m.d.comb += [sent.valid.eq(1), sent.end.eq(1)]
            with m.If(sent.ready):
                m.d.comb += release.eq(~over)
                m.d.sync += [tick.eq(Mux(over, 0, tick + 1)), active.eq(over)]
                m.next = "WAIT"
                with m.If(over):
                    m.next = "CLEAR"
    return m


def _before(m: Module, walk: Walk, best: Any, bits: int, tick: Any, through: Any) -> Any:
    """The maximum at the tick before (0 at the first); the new one takes its place."""
    store = memory(m, "before", bits, walk.layout.words, [])
    read, write = store.read_port(domain="sync"), store.write_port()
    m.d.comb += [read.addr.eq(walk.word), write.addr.eq(walk.word), write.data.eq(best), write.en.eq(through)]
    return Mux(tick == 0, 0, read.data.as_signed())


def _send(m: Module, walk: Walk, change: Any, sent: Events) -> None:
    m.d.comb += [sent.valid.eq(change != 0), sent.channel.eq(walk.group), sent.column.eq(walk.column), sent.row.eq(walk.row)]
    if not isinstance(sent.value, Const):
        m.d.comb += sent.value.eq(change)
