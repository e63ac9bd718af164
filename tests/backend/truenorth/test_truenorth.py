"""TrueNorth: networks that run to the reference's answers on cores of the published size, and refusals with numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backend.netlists import EVERYTHING, Recipe, golden, made, recipes, uniform
from tests.backend.truenorth.gated import gated, integrators, pictures

from spikeloom.backend import TARGETS, Golden, Verdict
from spikeloom.backend.truenorth import TARGET, Options, limits
from spikeloom.backend.truenorth.codes import code_for
from spikeloom.backend.truenorth.gates import layers_of
from spikeloom.backend.truenorth.mapping import mapped
from spikeloom.backend.truenorth.simulator import loaded, run
from spikeloom.errors import ProgramError
from spikeloom.ir.hardware import Affine, Netlist, Pool, Population, Requantise, Route, Source, Wire, netlist_of
from spikeloom.simulate.integers import run_integers

PLAIN = Options()
FEWEST = Options(partial_sums="where they save cores")


def emitted(netlist: Netlist, folder: Path, options: Options = PLAIN, *, samples: int = 6, streamed: bool = False) -> Verdict:
    vectors = golden(netlist, samples, streamed=streamed)
    files = TARGET.emit(netlist, vectors, options)
    assert files == TARGET.emit(netlist, vectors, options)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return TARGET.verify(folder, netlist, vectors, options)


def taken(netlist: Netlist, folder: Path, options: Options = PLAIN, **told: bool) -> None:
    assert not TARGET.refusals(netlist, options)
    assert emitted(netlist, folder, options, **told).mismatches == 0


@pytest.mark.parametrize("weight", [1, 2, 7])
@pytest.mark.parametrize("seed", range(3))
def test_gates_with_small_weights(tmp_path: Path, seed: int, weight: int) -> None:
    taken(gated(seed, (30, 40, 20), weight), tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_convolutions_and_pools_of_gates(tmp_path: Path, seed: int) -> None:
    taken(pictures(seed), tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_integrators_over_ticks(tmp_path: Path, seed: int) -> None:
    taken(integrators(seed, 2 + seed), tmp_path, streamed=seed % 2 == 0)


@pytest.mark.parametrize("seed", range(4))
def test_inhibition_that_a_leak_cannot_wait_with_comes_by_pulses(tmp_path: Path, seed: int) -> None:
    """Deep neurons whose leak would add up to more than their threshold before their first input."""
    netlist = integrators(seed, 6, 7, resets=("subtract", "zero", "subtract"), inhibition=2)
    taken(netlist, tmp_path, streamed=seed % 2 == 0)
    assert "p0" not in (driven := {core.layer for core in mapped(layers_of(netlist), 6).cores if "drive" in core.keys})
    assert "p2" in driven  # the first layer waits for nothing
    assert np.abs(golden(netlist, 6, streamed=seed % 2 == 0).outputs).sum() > 0


def test_the_host_makes_bits_of_values(tmp_path: Path) -> None:
    """Gates on the input itself are thresholds of the host; others may read the same input's bits beside them."""
    rng = np.random.default_rng(0)
    operations = [
        Population("low", ("x",), rng.integers(-3, 90, (2, 1)), np.array([[0, 1]])),
        Route("flat", ("x",), (18,)),
        Population("high", ("flat",), np.array([[200]]), np.array([[0, 1]])),
        Route("f", ("low", "high"), (36,)),
        Affine("a", ("f",), rng.integers(-1, 2, (9, 36))),
        Population("g", ("a",), rng.integers(-2, 3, (9, 1)), np.array([[0, 1]])),
    ]
    netlist = netlist_of(Source("x", 1.0), Wire((2, 3, 3), 0, 255, True), operations, "g")
    taken(netlist, tmp_path)
    assert TARGET.report(netlist, PLAIN)["cores_by_layer"] == {"g": 1}


def test_edges_that_skip_layers_wait_on_axons(tmp_path: Path) -> None:
    taken(gated(2, (30, 30, 20, 20), skip=True), tmp_path)


@given(recipes(EVERYTHING - {"levels", "requantise", "decay", "max"}, (1, 1, 2, 4)))
@settings(max_examples=15, deadline=None)
def test_whatever_is_taken_equals_the_reference(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> None:
    """Random weights of 8 bits: few fit, and none may differ."""
    netlist = recipe()
    if not TARGET.refusals(netlist, PLAIN):
        assert emitted(netlist, tmp_path_factory.mktemp("chip"), samples=3).mismatches == 0


@given(st.integers(0, 10**6), st.sampled_from([(20, 30, 12), (140, 24, 9), (60, 20, 20, 7)]), st.sampled_from([1, 3]), st.booleans())
@settings(max_examples=6, deadline=None)
def test_random_gates_are_taken_and_equal(
    tmp_path_factory: pytest.TempPathFactory, seed: int, widths: tuple[int, ...], weight: int, fewest: bool
) -> None:
    taken(gated(seed, widths, weight, skip=len(widths) > 3), tmp_path_factory.mktemp("chip"), FEWEST if fewest else PLAIN)


def test_more_inputs_than_a_core_takes_become_partial_sums(tmp_path: Path) -> None:
    netlist = gated(4, (500, 300, 30), zeros=0.0)
    assert TARGET.refusals(netlist, PLAIN) == []
    told = TARGET.report(netlist, PLAIN)
    assert told["parts"] == {"g0": 4}  # 127 inputs a part: two axon types each, and one axon for the pulse
    assert told["cores_by_kind"]["partial"] == 4 * 2
    assert told["ticks_between_samples"] > 80  # as many as a partial sum has spikes at most, and two
    assert emitted(netlist, tmp_path).mismatches == 0


def test_samples_follow_each_other_through_the_same_chip(tmp_path: Path) -> None:
    """At T = 1 nothing is loaded anew: sample k arrives P ticks after sample k - 1, and answers P ticks after its answer."""
    for place, netlist in enumerate((gated(0, (40, 30, 20)), gated(4, (500, 30, 10), zeros=0.0))):
        folder = tmp_path / str(place)
        folder.mkdir()
        emitted(netlist, folder)
        network, period = loaded(folder / "network.json"), TARGET.report(netlist, PLAIN)["ticks_between_samples"]
        rng = np.random.default_rng(place)
        samples = rng.integers(0, 2, (4, *netlist.wires["x"].shape))
        expected = run_integers(netlist, samples)
        stream = np.zeros((3 * period + 1, 1, samples.shape[1]), np.int64)
        stream[::period, 0] = samples
        for number in range(4):  # the host counts at the tick of this sample's answer only
            assert (run(network, stream, counted=1, later=number * period).answer[0] == expected[number]).all(), number


def test_every_core_is_within_the_chip(tmp_path: Path) -> None:
    netlist = gated(1, (300, 260, 30), zeros=0.1)
    emitted(netlist, tmp_path, FEWEST)
    told = json.loads((tmp_path / "network.json").read_text())
    seen = set()
    for number, core in enumerate(told["cores"]):
        assert len(core["axon_types"]) <= limits.AXONS
        assert core["count"] <= limits.NEURONS
        targets = np.broadcast_to(core["neurons"]["target_core"], core["count"])
        axons = np.broadcast_to(core["neurons"]["target_axon"], core["count"])
        for target, axon in zip(targets.tolist(), axons.tolist(), strict=True):
            assert target < 0 or axon < len(told["cores"][target]["axon_types"])
            assert target < 0 or (target, axon) not in seen, number  # an axon hears one neuron
            seen.add((target, axon))


@given(st.integers(-200, 0), st.integers(0, 200), st.integers(3, 4))
@settings(deadline=None)
def test_codes_make_every_weight(low: int, high: int, types: int) -> None:
    code = code_for(low, high, types)
    assert code is not None
    values = np.arange(low, high + 1)
    counts = code.counts(values)
    assert (counts @ np.array(code.bases) == values).all()
    assert (counts <= np.array(code.copies)).all()
    assert (counts >= 0).all()
    assert len(code.bases) <= types


def test_ternary_weights_are_two_axon_types() -> None:
    code = code_for(-1, 1, 4)
    assert code is not None
    assert (code.bases, code.copies) == ((1, -1), (1, 1))


def test_an_altered_network_is_seen(tmp_path: Path) -> None:
    netlist = gated(0, (40, 30, 20))
    emitted(netlist, tmp_path)
    path = tmp_path / "network.json"
    told = json.loads(path.read_text())
    told["cores"][0]["neurons"]["leak"] = (np.array(told["cores"][0]["neurons"]["leak"]) - 2).tolist()
    path.write_text(json.dumps(told))
    assert TARGET.verify(tmp_path, netlist, golden(netlist, 20), PLAIN).mismatches > 0
    told["cores"][0]["neurons"]["leak"] = 256
    path.write_text(json.dumps(told))
    with pytest.raises(ProgramError, match="a leak from 256 to 256 is outside -255 to 255"):
        TARGET.verify(tmp_path, netlist, golden(netlist, 2), PLAIN)


def refused(netlist: Netlist, options: Options = PLAIN) -> str:
    return "\n".join(f"{x.where}: {x.found} / {x.allowed}" for x in TARGET.refusals(netlist, options))


def one(*operations: object, high: int = 1, size: int = 4, timesteps: int = 1) -> Netlist:
    return netlist_of(Source("x", 1.0), Wire((size,), 0, high, True), operations, operations[-1].name, timesteps=timesteps)  # type: ignore[union-attr]


def test_refusals_say_what_is_broken_with_numbers() -> None:
    gate = Population("g", ("a",), np.array([[1]]), np.array([[0, 1]]))
    ones = np.ones((3, 4), np.int64)
    assert "x: inputs from 0 to 15 / 0 and 1" in refused(one(Affine("a", ("x",), ones), gate, high=15))
    levels = uniform("g", "a", 3, 7)
    assert "g: neurons that send 8 values" in refused(one(Affine("a", ("x",), ones), levels))
    relay = Requantise("q", ("x",), np.array([3]), 1, 0, 9)
    assert "q: a requantisation" in refused(one(relay))
    most = netlist_of(Source("x", 1.0), Wire((1, 4, 4), 0, 1, True), [Pool("m", ("x",), "max", (2, 2), (2, 2))], "m", timesteps=2)
    assert "m: a maximum of 0 to 1 over 2 ticks / of 0 and 1 at one tick" in refused(most)
    decay = uniform("g", "a", 3, 1, decay=np.array([200]), decay_shift=8)
    assert "g: a membrane that decays by a share" in refused(one(Affine("a", ("x",), ones), decay, timesteps=2))
    many = Affine("a", ("x",), np.ones((3, 300), np.int64))
    told = refused(one(many, uniform("g", "a", 3, 1), size=300, timesteps=2))
    assert "g: 300 axons for a neuron / 256 axons of a core at T > 1" in told
    high = Population("g", ("a",), np.array([[300]]), np.array([[0, 1]]))
    assert "g: an offset (1 - θ) of -299 / ±255" in refused(one(Affine("a", ("x",), ones), high))
    assert "the network: an answer that reads the input itself" in refused(one(Affine("a", ("x",), ones)))
    assert "the network: 3 cores (2 of gates, 1 of splitter) / 2 cores" in refused(gated(0, (40, 30, 20)), Options(cores=2))


def test_the_report_counts() -> None:
    told = json.loads(json.dumps(TARGET.report(gated(0, (40, 30, 20)), PLAIN)))
    assert told["cores"] == 3
    assert told["ticks_per_sample"] == 3
    assert told["ticks_between_samples"] == 1
    assert TARGETS["truenorth"] is TARGET
    assert isinstance(golden(made(0)), Golden)
