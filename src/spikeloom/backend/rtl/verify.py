"""
What was emitted against the golden vectors: Icarus or Verilator runs the folder's Verilog under its test bench, once a sample after the
other (for the cycles of an inference), once back to back. Without Icarus, Amaranth's simulator runs the design that was emitted.
"""

import re
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from spikeloom.backend.rtl.design import design_of
from spikeloom.backend.rtl.emit import vectors
from spikeloom.backend.rtl.interface import interface_of
from spikeloom.backend.rtl.options import RtlOptions
from spikeloom.backend.rtl.simulators import TITLES, built
from spikeloom.backend.rtl.tools import found
from spikeloom.backend.target import Golden, Verdict
from spikeloom.ir.hardware import Netlist
from spikeloom.simulate.integers import checked_ticks

DONE = re.compile(r"^SAMPLES (\d+) MISMATCHES (\d+) CYCLES (\d+)$", re.MULTILINE)
LATENCY = re.compile(r"^LATENCY (\d+)$", re.MULTILINE)


def verified(folder: Path, netlist: Netlist, golden: Golden, options: RtlOptions) -> Verdict:
    """The verdict; `numbers` has the cycles of an inference. Raises ResourceError where what should run it is missing."""
    simulator = options.simulator
    if simulator == "auto":
        simulator = "amaranth" if found("iverilog") is None else "icarus"
    return _by_amaranth(netlist, golden, options) if simulator == "amaranth" else _on_verilog(simulator, folder, netlist, golden, options)


def _on_verilog(simulator: str, folder: Path, netlist: Netlist, golden: Golden, options: RtlOptions) -> Verdict:
    test, samples = vectors(netlist, interface_of(netlist, options.input), golden), len(golden.outputs)
    sources = [folder / name for name in ("test/bench.v", "rtl/spikeloom.v")]
    with tempfile.TemporaryDirectory() as scratch:
        where = Path(scratch)
        for name, text in test.items():
            (where / name).write_text(text)
        program = built(simulator, "bench", sources, {"BEATS": test["beats.hex"].count("\n"), "SAMPLES": samples}, where)
        alone, together = (program(["+beats=beats.hex", "+expected=expected.hex", *more]) for more in ([], ["+pipelined"]))
    wrong = max(_mismatches(said, samples) for said in (alone, together))
    back_to_back = DONE.search(together)
    numbers = _cycles([int(cycles) for cycles in LATENCY.findall(alone)])
    if back_to_back is not None:
        numbers["cycles_back_to_back"] = int(back_to_back[3]) / samples
    return Verdict(samples, wrong, f"{TITLES[simulator]} on the emitted Verilog, one by one and back to back", numbers)


def _mismatches(said: str, samples: int) -> int:
    """Samples that differ; all where the bench did not come to its end."""
    done = DONE.search(said)
    return int(done[2]) if done is not None and int(done[1]) == samples else samples


def _by_amaranth(netlist: Netlist, golden: Golden, options: RtlOptions) -> Verdict:
    design = design_of(netlist, options)
    made, axis = design.hardware()
    from spikeloom.backend.rtl.hardware.simulating import simulated

    answers, cycles = simulated(made, axis, design.interface, checked_ticks(netlist, golden.inputs))
    expected = np.asarray(golden.outputs).reshape(len(answers), -1)
    wrong = int((answers != expected).any(1).sum())
    return Verdict(len(answers), wrong, "Amaranth's simulator on the design the Verilog was made of, one by one", _cycles(cycles))


def _cycles(cycles: list[int]) -> dict[str, Any]:
    """What cycles of inferences are."""
    return {"cycles_mean": fmean(cycles), "cycles_least": min(cycles), "cycles_most": max(cycles)} if cycles else {}
