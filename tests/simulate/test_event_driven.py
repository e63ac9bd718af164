"""Event-driven execution: the reference's spikes, in both orders; streams that are refused; operations counted as the simulator does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backend.netlists import Recipe, golden, made, recipes

from spikeloom.errors import ConfigError, DataError
from spikeloom.ir.hardware import Netlist
from spikeloom.simulate.event_driven import ORDERS, EventNetwork
from spikeloom.simulate.event_stream import EVENT, Events, events_from, values_from
from spikeloom.simulate.integers import ticks


def streams(netlist: Netlist, samples: int = 3) -> list[Events]:
    """Each golden sample as a stream of its own."""
    given_ = golden(netlist, samples, streamed=True)
    return [events_from(given_.inputs[:, sample]) for sample in range(samples)]


@given(recipes(), st.sampled_from(ORDERS))
@settings(max_examples=60, deadline=None)
def test_both_orders_send_the_spikes_of_the_reference(recipe: Recipe, order: str) -> None:
    netlist = recipe()
    network, wanted = EventNetwork(netlist), golden(netlist, 3, streamed=True)
    dense = [values for values, _ in ticks(netlist, wanted.inputs)]
    for sample, stream in enumerate(streams(netlist)):
        run = network.run(stream, order)
        assert (run.output == wanted.outputs[sample]).all()
        for number, population in enumerate(netlist.populations, 1):
            shape = netlist.wires[population.name].shape
            sent = values_from(run.events, netlist.timesteps, shape, number)
            assert (sent == np.stack([values[population.name][sample] for values in dense])).all(), population.name


@given(recipes())
@settings(max_examples=20, deadline=None)
def test_both_orders_count_alike(recipe: Recipe) -> None:
    network = EventNetwork(recipe())
    for stream in streams(network.netlist, 2):
        first, second = (network.run(stream, order) for order in ORDERS)
        assert (first.operations, first.active, first.updates) == (second.operations, second.active, second.updates)


def test_operations_are_events_times_fan_out() -> None:
    """By hand: a dense layer of 5 outputs, and every event of its input."""
    netlist = made(3, frozenset({"levels"}), 1, 1)
    network = EventNetwork(netlist)
    stream = streams(netlist)[2]
    run = network.run(stream)
    first, last = netlist.operations[0], netlist.operations[-1]
    assert run.operations[first.name] == len(stream) * netlist.wires[first.name].size
    assert run.operations[last.name] == len(run.events) * netlist.wires[last.name].size
    assert run.active[first.name] == sum(int((first.weight[:, i] != 0).sum()) for i in stream["index"])  # pyright: ignore


def test_no_events_cost_nothing() -> None:
    run = EventNetwork(made(5, frozenset({"convolution", "levels"}), 4)).run(np.zeros(0, EVENT))
    assert run.operations[next(iter(run.operations))] == 0


BAD = [
    ("time", lambda events: np.flip(events), "out of order"),
    ("late", lambda events: _with(events, -1, "time", 99), "time is out of range"),
    ("index", lambda events: _with(events, 0, "index", 10**6), "index is out of range"),
    ("population", lambda events: _with(events, 0, "population", 2), "population is out of range"),
    ("level", lambda events: _with(events, 0, "level", 10**6), "level is out of range"),
    ("twice", lambda events: np.insert(events, 1, events[0]), "more than once in a tick"),
    ("early", lambda events: _with(events, 0, "time", -1), "time is out of range"),
    ("before", lambda events: _with(events, 0, "index", -1), "index is out of range"),
    ("apart", lambda events: np.insert(events, 2, events[0]), "more than once in a tick"),
    ("form", lambda events: np.zeros(3), "another form"),
]


def _with(events: Events, place: int, part: str, value: int) -> Events:
    changed = events.copy()
    changed[part][place] = value
    return changed


@pytest.mark.parametrize(("name", "spoil", "problem"), BAD, ids=[name for name, _, _ in BAD])
def test_a_bad_stream_is_refused(name: str, spoil: object, problem: str) -> None:
    netlist = made(7, timesteps=4)
    stream = streams(netlist)[1]
    assert len(stream) > 2
    with pytest.raises(DataError, match=problem):
        EventNetwork(netlist).run(spoil(stream))  # pyright: ignore


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown order"):
        EventNetwork(made(7)).run(np.zeros(0, EVENT), "depth")
