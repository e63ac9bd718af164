"""
What stands against a netlist, before any work.
"""

from spikeloom.backend.rtl.estimate import Estimate, Memory, estimate, estimate_of_gates
from spikeloom.backend.rtl.gates import gates_of, logic_refusals
from spikeloom.backend.rtl.interface import interface_of
from spikeloom.backend.rtl.normal import normalised
from spikeloom.backend.rtl.options import RtlOptions
from spikeloom.backend.rtl.planning import plan_of
from spikeloom.backend.target import Refusal
from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Pool, Population, Requantise, Route

WIDEST = 48
"""Bits of the widest number that is computed with."""


def refusals(netlist: Netlist, options: RtlOptions) -> list[Refusal]:
    """Everything that stands against a netlist: operations first; where none does, the device's size."""
    if options.style == "logic":
        return logic_refusals(netlist) or _too_many(estimate_of_gates(gates_of(netlist), interface_of(netlist, options.input)), options)
    found = [refusal for operation in netlist.operations for refusal in _against(netlist, operation)]
    wire = netlist.wires[netlist.source.name]
    if not 1 <= len(wire.shape) <= 3:
        found.append(Refusal(netlist.source.name, f"an input of shape {wire.shape}", "one, two or three axes"))
    return found or _too_large(netlist, options)


def _against(netlist: Netlist, operation: Operation) -> list[Refusal]:
    wire, found = netlist.wires[operation.name], list[Refusal]()
    given = [netlist.wires[read].shape for read in operation.reads]
    if not isinstance(operation, Route) and any(not 1 <= len(shape) <= 3 for shape in (wire.shape, *given)):
        found.append(Refusal(operation.name, f"values of shape {wire.shape} from {given}", "one, two or three axes"))
    if isinstance(operation, Affine) and len(given[0]) != 1:
        found.append(Refusal(operation.name, f"weights on the last axis of {given[0]}", "one axis", "make it a convolution of size 1"))
    if isinstance(operation, Pool | Convolution) and len(given[0]) != 3:
        found.append(Refusal(operation.name, f"a window on {given[0]}", "three axes"))
    if isinstance(operation, Population | Add | Requantise) and operation.axis % max(len(wire.shape), 1) != 0 and _of_its_own(operation):
        found.append(
            Refusal(operation.name, f"parameters along axis {operation.axis} of {wire.shape}", "the first axis, or the same for all")
        )
    if wire.bits > WIDEST:
        found.append(Refusal(operation.name, f"numbers of {wire.bits} bits", f"at most {WIDEST}", "narrower weights or fewer levels"))
    return found


def _of_its_own(operation: Population | Add | Requantise) -> bool:
    """Whether places of the axis have numbers of their own."""
    match operation:
        case Population():
            parts = [operation.thresholds, operation.heights]
            membrane = operation.membrane
            parts += [] if membrane is None else [membrane.initial, membrane.taken, membrane.decay, membrane.leak]
        case Add():
            parts = [*operation.gains, *([] if operation.bias is None else [operation.bias])]
        case Requantise():
            parts = [operation.multiplier]
    return any(len(part) > 1 for part in parts)


def _too_large(netlist: Netlist, options: RtlOptions) -> list[Refusal]:
    plan, device, found = plan_of(normalised(netlist), options.parallel), options.chip, list[Refusal]()
    made = estimate(plan, options)
    if made.blocks > device.blocks:
        largest = sorted(made.memories, key=lambda memory: -memory.bits)[:3]
        found.append(
            Refusal(
                "the network",
                f"{made.block_bits:,} bits of memory in {made.blocks:,} block RAMs ({', '.join(_said(memory) for memory in largest)})",
                f"{device.blocks * device.block_bits:,} bits in {device.blocks} block RAMs of the {device.title}",
                "a larger device, narrower weights (--option weight_bits=4), or a smaller network",
            )
        )
    return found + _too_many(made, options)


def _too_many(made: Estimate, options: RtlOptions) -> list[Refusal]:
    device = options.chip
    if made.luts <= device.luts:
        return []
    todo = f"less in parallel than {options.parallel}, or a larger device" if options.style == "event" else "--option style=event"
    return [Refusal("the network", f"about {made.luts:,} look-up tables", f"{device.luts:,} of the {device.title}", todo)]


def _said(memory: Memory) -> str:
    return f"{memory.name} {memory.bits:,}"
