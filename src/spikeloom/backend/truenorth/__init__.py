"""
TrueNorth: binary networks as cores of 256 axons by 256 neurons, a JSON network file, and a simulator that runs it.

`limits` are the chip's numbers, `gates` makes layers of binary neurons of a netlist, `codes` weights by axon types, `packing` and `mapping`
cores, splitters and partial sums, `network` writes, `simulator` executes what was written.
"""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from spikeloom.backend.target import Form, Golden, Refusal, Target, TargetOptions, Verdict
from spikeloom.backend.truenorth import limits
from spikeloom.backend.truenorth.gates import Layers, layers_of, obstacles
from spikeloom.backend.truenorth.mapping import Mapped, mapped
from spikeloom.backend.truenorth.network import network_file
from spikeloom.backend.truenorth.page import readme
from spikeloom.backend.truenorth.simulator import loaded, run
from spikeloom.ir.hardware import Netlist

HOW = "the simulator of TrueNorth's neuron equation (Cassidy et al. 2013), from network.json"


class Options(TargetOptions):
    """What can be chosen."""

    cores: int = Field(limits.CORES, ge=1, description="cores there are (4,096 a chip)")
    partial_sums: Literal["where needed", "where they save cores"] = Field(
        "where needed", description="whether a layer that would fit is cut too, which saves cores and costs ticks (T = 1)"
    )
    batch: int = Field(64, ge=1, description="samples that are simulated side by side")


def form(options: Options) -> Form:
    """Small weights, binary neurons without a membrane at T = 1; membranes are narrow, weights wide enough for a few bits more."""
    return Form(membranes="where needed", weight_bits=4, input_bits=1, value_bits=1, fine_bits=6)


@lru_cache(maxsize=2)
def _made(netlist: Netlist, partial_sums: str) -> tuple[Layers, Mapped]:
    layers = layers_of(netlist)
    return layers, mapped(layers, netlist.timesteps, partial_sums == "where they save cores")


def refusals(netlist: Netlist, options: Options) -> list[Refusal]:
    """Everything that stands against a network."""
    against = obstacles(netlist)
    if against:
        return against
    _, chip = _made(netlist, options.partial_sums)
    if chip.refusals:
        return chip.refusals
    if len(chip.cores) > options.cores:
        kinds = Counter(core.kind for core in chip.cores)
        found = f"{len(chip.cores):,} cores ({', '.join(f'{count:,} of {kind}' for kind, count in sorted(kinds.items()))})"
        return [Refusal("the network", found, f"{options.cores:,} cores", "make it smaller, or give it more chips by the option cores")]
    return []


def emit(netlist: Netlist, golden: Golden, options: Options) -> Mapping[str, bytes]:
    """network.json and README.md."""
    layers, chip = _made(netlist, options.partial_sums)
    return {
        "network.json": network_file(chip, layers, netlist.timesteps),
        "README.md": readme(netlist, chip).encode(),
    }


def verify(folder: Path, netlist: Netlist, golden: Golden, options: Options) -> Verdict:
    """Runs the folder's network on the golden inputs."""
    network = loaded(folder / "network.json")
    rank, steps = len(netlist.wires[netlist.source.name].shape), netlist.timesteps
    inputs = golden.inputs if golden.inputs.ndim == rank + 2 else np.broadcast_to(golden.inputs, (steps, *golden.inputs.shape))
    wrong, numbers, samples = 0, Counter[str](), len(golden.outputs)
    ticks = 0
    for first in range(0, samples, options.batch):
        part = inputs[:, first : first + options.batch]
        found = run(network, part.reshape(*part.shape[:2], -1))
        expected = golden.outputs[first : first + options.batch].reshape(len(found.answer), -1)
        wrong += int((found.answer != expected).any(1).sum())
        numbers.update(spikes=found.spikes, synaptic_events=found.synaptic_events, routed=found.routed)
        ticks = found.ticks
    each = {f"{name}_per_sample": value / max(samples, 1) for name, value in numbers.items()}
    return Verdict(samples, wrong, HOW, {"ticks": ticks, "milliseconds": ticks * limits.TICK_MS, **each})


def report(netlist: Netlist, options: Options) -> Mapping[str, Any]:
    """Cores, neurons, axons, ticks, and the chip's numbers they stand beside."""
    _, chip = _made(netlist, options.partial_sums)
    kinds, layers = Counter(core.kind for core in chip.cores), Counter(core.layer for core in chip.cores if core.kind != "splitter")
    last = max(chip.ticks.values(), default=0) + netlist.timesteps - 1
    return {
        "cores": len(chip.cores),
        "cores_available": options.cores,
        "cores_by_kind": dict(kinds),
        "cores_by_layer": dict(layers),
        "neurons": sum(len(core.neurons) for core in chip.cores),
        "axons": sum(len(core.types) for core in chip.cores),
        "synapses": sum(len(neuron.axons) for core in chip.cores for neuron in core.neurons),
        "parts": chip.parts,
        "codes": chip.codes,
        "timesteps": netlist.timesteps,
        "ticks_per_sample": last,
        "ticks_between_samples": chip.period if netlist.timesteps == 1 else last,
        "milliseconds_per_sample": last * limits.TICK_MS,
    }


TARGET = Target(
    "truenorth",
    "IBM TrueNorth: crossbar cores, a JSON network and a simulator",
    {
        "affine": "axons by type for each weight; more than a core takes at T = 1: partial sums sent as bursts",
        "convolution": "as affine, place by place",
        "pool": "a sum joins the weights behind it; a maximum of bits at one tick is a gate",
        "add": "axons of both operands, delayed until they meet",
        "route": "which axon goes where",
        "population": "binary; at T = 1 a gate, at T > 1 an integrator with linear or normal reset and a leak",
    },
    Options,
    form,
    refusals,
    emit,
    verify,
    report,
)
