"""
The page that goes with a NIR file.
"""

from spikeloom.backend.nir.neurons import delta, multispike
from spikeloom.backend.nir.options import NirOptions
from spikeloom.backend.nir.writing import differences, types_checked
from spikeloom.ir.hardware import Netlist, Population


def page(netlist: Netlist, options: NirOptions) -> str:
    """README.md: how the file is read, and what readers make of it."""
    wire = netlist.wires[netlist.source.name]
    check = "" if types_checked(netlist, options) else ", type_check=False"
    lines = [
        "# network.nir",
        "",
        f"A spiking network for {netlist.timesteps} tick(s) of dt = {options.dt}, as a graph of the neuromorphic intermediate",
        "representation.",
        f"Input: whole numbers from {wire.low} to {wire.high}, shape {list(wire.shape)}; the number 1 stands for {netlist.source.step:g}.",
        f"Answer: the sum of the output over the ticks, times {netlist.unit:g} / {netlist.timesteps}.",
        "",
        f'    graph = nir.read("network.nir"{check})',
        '    netlist = spikeloom.backend.nir.read(Path("network.nir"))      # the same netlist, bit for bit',
        "",
        "Weights, biases and thresholds are whole numbers written as floats. NIR fires at v > v_threshold; these neurons fire at",
        "h >= θ. Since currents are whole numbers, v_threshold = θ - δ with a small power of two δ is the same for readers that use >",
        "and for those that use >=. Reset, levels, negative levels, initial potential, decay (decay / 2^decay_shift, rounded down) and",
        "leak are in each node's metadata.",
        "",
        "## Readers",
        "",
    ]
    return "\n".join([*lines, *_readers(netlist), ""])


def _readers(netlist: Netlist) -> list[str]:
    differ = differences(netlist)
    populations = [operation for operation in netlist.operations if isinstance(operation, Population)]
    lines = [f"- {population.name}: δ = {delta(population, netlist.timesteps):g}" for population in populations]
    if not differ:
        return [*lines, "", "A reader that knows NIR only runs the same network, spike for spike."]
    lines += ["", "A reader that knows NIR only runs another network. It differs at:", ""]
    lines += [f"- {name}: {why}" for name, why in differ.items()]
    others = [name for name in differ if name not in {population.name for population in populations}]
    if not others and all(multispike(population) for population in populations):
        lines += ["", "Readers that send ⌊v/θ⌋ spikes and reset by subtraction (sinabs by default) run the same network while no neuron"]
        lines += ["would send more levels than it has."]
    return lines
