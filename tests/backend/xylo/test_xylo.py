"""Xylo: networks on its hidden population, run by the vendor's simulator where it is there and by ours, against the integer reference."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backend.netlists import EVERYTHING, golden, made, uniform

from spikeloom.backend.xylo import TARGET, XyloOptions
from spikeloom.backend.xylo.configuration import load, raster, specification
from spikeloom.backend.xylo.placing import place
from spikeloom.backend.xylo.simulator import Specification, decay, run
from spikeloom.backend.xylo.vendor import run_vendor
from spikeloom.errors import ProgramError, ResourceError
from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Pool, Route, Source, Wire, netlist_of
from spikeloom.simulate.integers import run_integers

OWN = XyloOptions(simulator="own")
VENDOR = importlib.util.find_spec("xylosim") is not None


def dense(rng: np.random.Generator, name: str, read: str, out: int, inner: int, bias: bool = True) -> Affine:
    return Affine(name, (read,), rng.integers(-9, 10, (out, inner)), rng.integers(-60, 60, out) if bias else None)


def network(seed: int, depth: int, frames: int, skip: bool, spikes: bool) -> Netlist:
    """Layers of 31 levels; perhaps frames, a sum with an earlier layer, a last population of one level."""
    rng = np.random.default_rng(seed)
    bands = int(rng.integers(1, 9))
    shape = (bands,) if frames == 1 else (bands, frames)
    operations, size, last, earlier = list[Operation](), bands * frames, "x", list[tuple[str, int]]()
    if frames > 1:
        operations.append(Route("flat", ("x",), (size,)))
        last = "flat"
    for layer in range(depth):
        out = int(rng.integers(2, 7))
        operations.append(dense(rng, f"w{layer}", last, out, size))
        last = f"w{layer}"
        if skip and earlier:
            name, inner = earlier[int(rng.integers(len(earlier)))]
            operations += [dense(rng, f"k{layer}", name, out, inner, False)]
            operations += [Add(f"s{layer}", (last, f"k{layer}"), (np.array([1]), np.array([2])), rng.integers(-9, 9, out))]
            last = f"s{layer}"
        theta = rng.integers(3, 40, out)
        operations.append(uniform(f"p{layer}", last, theta, 31))
        earlier.append((last if layer < 0 else f"p{layer}", out))
        last, size = f"p{layer}", out
    operations.append(dense(rng, "head", last, 3, size))
    last = "head"
    if spikes:
        operations.append(uniform("fire", "head", rng.integers(20, 60, 3), 1))
        last = "fire"
    return netlist_of(Source("x", 1.0), Wire(shape, 0, int(rng.integers(1, 16)), True), operations, last, unit=0.5)


networks = st.tuples(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([1, 1, 2, 5]), st.booleans(), st.booleans())


def emitted(netlist: Netlist, folder: Path, options: XyloOptions = OWN) -> Path:
    assert TARGET.refusals(netlist, options) == []
    folder.mkdir(exist_ok=True)
    for name, content in TARGET.emit(netlist, golden(netlist), options).items():
        (folder / name).write_bytes(content)
    return folder


@given(networks)
@settings(max_examples=60, deadline=None)
def test_the_chip_answers_as_the_reference_does(tmp_path_factory: pytest.TempPathFactory, drawn: tuple[Any, ...]) -> None:
    netlist = network(*drawn)
    folder = emitted(netlist, tmp_path_factory.mktemp("xylo"))
    for options in [OWN, XyloOptions(simulator="xylosim")][: 1 + VENDOR]:
        verdict = TARGET.verify(folder, netlist, golden(netlist, 6), options)
        assert (verdict.samples, verdict.mismatches) == (6, 0), options.simulator
    assert TARGET.emit(netlist, golden(netlist), OWN) == TARGET.emit(netlist, golden(netlist), OWN)


def random_specification(rng: np.random.Generator) -> Specification:
    """Anything the chip takes, so large that states saturate."""
    inputs, hidden, out = (int(rng.integers(1, high)) for high in (6, 12, 5))

    def weights(*shape: int) -> Any:
        return rng.integers(-128, 128, shape) * (rng.random(shape) < 0.6)

    dashes = [rng.integers(0, 7, size) for size in (hidden, out, hidden, out)]
    thresholds = [rng.integers(1, high, size) for size, high in ((hidden, 600), (out, 900))]
    biases = [rng.integers(-200, 200, size) for size in (hidden, out)]
    shifts = [int(shift) for shift in rng.integers(0, 4, 3)]
    return Specification(weights(inputs, hidden), weights(hidden, hidden), weights(hidden, out), *dashes, *thresholds, *biases, *shifts)


@pytest.mark.skipif(not VENDOR, reason="xylosim is not installed")
@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_our_simulator_is_the_vendors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spec = random_specification(rng)
    events = rng.integers(0, 20, (3, 25, len(spec.weights_in)))
    for read in ("Spike", "Vmem"):
        assert (run(spec, events, read) == run_vendor(spec, events, read)).all()


def test_one_neuron_by_hand() -> None:
    """w = 10, shifted by 1, three events: i = 60, halved 30, v = 30 + 5; θ = 10: three spikes, 5 left. Then i = 15, v = 0 + 15 + 5."""
    one = np.ones(1, np.int64)
    spec = Specification(
        np.array([[10]]), np.array([[0]]), np.array([[1]]), 0 * one, 0 * one, one, one, 10 * one, 99 * one, 5 * one, 0 * one, 1, 0, 1
    )
    events = np.array([[[3], [0], [0]]])
    # the output hears 3 spikes doubled, halved: 3; then 2 more with 1.5 left: (3 + 4) - 3 = 4
    assert run(spec, events)[0, :, 0].tolist() == [0, 3, 4]


def test_a_decay_takes_at_least_one() -> None:
    values = np.array([[0, 1, -1, 5, -5, 64]])
    assert decay(values, np.full(6, 2)).tolist() == [[0, 1, -1, 1, -2, 16]]
    assert decay(values, np.zeros(6, np.int64)).tolist() == values.tolist()


def test_frames_answer_at_every_tick() -> None:
    """A stream goes on: what comes out at tick t is the network on the frames up to its last layer's delay before."""
    netlist = network(5, 2, 4, False, False)
    spec = specification(place(netlist))
    bands, frames = netlist.wires["x"].shape
    long = np.random.default_rng(0).integers(0, netlist.wires["x"].high + 1, (2, 12, bands))
    placed = place(netlist)
    answers = run(spec, long)
    for end in range(frames, 12 - placed.depth + 2):
        window = np.swapaxes(long[:, end - frames : end], 1, 2)
        assert (answers[:, end - 1 + placed.depth - 1] == run_integers(netlist, window)).all()
    assert placed.ticks == frames - 1 + placed.depth
    assert placed.depth == 3


def two(bias: int, inputs: int = 1) -> Netlist:
    operations = [
        Affine("a", ("x",), np.full((1, inputs), 3)),
        uniform("p", "a", 5, 31),
        Affine("b", ("p",), np.array([[-2]]), np.array([bias])),
        uniform("q", "b", 10, 31),
        Affine("c", ("q",), np.array([[4]])),
    ]
    return netlist_of(Source("x", 1.0), Wire((inputs,), 0, 15, True), operations, "c")


def test_a_bias_that_fires_comes_by_a_channel_of_its_own_or_makes_it_a_stream(tmp_path: Path) -> None:
    """At rest θ/2 + bias reaches θ = 10 from a bias of 5 on; 15 events of weight 127 bring at most 1905."""
    ways = [(place(netlist).way, len(place(netlist).clocks)) for netlist in (two(4), two(5), two(1909), two(1910), two(5, 16))]
    assert ways == [("wave", 0), ("wave", 1), ("wave", 1), ("stream", 0), ("stream", 0)]
    for place_, netlist in enumerate((two(4), two(5), two(90), two(1909), two(1910), two(5, 16))):
        folder = emitted(netlist, tmp_path / str(place_))
        spec, told = load(folder)
        inputs = golden(netlist, 60).inputs
        answers = run(spec, raster(inputs, told))[:, told["read_at_tick"]]
        assert (answers == run_integers(netlist, inputs)).all()


def test_weights_alone_run_by_relays(tmp_path: Path) -> None:
    netlist = netlist_of(Source("x", 1.0), Wire((3,), 0, 15, True), [dense(np.random.default_rng(0), "a", "x", 4, 3)], "a")
    folder = emitted(netlist, tmp_path / "f")
    assert TARGET.verify(folder, netlist, golden(netlist, 20), OWN).mismatches == 0
    assert TARGET.report(netlist, OWN)["relays"] == 3


@given(seed=st.integers(0, 10**6), channels=st.integers(1, 3), kernel=st.integers(1, 3), stride=st.integers(1, 2), pooled=st.booleans())
@settings(max_examples=12, deadline=None)
def test_convolutions_and_pools_become_matrices(
    tmp_path_factory: pytest.TempPathFactory, seed: int, channels: int, kernel: int, stride: int, pooled: bool
) -> None:
    rng = np.random.default_rng(seed)
    side = (4 + 2 * (kernel // 2) - kernel) // stride + 1
    weight, bias = rng.integers(-5, 6, (channels, 1, kernel, kernel)), rng.integers(-9, 9, channels)
    operations: list[Operation] = [
        Convolution("c", ("x",), weight, bias, (stride, stride), (kernel // 2, kernel // 2)),
        uniform("p", "c", rng.integers(5, 12, channels), 31),
    ]
    last = "p"
    if pooled and side > 1:
        operations.append(Pool("m", ("p",), "sum", (2, 2), (2, 2)))
        last, side = "m", side // 2
    operations += [Route("f", (last,), (channels * side**2,)), dense(rng, "head", "f", 3, channels * side**2)]
    netlist = netlist_of(Source("x", 1.0), Wire((1, 4, 4), 0, 5, True), operations, "head")
    folder = emitted(netlist, tmp_path_factory.mktemp("xylo") / "f")
    assert TARGET.verify(folder, netlist, golden(netlist, 20), OWN).mismatches == 0


def simple(out: int = 3, hidden: int = 4, inputs: int = 3, weight: int = 3, levels: int = 31, theta: int = 60, high: int = 15) -> Netlist:
    operations = [
        Affine("a", ("x",), np.full((hidden, inputs), weight)),
        uniform("p", "a", theta, levels),
        Affine("b", ("p",), np.full((out, hidden), weight)),
    ]
    return netlist_of(Source("x", 1.0), Wire((inputs,), 0, high, True), operations, "b")


@pytest.mark.parametrize(
    ("netlist", "found", "allowed"),
    [
        (simple(out=9), "9 output neurons", "8 on"),
        (simple(hidden=1001), "1001 hidden neurons", "1000 on"),
        (simple(inputs=17), "(17,)", "up to 16"),
        (simple(high=16), "0 to 16", "0 to 15"),
        (simple(weight=128, theta=9000), "128", "-128 to 127"),
        (simple(levels=15, theta=3), "15 levels", "31 levels"),
        (simple(weight=120, inputs=16, theta=4000), "synaptic current of up to", "32767"),
        (simple(theta=40000), "40000", "1 to 32767"),
        (netlist_of(Source("x", 1.0), Wire((3,), 0, 1, True), [uniform("p", "x", 4, 31, negative=2)], "p"), "-2 to 31", "none negative"),
        (simple().replaced(timesteps=4), "4 ticks", "1:"),
    ],
)
def test_each_limit_is_named(netlist: Netlist, found: str, allowed: str) -> None:
    rows = TARGET.refusals(netlist, OWN)
    assert any(found in row.found and (allowed in row.allowed or allowed in row.todo) for row in rows), rows


def test_fan_out_is_the_chips() -> None:
    operations = [
        Affine("a", ("x",), np.ones((4, 2), np.int64)),
        uniform("p", "a", 3, 31),
        Affine("b", ("p",), np.ones((65, 4), np.int64)),
        uniform("q", "b", 9, 31),
        Affine("c", ("q",), np.ones((2, 65), np.int64)),
    ]
    netlist = netlist_of(Source("x", 1.0), Wire((2,), 0, 15, True), operations, "c")
    (refusal,) = TARGET.refusals(netlist, OWN)
    assert ("a fan-out of 65" in refusal.found, "64 on" in refusal.allowed) == (True, True)
    assert TARGET.refusals(netlist, XyloOptions(chip="audio3")) == []
    assert TARGET.report(netlist, XyloOptions(chip="audio3"))["largest fan-out"] == 65


def test_other_operations_are_refused_all_at_once() -> None:
    """Random netlists of everything: refused by names, or run exactly."""
    for seed in range(40):
        netlist = made(seed, EVERYTHING, 1 + seed % 2)
        for row in TARGET.refusals(netlist, OWN):
            assert row.where
            assert row.found
            assert row.allowed


def test_damaged_files_and_missing_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netlist = simple()
    folder = emitted(netlist, tmp_path / "f")
    json.dumps(TARGET.report(netlist, OWN))
    spec, told = load(folder)
    assert (spec.weights_in.shape, told["read_at_tick"]) == ((3, 4), 1)
    monkeypatch.setitem(__import__("sys").modules, "xylosim.v2", None)
    with pytest.raises(ResourceError, match="xylosim"):
        TARGET.verify(folder, netlist, golden(netlist), XyloOptions(simulator="xylosim"))
    (folder / "specification.npz").write_bytes((folder / "specification.npz").read_bytes()[:100])
    with pytest.raises(ProgramError):
        load(folder)
