"""
cocotb with Icarus on the emitted Verilog: both streams pause at random, samples come back to back, a reset falls in the middle; every
answer is the integer reference's, bit for bit.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.backend.netlists import EVERYTHING, golden, made

from spikeloom.backend.rtl import TARGET
from spikeloom.backend.rtl.interface import Interface, beats_of, interface_of
from spikeloom.backend.rtl.options import RtlOptions
from spikeloom.backend.rtl.tools import found
from spikeloom.ir.hardware import Netlist
from spikeloom.simulate.integers import checked_ticks

pytest.importorskip("cocotb", reason="needs cocotb: pip install 'spikeloom[dev]'")
pytest.importorskip("amaranth", reason="needs Amaranth: pip install 'spikeloom[hw]'")

import find_libpython
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

pytestmark = [
    pytest.mark.timeout(600),  # yosys compiles itself at its first call: a minute and a half
    pytest.mark.skipif(found("iverilog") is None or found("vvp") is None, reason="needs iverilog"),
    pytest.mark.skipif(found("yosys") is None, reason="needs yosys"),
    pytest.mark.skipif(find_libpython.find_libpython() is None, reason="cocotb needs a Python with a shared library"),
]

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLES = 3
PAUSES = [(1.0, 1.0), (0.5, 0.5), (1.0, 0.2)]
"""The shares of cycles in which a word is offered, and taken: no pause, both pause, a slow reader."""
RESETS = [0.0, 0.3, 0.8, 1.5]
"""When resets come, as shares of a sample's cycles: before, in and behind it."""
WORDS = {
    "given": {"data": "s_axis_tdata", "last": "s_axis_tlast", "valid": "s_axis_tvalid", "ready": "s_axis_tready"},
    "answered": {"data": "m_axis_tdata", "last": "m_axis_tlast", "valid": "m_axis_tvalid", "ready": "m_axis_tready"},
}
ROLES = ("data", "last", "valid", "ready")
BYTES = {side: {role: f"{name}_{role}" for role in ROLES} for side, name in (("given", "in"), ("answered", "out"))}
"""Ports of the network, and of the network behind pins."""


def in_bytes(words: list[list[list[int]]], count: int) -> list[list[list[int]]]:
    """Each word as so many bytes, the lowest first; last with the last byte."""
    return [[[(word >> (8 * at)) & 255, int(last and at == count - 1)] for word, last in sample for at in range(count)] for sample in words]


def traffic(netlist: Netlist, interface: Interface, pins: bool, streamed: bool) -> dict[str, Any]:
    """What goes in and what must come out, a list of words for each sample."""
    vectors, mask = golden(netlist, SAMPLES, seed=1, streamed=streamed), (1 << (8 * interface.answer_bytes)) - 1
    beats = [[list(beat) for beat in sample] for sample in beats_of(interface, checked_ticks(netlist, vectors.inputs))]
    rows = np.asarray(vectors.outputs).reshape(SAMPLES, -1).tolist()
    answers = [[[value & mask, int(place == len(row) - 1)] for place, value in enumerate(row)] for row in rows]
    if pins:
        beats, answers = in_bytes(beats, interface.given_bytes), in_bytes(answers, interface.answer_bytes)
    return {"beats": beats, "answers": answers, **(BYTES if pins else WORDS)}


def simulated(netlist: Netlist, options: RtlOptions, where: Path, *, pins: bool, streamed: bool) -> str:
    """cocotb's tests have run on what is emitted; gives what they printed, "" where all of them passed."""
    for name, content in TARGET.emit(netlist, golden(netlist, 2, streamed=streamed), options).items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(content)
    return driven(where, traffic(netlist, interface_of(netlist, options.input), pins, streamed), pins=pins)


def driven(where: Path, told: dict[str, Any], *, pins: bool) -> str:
    """The same of a folder that is there."""
    file, top, runner = where / "bench.json", "spikeloom_pins" if pins else "spikeloom", get_runner("icarus")
    file.write_text(json.dumps({"seed": 3, "pauses": PAUSES, "resets": RESETS, **told}))
    sources = [where / f"rtl/{name}.v" for name in ("spikeloom", *(["spikeloom_pins"] if pins else []))]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_CURRENT_TEST")  # cocotb would end pytest where a test fails
        patch.syspath_prepend(REPOSITORY)
        runner.build(sources=sources, hdl_toplevel=top, build_dir=where / "build", timescale=("1ns", "1ps"), log_file=where / "build.log")
        results = runner.test(
            test_module="tests.backend.rtl.axis_bench",
            hdl_toplevel=top,
            build_dir=where / "build",
            log_file=where / "run.log",
            results_xml=str(where / "results.xml"),
            extra_env={"SPIKELOOM_BENCH": str(file)},
        )
    count, failed = get_results(results)
    assert count == 2
    return (where / "run.log").read_text() if failed else ""


NETWORKS = {
    "events": (made(0, EVERYTHING, 1, 2), {"parallel": 4}, False),
    "short queues": (made(5, EVERYTHING, 2, 1), {"parallel": 2, "fifo_depth": 2}, True),
    "values": (made(11, EVERYTHING, 2, 2), {"parallel": 4, "input": "values"}, False),
    "gates": (made(3, frozenset({"convolution", "max", "add", "route", "table"}), 1, 1), {"style": "logic"}, False),
}


@pytest.mark.parametrize(("name", "pins"), [*((name, False) for name in NETWORKS), ("short queues", True)])
def test_streams_that_pause_and_resets(name: str, pins: bool, tmp_path: Path) -> None:
    netlist, told, streamed = NETWORKS[name]
    options = RtlOptions(device="ecp5-85k", simulator="icarus", **told)  # pyright: ignore[reportArgumentType]
    assert TARGET.refusals(netlist, options) == []
    assert simulated(netlist, options, tmp_path, pins=pins, streamed=streamed) == ""
