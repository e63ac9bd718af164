"""The HW dialect: ranges that hold, files that come back, and the reference against a plain loop."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backend.netlists import Recipe, golden, made, recipes, uniform

from spikeloom.errors import ProgramError
from spikeloom.ir.hardware import Add, Membrane, Pool, Population, Source, Wire, load_netlist, membrane_wires, netlist_files, netlist_of
from spikeloom.simulate.integers import run_integers, ticks


@given(recipes(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_no_number_leaves_its_proven_range(recipe: Recipe, streamed: bool) -> None:
    netlist = recipe()
    given_ = golden(netlist, 6, streamed=streamed)
    inside = membrane_wires(netlist)
    for values, state in ticks(netlist, given_.inputs):
        for name, value in values.items():
            wire = netlist.wires[name]
            assert wire.low <= value.min(), name
            assert value.max() <= wire.high, name
            assert value.shape[1:] == wire.shape
        for name, v in state.membranes.items():
            assert inside[name][1].low <= v.min()
            assert v.max() <= inside[name][1].high


@given(recipes())
@settings(max_examples=30, deadline=None)
def test_files_give_the_netlist_back(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> None:
    netlist = recipe()
    folder = tmp_path_factory.mktemp("net")
    for name, content in netlist_files(netlist).items():
        (folder / name).write_bytes(content)
    again, given_ = load_netlist(folder), golden(netlist)
    assert (run_integers(again, given_.inputs) == given_.outputs).all()
    assert netlist_files(again) == netlist_files(netlist)


def test_altered_files_are_refused(tmp_path: Path) -> None:
    for name, content in netlist_files(made(1)).items():
        (tmp_path / name).write_bytes(content)
    kept = (tmp_path / "netlist.safetensors").read_bytes()
    (tmp_path / "netlist.safetensors").write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(ProgramError, match="do not belong"):
        load_netlist(tmp_path)


def test_a_population_follows_the_law() -> None:
    """One neuron by hand: θ = 10, two levels, decay 1/2, leak 1."""
    net = netlist_of(
        Source("x", 1.0),
        Wire((1,), -100, 100, True),
        [uniform("p", "x", 10, 2, initial=5, decay=np.array([1]), decay_shift=1, leak=np.array([1]))],
        "p",
        timesteps=4,
    )
    sent = [(int(values["p"][0, 0]), int(state.membranes["p"][0, 0])) for values, state in ticks(net, np.full((4, 1, 1), 12))]
    # h = 2 + 12 - 1 = 13; 1 + 11 = 12; 1 + 11; ...
    assert sent == [(1, 3), (1, 2), (1, 2), (1, 2)]


def test_reset_to_zero_keeps_what_did_not_fire() -> None:
    net = netlist_of(Source("x", 1.0), Wire((1,), -9, 9, True), [uniform("p", "x", 10, 1, initial=0, reset="zero")], "p", timesteps=3)
    sent = [(int(values["p"][0, 0]), int(state.membranes["p"][0, 0])) for values, state in ticks(net, np.full((3, 1, 1), 9))]
    assert sent == [(0, 9), (1, 0), (0, 9)]


def test_uniform_staircases_are_known() -> None:
    assert uniform("p", "x", [3, 5], 4, negative=2).uniform
    assert list(uniform("p", "x", [3, 5], 4, negative=2).quantum) == [3, 5]
    assert uniform("p", "x", 7, 1).binary
    odd = Population("p", ("x",), np.array([[3, 7]]), np.array([[0, 1, 2]]), 0, Membrane(np.zeros(1, int), np.array([[0, 3, 6]])))
    assert not odd.uniform


def test_a_maximum_over_time_can_fall_by_the_least_of_its_window() -> None:
    """One place falls while the other, always 0, is far below it."""
    operations = [Add("s", ("x",), (np.array([1, 0]),), None, 2), Pool("m", ("s",), "max", (1, 2), (1, 2))]
    net = netlist_of(Source("x", 1.0), Wire((1, 1, 2), -2, 2, True), operations, "m", timesteps=3)
    shown = np.array([2, 2, -2])[:, None, None, None, None] * np.ones((1, 1, 1, 1, 2), int)
    sent = [int(values["m"].item()) for values, _ in ticks(net, shown)]
    assert sent == [2, 2, -2]
    assert (net.wires["m"].low, net.wires["m"].high) == (-2, 2)
