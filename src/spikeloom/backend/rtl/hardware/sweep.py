"""
A stage: its links and banks, and the sweep at the tick's end.

    CLEAR   after a reset: every word gets what a sample starts with
    WAIT    events arrive; when the tick's end came on every link and the banks are still:
    READ    a word of every bank is addressed
    LOAD    it goes through the tree
    CROSS   neurons compare with one threshold a cycle, up to the first that none of the word's lanes reaches
    RESET   what stays on the membrane (only with one)
    WRITE   accumulators get what the next tick starts with
    SEND    the lanes that are not 0, one a cycle
    END     the tick's end is sent, and the links take events again
"""

from dataclasses import dataclass
from typing import Any, final

from spikeloom.backend.rtl.hardware.bank import Sweeping, bank
from spikeloom.backend.rtl.hardware.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from spikeloom.backend.rtl.hardware.lanes import Crossing, Lanes, Parameters, extended, slowest, tree
from spikeloom.backend.rtl.hardware.links import joined, link
from spikeloom.backend.rtl.hardware.ports import Events, memory, span
from spikeloom.backend.rtl.plan import Layout, Stage


@final
class Walk:
    """Where a sweep is: word, group of channels, column and row, one word after the other."""

    def __init__(self, m: Module, layout: Layout) -> None:
        self.m, self.layout = m, layout
        self.word, self.group = Signal(span(layout.words), name="word"), Signal(span(layout.groups), name="group")
        self.column, self.row = Signal(span(layout.width), name="column"), Signal(span(layout.height), name="row")
        self.last = Signal(name="last_word")
        m.d.comb += self.last.eq(self.word == layout.words - 1)

    def on(self) -> None:
        """To the next word; from the last to the first."""
        m, layout = self.m, self.layout
        last_group, last_column = self.group == layout.groups - 1, self.column == layout.width - 1
        m.d.sync += [self.word.eq(Mux(self.last, 0, self.word + 1)), self.group.eq(Mux(last_group, 0, self.group + 1))]
        with m.If(last_group):
            m.d.sync += self.column.eq(Mux(last_column, 0, self.column + 1))
            with m.If(last_column):
                m.d.sync += self.row.eq(Mux(self.row == layout.height - 1, 0, self.row + 1))


@final
@dataclass(frozen=True, eq=False)
class Control:
    """A sweep's own signals: `over` in a sample's last tick, `clears` after a reset, `release` when links may go on."""

    walk: Walk
    tick: Any
    over: Any
    clears: Any
    release: Any
    write: Any
    active: Any


@final
@dataclass(frozen=True, eq=False)
class Swept:
    """A word's lanes: the tree's values, the neurons, what stays on membranes, what is sent, and which of it waits to be sent."""

    values: Lanes
    crossing: Crossing | None
    kept: Lanes
    out: Lanes
    waiting: Any


def stage(told: Stage, given: list[Events], sent: Events, timesteps: int) -> Module:
    """The hardware of a stage: reads a stream for each bank, drives what it sends."""
    m, lanes, neurons = Module(), told.layout.lanes, told.neurons
    walk, tick = Walk(m, told.layout), Signal(span(timesteps), name="tick")
    clears, release, write = (Signal(name=name) for name in ("clears", "release", "write"))
    control = Control(walk, tick, tick == timesteps - 1, clears, release, write, Signal(name="active", init=1))
    parameters, begins = Parameters(m, told, walk.group), control.clears | control.over
    sweeping = Sweeping(control.active, walk.word, control.write)
    kept: Lanes = []
    if neurons is not None and neurons.membrane is not None:
        kept = [Signal(signed(neurons.membrane_bits), name=f"kept{lane}") for lane in range(lanes)]
    banks, written, drained = list[Lanes](), list[Lanes](), list[Any]()
    for place, each in enumerate(told.banks):
        m.submodules[f"bank{place}"] = part = Module()
        arrivals = link(part, each.link, given[place], told.layout, each.bits, control.release)
        written.append([Signal(signed(each.bits), name=f"written{place}_{lane}") for lane in range(lanes)])
        banks.append(bank(part, arrivals, told.layout, each.bits, sweeping, written[place]))
        drained.append(arrivals.drained)
    _restarted(m, told, parameters, written, begins, kept)
    values = _integrated(m, told, parameters, sweeping, tree(m, told.tree, banks, parameters), begins, kept)
    crossing = None if neurons is None else Crossing(m, told, neurons, parameters, walk.group)
    out = [Signal.like(value, name=f"out{lane}") for lane, value in enumerate(values)] if crossing is None else crossing.sent
    _sequence(m, told, control, Cat(*drained).all(), Swept(values, crossing, kept, out, Signal(lanes, name="waiting")), sent)
    return m


def _integrated(m: Module, told: Stage, given: Parameters, sweeping: Sweeping, values: Lanes, begins: Any, kept: Lanes) -> Lanes:
    """Equation (1) with the membrane in a memory of its own, a cycle after the tree."""
    neurons, words = told.neurons, told.layout.words
    if neurons is None or neurons.where != "memory":
        return values
    membrane, bits = neurons.membrane, neurons.membrane_bits
    store = memory(m, "membranes", bits * given.lanes, words, [])
    read, port = store.read_port(domain="sync"), store.write_port()
    m.d.comb += [read.addr.eq(sweeping.address), port.addr.eq(sweeping.address), port.en.eq(sweeping.write)]
    m.d.comb += port.data.eq(Mux(begins, joined([extended(part, bits) for part in given["initial"]]), joined(kept)))
    made = [Signal(signed(neurons.current_bits), name=f"integrated{lane}") for lane in range(given.lanes)]
    for lane, total in enumerate(made):
        v = read.data[lane * bits : (lane + 1) * bits].as_signed()
        if membrane is not None and membrane.decays:
            v = (v * given["decay"][lane]) >> membrane.decay_shift
        m.d.sync += total.eq(v + values[lane] - given["leak"][lane])
    return made


def _restarted(m: Module, told: Stage, given: Parameters, written: list[Lanes], begins: Any, kept: Lanes) -> None:
    """What accumulators start the next tick with."""
    neurons = told.neurons
    for place, lanes in enumerate(written):
        for lane, part in enumerate(lanes):
            start = given[f"start{place}"][lane]
            if neurons is None or neurons.where != "bank" or neurons.membrane is None:
                m.d.comb += part.eq(start)
                continue
            v = (kept[lane] * given["decay"][lane]) >> neurons.membrane.decay_shift if neurons.membrane.decays else kept[lane]
            m.d.comb += part.eq(Mux(begins, start, v + given["carried"][lane]))


def _sequence(m: Module, told: Stage, control: Control, drained: Any, lanes: Swept, sent: Events) -> None:
    """The states."""
    walk, wait = control.walk, Signal(range(max(slowest(told), 1) + 1), name="wait")
    crossing, kept, out = lanes.crossing, lanes.kept, lanes.out
    with m.FSM(name="sweep"):
        with m.State("CLEAR"):
            m.d.comb += [control.clears.eq(1), control.write.eq(wait == 1)]
            m.d.sync += wait.eq(wait == 0)
            with m.If(wait == 1):
                walk.on()
            with m.If((wait == 1) & walk.last):
                m.d.comb += control.release.eq(1)
                m.d.sync += control.active.eq(0)
                m.next = "WAIT"
        with m.State("WAIT"), m.If(drained):
            _begun(m, told, control)
        with m.State("READ"):
            m.d.sync += wait.eq(0)
            m.next = "LOAD"
        with m.State("LOAD"):
            m.d.sync += wait.eq(wait + 1)
            with m.If(wait == slowest(told)):
                _loaded(m, lanes)
        if crossing is not None:
            with m.State("CROSS"):
                crossing.step()
                with m.If(crossing.over):
                    m.next = "RESET" if kept else "WRITE"
            with m.State("RESET"):
                m.d.sync += [each.eq(crossing.left(lane)) for lane, each in enumerate(kept)]
                m.next = "WRITE"
        with m.State("WRITE"):
            pending = _pending(told, walk, out)
            m.d.comb += control.write.eq(1)
            m.d.sync += lanes.waiting.eq(pending)
            m.next = "SEND"
            with m.If(~pending.any()):
                _onward(m, walk)
        with m.State("SEND"):
            rest = lanes.waiting & (lanes.waiting - 1)
            _send(m, told, walk, lanes, sent)
            with m.If(sent.ready):
                m.d.sync += lanes.waiting.eq(rest)
            with m.If(sent.ready & (rest == 0)):
                _onward(m, walk)
        with m.State("END"):
            m.d.comb += [sent.valid.eq(0 if told.final else 1), sent.end.eq(1)]
            with m.If(Const(1) if told.final else sent.ready):
                m.d.comb += control.release.eq(1)
                m.d.sync += [control.active.eq(0), control.tick.eq(Mux(control.over, 0, control.tick + 1))]
                m.next = "WAIT"


def _begun(m: Module, told: Stage, control: Control) -> None:
    """The tick's end came: sweep; the stage that answers waits for the last tick."""
    with m.If(control.over if told.final else Const(1)):
        m.d.sync += control.active.eq(1)
        m.next = "READ"
    with m.Else():
        m.d.comb += control.release.eq(1)
        m.d.sync += control.tick.eq(control.tick + 1)


def _loaded(m: Module, lanes: Swept) -> None:
    """The tree's values go to the neurons, or are what is sent."""
    if lanes.crossing is not None:
        lanes.crossing.start(lanes.values)
        m.next = "CROSS"
    else:
        m.d.sync += [each.eq(value) for each, value in zip(lanes.out, lanes.values, strict=True)]
        m.next = "WRITE"


def _onward(m: Module, walk: Walk) -> None:
    """To the next word, or to the end."""
    walk.on()
    m.next = "READ"
    with m.If(walk.last):
        m.next = "END"


def _pending(told: Stage, walk: Walk, out: Lanes) -> Any:
    """The lanes that have something to send."""
    layout, found = told.layout, list[Any]()
    empty = layout.groups * layout.lanes - layout.channels
    for lane, value in enumerate(out):
        there = walk.group != layout.groups - 1 if lane >= layout.lanes - empty else Const(1)
        found.append(there & (Const(1) if told.final else value != 0))
    return Cat(*found)


def _send(m: Module, told: Stage, walk: Walk, lanes: Swept, sent: Events) -> None:
    """The lowest lane that waits."""
    lane = Signal(span(told.layout.lanes), name="lane")
    for number in reversed(range(told.layout.lanes)):
        with m.If(lanes.waiting[number]):
            m.d.comb += lane.eq(number)
    m.d.comb += [sent.valid.eq(1), sent.channel.eq(Cat(lane, walk.group)), sent.column.eq(walk.column), sent.row.eq(walk.row)]
    if not isinstance(sent.value, Const):
        m.d.comb += sent.value.eq(Array(lanes.out)[lane] if len(lanes.out) > 1 else lanes.out[0])
