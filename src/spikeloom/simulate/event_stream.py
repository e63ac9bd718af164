"""
Address-event representation: a spike is (time, population, index, level).

`time` is the tick; `population` counts the network's wires that carry spikes of their own, the input being 0 and populations following in
order; `index` is the neuron's place in its population, flattened; `level` is what was sent (1 of a binary neuron). A stream is ordered by
time, and sends each neuron at most once in a tick.

Source: Boahen 2000, doi:10.1109/82.842110 (point-to-point connectivity by address events).
"""

import numpy as np
from jaxtyping import Int, Shaped
from numpy import ndarray

from spikeloom.errors import DataError
from spikeloom.ir.hardware import Netlist

EVENT = np.dtype([("time", "<i8"), ("population", "<i4"), ("index", "<i4"), ("level", "<i4")])
Events = Shaped[ndarray, " e"]


def no_events() -> Events:
    """A stream without events."""
    return np.zeros(0, EVENT)


def events_from(values: Int[ndarray, "t *shape"], population: int = 0) -> Events:
    """The stream of one sample's values over the ticks; zeros are no events."""
    flat = values.reshape(len(values), -1)
    time, index = np.nonzero(flat)
    made = np.zeros(len(time), EVENT)
    made["time"], made["population"], made["index"], made["level"] = time, population, index, flat[time, index]
    return made


def values_from(events: Events, timesteps: int, shape: tuple[int, ...], population: int = 0) -> Int[ndarray, "t *shape"]:
    """One sample's values over the ticks: the inverse of `events_from`. Events of a neuron in one tick add up."""
    values = np.zeros((timesteps, int(np.prod(shape))), np.int64)
    chosen = events[events["population"] == population]
    np.add.at(values, (chosen["time"], chosen["index"]), chosen["level"])
    return values.reshape(timesteps, *shape)


def checked_events(netlist: Netlist, events: Events) -> Events:
    """A stream that the network can take. Raises DataError for another form, events out of order, anything out of range, or a neuron that
    sends more than once in a tick."""
    if events.dtype != EVENT:
        raise DataError("an event stream has another form", found=events.dtype, allowed=EVENT)
    if not len(events):
        return events
    wire = netlist.wires[netlist.source.name]
    back = np.nonzero(np.diff(events["time"]) < 0)[0]
    if len(back):
        first = int(back[0])
        found = f"event {first + 1} at time {events['time'][first + 1]} after one at time {events['time'][first]}"
        raise DataError("events are out of order", found=found, allowed="times that do not fall", todo="sort the stream by time")
    bounds = {"time": (0, netlist.timesteps - 1), "population": (0, 0), "index": (0, wire.size - 1), "level": (wire.low, wire.high)}
    for part, (low, high) in bounds.items():
        outside = np.nonzero((events[part] < low) | (events[part] > high))[0]
        if len(outside):
            found = f"event {int(outside[0])} has {part} {events[part][outside[0]]}"
            todo = f"run for more ticks, or bin time more coarsely: T is {netlist.timesteps}" if part == "time" else None
            raise DataError(f"an event's {part} is out of range", found=found, allowed=f"{low} to {high}", todo=todo)
    _sent_once(events, wire.size)
    return events


def _sent_once(events: Events, size: int) -> None:
    """Raises DataError where a neuron of a population of this size sends more than once in a tick."""
    where = events["time"] * size + events["index"]
    order = np.argsort(where, kind="stable")
    again = np.nonzero(np.diff(where[order]) == 0)[0]
    if len(again):
        first, second = int(order[again[0]]), int(order[again[0] + 1])
        found = f"events {first} and {second}, both of index {events['index'][first]} at time {events['time'][first]}"
        todo = "send their sum as the level of one event"
        raise DataError("a neuron sends more than once in a tick", found=found, allowed="one event for a neuron and tick", todo=todo)
