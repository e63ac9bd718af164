"""The emitted folder: what it holds, what it takes in memory, and that wrong numbers are found."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backend.c.compiled import emitted
from tests.backend.netlists import EVERYTHING, golden, made

from spikeloom.backend import Golden
from spikeloom.backend.c import TARGET, COptions
from spikeloom.backend.c.memory import Buffer, arranged
from spikeloom.backend.c.numbers import I8, I32
from spikeloom.errors import ConfigError, ResourceError
from spikeloom.ir.hardware import Affine, Netlist, Population, Requantise, Source, Wire, netlist_of
from spikeloom.simulate.integers import run_integers

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
KERNELS = ("dense", "event")


def ternary(inputs: int = 96, outs: int = 64, low: int = 0, high: int = 1) -> Netlist:
    """A ternary layer with neurons."""
    rng = np.random.default_rng(0)
    layer = Affine("a", ("x",), rng.integers(-1, 2, (outs, inputs)))
    neurons = Population("p", ("a",), rng.integers(-3, 4, (outs, 1)), np.array([[0, 1]]))
    return netlist_of(Source("x", 1.0), Wire((inputs,), low, high, True), [layer, neurons], "p")


def test_the_same_netlist_gives_the_same_bytes() -> None:
    for kernels in KERNELS:
        first, second = (TARGET.emit(made(5, timesteps=2), golden(made(5, timesteps=2)), COptions(kernels=kernels)) for _ in range(2))
        assert first == second


def test_no_heap_and_no_floating_point() -> None:
    for kernels in KERNELS:
        for name, content in TARGET.emit(made(11), golden(made(11)), COptions(kernels=kernels)).items():
            if name.endswith((".c", ".h")):
                found = re.findall(r"\b(float|double|malloc|calloc|realloc|free|alloca)\b", content.decode())
                assert not found, (name, found)
                assert not re.search(r"\d\.\d+[fF]?\s*[;,*+)]", content.decode().split("*/", 1)[-1]), name


@needs_gcc
def test_the_table_of_memory_is_what_the_object_files_hold(tmp_path: Path) -> None:
    for seed, kernels in ((3, "dense"), (4, "event"), (5, "dense")):
        netlist = made(seed, timesteps=4)
        options = COptions(kernels=kernels)
        folder = emitted(tmp_path / f"{seed}", netlist, golden(netlist), options)
        subprocess.run(["gcc", "-O1", "-c", "net.c", "net_weights.c"], cwd=folder, check=True)
        constants, memory = (_sizes(folder / name) for name in ("net_weights.o", "net.o"))
        report, header = TARGET.report(netlist, options), (folder / "net.h").read_text()
        assert sum(size for kind, _, size in constants if kind in "rR") == report["rom_bytes"]
        held = {name: size for kind, name, size in memory if kind in "bB"}
        assert held.get("arena", 0) == report["arena_bytes"]
        assert held.get("state", 0) == report["state_bytes"] > 0
        assert set(held) <= {"arena", "state"}
        assert f"#define NET_ROM_BYTES {report['rom_bytes']}\n" in header
        assert f"#define NET_RAM_BYTES {report['arena_bytes'] + report['state_bytes']}\n" in header


def _sizes(path: Path) -> list[tuple[str, str, int]]:
    lines = subprocess.run(["nm", "-S", path], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split() for line in lines if len(line.split()) == 4]
    return [(kind, name, int(size, 16)) for _, size, kind, name in rows]


def test_ternary_layers_take_two_bits_a_weight() -> None:
    for kernels in KERNELS:
        assert TARGET.report(ternary(784, 256), COptions(kernels=kernels))["weight_bits"]["a"] == 2
        assert 2 <= TARGET.report(ternary(785, 257), COptions(kernels=kernels))["weight_bits"]["a"] < 2.1
    levels = ternary(96, 64, 0, 15)
    assert TARGET.report(levels, COptions())["weight_bits"]["a"] == 8
    assert TARGET.report(levels, COptions(planes="levels"))["weight_bits"]["a"] == 2
    assert TARGET.report(levels, COptions())["kernels"] == {"a": "dot"}


@needs_gcc
def test_verify_runs_what_was_emitted(tmp_path: Path) -> None:
    netlist, options = ternary(), COptions(flags="-O1")
    inputs = np.random.default_rng(1).integers(0, 2, (50, 96))
    vectors = Golden(inputs, run_integers(netlist, inputs))
    folder = emitted(tmp_path, netlist, vectors, options)
    right = TARGET.verify(folder, netlist, vectors, options)
    assert (right.samples, right.mismatches) == (50, 0)
    weights = folder / "net_weights.c"
    text = weights.read_text()
    place = text.index("0x")
    weights.write_text(f"{text[: place + 2]}{int(text[place + 2 : place + 10], 16) ^ 0xFFFF:08X}{text[place + 10 :]}")
    wrong = TARGET.verify(folder, netlist, vectors, options)
    assert wrong.mismatches > 0
    other = Golden(inputs, vectors.outputs ^ 1)
    assert TARGET.verify(emitted(tmp_path, netlist, vectors, options), netlist, other, options).mismatches == 50


@needs_gcc
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_test_fails_where_a_number_differs(tmp_path: Path) -> None:
    netlist = ternary()
    vectors = golden(netlist)
    emitted(tmp_path / "right", netlist, vectors, COptions(flags="-O1"))
    emitted(tmp_path / "wrong", netlist, Golden(vectors.inputs, vectors.outputs ^ (np.arange(64) == 3)), COptions(flags="-O1"))
    right, wrong = (
        subprocess.run(["make", "-s", "test"], cwd=tmp_path / name, capture_output=True, text=True) for name in ("right", "wrong")
    )
    assert right.returncode == 0
    assert "3 samples, 0 mismatches" in right.stdout
    assert wrong.returncode != 0
    assert "sample 0: output 3 is" in wrong.stdout


@pytest.mark.skipif(not all(map(shutil.which, ("arm-none-eabi-gcc", "qemu-arm", "make"))), reason="no arm-none-eabi-gcc, qemu-arm or make")
def test_cortex_m_equals_the_golden_vectors(tmp_path: Path) -> None:
    for seed, kernels, timesteps in ((2, "dense", 1), (3, "event", 4), (8, "dense", 2)):
        netlist = made(seed, timesteps=timesteps)
        folder = emitted(tmp_path / f"{seed}", netlist, golden(netlist, streamed=True), COptions(kernels=kernels))
        done = subprocess.run(["make", "-s", "cortex-m-test"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "3 samples, 0 mismatches" in done.stdout


def test_golden_vectors_are_shipped_as_far_as_they_fit() -> None:
    netlist = ternary(4096, 16)
    vectors = golden(netlist, 40)
    text = TARGET.emit(netlist, vectors, COptions())["net_golden.h"].decode()
    assert "15 of 40 samples" in text


def test_a_missing_compiler_is_said(tmp_path: Path) -> None:
    options = COptions(compiler="no-such-gcc")
    folder = emitted(tmp_path, ternary(), golden(ternary()), options)
    with pytest.raises(ResourceError, match="no no-such-gcc"):
        TARGET.verify(folder, ternary(), golden(ternary()), options)


def test_what_is_too_large_is_refused_with_numbers() -> None:
    assert TARGET.refusals(ternary(), COptions()) == []
    rom, ram = TARGET.refusals(ternary(), COptions(max_rom=1000, max_ram=10))
    assert (rom.found, rom.allowed) == ("1600 bytes of constants", "at most 1000")
    assert "buffers" in ram.found
    far = netlist_of(Source("x", 1.0), Wire((2,), -9, 9), [Requantise("q", ("x",), np.array([1]), 62, -9, 9)], "q")
    assert "62" in TARGET.refusals(far, COptions())[0].found


@pytest.mark.parametrize("prefix", ["", "Net", "9a", "int", "a-b", "x" * 40, "a;b"])
def test_a_prefix_that_is_no_name_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigError, match="prefix"):
        COptions(prefix=prefix)


@needs_gcc
def test_strange_names_do_no_harm(tmp_path: Path) -> None:
    layer = Affine("layer*/ #include <x> \\\n ü", ("x",), np.eye(3, dtype=np.int64))
    netlist = netlist_of(Source("x", 0.1), Wire((3,), 0, 9, True), [layer], layer.name)
    options = COptions(prefix="odd_1", flags="-O1")
    folder = emitted(tmp_path, netlist, golden(netlist), options)
    assert TARGET.verify(folder, netlist, golden(netlist), options).mismatches == 0
    assert "#define ODD_1_INPUT_STEP_NUM 1\n#define ODD_1_INPUT_STEP_DEN 10\n" in (folder / "odd_1.h").read_text()


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 9), st.integers(0, 4), st.booleans()), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_buffers_that_live_together_do_not_overlap(rows: list[tuple[int, int, int, bool]]) -> None:
    buffers = [
        Buffer(f"b{place}", I32 if wide else I8, count, first, first + length) for place, (count, first, length, wide) in enumerate(rows)
    ]
    placed = arranged(buffers)
    assert len(placed) == len(buffers)
    for one in placed:
        assert one.offset % one.buffer.number.bytes == 0
        for other in placed:
            together = one.buffer.first <= other.buffer.last and other.buffer.first <= one.buffer.last
            if one is not other and together:
                assert one.offset + one.buffer.bytes <= other.offset or other.offset + other.buffer.bytes <= one.offset


def test_the_report_is_json() -> None:
    for kernels in KERNELS:
        report = TARGET.report(made(7, EVERYTHING, 2), COptions(kernels=kernels))
        assert json.loads(json.dumps(report)) == report
