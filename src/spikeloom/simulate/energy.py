"""
Energy: what the counted operations cost, priced for what they are, with the ANN in fp32 and in int8 beside it.

    compute = Σ operations × price       memory = Σ bits moved / 64 × price of the memory that holds them       (1)

Prices in picojoules at 45 nm (Horowitz, ISSCC 2014): see `PRICE_PJ`, `MEMORY_PJ`. One reuse model for all networks:
every weight is read once per inference (in an SNN once per time step), every value or spike is written once and read
once, an event carries its payload and its address, a membrane potential is read and written at every step when T > 1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from spikeloom.neuron import graded_bits
from spikeloom.simulate.events import VALUE_BITS, Counts, LayerCount

PRICE_PJ: Mapping[str, float] = {
    "fp32 multiply-accumulate": 4.6,
    "fp32 addition": 0.9,
    "int8 multiply": 0.2,
    "int32 addition": 0.1,
    "int8 multiply-accumulate": 0.3,  # the two together
}
MEMORY_PJ: tuple[tuple[float, float], ...] = ((8 * 2**10, 10.0), (32 * 2**10, 20.0), (2**20, 100.0), (math.inf, 1950.0))
"""(largest bytes held, price per 64 bits): SRAM of 8 KB, 32 KB and 1 MB, then DRAM at the middle of 1.3–2.6 nJ."""

ASSUMPTIONS = (
    "45 nm prices (Horowitz, ISSCC 2014): fp32 MAC 4.6 pJ, fp32 addition 0.9 pJ, int8 MAC with 32-bit accumulation 0.3 pJ.",
    "While weights are floating point, a unary or binary event costs one addition (0.9 pJ) per synapse, a graded event one MAC (4.6 pJ). "
    "Weights of b bits on a grid: a graded event of p bits costs 0.2·b·p/64 pJ and an int32 addition (0.1 pJ), with ternary weights the "
    "addition alone; so does a unary or binary event where all channels have one step, else it is priced as a value of 16 bits.",
    "Analog input pixels and operations that stay floating cost MACs (4.6 pJ). "
    "A neuron costs ⌈log2(N+1)⌉ comparisons and one addition a step; a threshold gate compares whole numbers, at the price of an int32 "
    "addition.",
    "Memory: SRAM 10/20/100 pJ per 64 bits (8 KB/32 KB/1 MB), DRAM 1.95 nJ; every weight read once an inference (SNN: once a step), "
    "every value written and read once; events carry payload and address; potentials are kept in 32 bits.",
)


@final
@dataclass(frozen=True)
class EnergyRow:
    """Energy of one network per inference, in picojoules, and in words what was counted."""

    network: str
    compute_pj: float
    memory_pj: float
    operations: str

    @property
    def total_pj(self) -> float:
        """Compute and memory together."""
        return self.compute_pj + self.memory_pj


def memory_pj(bits: int | float, held_bytes: int | float) -> float:
    """Moving `bits` in or out of the smallest memory that holds `held_bytes`. (1)"""
    price = next(price for size, price in MEMORY_PJ if held_bytes <= size)
    return bits / 64.0 * price


def ann_energy(counts: Counts, bits: int) -> EnergyRow:
    """The ANN at 32 (float) or 8 (integer) bits, dense."""
    name, price = ("ANN fp32", "fp32 multiply-accumulate") if bits == 32 else ("ANN int8", "int8 multiply-accumulate")
    macs = sum(row.dense_macs for row in counts.rows)
    moved = math.fsum(
        memory_pj(row.weights * bits, row.weights * bits / 8) + memory_pj(2 * row.outputs * bits, row.outputs * bits / 8)
        for row in counts.rows
    )
    return EnergyRow(name, macs * PRICE_PJ[price], moved, f"{macs:,.0f} MACs")


def snn_energy(counts: Counts, encoding: str) -> EnergyRow:
    """The SNN over its T steps with the weights it has and the given encoding of levels."""
    macs, operations = sum(row.macs for row in counts.rows), counts.operations(encoding)
    updates = sum(
        (row.neurons - row.gates) * counts.timesteps * (1 + math.ceil(math.log2(row.levels + 1))) for row in counts.rows if row.neurons
    )
    gates = counts.timesteps * sum(row.gates for row in counts.rows)
    spiking = math.fsum(row.operations.get(encoding, 0.0) * synapse_pj(row, encoding) for row in counts.rows)
    compute = spiking + macs * PRICE_PJ["fp32 multiply-accumulate"] + updates * PRICE_PJ["fp32 addition"]
    compute += gates * PRICE_PJ["int32 addition"]
    moved = math.fsum(_snn_memory_pj(row, counts.timesteps, encoding) for row in counts.rows)
    said = f"{operations:,.0f} synaptic operations, {macs:,.0f} MACs, {updates:,.0f} neuron additions"
    return EnergyRow(f"SNN ({encoding})", compute, moved, f"{said}, {gates:,.0f} gates" if gates else said)


def synapse_pj(row: LayerCount, encoding: str) -> float:
    """What one event costs at one synapse of a layer: at the widths that meet there."""
    if row.weight_bits == 32:
        return PRICE_PJ["fp32 multiply-accumulate" if encoding == "graded" else "fp32 addition"]
    unit = encoding != "graded" and row.payload_bits < VALUE_BITS
    ternary = row.weight_bits == 2
    multiply = 0.0 if unit or ternary else PRICE_PJ["int8 multiply"] * row.weight_bits * row.payload_bits / 64
    return multiply + PRICE_PJ["int32 addition"]


def _snn_memory_pj(row: LayerCount, timesteps: int, encoding: str) -> float:
    weights = memory_pj(row.weights * row.weight_bits * timesteps, row.weights * row.weight_bits / 8)
    if not row.neurons:
        return weights
    payload = graded_bits(max(row.levels, 1), max(row.levels, 1)) if encoding == "graded" else 1
    address = math.ceil(math.log2(max(row.neurons, 2)))
    events = row.events.get(encoding, 0.0) * 2 * (payload + address)
    potentials = row.neurons * 64 * timesteps if timesteps > 1 else 0
    return weights + memory_pj(events, row.neurons * payload / 8) + memory_pj(potentials, row.neurons * 4)


def energy(counts: Counts) -> tuple[EnergyRow, ...]:
    """The whole table: ANN in fp32 and int8, and the SNN in each encoding."""
    return (ann_energy(counts, 32), ann_energy(counts, 8), *(snn_energy(counts, encoding) for encoding in ("graded", "unary", "binary")))


def verdict(rows: tuple[EnergyRow, ...], encoding: str) -> str:
    """In one sentence, whether the SNN of that encoding wins against the ANN in fp32 and in int8."""
    of = {row.network: row.total_pj for row in rows}
    snn = of[f"SNN ({encoding})"]

    def against(name: str) -> str:
        ratio = snn / of[name] if of[name] else math.inf
        return f"{1 / ratio:.1f} times less than the {name}" if ratio < 1 else f"{ratio:.1f} times more than the {name}"

    return f"By these prices the SNN ({encoding} events) takes {against('ANN fp32')} and {against('ANN int8')}."
