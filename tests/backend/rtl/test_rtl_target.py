"""The FPGA target's edges: gates alone, what is refused, what is estimated, and (slow) what yosys and nextpnr make of it."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.backend.netlists import golden, made, table, uniform

from spikeloom.backend import Golden
from spikeloom.backend.rtl import TARGET, tools
from spikeloom.backend.rtl.estimate import Memory
from spikeloom.backend.rtl.gates import gates_of
from spikeloom.backend.rtl.options import DEVICES, RtlOptions
from spikeloom.errors import ResourceError
from spikeloom.ir.hardware import Add, Affine, Netlist, Population, Route, Source, Wire, netlist_of
from spikeloom.simulate.integers import run_integers

pytestmark = pytest.mark.timeout(600)  # yosys compiles itself at its first call: a minute and a half

BINARY = frozenset({"convolution", "max", "add", "route", "table"})


def dense(inputs: int, hidden: int, outputs: int, high: int = 1) -> Netlist:
    """Two fully connected layers with ternary weights and binary neurons."""
    rng = np.random.default_rng(5)
    first, last = rng.integers(-1, 2, (hidden, inputs)), rng.integers(-1, 2, (outputs, hidden))
    operations = [Affine("a", ("x",), first), table(rng, "p", "a", hidden, 1, 3, True), Affine("b", ("p",), last)]
    return netlist_of(Source("x", 1.0), Wire((inputs,), 0, high, True), operations, "b")


def compared() -> Netlist:
    """Neurons that read pixels of 8 bits, then a layer."""
    rng = np.random.default_rng(6)
    operations = [table(rng, "t", "x", 9, 1, 250, True), Affine("a", ("t",), rng.integers(-2, 3, (4, 9)), np.array([1, 0, -3, 7]))]
    return netlist_of(Source("x", 1.0), Wire((9,), 0, 255, True), operations, "a")


# --- gates alone ------------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 2))
@settings(max_examples=20, deadline=None)
def test_gates_count_what_the_reference_does(seed: int, depth: int) -> None:
    netlist = made(seed, BINARY, 1, depth)
    vectors, gates = golden(netlist, 4), gates_of(netlist)
    assert (gates(torch.from_numpy(vectors.inputs).float()).numpy() == vectors.outputs).all()


@given(st.integers(0, 10**6), st.sampled_from(["events", "values"]))
@settings(max_examples=5, deadline=None)
def test_gates_as_hardware_equal_the_reference(seed: int, form: str) -> None:
    pytest.importorskip("amaranth", reason="needs Amaranth: pip install 'spikeloom[hw]'")
    for netlist in (made(seed, BINARY, 1, 1), compared()):
        options = RtlOptions(style="logic", device="any", simulator="amaranth", input=form)  # pyright: ignore[reportArgumentType]
        assert TARGET.refusals(netlist, options) == []
        assert TARGET.verify(Path(), netlist, golden(netlist, 4), options).mismatches == 0


def test_gates_in_verilog_equal_the_reference(tmp_path: Path) -> None:
    pytest.importorskip("amaranth", reason="needs Amaranth: pip install 'spikeloom[hw]'")
    if tools.found("yosys") is None or tools.found("iverilog") is None:
        pytest.skip("needs yosys and iverilog")
    netlist, options = dense(20, 12, 3), RtlOptions(style="logic", simulator="icarus")
    vectors = golden(netlist, 5)
    for name, content in TARGET.emit(netlist, vectors, options).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    verdict = TARGET.verify(tmp_path, netlist, vectors, options)
    assert verdict.mismatches == 0
    assert verdict.numbers["cycles_back_to_back"] <= 20 + 3 + 4  # an event a cycle, the gates in one, an answer a cycle


def test_gates_with_sums_and_biases_between() -> None:
    """A residual sum with a bias of its own, neurons behind it, and a bias at the end."""
    rng = np.random.default_rng(7)
    first, last = rng.integers(-2, 3, (6, 6)), rng.integers(-2, 3, (3, 6))
    gains = (np.array([2]), np.array([1, -3, 2, 1, 1, 4]))
    operations = [
        Affine("a", ("x",), first, rng.integers(-3, 4, 6)),
        Add("s", ("a", "x"), gains, rng.integers(-4, 5, 6)),
        uniform("p", "s", rng.integers(1, 5, 6), 1, leak=rng.integers(-3, 4, 6)),
        Affine("b", ("p",), last, rng.integers(-9, 9, 3)),
    ]
    netlist = netlist_of(Source("x", 1.0), Wire((6,), 0, 1, True), operations, "b")
    inputs = (np.arange(64)[:, None] >> np.arange(6)) & 1
    assert (gates_of(netlist)(torch.from_numpy(inputs).float()).numpy() == run_integers(netlist, inputs)).all()


def test_neurons_may_read_inputs_that_were_moved_first() -> None:
    """A flattened picture whose pixels neurons compare: what `spikeloom train` makes of digits."""
    index = np.arange(12).reshape(3, 4)[:, ::-1].reshape(-1)
    operations = [
        Route("flat", ("x",), (12,), index.copy()),
        uniform("bits", "flat", np.arange(1, 13), 1),
        Affine("a", ("bits",), np.random.default_rng(3).integers(-1, 2, (4, 12))),
    ]
    source, wire = Source("x", 1.0), Wire((1, 3, 4), 0, 15, True)
    netlist, options = netlist_of(source, wire, operations, "a"), RtlOptions(style="logic", simulator="amaranth")
    (refusal,) = TARGET.refusals(netlist_of(source, wire, operations[:1], "flat"), options)
    assert "inputs from 0 to 15" in refusal.found
    assert TARGET.refusals(netlist, options) == []
    assert TARGET.verify(Path(), netlist, golden(netlist, 6), options).mismatches == 0


def test_gates_too_many_for_a_device_are_refused_with_numbers() -> None:
    netlist = dense(200, 200, 10)
    (refusal,) = TARGET.refusals(netlist, RtlOptions(style="logic", device="ice40-up5k"))
    assert "look-up tables" in refusal.found
    assert "5,280" in refusal.allowed
    assert TARGET.refusals(netlist, RtlOptions(style="logic", device="any")) == []


# --- refusals -------------------------------------------------------------------------------------------------------------------------


def test_a_network_too_large_is_refused_with_numbers() -> None:
    rng = np.random.default_rng(0)
    netlist = netlist_of(Source("x", 1.0), Wire((784,), 0, 1, True), [Affine("a", ("x",), rng.integers(-127, 128, (256, 784)))], "a")
    (refusal,) = TARGET.refusals(netlist, RtlOptions(device="ecp5-25k"))
    assert f"{784 * 256 * 8:,}" in refusal.found
    assert "56 block RAMs" in refusal.allowed
    assert TARGET.refusals(netlist, RtlOptions(device="ecp5-85k")) == []
    assert TARGET.refusals(netlist, RtlOptions(device="any")) == []


@pytest.mark.parametrize(
    ("netlist", "where", "found"),
    [
        (made(0, BINARY | {"levels"}, 2, 1), "the network", "T = 2"),
        (netlist_of(Source("x", 1.0), Wire((3,), 0, 1, True), [uniform("p", "x", 2, 3)], "p"), "p", "3 levels"),
        (
            netlist_of(Source("x", 1.0), Wire((3,), 0, 7, True), [Affine("a", ("x",), np.eye(3, dtype=np.int64))], "a"),
            "x",
            "inputs from 0 to 7",
        ),
    ],
)
def test_what_gates_cannot_be_is_named(netlist: Netlist, where: str, found: str) -> None:
    assert any(each.where == where and found in each.found for each in TARGET.refusals(netlist, RtlOptions(style="logic")))


def test_shapes_without_a_place_are_named() -> None:
    weight, rows = np.ones((2, 4), np.int64), np.array([[1], [2], [3]])
    operations = [Affine("a", ("x",), weight), Population("p", ("a",), rows[:2], np.array([[0, 1]]), axis=1)]
    netlist = netlist_of(Source("x", 1.0), Wire((3, 4), 0, 1, True), operations, "p")
    said = {each.where: each.found for each in TARGET.refusals(netlist, RtlOptions())}
    assert "last axis of (3, 4)" in said["a"]
    assert "axis 1" in said["p"]


def test_options_are_checked() -> None:
    with pytest.raises(ValidationError, match="no power of two"):
        RtlOptions(parallel=6)
    with pytest.raises(ValidationError, match="needs a device"):
        RtlOptions(device="any", synthesise=True)


def test_a_missing_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.shutil, "which", lambda *_, **__: None)
    with pytest.raises(ResourceError, match=r"spikeloom\[hw\]"):
        tools.needed("yosys")


# --- estimates and what comes of them --------------------------------------------------------------------------------------------------


def test_blocks_of_a_memory() -> None:
    weights = Memory("weights", 784 * 8, 64, False)
    assert weights.blocks(DEVICES["ecp5-25k"]) == 26  # 13 deep of 512 × 36, 2 wide
    assert Memory("few", 16, 60, True).blocks(DEVICES["ecp5-25k"]) == 0
    assert Memory("square", 256, 16, True).blocks(DEVICES["ice40-hx8k"]) == 1


def test_a_report_names_memories_and_cycles() -> None:
    netlist = dense(784, 64, 10)
    report = TARGET.report(netlist, RtlOptions(parallel=8))
    assert json.loads(json.dumps(report)) == report
    assert report["memories"]["p.bank0.weights"] == {"words": 784 * 8, "bits": 16, "block_rams": 7}
    assert report["cycles"]["p"]["per_event"] == [8]
    assert report["estimate"]["block_rams"] <= 9


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("device", "style", "parallel"), [("ecp5-25k", "event", 8), ("ice40-hx8k", "event", 4), ("ice40-up5k", "logic", 1)]
)
def test_placed_designs_are_as_large_as_estimated(device: str, style: str, parallel: int) -> None:
    pytest.importorskip("amaranth", reason="needs Amaranth: pip install 'spikeloom[hw]'")
    for tool in ("yosys", f"nextpnr-{DEVICES[device].family}"):
        if tools.found(tool) is None:
            pytest.skip(f"needs {tool}")
    options = RtlOptions(device=device, style=style, parallel=parallel, synthesise=True)  # pyright: ignore[reportArgumentType]
    netlist = dense(256, 32, 10) if style == "event" else dense(24, 16, 4)
    report = TARGET.report(netlist, options)
    expected, used = report["estimate"], report["synthesis"]
    assert used["luts"] <= expected["luts_there"]
    assert used["fmax_mhz"] > 10
    assert expected["luts"] / 2 <= used["luts"] <= expected["luts"] * 2
    assert abs(used["block_rams"] - expected["block_rams"]) <= 3 + expected["block_rams"] // 4


def test_the_byte_wide_door_gives_the_same_answers(tmp_path: Path) -> None:
    """`spikeloom_pins` under Icarus: words as bytes, lowest first."""
    pytest.importorskip("amaranth", reason="needs Amaranth: pip install 'spikeloom[hw]'")
    if tools.found("yosys") is None or tools.found("iverilog") is None:
        pytest.skip("needs yosys and iverilog")
    netlist, options = dense(300, 12, 5), RtlOptions(device="ecp5-85k")
    inputs = np.random.default_rng(0).integers(0, 2, (4, 300))
    vectors = Golden(inputs, run_integers(netlist, inputs))
    files = {name: content.decode() for name, content in TARGET.emit(netlist, vectors, options).items()}
    facts = json.loads(files["design.json"])["streams"]
    wide, narrow = facts["in_bytes"], facts["out_bytes"]
    beats = [int(line, 16) for line in files["test/beats.hex"].split()]
    split = [(int(beat >> 8 * wide and place == wide - 1) << 8) | (beat >> 8 * place & 255) for beat in beats for place in range(wide)]
    answers = [int(line, 16) >> 8 * place & 255 for line in files["test/expected.hex"].split() for place in range(narrow)]
    bench = files["test/bench.v"].replace("spikeloom dut", "spikeloom_pins dut")
    for port in ("tdata", "tlast", "tvalid", "tready"):
        bench = bench.replace(f"s_axis_{port}", f"in_{port[1:]}").replace(f"m_axis_{port}", f"out_{port[1:]}")
    sizes = {"OUTPUTS": 5 * narrow, "IN": 8, "OUT": 8}
    for name, size in sizes.items():
        bench = bench.replace(
            next(line for line in bench.splitlines() if line.startswith(f"  localparam {name} =")), f"  localparam {name} = {size};"
        )
    (tmp_path / "test").mkdir()
    (tmp_path / "bench.v").write_text(bench)
    (tmp_path / "test/beats.hex").write_text("".join(f"{word:x}\n" for word in split))
    (tmp_path / "test/expected.hex").write_text("".join(f"{word:x}\n" for word in answers))
    for name in ("spikeloom.v", "spikeloom_pins.v"):
        (tmp_path / name).write_text(files[f"rtl/{name}"])
    beats_there = f"-Pbench.BEATS={len(split)}"
    tools.run("iverilog", ["-g2005", beats_there, "-s", "bench", "-o", "b.vvp", "bench.v", "spikeloom.v", "spikeloom_pins.v"], tmp_path)
    for more in ([], ["+pipelined", "+stalls"]):
        said = subprocess.run(["vvp", "-n", "b.vvp", *more], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert "SAMPLES 4 MISMATCHES 0" in said
