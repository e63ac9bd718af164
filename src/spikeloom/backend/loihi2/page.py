"""
The README of an emitted folder.
"""

from spikeloom.backend.loihi2.layers import Lowered
from spikeloom.backend.loihi2.limits import LIMITS
from spikeloom.backend.loihi2.netx import latency
from spikeloom.backend.loihi2.placement import Placed
from spikeloom.ir.hardware import Netlist

NETX = """`network.net` is in lava-dl's netx layout (HDF5). Load it with

    from lava.lib.dl.netx import hdf5
    net = hdf5.Network(net_config="network.net", reset_interval={steps}, reset_offset=1{bits})

Layers start one tick after each other; `reset_offset=1` and a reset interval of at least {steps} ticks give every sample a start from rest.
The last layer answers by its voltage, {steps} ticks after a sample's first input: v / 64 = the sum that the reference gives. Layers fire at
v > vThMant·64, which in whole numbers is h ≥ θ for vThMant = θ - 1.
"""

EXTENDED = """`network.net` is HDF5 in Spikeloom's extension of lava-dl's netx layout, which does not hold this network.
lava-dl does not read it.

    /layer/<i>/type       "input" or "spikeloom"; shape; bias [shape], added at each tick
    /layer/<i>/spikeloom/link/<j>/
        source, kind      the layer read (0 is the input); "dense", "conv" or "scale"
        index             elements of the source that are read (-1: 0), flattened; all where it is missing
        reads, gives      the shapes before and after the weights
        weight, weight_1, …   mantissas of 8 bits; w = Σ mantissa·2^(attribute exponent)
        stride, padding, dilation, groups   conv (height, width), as torch has them; axis: of a scale's weights
        delay             ticks on the axon beyond the one that every layer takes
    /layer/<i>/spikeloom/neuron/program
        staircase         h = ((decay·v) >> decay_shift) + x - leak; k = #{{h ≥ thresholds}}; sends heights[k]; v = h - taken[k], or at
                          reset "zero" h where nothing fired, else 0. Without `membrane` h = x. Rows are by the place of `axis`.
        relay             sends clip((multiplier·x + 2^(shift-1)) >> shift, low, high)
        gather            v = v + x: the answer after the last tick

>> rounds down. A layer of depth d (the longest way from the input, each edge 1 + delay) sees a sample's tick t at tick t + d - 1.
"""

CLAIM = """What is claimed is that these files follow the layout and that Spikeloom's fixed-point oracle, which reads them, equals the
integer reference. Nothing here has run on a Loihi 2. `placement.json` says which neurons go to which core;
`golden.safetensors` beside them holds inputs and answers.
"""


def readme(netlist: Netlist, found: Lowered, placed: Placed, layout: str, reasons: list[str]) -> str:
    """What is in the folder and how it is run."""
    wire, steps = netlist.wires[netlist.source.name], latency(found, netlist.timesteps)
    bits = "" if (wire.low, wire.high) == (0, 1) else f", input_message_bits={wire.bits}"
    body = NETX.format(steps=steps, bits=bits) if layout == "netx" else EXTENDED.format()
    lines = [f"# Loihi 2: {len(placed.cores)} cores, T = {netlist.timesteps}, {steps} ticks for a sample", "", body]
    if reasons:
        lines += ["What keeps the network from the plain layout:", "", *(f"- {reason}" for reason in reasons[:20]), ""]
    lines += [CLAIM, "| core | layer | neurons | synapses | bytes of synapses | bytes | axons in | axons out |", "|" + "---|" * 8]
    for number, core in enumerate(placed.cores):
        told = (core.neurons, core.synapses, core.synaptic_bytes, core.memory_bytes, core.axons_in, core.axons_out)
        lines.append(f"| {number} | {found.layers[core.layer].name} | " + " | ".join(f"{value:,}" for value in told) + " |")
    lines += ["", "| limit | value | source |", "|---|---|---|"]
    lines += [f"| {x.unit} | {x.value:,} | {x.source}{'' if x.sure else ' (uncertain)'} |" for x in LIMITS.values()]
    return "\n".join(lines) + "\n"
