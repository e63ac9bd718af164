"""
What a person wants to know of a design: what it is expected to take, and where asked for what yosys and nextpnr made of it.
"""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.backend.rtl.design import design_of
from spikeloom.backend.rtl.emit import emitted, synth
from spikeloom.backend.rtl.options import Device, RtlOptions
from spikeloom.backend.rtl.tools import run
from spikeloom.backend.target import Golden
from spikeloom.ir.hardware import Netlist

USED = {
    "ecp5": {"luts": "TRELLIS_COMB", "registers": "TRELLIS_FF", "block_rams": "DP16KD", "multipliers": "MULT18X18D"},
    "ice40": {"luts": "ICESTORM_LC", "block_rams": "ICESTORM_RAM", "multipliers": "ICESTORM_DSP"},
}
"""What nextpnr calls things."""


def reported(netlist: Netlist, options: RtlOptions) -> Mapping[str, Any]:
    """Numbers before synthesis and, with the option `synthesise`, after it. Raises ResourceError where yosys or nextpnr is missing."""
    facts = design_of(netlist, options).facts()
    if not options.synthesise:
        return facts
    wire = netlist.wires[netlist.source.name]
    nothing = np.full((1, *wire.shape), wire.low, np.int64)
    files = emitted(netlist, Golden(nothing, np.zeros((1, *netlist.wires[netlist.output].shape), np.int64)), options)
    with tempfile.TemporaryDirectory() as scratch:
        for name, content in files.items():
            where = Path(scratch, name)
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(content)
        return facts | {"synthesis": synthesised(Path(scratch), options)}


def synthesised(folder: Path, options: RtlOptions) -> dict[str, Any]:
    """What yosys and nextpnr make of an emitted folder: what is used beside what is there, and the clock reached, MHz."""
    device = options.chip
    (folder / "build").mkdir(exist_ok=True)
    script = f"read_verilog rtl/spikeloom.v rtl/spikeloom_pins.v; {synth(device)} -top spikeloom_pins -json build/spikeloom.json"
    run("yosys", ["-q", "-p", script], folder)
    kind, output = ("lpf", "textcfg") if device.family == "ecp5" else ("pcf", "asc")
    told = [*device.place, "--json", "build/spikeloom.json", f"--{kind}", f"constraints.{kind}", f"--{kind}-allow-unconstrained"]
    told += ["--freq", f"{options.frequency_mhz:g}", "--timing-allow-fail", "--report", "build/report.json", "-q"]
    run(f"nextpnr-{device.family}", [*told, f"--{output}", "build/spikeloom.out"], folder)
    return placed((folder / "build" / "report.json").read_text(), device)


def placed(text: str, device: Device) -> dict[str, Any]:
    """The numbers of a report of nextpnr."""
    body = json.loads(text)
    used = {name: body["utilization"].get(cell, {"used": 0, "available": 0}) for name, cell in USED[device.family].items()}
    clocks = {re.sub(r"^\$glbnet\$|\$.*$", "", name): each["achieved"] for name, each in body["fmax"].items()}
    return {name: each["used"] for name, each in used.items()} | {"fmax_mhz": round(min(clocks.values()), 2), "of": device.title}
