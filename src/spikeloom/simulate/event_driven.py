"""
Event-driven execution of a netlist: spikes in, spikes out, work only where they are. Two orders, the same spikes:

    layers    layer after layer, all events of a tick together
    queue     one event after another from a queue ordered by time; a population's thresholds are evaluated at the tick's end, which is
              when everything before it has sent

Synaptic operations are events × fan-out (DESIGN.md §5), counted as `simulate.events` counts those of a spiking program.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.errors import ConfigError, InternalError
from spikeloom.ir.hardware import Affine, Convolution, Netlist, Operation, Pool, Population, Requantise
from spikeloom.simulate.event_layers import NOTHING, Change, fan_out, layer_of, merged, rests
from spikeloom.simulate.event_neurons import End, EventMaximum, EventPopulation, EventRequantise
from spikeloom.simulate.event_stream import EVENT, Events, checked_events, no_events

ORDERS = ("layers", "queue")


@final
@dataclass(frozen=True, eq=False)
class EventRun:
    """What a run gave: Σ of the output over the ticks, every spike that any population sent, in order of time, synaptic operations by
    layer (all synapses an event meets; `active` those whose weight is not 0), and how often a neuron was updated."""

    output: Int[ndarray, "..."]
    events: Events
    operations: Mapping[str, int]
    active: Mapping[str, int]
    updates: int

    @property
    def synaptic_operations(self) -> int:
        """All of them."""
        return sum(self.operations.values())


@final
class EventNetwork:
    """A netlist ready to run event by event, one sample at a time."""

    def __init__(self, netlist: Netlist) -> None:
        self.netlist, self.rest = netlist, rests(netlist)
        self.layers = {each.name: layer_of(each, netlist) for each in netlist if not ends_tick(each)}
        self.place = {each.name: number for number, each in enumerate(netlist, 1)}
        self.number = {netlist.source.name: 0} | {each.name: number for number, each in enumerate(netlist.populations, 1)}
        self.readers = {name: netlist.readers(name) for name in netlist.wires}
        self.fans = dict[str, tuple[Int[ndarray, " n"], Int[ndarray, " n"]]]()
        for each in netlist:
            if _counts(each) and netlist.wires[each.reads[0]].spikes:
                shape = netlist.wires[each.reads[0]].shape
                self.fans[each.name] = (fan_out(each, shape, weights=False), fan_out(each, shape, weights=True))

    def run(self, events: Events, order: str = "layers") -> EventRun:
        """One sample from rest over T ticks. Raises DataError for a stream the network cannot take, ConfigError for another order."""
        if order not in ORDERS:
            raise ConfigError("unknown order of execution", found=order, allowed=", ".join(ORDERS))
        return _Run(self, checked_events(self.netlist, events)).all(order)


@final
class _Run:
    """One sample at work."""

    def __init__(self, network: EventNetwork, events: Events) -> None:
        self.network, self.netlist = network, network.netlist
        self.ends = {each.name: _end_of(each, network) for each in self.netlist if ends_tick(each)}
        self.operations = dict.fromkeys(network.fans, 0)
        self.active = dict.fromkeys(network.fans, 0)
        self.inputs = [events[events["time"] == time] for time in range(self.netlist.timesteps)]
        self.sent = list[Events]()
        self.total = np.zeros(self.netlist.wires[self.netlist.output].size, np.int64)

    def all(self, order: str) -> EventRun:
        tick = self.by_layers if order == "layers" else self.by_queue
        for time in range(self.netlist.timesteps):
            self.total += self.network.rest[self.netlist.output].reshape(-1)
            tick(time)
        updates = sum(end.updates for end in self.ends.values() if isinstance(end, EventPopulation))
        events = np.concatenate(self.sent) if self.sent else no_events()
        output = self.total.reshape(self.netlist.wires[self.netlist.output].shape)
        return EventRun(output, events, self.operations, self.active, updates)

    def by_layers(self, time: int) -> None:
        """Every operation once, on all changes of the tick."""
        changes = {self.netlist.source.name: self.given(time)}
        for each in self.netlist:
            reads = [changes[name] for name in each.reads]
            self.count(each.name, reads[0])
            if each.name in self.ends:
                changes[each.name] = self.ends[each.name].tick(reads[0])
                self.record(each.name, time, changes[each.name])
            else:
                changes[each.name] = self.network.layers[each.name].changed(reads)
        self.answer(changes[self.netlist.output])

    def by_queue(self, time: int) -> None:
        """One event after another; a tick's end for everything that waits for it."""
        inbox: dict[str, list[Change]] = {name: [] for name in self.ends}
        queue = [(self.network.place[name], 1, number, name, NOTHING) for number, name in enumerate(self.ends)]
        self.push(queue, 0, self.netlist.source.name, self.given(time))
        heapq.heapify(queue)
        while queue:
            place, end, _, name, change = heapq.heappop(queue)
            if not end:
                self.spread(name, change, inbox)
                continue
            sent = self.ends[name].tick(merged(inbox[name]))
            self.record(name, time, sent)
            self.push(queue, place, name, sent)

    def push(self, queue: list[tuple[int, int, int, str, Change]], place: int, name: str, change: Change) -> None:
        """Every event of a change by itself, before anything that comes after."""
        for number in range(len(change.index)):
            single = Change(change.index[number : number + 1], change.amount[number : number + 1])
            heapq.heappush(queue, (place, 0, number, name, single))

    def spread(self, name: str, change: Change, inbox: dict[str, list[Change]]) -> None:
        """A change of a wire, as far as it goes without waiting for others."""
        if name == self.netlist.output:
            self.answer(change)
        for each in self.network.readers[name]:
            self.count(each.name, change)
            if each.name in inbox:
                inbox[each.name].append(change)
            else:
                reads = [change if read == name else NOTHING for read in each.reads]
                self.spread(each.name, self.network.layers[each.name].changed(reads), inbox)

    def given(self, time: int) -> Change:
        """The input's events at a time."""
        return merged([Change(self.inputs[time]["index"].astype(np.int64), self.inputs[time]["level"].astype(np.int64))])

    def count(self, name: str, change: Change) -> None:
        """The synapses that events meet in a layer."""
        if name in self.network.fans:
            whole, active = self.network.fans[name]
            self.operations[name] += int(whole[change.index].sum())
            self.active[name] += int(active[change.index].sum())

    def record(self, name: str, time: int, change: Change) -> None:
        """Keeps what a population sent."""
        if name in self.network.number:
            made = np.zeros(len(change.index), EVENT)
            order = np.argsort(change.index, kind="stable")
            made["time"], made["population"] = time, self.network.number[name]
            made["index"], made["level"] = change.index[order], change.amount[order]
            self.sent.append(made)

    def answer(self, change: Change) -> None:
        """Adds a change of the output to the answer."""
        np.add.at(self.total, change.index, change.amount)


def ends_tick(operation: Operation) -> bool:
    """Whether an operation waits for the tick's end: it is no sum of what it reads."""
    return isinstance(operation, Population | Requantise) or (isinstance(operation, Pool) and operation.what == "max")


def _end_of(operation: Operation, network: EventNetwork) -> End:
    rest = network.rest[operation.reads[0]]
    if isinstance(operation, Population):
        return EventPopulation(operation, rest)
    if isinstance(operation, Requantise):
        return EventRequantise(operation, rest)
    if isinstance(operation, Pool):
        return EventMaximum(operation, network.netlist, rest)
    raise InternalError(f"{operation.name} does not wait for a tick's end")


def _counts(operation: Operation) -> bool:
    """Whether events that an operation reads are synaptic operations."""
    return isinstance(operation, Affine | Convolution) or (isinstance(operation, Pool) and operation.what == "sum")
