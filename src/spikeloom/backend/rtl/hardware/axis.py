"""
AXI-Stream on both sides: ports as the standard names them, events from beats, beats from answers.

Source: AMBA AXI4-Stream, ARM IHI 0051.
"""

from typing import Any, final

from spikeloom.backend.rtl.hardware.hdl import Cat, Const, Module, Mux, Signal
from spikeloom.backend.rtl.hardware.ports import Events, span
from spikeloom.backend.rtl.interface import Interface


@final
class Axis:
    """The signals of both AXI-Streams."""

    def __init__(self, interface: Interface) -> None:
        self.in_data, self.out_data = (Signal(8 * width, name=name) for name, width in _data(interface))
        flags = ("s_axis_tvalid", "s_axis_tready", "s_axis_tlast", "m_axis_tvalid", "m_axis_tready", "m_axis_tlast")
        self.in_valid, self.in_ready, self.in_last, self.out_valid, self.out_ready, self.out_last = (Signal(name=name) for name in flags)

    @property
    def ports(self) -> list[Any]:
        """All of them."""
        given = [self.in_data, self.in_valid, self.in_ready, self.in_last]
        return [*given, self.out_data, self.out_valid, self.out_ready, self.out_last]


def received(axis: Axis, sent: Events, interface: Interface) -> Module:
    """What turns beats into events."""
    return _receive_events(axis, sent, interface) if interface.form == "events" else _receive_values(axis, sent)


def _receive_events(axis: Axis, sent: Events, interface: Interface) -> Module:
    """A beat is an event; one that is out of place is left out. The tick's end follows the event it came with."""
    m, ending = Module(), Signal(name="ending")
    parts, at = list[Any](), 0
    for bits in interface.fields:
        parts.append(axis.in_data[at : at + bits])
        at += bits
    channel, column, row, level = parts
    sides = ((channel, sent.layout.channels), (column, sent.layout.width), (row, sent.layout.height))
    inside = Cat(*(Const(1) if 1 << span(size) == size else part < size for part, size in sides)).all()
    some = (level != 0) & inside
    m.d.comb += [sent.channel.eq(channel), sent.column.eq(column), sent.row.eq(row), sent.end.eq(ending)]
    m.d.comb += [] if isinstance(sent.value, Const) else sent.value.eq(level)
    m.d.comb += sent.valid.eq(ending | (axis.in_valid & some))
    m.d.comb += axis.in_ready.eq(~ending & (sent.ready | ~some))
    with m.If(ending):
        m.d.sync += ending.eq(~sent.ready)
    with m.Elif(axis.in_valid & axis.in_ready):
        m.d.sync += ending.eq(axis.in_last)
    return m


def _receive_values(axis: Axis, sent: Events) -> Module:
    """A beat is a value, in the netlist's order (channel, row, column); what is 0 is no event."""
    m, layout, ending = Module(), sent.layout, Signal(name="ending")
    channel, column, row = (Signal(span(side), name=name) for name, side in _sides(sent))
    value = axis.in_data[: len(sent.value)]
    m.d.comb += [sent.channel.eq(channel), sent.column.eq(column), sent.row.eq(row), sent.end.eq(ending)]
    m.d.comb += [] if isinstance(sent.value, Const) else sent.value.eq(value)
    m.d.comb += sent.valid.eq(ending | (axis.in_valid & (value != 0)))
    m.d.comb += axis.in_ready.eq(~ending & (sent.ready | (value == 0)))
    last_column, last_row, last_channel = column == layout.width - 1, row == layout.height - 1, channel == layout.channels - 1
    with m.If(ending):
        m.d.sync += ending.eq(~sent.ready)
    with m.Elif(axis.in_valid & axis.in_ready):
        m.d.sync += column.eq(Mux(last_column, 0, column + 1))
        with m.If(last_column):
            m.d.sync += row.eq(Mux(last_row, 0, row + 1))
        with m.If(last_column & last_row):
            m.d.sync += channel.eq(Mux(last_channel, 0, channel + 1))
        m.d.sync += ending.eq(last_column & last_row & last_channel)
    return m


def answer(m: Module, axis: Axis, given: Events) -> None:
    """Outputs leave through a register, sign-extended to whole bytes."""
    free = Signal(name="answer_free")
    m.d.comb += [free.eq(~axis.out_valid | axis.out_ready), given.ready.eq(free)]
    with m.If(free):
        m.d.sync += [axis.out_valid.eq(given.valid), axis.out_data.eq(given.value)]
        m.d.sync += axis.out_last.eq(given.channel == given.layout.channels - 1)


def _sides(sent: Events) -> list[tuple[str, int]]:
    return [("channel", sent.layout.channels), ("column", sent.layout.width), ("row", sent.layout.height)]


def _data(interface: Interface) -> list[tuple[str, int]]:
    return [("s_axis_tdata", interface.given_bytes), ("m_axis_tdata", interface.answer_bytes)]
