"""The event-driven core in Amaranth's simulator and, emitted as Verilog, in Icarus: equal to the integer reference."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backend.netlists import EVERYTHING, Recipe, golden, made, recipes, table, uniform

from spikeloom.backend import Golden
from spikeloom.backend.rtl import TARGET
from spikeloom.backend.rtl.options import RtlOptions
from spikeloom.backend.rtl.tools import found
from spikeloom.ir.hardware import (
    Add,
    Affine,
    Convolution,
    Netlist,
    Operation,
    Pool,
    Population,
    Requantise,
    Route,
    Source,
    Wire,
    netlist_of,
)
from spikeloom.simulate.integers import run_integers

pytestmark = pytest.mark.timeout(600)  # yosys compiles itself at its first call: a minute and a half
pytest.importorskip("amaranth", reason="needs Amaranth: pip install 'spikeloom[hw]'")

WORDS = st.sampled_from([1, 2, 4, 16])
FORMS = st.sampled_from(["events", "values"])


def simulated(netlist: Netlist, samples: int = 3, *, streamed: bool = False, **told: object) -> dict[str, float]:
    """Runs golden vectors in Amaranth's simulator; gives the cycles."""
    options = RtlOptions(device="ecp5-85k", simulator="amaranth", **told)  # pyright: ignore[reportArgumentType]
    assert TARGET.refusals(netlist, options) == []
    verdict = TARGET.verify(Path(), netlist, golden(netlist, samples, streamed=streamed), options)
    assert (verdict.samples, verdict.mismatches) == (samples, 0)
    return dict(verdict.numbers)


def folder_of(netlist: Netlist, given_: Golden, options: RtlOptions, where: Path) -> Path:
    """An emitted folder."""
    for name, content in TARGET.emit(netlist, given_, options).items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(content)
    return where


@given(recipes(), WORDS, FORMS, st.booleans(), st.sampled_from([2, 16]))
@settings(max_examples=8, deadline=None)
def test_random_networks_equal_the_reference(recipe: Recipe, parallel: int, form: str, streamed: bool, depth: int) -> None:
    simulated(recipe(), parallel=parallel, input=form, streamed=streamed, fifo_depth=depth)


OPERATIONS: dict[str, tuple[tuple[int, ...], list[Operation]]] = {
    "affine": ((5,), [Affine("a", ("x",), np.arange(-7, 8).reshape(3, 5), np.array([3, -9, 4]))]),
    "kernel": ((2, 5, 4), [Convolution("c", ("x",), np.arange(-18, 18).reshape(3, 2, 3, 2), np.array([1, 2, -3]), (2, 1), (1, 0))]),
    "dilated": ((1, 6, 5), [Convolution("c", ("x",), np.arange(-4, 4).reshape(2, 1, 2, 2), None, (1, 2), (1, 1), (2, 3))]),
    "grouped": ((6, 3, 3), [Convolution("c", ("x",), np.arange(-27, 27).reshape(6, 1, 3, 3), None, (1, 1), (1, 1), (1, 1), 6)]),
    "two groups": ((4, 3, 3), [Convolution("c", ("x",), np.arange(-48, 48).reshape(6, 2, 2, 4)[..., :2], None, (1, 1), (0, 0), (1, 1), 2)]),
    "stride beyond the kernel": ((1, 5, 5), [Convolution("c", ("x",), np.array([[[[3]]]]), None, (2, 3))]),
    "sum pool": ((2, 4, 5), [Pool("s", ("x",), "sum", (3, 2), (1, 2), (1, 0))]),
    "maximum": ((2, 4, 5), [Pool("m", ("x",), "max", (3, 2), (1, 2), (1, 1))]),
    "route with copies": ((5,), [Route("r", ("x",), (7,), np.array([4, -1, 0, 0, 0, 2, 4]))]),
    "two operands": ((3,), [Affine("a", ("x",), np.eye(3, dtype=np.int64) * 5), Route("r", ("x", "a"), (6,), np.arange(6)[::-1].copy())]),
    "rescale": ((4,), [Requantise("q", ("x",), np.array([3, 5, -7, 1]), 2, -9, 8)]),
    "residual": (
        (3, 2, 2),
        [
            Convolution("c", ("x",), np.arange(-4, 5).reshape(3, 3, 1, 1)),
            Add("s", ("c", "x"), (np.array([2, 3, -1]), np.array([7])), np.array([1, 0, -5])),
        ],
    ),
    "twice": ((3,), [Affine("a", ("x",), np.arange(9).reshape(3, 3) - 4), Add("s", ("a", "a"), (np.array([2]), np.array([-3])))]),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(("timesteps", "low"), [(1, 0), (3, -8)])
def test_each_operation_alone(name: str, timesteps: int, low: int) -> None:
    shape, operations = OPERATIONS[name]
    netlist = netlist_of(Source("x", 1.0), Wire(shape, low, 7, True), operations, operations[-1].name, timesteps=timesteps)
    simulated(netlist, parallel=2, streamed=timesteps > 1)


def layered(population: Population, timesteps: int) -> Netlist:
    """Weights, neurons, weights."""
    rng = np.random.default_rng(3)
    first, last = (rng.integers(-40, 41, shape) for shape in ((7, 9), (4, 7)))
    operations = [
        Affine("a", ("x",), first, rng.integers(-20, 20, 7)),
        population,
        Affine("b", (population.name,), last, rng.integers(-9, 9, 4)),
    ]
    return netlist_of(Source("x", 1.0), Wire((9,), 0, 3, True), operations, "b", timesteps=timesteps)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("timesteps", [1, 4])
def test_neurons_of_every_kind(reset: str, timesteps: int) -> None:
    rng = np.random.default_rng(1)
    each = rng.integers(20, 90, 7)
    told = {"decay": rng.integers(100, 257, 7), "decay_shift": 8, "leak": rng.integers(-40, 60, 7), "reset": reset}
    for population in (
        uniform("p", "a", 37, 1),
        uniform("p", "a", each, 5, negative=2, reset=reset),
        uniform("p", "a", each, 3, initial=rng.integers(-5, 20, 7), **told),
    ):
        simulated(layered(population, timesteps), 5, parallel=4)


def test_stored_thresholds() -> None:
    """Thresholds that are neither shared nor equally far apart, any heights; both forms of T = 1 (the other one above)."""
    rng = np.random.default_rng(2)
    for levels in (1, 2, 6):
        simulated(layered(table(rng, "p", "a", 7, levels, 120), 1), parallel=4)


def test_fewer_events_take_fewer_cycles() -> None:
    rng = np.random.default_rng(0)
    netlist = netlist_of(
        Source("x", 1.0), Wire((60,), 0, 1, True), [Affine("a", ("x",), rng.integers(-9, 9, (16, 60))), uniform("p", "a", 9, 1)], "p"
    )
    cycles = list[float]()
    for count in (0, 10, 60):
        inputs = np.zeros((1, 60), np.int64)
        inputs[0, :count] = 1
        options = RtlOptions(simulator="amaranth", parallel=4)
        verdict = TARGET.verify(Path(), netlist, Golden(inputs, run_integers(netlist, inputs)), options)
        assert verdict.mismatches == 0
        cycles.append(verdict.numbers["cycles_mean"])
    assert cycles[2] - cycles[1] > 50 * 4 - 8  # 16 neurons, 4 at once: 4 cycles an event
    assert cycles[1] > cycles[0]


def test_a_wrong_answer_is_seen() -> None:
    netlist = made(1)
    right = golden(netlist, 3)
    wrong = Golden(right.inputs, right.outputs + np.array([[0], [1], [0]]))
    verdict = TARGET.verify(Path(), netlist, wrong, RtlOptions(device="ecp5-85k", simulator="amaranth"))
    assert verdict.mismatches == 1


# --- Verilog --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def _icarus() -> None:
    for tool in ("yosys", "iverilog"):
        if found(tool) is None:
            pytest.skip(f"needs {tool}")


@pytest.mark.usefixtures("_icarus")
@pytest.mark.parametrize("seed", [0, 5, 11])
@pytest.mark.parametrize("timesteps", [1, 3])
def test_verilog_equals_the_reference(seed: int, timesteps: int, tmp_path: Path) -> None:
    netlist, options = made(seed, EVERYTHING, timesteps, 2), RtlOptions(device="ecp5-85k", simulator="icarus", parallel=4)
    given_ = golden(netlist, 4, streamed=seed % 2 == 1)
    folder = folder_of(netlist, given_, options, tmp_path)
    verdict = TARGET.verify(folder, netlist, given_, options)
    assert (verdict.samples, verdict.mismatches) == (4, 0)
    assert verdict.numbers["cycles_back_to_back"] <= verdict.numbers["cycles_mean"]


@pytest.mark.usefixtures("_icarus")
@pytest.mark.skipif(found("verilator") is None, reason="needs verilator")
def test_a_compiled_simulation_gives_the_same_verdict_and_cycles(tmp_path: Path) -> None:
    netlist, given_ = made(5, EVERYTHING, 2, 2), golden(made(5, EVERYTHING, 2, 2), 4)
    folder = folder_of(netlist, given_, RtlOptions(device="ecp5-85k"), tmp_path)
    options = {name: RtlOptions.model_validate({"device": "ecp5-85k", "simulator": name}) for name in ("icarus", "verilator")}
    verdicts = {name: TARGET.verify(folder, netlist, given_, option) for name, option in options.items()}
    assert verdicts["verilator"].mismatches == 0
    assert verdicts["verilator"].numbers == verdicts["icarus"].numbers
    assert verdicts["verilator"].how.startswith("Verilator on the emitted Verilog")


@pytest.mark.usefixtures("_icarus")
def test_altered_verilog_is_caught(tmp_path: Path) -> None:
    netlist, options = made(0, EVERYTHING, 1, 1), RtlOptions(device="ecp5-85k", simulator="icarus")
    given_ = golden(netlist, 3)
    folder = folder_of(netlist, given_, options, tmp_path)
    text = (folder / "rtl/spikeloom.v").read_text()
    assert " + " in text
    (folder / "rtl/spikeloom.v").write_text(text.replace(" + ", " - "))
    assert TARGET.verify(folder, netlist, given_, options).mismatches > 0


@pytest.mark.usefixtures("_icarus")
def test_a_folder_carries_its_own_test(tmp_path: Path) -> None:
    """`make test` runs what was shipped, and says so."""
    import subprocess

    netlist, options = made(2, EVERYTHING, 2, 1), RtlOptions(device="ecp5-85k")
    folder = folder_of(netlist, golden(netlist, 3), options, tmp_path)
    said = subprocess.run(["make", "test"], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert said.count("SAMPLES 3 MISMATCHES 0") == 2
    assert said.count("LATENCY") == 3


@pytest.mark.usefixtures("_icarus")
def test_the_same_netlist_gives_the_same_bytes() -> None:
    options = RtlOptions(device="ecp5-85k")
    first, second = (TARGET.emit(made(3), golden(made(3)), options) for _ in range(2))
    assert first == second
    assert not any(b"yosys" in content.lower() for name, content in first.items() if name.endswith("spikeloom.v"))
