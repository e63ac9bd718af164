"""
The page that goes with a Xylo configuration.
"""

from spikeloom.backend.xylo.chips import CHIPS
from spikeloom.backend.xylo.options import XyloOptions
from spikeloom.backend.xylo.placing import Placement
from spikeloom.ir.hardware import Netlist


def page(placed: Placement, netlist: Netlist, options: XyloOptions) -> str:
    """README.md: what the files are, and how a sample is run."""
    chip = CHIPS[options.chip]
    sent = "all its numbers in the first tick" if placed.frames == 1 else f"{placed.frames} frames, one a tick"
    clocks = "".join(f" Channel {channel} sends 15 events in tick {tick}: it brings biases." for channel, tick in placed.clocks)
    after = "Ticks after it mean nothing; reset before the next sample." if placed.way == "wave" else "Every later tick answers too."
    return f"""# {chip.title}

`specification.npz` holds the arguments of rockpool's `config_from_specification` (and `XyloSim.from_specification`, where `bias_hidden` is
called `bias`); `schedule.json` says how a sample is run. {len(placed.threshold)} of {chip.hidden} hidden neurons are used, {placed.relays}
of them relays; the largest fan-out is {int(placed.fan_out.max(initial=0))} of {chip.fan_out}.

A sample is {sent}, as events (at most 15 a channel and tick), on
{len(placed.weights_in)} channels.{clocks}
A layer takes one tick: the answer is in tick {placed.ticks - 1}, counted from 0, as the output neurons'
{"membrane" if placed.read == "Vmem" else "spikes"} (output mode "{placed.read}"), times {netlist.unit:g}.
{after}

Membranes forget at once (dash_mem 0) and synaptic currents halve (dash_syn 1), so that a hidden neuron sends ⌊(Σ w·k + bias)/θ⌋
spikes, from 0 to 31: one tick of a scale-and-fire neuron.
"""
