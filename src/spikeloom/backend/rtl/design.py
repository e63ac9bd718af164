"""
A netlist's hardware in either style, with its streams: what emission, simulation and the report work on.
"""

from dataclasses import dataclass
from typing import Any, final

from spikeloom.backend.rtl.estimate import Estimate, cycles, estimate, estimate_of_gates
from spikeloom.backend.rtl.gates import gates_of
from spikeloom.backend.rtl.interface import Interface, interface_of
from spikeloom.backend.rtl.normal import normalised
from spikeloom.backend.rtl.options import RtlOptions
from spikeloom.backend.rtl.plan import Plan
from spikeloom.backend.rtl.planning import plan_of
from spikeloom.backend.rtl.tools import need_amaranth
from spikeloom.ir.hardware import Netlist
from spikeloom.logic import GateList


@final
@dataclass(frozen=True, eq=False)
class Design:
    """What is built, its streams, and what it is expected to take."""

    built: Plan | GateList
    interface: Interface
    expected: Estimate
    options: RtlOptions

    def hardware(self) -> tuple[Any, Any]:
        """(an Amaranth module, its AXI-Streams). Raises ResourceError where Amaranth is missing."""
        need_amaranth()
        if isinstance(self.built, Plan):
            from spikeloom.backend.rtl.hardware.network import network

            return network(self.built, self.interface, self.options.fifo_depth)
        from spikeloom.backend.rtl.hardware.combinational import combinational

        return combinational(self.built, self.interface)

    def facts(self) -> dict[str, Any]:
        """What is known before synthesis."""
        streams, chip = self.interface, self.options.chip
        fields = dict(zip(("channel", "column", "row", "level"), streams.fields, strict=True))
        said: dict[str, Any] = {
            "input": streams.form,
            "event_fields": fields,
            "in_bytes": streams.given_bytes,
            "out_bytes": streams.answer_bytes,
        }
        said |= {"answer_bits": streams.answer_bits, "outputs": streams.outputs, "ticks": streams.timesteps}
        found: dict[str, Any] = {"style": self.options.style, "parallel": self.options.parallel, "streams": said}
        found["estimate"] = dict(self.expected.numbers(chip))
        if isinstance(self.built, Plan):
            found["cycles"] = cycles(self.built)
            kept = self.expected.memories
            found["memories"] = {each.name: {"words": each.depth, "bits": each.width, "block_rams": each.blocks(chip)} for each in kept}
        else:
            found["gates"] = {"bits": len(self.built.bits), "gates": len(self.built.gates), "inputs": self.built.wires}
        return found


def design_of(netlist: Netlist, options: RtlOptions) -> Design:
    """The design of a netlist that nothing stands against."""
    interface = interface_of(netlist, options.input)
    if options.style == "logic":
        gates = gates_of(netlist)
        return Design(gates, interface, estimate_of_gates(gates, interface), options)
    plan = plan_of(normalised(netlist), options.parallel)
    return Design(plan, interface, estimate(plan, options), options)
