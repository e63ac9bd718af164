"""
Widths: every number of a netlist fits the words that targets calculate with.
"""

from spikeloom.backend.lower.obstacles import refuse
from spikeloom.backend.target import Refusal
from spikeloom.ir.hardware import Netlist, Wire, membrane_wires

WIDEST = 32


def within_words(netlist: Netlist) -> Netlist:
    """The netlist, if all of its numbers fit 32 bits. Raises UnsupportedError naming those that do not."""
    wires = [*netlist.wires.items(), *((f"{name}'s membrane", wire) for name, (wire, _) in membrane_wires(netlist).items())]
    output, ticks = netlist.wires[netlist.output], netlist.timesteps
    wires.append((f"the sum of {netlist.output} over {ticks} ticks", Wire(output.shape, ticks * output.low, ticks * output.high)))
    wide = [
        Refusal(name, f"{wire.low} to {wire.high}", f"{WIDEST} bits", "use fewer weight bits") for name, wire in wires if not _fits(wire)
    ]
    refuse("numbers can pass 32 bits", wide)
    return netlist


def _fits(wire: Wire) -> bool:
    return wire.low >= -(1 << (WIDEST - 1)) and wire.high < 1 << (WIDEST - 1)
