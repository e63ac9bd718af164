"""What the CUDA target emits answers as the integer reference, emulated on a CPU; nvcc compiles it; a GPU runs it where there is one."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.backend.cuda.emulated import SANITIZED, Case, emitted, together, wrong
from tests.backend.cuda.shapes import netlist, picture, renamed, ternary, tokens, wide
from tests.backend.netlists import Recipe, golden, made, recipes, uniform

from spikeloom.backend import TARGETS, Golden
from spikeloom.backend.cuda import TARGET, CudaOptions
from spikeloom.backend.cuda.files import STANDARD
from spikeloom.backend.cuda.verify import EMULATED, compiled, gpu
from spikeloom.errors import ConfigError, ResourceError
from spikeloom.ir.hardware import Affine, Netlist, Pool, Requantise, Wire

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
WAYS = (CudaOptions(), CudaOptions(kernels="event"), CudaOptions(planes=False))


def cases(netlists: list[Netlist], ways: tuple[CudaOptions, ...]) -> list[Case]:
    def both(each: Netlist) -> list[Golden]:
        return [golden(each, 3), golden(each, 3, streamed=True)] if each.timesteps > 1 else [golden(each, 3)]

    return [(each, way, both(each)) for each in netlists for way in ways]


def shapes() -> list[Netlist]:
    rng = np.random.default_rng(1)
    return [tokens(rng), renamed(rng), ternary(rng, 1), ternary(rng, 3), wide(rng), picture(rng, 1), picture(rng, 4)]


@needs_compiler
@settings(deadline=None, max_examples=2, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(recipes(), min_size=8, max_size=8))
def test_random_netlists_answer_as_the_reference(tmp_path: Path, drawn: list[Recipe]) -> None:
    assert wrong(tmp_path, cases([make() for make in drawn], WAYS[:2])) == {}


@needs_compiler
def test_every_way_of_every_operation_answers_as_the_reference(tmp_path: Path) -> None:
    every = [*cases(shapes(), WAYS[:2]), *cases([ternary(np.random.default_rng(2), 2)], WAYS[2:])]
    assert wrong(tmp_path, every) == {}


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, 30, 10))
def test_many_netlists_answer_as_the_reference_and_nothing_is_undefined(tmp_path: Path, first: int) -> None:
    many = [made(seed, timesteps=(1, 2, 4)[seed % 3]) for seed in range(first, first + 10)]
    assert wrong(tmp_path, cases(many, WAYS[:2]), SANITIZED) == {}


def test_all_ways_are_reached() -> None:
    found = [kernel for each in shapes() for way in WAYS for kernel in TARGET.report(each, way)["kernels"].values()]
    expected = {"product, quad", "product, single", "planes, planes", "gather, single", "grouped, single"}
    assert set(found) == expected


@needs_nvcc
@pytest.mark.timeout(300)
def test_nvcc_compiles_every_way(tmp_path: Path) -> None:
    (tmp_path / "all.cu").write_text(together(tmp_path, [(each, way, [golden(each, 2)]) for each in shapes()[1:6:2] for way in WAYS[:2]]))
    command = ["nvcc", "-arch=sm_90", STANDARD, "-Werror", "all-warnings", "-cubin", "all.cu", "-o", "all.cubin"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "all.cubin").read_bytes()[:4] == b"\x7fELF"


@needs_nvcc
def test_membranes_stay_in_registers(tmp_path: Path) -> None:
    each = made(3, timesteps=4)
    emitted(tmp_path, each, golden(each), CudaOptions())
    told = compiled(tmp_path, CudaOptions())
    assert told["spilled bytes"] == 0
    assert int(told["kernels"]) > 4


@needs_compiler
def test_the_folder_is_compiled_and_run_and_a_wrong_weight_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(shutil.which('g++') or '').parent}:/usr/bin:/bin")  # without nvcc, mostly
    rng = np.random.default_rng(0)
    each = netlist(Wire((6,), 0, 15, True), [Affine("a", ("x",), rng.integers(20, 100, (8, 6))), uniform("p", "a", 300, 15)], timesteps=2)
    emitted(tmp_path, each, golden(each), CudaOptions())
    verdict = TARGET.verify(tmp_path, each, golden(each, 5, seed=1), CudaOptions())
    assert (verdict.samples, verdict.mismatches, verdict.numbers["shipped mismatches"]) == (5, 0, 0)
    assert EMULATED in verdict.how
    weights = tmp_path / "weights.cuh"
    text = weights.read_text()
    place = text.index("0x", text.index(" weight_1["))
    weights.write_text(text[:place] + "0x7F7F7F7FU" + text[place + 11 :])
    verdict = TARGET.verify(tmp_path, each, golden(each, 5, seed=1), CudaOptions())
    assert verdict.mismatches > 0
    with pytest.raises(ResourceError, match="a GPU or a C"):
        TARGET.verify(tmp_path, each, golden(each), CudaOptions(compiler="no-such-compiler"))


@pytest.mark.skipif(not gpu(), reason="needs a GPU")
@needs_nvcc
@pytest.mark.timeout(600)
def test_a_gpu_answers_as_the_reference(tmp_path: Path) -> None:
    for number, each in enumerate([*shapes(), *(made(seed, timesteps=4) for seed in range(4))]):
        for way in WAYS:
            place = tmp_path / f"{number}{way.kernels}{way.planes}"
            emitted(place, each, golden(each), way)
            verdict = TARGET.verify(place, each, golden(each, 5, streamed=True), way)
            assert verdict.mismatches == 0
            assert "run on" in verdict.how


def test_the_same_netlist_gives_the_same_bytes_and_a_report_of_json() -> None:
    first, second = (TARGET.emit(each, golden(each), CudaOptions()) for each in (made(5, timesteps=4), made(5, timesteps=4)))
    assert first == second
    told = TARGET.report(made(5, timesteps=4), CudaOptions())
    assert json.loads(json.dumps(told)) == told
    assert TARGETS["cuda"] is TARGET


def test_what_is_too_wide_is_refused_with_numbers() -> None:
    rng = np.random.default_rng(0)
    high = netlist(Wire((300,), -(1 << 20), 1 << 20), [Affine("a", ("x",), rng.integers(1 << 14, 1 << 15, (2, 300)))])
    (refusal,) = TARGET.refusals(high, CudaOptions())
    assert (refusal.where, refusal.allowed) == ("a", "32 bits")
    assert str(high.wires["a"].high) in refusal.found
    long = netlist(Wire((4,), -9, 9), [Affine("a", ("x",), np.eye(4, dtype=np.int64)), uniform("p", "a", 1 << 31, 2, initial=0)], 2)
    assert [refusal.where for refusal in TARGET.refusals(long, CudaOptions())] == []
    lost = netlist(Wire((4,), -9, 9), [uniform("p", "x", 1, 2, leak=np.array([1 << 30]))], 4)
    assert {refusal.where for refusal in TARGET.refusals(lost, CudaOptions())} == {"p"}
    shifted = netlist(Wire((4,), 0, 9), [Requantise("r", ("x",), np.array([5]), 63, 0, 9)])
    assert any(refusal.found == "a shift of 63" for refusal in TARGET.refusals(shifted, CudaOptions()))
    pooled = netlist(Wire((1, 20, 20), 0, 9), [Pool("m", ("x",), "max", (20, 20), (20, 20))], 2)
    assert [refusal.where for refusal in TARGET.refusals(pooled, CudaOptions())] == ["m"]


@pytest.mark.parametrize(
    "option", [{"arch": "sm_50"}, {"arch": "hopper"}, {"prefix": "a-b"}, {"prefix": "std"}, {"prefix": "class"}, {"compiler": "g++; ls"}]
)
def test_options_that_cannot_be_are_refused(option: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        CudaOptions(**option)  # pyright: ignore[reportArgumentType]
