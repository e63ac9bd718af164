"""
The README of an emitted folder.
"""

from collections import Counter

from spikeloom.backend.truenorth import limits, mapping, network
from spikeloom.backend.truenorth.mapping import Mapped
from spikeloom.ir.hardware import Netlist


def readme(netlist: Netlist, chip: Mapped) -> str:
    """What is in the folder and how it runs."""
    kinds, last = Counter(core.kind for core in chip.cores), max(chip.ticks.values(), default=0) + netlist.timesteps - 1
    lines = [
        f"# TrueNorth: {len(chip.cores):,} of {limits.CORES:,} cores, T = {netlist.timesteps}, {last} ticks of 1 ms for a sample",
        "",
        "| cores of | number |",
        "|---|---|",
        *(f"| {kind} | {count:,} |" for kind, count in sorted(kinds.items())),
        "",
        f"At T = 1 a new sample can start every {chip.period} ticks. At T > 1 membranes are loaded anew for each sample.",
        "",
        "What a layer's axon types stand for, and how many axons of each an input has at most:",
        "",
        *(f"- {name}: {code}" for name, code in chip.codes.items()),
        *(f"- {name}: cut into {count} partial sums, sent as bursts" for name, count in chip.parts.items()),
        "",
        "The host sends the input spikes, counts those of the output neurons, and adds up `readout`: that product is not on the chip.",
        "",
        "What is claimed is that a simulator of the published neuron equation, run from `network.json`, equals the integer reference.",
        "Nothing here has run on a TrueNorth.",
        "",
        "The chip's numbers: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in limits.TOLD.items()) + ".",
        "",
        "## How layers became cores",
        "",
        (mapping.__doc__ or "").strip(),
        "",
        "## network.json",
        "",
        (network.__doc__ or "").strip(),
    ]
    return "\n".join(lines) + "\n"
