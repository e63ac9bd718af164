"""
What a plan takes, before synthesis: memories exactly as the hardware has them, and look-up tables counted from its adders, comparators and
registers' inputs.

    blocks   Σ over memories of min over the block's shapes (d, w) of ⌈depth/d⌉·⌈width/w⌉                      (1)
    cycles   Σ events × words touched + Σ sweeps, of the slowest stage and of all one after the other           (2)

A memory is in block RAM where it fills its blocks enough (`FILLED`, as yosys 0.70 decides), else in look-up tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from spikeloom.backend.rtl.columns import ladder_of, ladder_words, own_fields, width_of
from spikeloom.backend.rtl.interface import Interface
from spikeloom.backend.rtl.options import UNBOUND, Device, RtlOptions
from spikeloom.backend.rtl.plan import Bank, Kernel, Leaf, Maximum, Node, Plan, Rows, Stage, Sum, Table, banks_of, depth, longest, synapses
from spikeloom.logic import GateList

FILLED = {("ecp5", True): 2048, ("ecp5", False): 2048, ("ice40", True): 64, ("ice40", False): 1024}
"""Bits in a block, at least, by family and whether the memory is written (the iCE40 has no small memories that are)."""


@final
@dataclass(frozen=True)
class Memory:
    """A memory: who has it and what for, words and their width, and whether it is written."""

    name: str
    depth: int
    width: int
    written: bool

    @property
    def bits(self) -> int:
        """All of it."""
        return self.depth * self.width

    def blocks(self, device: Device) -> int:
        """(1); 0 where it is too small for one."""
        blocks = min(-(-self.depth // d) * -(-self.width // w) for d, w in device.block_shapes)
        return blocks if self.bits >= blocks * FILLED[device.family, self.written] else 0

    def luts(self, device: Device) -> int:
        """Look-up tables where it is not in block RAM."""
        if self.blocks(device):
            return 0
        if self.written and device.family == "ecp5":
            return 6 * -(-self.depth // 16) * -(-self.width // 4)
        return -(-self.bits * (2 if self.written else 1) // 16) + self.width


def memories(plan: Plan, fifo_depth: int) -> list[Memory]:
    """All memories of a plan."""
    found = list[Memory]()
    ranges, layouts = plan.ranges(), plan.layouts()
    for stage in plan.stages:
        for place, bank in enumerate(banks_of(stage)):
            found += _of_bank(f"{stage.name}.bank{place}", stage, bank)
            source = layouts[bank.link.source]
            event = 1 + sum((side - 1).bit_length() for side in (source.channels, source.height, source.width))
            event += 0 if ranges[bank.link.source] == (0, 1) else _bits(ranges[bank.link.source])
            found.append(Memory(f"{stage.name}.queue{place}", fifo_depth - 1, event, True))
        found += _of_maximum(stage, plan.timesteps) if isinstance(stage, Maximum) else _of_stage(stage)
    return found


def _of_bank(name: str, stage: Stage | Maximum, bank: Bank) -> list[Memory]:
    layout = stage.inside if isinstance(stage, Maximum) else stage.layout
    found, link = [Memory(f"{name}.accumulators", layout.words, bank.bits * layout.lanes, True)], bank.link
    if isinstance(link, Rows | Kernel):
        found.append(Memory(f"{name}.weights", len(link.weights), width_of(link.weights) * layout.lanes, False))
    if isinstance(link, Kernel):
        for axis, taps in (("rows", link.rows), ("columns", link.columns)):
            most = longest(taps)
            found.append(Memory(f"{name}.{axis}", len(taps) * most, len(link.weights).bit_length() + layout.words.bit_length(), False))
    if isinstance(link, Table):
        found.append(Memory(f"{name}.table", link.places.size, 1 + (layout.words * layout.lanes - 1).bit_length(), False))
    return found


def _of_stage(stage: Stage) -> list[Memory]:
    layout, found = stage.layout, list[Memory]()
    own = own_fields(stage)
    if own:
        found.append(Memory(f"{stage.name}.parameters", layout.groups, layout.lanes * sum(map(width_of, own.values())), False))
    if stage.neurons is not None:
        words, width = ladder_words(stage.neurons, layout)
        found += [Memory(f"{stage.name}.ladder", len(words), width, False)] if words else []
        if stage.neurons.where == "memory":
            found.append(Memory(f"{stage.name}.membranes", layout.words, stage.neurons.membrane_bits * layout.lanes, True))
    return found


def _of_maximum(stage: Maximum, timesteps: int) -> list[Memory]:
    found = [Memory(f"{stage.name}.taps", stage.taps.size, 1 + (stage.inside.words - 1).bit_length(), False)]
    return found + ([Memory(f"{stage.name}.before", stage.layout.size, stage.bank.bits, True)] if timesteps > 1 else [])


def _bits(limits: tuple[int, int]) -> int:
    low, high = limits
    return max(-low - 1 if low < 0 else 0, high).bit_length() + (low < 0)


# --- look-up tables and multipliers ---------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Logic:
    """Look-up tables, and products (widths of both factors) that a multiplier may take."""

    luts: int
    products: tuple[tuple[int, int], ...] = ()


def logic(plan: Plan) -> Logic:
    """What is no memory, over all stages."""
    luts, products, ranges = 120, list[tuple[int, int]](), plan.ranges()
    for stage in plan.stages:
        lanes = stage.layout.lanes if isinstance(stage, Stage) else 1
        luts += 120
        for bank in banks_of(stage):
            luts += 3 * bank.bits * lanes + 60
            value = _bits(ranges[bank.link.source])
            if isinstance(bank.link, Rows | Kernel) and value > 1:
                products += [(width_of(bank.link.weights), value)] * lanes
            luts += 150 if isinstance(bank.link, Kernel) else 0
        if isinstance(stage, Stage):
            more = _sweep(stage)
            luts, products = luts + more.luts, products + list(more.products)
        else:
            luts += 4 * stage.bank.bits
    return Logic(luts, tuple(products))


def _sweep(stage: Stage) -> Logic:
    lanes, neurons = stage.layout.lanes, stage.neurons
    made = _tree(stage.tree, lanes)
    luts = made.luts + 2 * _bits(stage.sends) * lanes
    if neurons is None:
        return Logic(luts, made.products)
    for column in ladder_of(neurons).values():
        luts += lanes * column.bits * (1 + (column.kind == "rising")) + (
            neurons.levels * column.bits // 8 if column.kind == "shared" else 0
        )
    luts += lanes * (2 * neurons.current_bits + 2 * neurons.membrane_bits)
    decays = neurons.membrane is not None and neurons.membrane.decays
    products = ((width_of(neurons.membrane.decay), neurons.membrane_bits),) * lanes if neurons.membrane is not None and decays else ()
    return Logic(luts, (*made.products, *products))


def _tree(node: Node, lanes: int) -> Logic:
    if isinstance(node, Leaf):
        return Logic(0)
    parts = node.parts if isinstance(node, Sum) else (node.part,)
    factors = node.gains if isinstance(node, Sum) else (node.multiplier,)
    made = [_tree(part, lanes) for part in parts]
    own = [(width_of(factor), part.bits) for factor, part in zip(factors, parts, strict=True) if bool((factor != 1).any())]
    luts = sum(each.luts for each in made) + lanes * node.bits * (1 + len(parts))
    return Logic(luts, (*(product for each in made for product in each.products), *own * lanes))


# --- cycles ---------------------------------------------------------------------------------------------------------------------


def sweep_cycles(stage: Stage | Maximum) -> tuple[int, int]:
    """Cycles of a sweep in which nothing fires, and in which everything does."""
    if isinstance(stage, Maximum):
        each = stage.taps.shape[1] + 3
        return len(stage.taps) * each, len(stage.taps) * each + stage.inside.words
    own = 3 + depth(stage.tree) + (0 if stage.neurons is None else 1 + (stage.neurons.membrane is not None))
    levels = 0 if stage.neurons is None else stage.neurons.levels - 1
    return stage.layout.words * own, stage.layout.words * (own + levels) + stage.layout.size


def cycles(plan: Plan) -> dict[str, Any]:
    """(2) by stage: cycles for one event, for a sweep, and at worst for a tick."""
    found, layouts = dict[str, Any](), plan.layouts()
    for stage in plan.stages:
        layout = stage.inside if isinstance(stage, Maximum) else stage.layout
        touched = [synapses(bank.link, layout) for bank in banks_of(stage)]
        worst = max(words * layouts[bank.link.source].size for words, bank in zip(touched, banks_of(stage), strict=True))
        quiet, busy = sweep_cycles(stage)
        found[stage.name] = {"per_event": touched, "sweep_quiet": quiet, "sweep_busy": busy, "tick_at_most": worst + busy}
    return found


# --- all of it ------------------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Estimate:
    """What a plan takes of a device."""

    luts: int
    blocks: int
    block_bits: int
    multipliers: int
    memories: tuple[Memory, ...]

    def numbers(self, device: Device) -> Mapping[str, Any]:
        """For a person, beside what the device has."""
        used = {"luts": self.luts, "block_rams": self.blocks, "memory_bits": self.block_bits, "multipliers": self.multipliers}
        there = {"luts_there": device.luts, "block_rams_there": device.blocks, "multipliers_there": device.multipliers}
        return {"device": device.title, **used, **({} if device.blocks == UNBOUND else there)}


def estimate(plan: Plan, options: RtlOptions) -> Estimate:
    """What a plan takes of the device chosen."""
    device, kept, made = options.chip, memories(plan, options.fifo_depth), logic(plan)
    fitting = sum(all(width <= 18 for width in product) for product in made.products)
    hard = min(fitting, device.multipliers)
    soft = sorted((a * b for a, b in made.products), reverse=True)[hard:]
    luts = made.luts + int(sum(1.3 * size for size in soft)) + sum(memory.luts(device) for memory in kept)
    blocks = sum(memory.blocks(device) for memory in kept)
    bits = sum(memory.bits for memory in kept if memory.blocks(device))
    return Estimate(luts, blocks, bits, hard, tuple(kept))


def estimate_of_gates(gates: GateList, interface: Interface) -> Estimate:
    """What gates take: a look-up table for a gate of up to 4 inputs, else about two for each input counted, and those of the streams."""
    sizes = [len(gate.plus) + len(gate.minus) for gate in gates.gates]
    luts = sum(1 if size <= 4 else 2 * size for size in sizes) + 2 * len(gates.bits)
    luts += 2 * sum(len(each.plus) + len(each.minus) for each in gates.classes) + 2 * interface.outputs * interface.answer_bits
    return Estimate(luts, 0, 0, 0, ())
