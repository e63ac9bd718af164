"""
Loihi 2: a constraint check, a placement over cores, and files in lava-dl's netx layout or our extension of it.

`limits` are the chip's numbers, `layers` makes neurons and synapses of a netlist, `placement` puts them on cores, `checks` says what is
broken, `layout` whether the plain layout holds it, `netx` writes, `chip` reads back, `oracle` executes what was read.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from spikeloom.backend.loihi2.checks import standing_against
from spikeloom.backend.loihi2.chip import loaded
from spikeloom.backend.loihi2.layers import Lowered, lowered
from spikeloom.backend.loihi2.layout import strict
from spikeloom.backend.loihi2.limits import LIMITS
from spikeloom.backend.loihi2.netx import latency, network_file
from spikeloom.backend.loihi2.oracle import batches, by_tick, run
from spikeloom.backend.loihi2.page import readme
from spikeloom.backend.loihi2.placement import Placed, placed
from spikeloom.backend.target import Form, Golden, Refusal, Target, TargetOptions, Verdict
from spikeloom.ir.hardware import Netlist

HOW = "the fixed-point oracle of Loihi's neuron equations, core by core, from network.net and placement.json"


class Options(TargetOptions):
    """What can be chosen."""

    layout: Literal["auto", "netx", "extended"] = Field("auto", description="netx where that holds the network, or one of the two")
    cores: int = Field(LIMITS["cores"].value, ge=1, description="cores there are (128 a chip)")
    axons: int = Field(0, ge=0, description="axons that a core may have in and out; 0: counted, not limited")


def form(options: Options) -> Form:
    """Weights of 8 bits."""
    return Form(membranes="where needed", weight_bits=8, input_bits=8, value_bits=8)


@lru_cache(maxsize=2)
def _made(netlist: Netlist, wanted: str, axons: int) -> tuple[Lowered, Placed, list[str], str]:
    found = lowered(netlist)
    reasons = strict(netlist, found)
    layout = "extended" if wanted == "extended" or reasons else "netx"
    return found, placed(found.layers, axons), reasons, layout


def refusals(netlist: Netlist, options: Options) -> list[Refusal]:
    """Everything that stands against a network."""
    found, cores, reasons, _ = _made(netlist, options.layout, options.axons)
    against = standing_against(netlist, found, cores, options.cores)
    if options.layout == "netx":
        allowed = "a chain of dense layers and convolutions of binary LIF neurons with hard reset"
        against += [Refusal(reason.split(": ")[0], reason.partition(": ")[2], allowed, "--option layout=auto") for reason in reasons]
    return against


def emit(netlist: Netlist, golden: Golden, options: Options) -> Mapping[str, bytes]:
    """network.net, placement.json and README.md."""
    found, cores, reasons, layout = _made(netlist, options.layout, options.axons)
    told = {
        "target": "loihi2",
        "layout": layout,
        "timesteps": netlist.timesteps,
        "ticks": latency(found, netlist.timesteps),
        "layers": [layer.name for layer in found.layers],
        "cores": [core.told() for core in cores.cores],
    }
    return {
        "network.net": network_file(netlist, found, layout),
        "placement.json": (json.dumps(told, indent=1) + "\n").encode(),
        "README.md": readme(netlist, found, cores, layout, reasons if layout == "extended" else []).encode(),
    }


def verify(folder: Path, netlist: Netlist, golden: Golden, options: Options) -> Verdict:
    """Runs the folder's files on the golden inputs."""
    chip = loaded(folder)
    ticks, wrong, events, messages, samples = by_tick(chip, golden.inputs), 0, 0, 0, len(golden.outputs)
    first = 0
    for part in batches(ticks):
        trace = run(chip, part)
        expected = golden.outputs[first : first + part.shape[1]].reshape(trace.answer.shape)
        wrong += int((trace.answer != expected).reshape(len(expected), -1).any(1).sum())
        events, messages, first = events + trace.events, messages + trace.messages, first + part.shape[1]
    numbers = {"ticks": chip.steps, "spikes_per_sample": events / max(samples, 1), "messages_per_sample": messages / max(samples, 1)}
    return Verdict(samples, wrong, HOW, numbers)


def report(netlist: Netlist, options: Options) -> Mapping[str, Any]:
    """Cores, memory, traffic, and the chip's numbers they stand beside."""
    found, cores, reasons, layout = _made(netlist, options.layout, options.axons)
    parts = cores.cores
    by_layer = {layer.name: sum(core.layer == number for core in parts) for number, layer in enumerate(found.layers) if layer.links}
    return {
        "layout": layout,
        "beyond_netx": reasons,
        "cores": len(parts),
        "cores_available": options.cores,
        "neurons": sum(core.neurons for core in parts),
        "relays": list(found.relays),
        "synapses": sum(core.synapses for core in parts),
        "synaptic_bytes": sum(core.synaptic_bytes for core in parts),
        "synaptic_bytes_most": max((core.synaptic_bytes for core in parts), default=0),
        "memory_bytes_most": max((core.memory_bytes for core in parts), default=0),
        "axons_in_most": max((core.axons_in for core in parts), default=0),
        "axons_out_most": max((core.axons_out for core in parts), default=0),
        "messages_per_tick_at_most": sum(core.axons_in for core in parts),
        "timesteps": netlist.timesteps,
        "ticks_per_sample": latency(found, netlist.timesteps),
        "cores_by_layer": by_layer,
    }


TARGET = Target(
    "loihi2",
    "Intel Loihi 2: placement over cores, HDF5 in lava-dl's netx layout or our extension",
    {
        "affine": "synapses, 8 bits with exponent; up to eight of them side by side for wider weights",
        "convolution": "synapses shared by all places of a core",
        "pool": "a sum joins the weights behind it; a maximum at one tick is made by relays: max(a, b) = b + max(a - b, 0)",
        "add": "edges into one layer, delayed on the axon until both have arrived",
        "route": "which axon goes where",
        "requantise": "a relay neuron with graded spikes",
        "population": "the built-in LIF (binary, reset to zero), else a program: levels, reset by subtraction, decay, leak, start",
    },
    Options,
    form,
    refusals,
    emit,
    verify,
    report,
)
