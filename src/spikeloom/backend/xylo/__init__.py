"""
Xylo (SynSense): networks of one tick and 31 levels on the chip's hidden population, by exact arithmetic (`placing`).

    specification.npz   the arguments of rockpool's config_from_specification and XyloSim.from_specification
    schedule.json       how a sample is sent in, and at which tick its answer is read
    README.md           the same in words, and how to run it
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.backend.target import Form, Golden, Target, Verdict
from spikeloom.backend.xylo.chips import CHIPS
from spikeloom.backend.xylo.configuration import files, load, raster
from spikeloom.backend.xylo.options import XyloOptions
from spikeloom.backend.xylo.page import page
from spikeloom.backend.xylo.placing import place
from spikeloom.backend.xylo.refusing import refusals
from spikeloom.backend.xylo.simulator import run
from spikeloom.backend.xylo.vendor import installed, run_vendor
from spikeloom.ir.hardware import Netlist

__all__ = ["TARGET", "XyloOptions"]


def form(options: XyloOptions) -> Form:
    """Membranes with equal steps, weights that nothing multiplies afterwards, inputs of at most 15 events."""
    return Form("always", weight_bits=options.weight_bits, input_bits=options.input_bits, gains=False)


def emit(netlist: Netlist, golden: Golden, options: XyloOptions) -> Mapping[str, bytes]:
    """The configuration and its page."""
    placed = place(netlist)
    return files(placed, netlist, options) | {"README.md": page(placed, netlist, options).encode()}


def verify(folder: Path, netlist: Netlist, golden: Golden, options: XyloOptions) -> Verdict:
    """The files run on the golden vectors, by xylosim where it is installed or asked for, else by our own simulator."""
    spec, told = load(folder)
    shape = netlist.wires[netlist.source.name].shape
    inputs = golden.inputs if golden.inputs.ndim == len(shape) + 1 else golden.inputs[0]
    vendor = options.simulator == "xylosim" or (options.simulator == "auto" and installed())
    given = (spec, raster(inputs, told), told["output_mode"])
    answers = (run_vendor if vendor else run)(*given)[:, told["read_at_tick"]]
    wrong = (answers != golden.outputs.reshape(len(inputs), -1)).any(1)
    how = "SynSense's xylosim" if vendor else "our own simulator of Xylo's published behaviour (xylosim is not installed)"
    return Verdict(len(inputs), int(wrong.sum()), how, {"ticks": told["ticks"], "by the vendor's simulator": vendor})


def report(netlist: Netlist, options: XyloOptions) -> Mapping[str, Any]:
    """What is used of the chip."""
    placed, chip = place(netlist), CHIPS[options.chip]
    weights = np.concatenate([part.reshape(-1) for part in (placed.weights_in, placed.weights_rec, placed.weights_out)])
    return {
        "chip": chip.title,
        "hidden neurons": len(placed.threshold),
        "hidden neurons there are": chip.hidden,
        "relays": placed.relays,
        "output neurons": len(placed.threshold_out),
        "input channels": len(placed.weights_in),
        "largest fan-out": int(placed.fan_out.max(initial=0)),
        "fan-out there is": chip.fan_out,
        "synapses": int((weights != 0).sum()),
        "largest weight": int(np.abs(weights).max(initial=0)),
        "way": placed.way,
        "ticks a sample": placed.ticks,
        "ticks from the last input to the answer": placed.depth - 1,
        "read": placed.read,
    }


TARGET = Target(
    "xylo",
    "Xylo (SynSense): Audio 2, Audio 3, IMU",
    {
        "Affine": "8 bits",
        "Convolution": "as a matrix",
        "Pool": "sum, as a matrix",
        "Add": "as a matrix",
        "Route": "as a matrix",
        "Population": "31 equal levels, one tick; one level at the end",
    },
    XyloOptions,
    form,
    refusals,
    emit,
    verify,
    report,
)
