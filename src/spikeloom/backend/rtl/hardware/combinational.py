"""
A network as gates alone, behind the same AXI-Streams: bits of a sample are gathered, all gates answer at once, the counts go out.

A gate of few inputs is a truth table, a larger one compares two counts.
"""

from typing import Any

from spikeloom.backend.rtl.hardware.axis import Axis, answer, received
from spikeloom.backend.rtl.hardware.hdl import Array, Cat, Const, Module, Signal, signed
from spikeloom.backend.rtl.hardware.ports import Events, events, span
from spikeloom.backend.rtl.interface import Interface
from spikeloom.backend.rtl.plan import Layout
from spikeloom.logic import GateList, ThresholdGate
from spikeloom.logic.equations import table

TABLED = 6
"""Inputs of the largest gate that is written as a truth table."""


def combinational(told: GateList, interface: Interface) -> tuple[Module, Axis]:
    """The hardware of gates, and its ports."""
    m, axis = Module(), Axis(interface)
    given = events("from_0", interface.layout, interface.takes)
    out = events("answers", Layout(interface.outputs, 1, 1, 1), interface.sends, True)
    clear = Signal(name="clear")
    bits = _gathered(m, told, given, clear)
    m.submodules.gates = gates = Module()
    counts = _counted(gates, told, bits, interface.answer_bits)
    _sequence(m, given, out, counts, clear)
    answer(m, axis, out)
    m.submodules.receive = received(axis, given, interface)
    return m, axis


def _gathered(m: Module, told: GateList, given: Events, clear: Any) -> dict[str, Any]:
    """A register for each input bit: what 0 means until an event says else."""
    layout, found, reaches = given.layout, dict[str, Any](), dict[float, Any]()
    number = Signal(span(layout.size), name="number")
    taken = given.valid & given.ready & ~given.end
    m.d.comb += number.eq((given.channel * layout.height + given.row) * layout.width + given.column)
    for bit in told.bits:
        if bit.threshold not in reaches:
            reaches[bit.threshold] = Signal(name=f"reaches{len(reaches)}")
            m.d.comb += reaches[bit.threshold].eq(given.value >= int(bit.threshold))
        kept = found[bit.name] = Signal(name=bit.name, init=bit.threshold <= 0)
        with m.If(clear):
            m.d.sync += kept.eq(bit.threshold <= 0)
        with m.Elif(taken & (number == bit.value)):
            m.d.sync += kept.eq(reaches[bit.threshold])
    return found


def _counted(m: Module, told: GateList, bits: dict[str, Any], width: int) -> list[Any]:
    known = dict(bits)
    for gate in told.gates:
        known[gate.name] = Signal(name=gate.name)
        m.d.comb += known[gate.name].eq(_gate(gate, known))
    counts = [Signal(signed(width), name=each.name) for each in told.classes]
    for each, count in zip(told.classes, counts, strict=True):
        m.d.comb += count.eq(_total(each.plus, known) - _total(each.minus, known) + each.offset)
    return counts


def _gate(gate: ThresholdGate, known: dict[str, Any]) -> Any:
    """Σ plus − Σ minus ≥ threshold."""
    inputs = gate.inputs
    if not inputs:
        return Const(int(gate.threshold <= 0), 1)
    if len(inputs) <= TABLED:
        truth = sum(1 << row for row, one in enumerate(table(gate).tolist()) if one)
        return Const(truth, 1 << len(inputs)).bit_select(Cat(*(known[name] for name in inputs)), 1)
    return _total(gate.plus, known) >= _total(gate.minus, known) + gate.threshold


def _total(names: tuple[str, ...], known: dict[str, Any]) -> Any:
    """How many are 1: counted in pairs, pairs of pairs, …"""
    often = dict.fromkeys(names, 0)
    for name in names:
        often[name] += 1
    parts: list[Any] = [known[name] * weight if weight > 1 else known[name] for name, weight in often.items()]
    while len(parts) > 1:
        parts = [sum(parts[at + 1 : at + 2], parts[at]) for at in range(0, len(parts), 2)]
    return parts[0] if parts else Const(0)


def _sequence(m: Module, given: Events, out: Events, counts: list[Any], clear: Any) -> None:
    """GATHER a sample's events; LATCH the counts; SEND them, one a cycle."""
    held = [Signal.like(count, name=f"held{place}") for place, count in enumerate(counts)]
    with m.FSM(name="sequence"):
        with m.State("GATHER"):
            m.d.comb += given.ready.eq(1)
            with m.If(given.valid & given.end):
                m.next = "LATCH"
        with m.State("LATCH"):
            m.d.comb += clear.eq(1)
            m.d.sync += [each.eq(count) for each, count in zip(held, counts, strict=True)]
            m.next = "SEND"
        with m.State("SEND"):
            value = Array(held)[out.channel] if len(held) > 1 else held[0]
            m.d.comb += [out.valid.eq(1), out.value.eq(value)]
            with m.If(out.ready):
                m.d.sync += out.channel.eq(out.channel + 1)
            with m.If(out.ready & (out.channel == len(held) - 1)):
                m.d.sync += out.channel.eq(0)
                m.next = "GATHER"
