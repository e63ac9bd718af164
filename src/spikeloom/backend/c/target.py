"""
The C target: what it takes, what stands against a netlist, and what a person wants to know of the result.
"""

from collections.abc import Mapping
from typing import Any

from spikeloom.backend.c.files import files
from spikeloom.backend.c.network import Network, network
from spikeloom.backend.c.options import COptions
from spikeloom.backend.c.synapses import kernel_of
from spikeloom.backend.c.verify import verify
from spikeloom.backend.target import Form, Golden, Refusal, Target
from spikeloom.ir.hardware import Affine, Convolution, Netlist, Requantise

TAKES = {
    "Affine": "any; u8 inputs and int8 weights four products at a time, ternary ones as planes of bits",
    "Convolution": "any groups, strides, paddings, dilations",
    "Pool": "sum; maximum, over time too",
    "Add": "any gains",
    "Route": "any",
    "Requantise": "shifts up to 61, 64 bits where they are needed",
    "Population": "any thresholds, heights and membranes",
}
MOST = 1 << 31


def refusals(netlist: Netlist, options: COptions) -> list[Refusal]:
    """Everything that stands against a netlist."""
    found = [
        Refusal(operation.name, f"a shift of {operation.shift}", "at most 61", "requantise with smaller multipliers")
        for operation in netlist
        if isinstance(operation, Requantise) and operation.shift > 61
    ]
    found += [
        Refusal(name, f"{wire.size} numbers", f"fewer than {MOST}", "split the network")
        for name, wire in netlist.wires.items()
        if wire.size >= MOST // 8
    ]
    if found or not (options.max_rom or options.max_ram):
        return found
    made = network(netlist, options)
    for what, size, most in (("constants", made.rom, options.max_rom), ("buffers and membranes", made.ram, options.max_ram)):
        if most and size > most:
            found.append(Refusal("the network", f"{size} bytes of {what}", f"at most {most}", "prune it, or take ternary weights"))
    return found


def emit(netlist: Netlist, golden: Golden, options: COptions) -> Mapping[str, bytes]:
    """The files."""
    return files(network(netlist, options), golden)


def report(netlist: Netlist, options: COptions) -> Mapping[str, Any]:
    """Memory, and which kernel does what."""
    made = network(netlist, options)
    layers = [operation for operation in netlist if isinstance(operation, Affine | Convolution)]
    return {
        "rom_bytes": made.rom,
        "ram_bytes": made.ram,
        "arena_bytes": made.arena,
        "state_bytes": made.kept,
        "steps": len(made.plan.steps),
        "products": sum(_products(netlist, layer) for layer in layers) * netlist.timesteps,
        "kernels": {layer.name: kernel_of(layer, netlist.wires[layer.reads[0]], options) for layer in layers},
        "weight_bits": {layer.name: round(_weight_bytes(made, layer) * 8 / layer.weight.size, 3) for layer in layers},
    }


def _products(netlist: Netlist, layer: Affine | Convolution) -> int:
    return netlist.wires[layer.name].size * layer.weight[0].size


def _weight_bytes(made: Network, layer: Affine | Convolution) -> int:
    number = next(step.number for step in made.plan.steps if any(work.name == layer.name for work in step.operations))
    names = {f"{made.plan.options.prefix}_{kind}{number}" for kind in "wt"}
    return sum(array.bytes for array in made.arrays if array.name in names)


TARGET = Target(
    name="c",
    title="integer C11 for a CPU or a microcontroller, dense or event-driven",
    takes=TAKES,
    options=COptions,
    form=lambda _: Form(),
    refusals=refusals,
    emit=emit,
    verify=verify,
    report=report,
)
