"""
The whole: what comes in by AXI-Stream, the stages, what goes out by AXI-Stream (ports as the standard names them, clock `clk`, reset `rst`).

Source: AMBA AXI4-Stream, ARM IHI 0051.
"""

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned  # pyright: ignore[reportMissingImports]

from spikeloom.backend.rtl.hardware.maximum import maximum
from spikeloom.backend.rtl.hardware.ports import Events, events, queued, span
from spikeloom.backend.rtl.hardware.sweep import stage
from spikeloom.backend.rtl.interface import Interface
from spikeloom.backend.rtl.plan import Plan, Stage, banks_of


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


def network(plan: Plan, interface: Interface, fifo_depth: int) -> tuple[Module, Axis]:
    """The hardware of a plan, and its ports."""
    m, axis = Module(), Axis(interface)
    layouts, ranges = plan.layouts(), plan.ranges()
    streams = {name: events(f"from_{place}", layouts[name], ranges[name]) for place, name in enumerate(layouts)}
    readers = {name: [(each, bank) for each in plan.stages for bank in range(len(banks_of(each))) if _source(each, bank) == name] for name in layouts}
    queues = dict[tuple[str, int], Events]()
    for place, (name, reading) in enumerate(readers.items()):
        if reading:
            made = queued(m, f"queue{place}", streams[name], len(reading), fifo_depth)
            queues |= {(each.name, bank): queue for (each, bank), queue in zip(reading, made, strict=True)}
    for place, each in enumerate(plan.stages):
        given = [queues[each.name, bank] for bank in range(len(banks_of(each)))]
        made = stage(each, given, streams[each.name], plan.timesteps) if isinstance(each, Stage) else None
        m.submodules[f"stage{place}"] = made or maximum(each, given[0], streams[each.name], plan.timesteps)  # pyright: ignore[reportArgumentType]
    _answer(m, axis, streams[plan.last.name], interface)
    m.submodules.receive = receive_events(axis, streams[plan.source], interface) if interface.form == "events" else receive_values(axis, streams[plan.source])
    return m, axis


def receive_events(axis: Axis, sent: Events, interface: Interface) -> Module:
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


def receive_values(axis: Axis, sent: Events) -> Module:
    """A beat is a value, in the netlist's order (channel, row, column); what is 0 is no event."""
    m, layout, ending = Module(), sent.layout, Signal(name="ending")
    channel, column, row = (Signal(span(side), name=name) for name, side in _sides(sent))
    shape = signed(len(sent.value)) if sent.limits[0] < 0 else unsigned(len(sent.value))
    value = axis.in_data[: len(sent.value)]
    m.d.comb += [sent.channel.eq(channel), sent.column.eq(column), sent.row.eq(row), sent.end.eq(ending)]
    m.d.comb += [] if isinstance(sent.value, Const) else sent.value.eq(value.as_signed() if shape.signed else value)
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


def _answer(m: Module, axis: Axis, given: Events, interface: Interface) -> None:
    """Outputs leave through a register, sign-extended to whole bytes."""
    free = Signal(name="answer_free")
    m.d.comb += [free.eq(~axis.out_valid | axis.out_ready), given.ready.eq(free)]
    value = given.value if not isinstance(given.value, Const) else Const(0)
    with m.If(free):
        m.d.sync += [axis.out_valid.eq(given.valid), axis.out_data.eq(value), axis.out_last.eq(given.channel == interface.outputs - 1)]


def _sides(sent: Events) -> list[tuple[str, int]]:
    return [("channel", sent.layout.channels), ("column", sent.layout.width), ("row", sent.layout.height)]


def _data(interface: Interface) -> list[tuple[str, int]]:
    return [("s_axis_tdata", interface.given), ("m_axis_tdata", interface.answers)]


def _source(each: Any, bank: int) -> str:
    return banks_of(each)[bank].link.source
