"""Loihi 2: files that run to the reference's answers, placements within the chip, refusals with numbers."""

import json
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backend.loihi2.chains import chain
from tests.backend.netlists import EVERYTHING, Recipe, golden, made, recipes, uniform
from tests.backend.truenorth.gated import gated

from spikeloom.backend import TARGETS
from spikeloom.backend.loihi2 import TARGET, Options
from spikeloom.backend.loihi2.layers import lowered
from spikeloom.backend.loihi2.limits import LIMITS
from spikeloom.backend.loihi2.placement import placed
from spikeloom.backend.loihi2.weights import MOST, terms
from spikeloom.errors import ProgramError
from spikeloom.ir.hardware import Affine, Convolution, Netlist, Pool, Source, Wire, netlist_of

AUTO = Options()


def emitted(netlist: Netlist, folder: Path, options: Options = AUTO, *, streamed: bool = False, samples: int = 4):
    vectors = golden(netlist, samples, streamed=streamed)
    for name, content in TARGET.emit(netlist, vectors, options).items():
        (folder / name).write_bytes(content)
    return TARGET.verify(folder, netlist, vectors, options)


@given(recipes(EVERYTHING - {"max"}), st.booleans())
@settings(max_examples=40, deadline=None)
def test_what_is_emitted_equals_the_reference(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe, streamed: bool) -> None:
    netlist = recipe()
    assert not TARGET.refusals(netlist, AUTO)
    verdict = emitted(netlist, tmp_path_factory.mktemp("chip"), streamed=streamed)
    assert verdict.mismatches == 0
    assert verdict.samples == 4


@pytest.mark.parametrize("seed", range(9))
def test_chains_of_hard_reset_are_plain_netx(tmp_path: Path, seed: int) -> None:
    netlist = chain(seed, (1, 3, 6)[seed % 3], image=seed % 2 == 0, graded=seed % 5 == 0, pool=seed % 4 == 0)
    assert not TARGET.refusals(netlist, Options(layout="netx"))
    assert emitted(netlist, tmp_path, Options(layout="netx")).mismatches == 0
    with h5py.File(tmp_path / "network.net") as file:
        kinds = [file[f"layer/{number}/type"][0].decode() for number in range(len(file["layer"]))]
        first = ["input", *(["conv"] if seed % 3 == 0 else []), "conv", "flatten"] if seed % 2 == 0 else ["input"]
        assert kinds == [*first, "dense", "dense", "dense"]
        assert set(file["layer/1/neuron"]) == {"type", "iDecay", "vDecay", "vThMant", "refDelay", "gradedSpike"}
        assert file["layer/1/neuron/type"][()].decode("ascii") == "CUBA"  # as lava-dl's NetDict reads it


def test_a_bit_altered_in_a_weight_is_seen(tmp_path: Path) -> None:
    netlist = chain(1, 3)
    emitted(netlist, tmp_path)
    with h5py.File(tmp_path / "network.net", "r+") as file:
        file["layer/3/weight"][0, :] = file["layer/3/weight"][0, :] ^ 1
    assert TARGET.verify(tmp_path, netlist, golden(netlist, 8), AUTO).mismatches > 0


@pytest.mark.parametrize("netlist", [chain(0, 3, image=True), made(3, EVERYTHING - {"max"}, 4)])
def test_the_same_network_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch, netlist: Netlist) -> None:
    vectors = golden(netlist)
    first = TARGET.emit(netlist, vectors, AUTO)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 10**6)
    assert TARGET.emit(netlist, vectors, AUTO) == first


@given(st.lists(st.integers(*MOST), min_size=1, max_size=6), st.integers(0, 7))
def test_terms_are_exact_and_fit(values: list[int], exponent: int) -> None:
    for weight in (np.array(values), (np.array(values) % 200 - 100) << exponent):
        found = terms(weight)
        if found:
            assert (sum(term.mantissa << term.exponent for term in found) == weight).all()
            assert all(0 <= term.exponent <= 7 for term in found)
            low, high = (-255, 255) if len(found) == 1 else (-128, 127)
            assert all(low <= term.mantissa.min() and term.mantissa.max() <= high for term in found)
    assert terms(np.array(values))


def test_more_terms_than_there_are_synapses_are_not_taken() -> None:
    assert not terms(np.array([MOST[1] + 1, 1]))
    assert not terms(np.array([MOST[0] - 1, 1]))


def large(channels: int, side: int, timesteps: int = 1) -> Netlist:
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (channels, channels, 3, 3))
    operations = [
        Convolution("c", ("x",), weight, None, (1, 1), (1, 1)),
        uniform("p", "c", 4000, 15),
        Pool("s", ("p",), "sum", (side, side), (side, side)),
    ]
    return netlist_of(Source("x", 1.0), Wire((channels, side, side), 0, 15, True), operations, "s", timesteps=timesteps)


def test_a_placement_covers_every_neuron_once_within_the_limits(tmp_path: Path) -> None:
    netlist = large(48, 24)
    assert not TARGET.refusals(netlist, AUTO)
    cores = placed(lowered(netlist).layers).cores
    mine = [core for core in cores if core.layer == 1]
    assert len(mine) == -(-48 * 24 * 24 // LIMITS["neurons"].value) == 4
    seen = np.zeros((48, 24), int)
    for core in mine:
        (a, b), (c, d) = core.parts
        seen[a:b, c:d] += 1
        assert core.neurons <= LIMITS["neurons"].value
        assert core.memory_bytes <= LIMITS["memory"].value
        assert core.synaptic_bytes == (b - a) * 48 * 9
    assert (seen == 1).all()
    verdict = emitted(netlist, tmp_path, samples=3)
    assert verdict.mismatches == 0
    assert json.loads((tmp_path / "placement.json").read_text())["cores"][0]["layer"] == 1


def test_axons_are_counted_from_weights_that_are_not_0() -> None:
    weight = np.zeros((4, 10), np.int64)
    weight[0, 3] = weight[1, 3] = weight[3, 7] = 5
    netlist = netlist_of(Source("x", 1.0), Wire((10,), 0, 1, True), [Affine("a", ("x",), weight), uniform("p", "a", 5, 1)], "p")
    first, last = placed(lowered(netlist).layers).cores
    assert (first.axons_in, first.synapses, first.axons_out) == (2, 3, 4)
    assert (last.axons_in, last.axons_out) == (4, 0)


def refused(netlist: Netlist, options: Options = AUTO) -> str:
    return "\n".join(f"{x.where}: {x.found} / {x.allowed}" for x in TARGET.refusals(netlist, options))


def test_refusals_say_what_is_broken_with_numbers() -> None:
    assert "accumulator" not in refused(large(8, 8))
    dense = Affine("a", ("x",), np.full((3, 140_000), 1))
    told = refused(netlist_of(Source("x", 1.0), Wire((140_000,), 0, 1, True), [dense, uniform("p", "a", 5, 1)], "p"))
    assert "p: 140,000 bytes of synapses" in told
    assert "131,072 bytes of synapses of a core" in told
    wide = Affine("a", ("x",), np.array([[120_001, 1]]))
    assert "a" in (told := refused(netlist_of(Source("x", 1.0), Wire((2,), 0, 1, True), [wide], "a")))
    assert "weights from 1 to 120,001 / -114,752 to 113,855" in told
    bits = netlist_of(Source("x", 1.0), Wire((2,), 0, (1 << 25) - 1, True), [Affine("a", ("x",), np.array([[1, 1]]))], "a")
    assert "spikes of 25 bits (0 to 33,554,431) / 24 bits of a graded spike" in refused(bits)
    assert "sums of synapses of 27 bits" in refused(bits)
    most = netlist_of(Source("x", 1.0), Wire((2, 4, 4), 0, 3, True), [Pool("m", ("x",), "max", (2, 2), (2, 2))], "m", timesteps=2)
    assert "m: a maximum of numbers from 0 to 3 over 2 ticks" in refused(most)
    assert "5 cores (p 4, output 1) / 4 cores" in refused(large(48, 24), Options(cores=4))
    assert "reset by subtraction" in refused(made(0, frozenset(), 2), Options(layout="netx"))


def test_a_maximum_of_binary_spikes_is_a_neuron(tmp_path: Path) -> None:
    operations = [Pool("m", ("x",), "max", (3, 2), (2, 2), (1, 0))]
    netlist = netlist_of(Source("x", 1.0), Wire((2, 6, 6), 0, 1, True), operations, "m")
    assert emitted(netlist, tmp_path, samples=20).mismatches == 0


@pytest.mark.parametrize(("low", "padding", "kernel"), [(0, (1, 1), (3, 2)), (-9, (0, 0), (2, 2)), (-9, (0, 0), (3, 3))])
def test_a_maximum_of_numbers_is_made_by_relays(tmp_path: Path, low: int, padding: tuple[int, int], kernel: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    operations = [
        Pool("m", ("x",), "max", kernel, (2, 2), padding),
        Convolution("c", ("m",), rng.integers(-99, 99, (3, 2, 2, 2)), None),
        uniform("p", "c", 300, 7),
    ]
    netlist = netlist_of(Source("x", 1.0), Wire((2, 7, 7), low, 15, True), operations, "p")
    assert not TARGET.refusals(netlist, AUTO)
    assert emitted(netlist, tmp_path, samples=20).mismatches == 0


def test_edges_over_layers_wait_on_axons(tmp_path: Path) -> None:
    netlist = gated(2, (30, 30, 20, 20), skip=True)
    assert emitted(netlist, tmp_path).mismatches == 0
    with h5py.File(tmp_path / "network.net") as file:
        delays = [int(link["delay"][()]) for link in file["layer/3/spikeloom/link"].values()]
    assert sorted(delays) == [0, 1, 2]


def test_a_pool_that_is_not_square_joins_a_convolution(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    operations = [
        Pool("s", ("x",), "sum", (3, 2), (3, 2)),
        Convolution("c", ("s",), rng.integers(-99, 99, (3, 2, 2, 3)), None, (1, 2), (1, 0)),
        uniform("p", "c", 300, 7),
    ]
    netlist = netlist_of(Source("x", 1.0), Wire((2, 9, 12), 0, 15, True), operations, "p")
    assert TARGET.report(netlist, AUTO)["relays"] == []
    assert emitted(netlist, tmp_path, samples=20).mismatches == 0


def test_files_that_are_no_network_are_refused(tmp_path: Path) -> None:
    netlist = chain(0, 2)
    emitted(netlist, tmp_path)
    (tmp_path / "network.net").write_bytes(b"nothing")
    with pytest.raises(ProgramError, match="no Loihi 2 network"):
        TARGET.verify(tmp_path, netlist, golden(netlist), AUTO)


def test_the_report_counts(tmp_path: Path) -> None:
    netlist = chain(0, 6, image=True)
    told = json.loads(json.dumps(TARGET.report(netlist, AUTO)))
    assert told["cores"] == 4
    assert told["layout"] == "netx"
    assert told["ticks_per_sample"] == 6 + 3
    assert TARGETS["loihi2"] is TARGET
