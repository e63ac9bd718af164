"""
The network as an HDF5 file, in lava-dl's netx layout where that holds it, else in our extension of it. The same network, the same bytes.

netx (lava-dl 0.6, src/lava/lib/dl/netx/README.md and hdf5.py), a chain of layers 0 … n-1:

    /layer/<i>/type                [1] of "input" | "flatten" | "dense" | "conv"
    /layer/<i>/shape               [C, H, W] or [N]
    /layer/<i>/weight              dense [O, I], conv [O, I/groups, kH, kW]
    /layer/<i>/bias                [O], added at each tick
    /layer/<i>/inFeatures, outFeatures                                         dense
    /layer/<i>/inChannels, outChannels, kernelSize, stride, padding, dilation, groups      conv
    /layer/<i>/neuron/{type: "CUBA", iDecay, vDecay, vThMant, refDelay, gradedSpike}
    /simulation/{Ts, tSample}

The last layer answers by its voltage: iDecay 4096, vDecay 0 and the greatest threshold make it a sum. What a person must know to run the
file stands in attributes of the root: `spikeloom_format`, `spikeloom_layout` ("netx" or "extended"), `spikeloom_timesteps`.

The extension keeps /layer/<i>/type ("input" or "spikeloom"), shape and bias (of the whole shape), and adds a group to each layer:

    /layer/<i>/spikeloom/link/<j>/{source, kind, reads, gives, delay, index?, stride?, padding?, dilation?, groups?, axis?}
    /layer/<i>/spikeloom/link/<j>/weight, weight_1?, …     mantissas; attribute `exponent`: w = Σ mantissa·2^exponent
    /layer/<i>/spikeloom/neuron/program                    "staircase" | "relay" | "gather"
    /layer/<i>/spikeloom/neuron/{thresholds, heights, axis, membrane?/…} or {multiplier, shift, low, high, axis}

lava-dl does not read the extension, and stops with an error on it.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from spikeloom.backend.loihi2.checks import delay
from spikeloom.backend.loihi2.layers import Layer, Link, Lowered
from spikeloom.backend.loihi2.layout import offsets
from spikeloom.backend.loihi2.limits import LIMITS
from spikeloom.errors import InternalError, ResourceError
from spikeloom.ir.hardware import Membrane, Netlist, Population, Requantise, narrow

FORMAT = 1
UNITY = 4096
"""Decays are shares of 2^12."""


def library() -> Any:
    """h5py. Raises ResourceError where it is missing."""
    try:
        import h5py
    except ImportError as error:
        raise ResourceError("HDF5 files need h5py", found="no h5py", todo="pip install 'spikeloom[loihi]'") from error
    return h5py


def network_file(netlist: Netlist, found: Lowered, layout: str) -> bytes:
    """The file in one of the two layouts."""
    h5py = library()
    with h5py.File("network.net", "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        file.attrs["spikeloom_format"] = FORMAT
        file.attrs["spikeloom_layout"] = layout
        file.attrs["spikeloom_timesteps"] = netlist.timesteps
        if layout == "netx":
            _netx(netlist, found, file)
        else:
            for number, layer in enumerate(found.layers):
                _extended(file.create_group(f"layer/{number}"), layer, found.layers)
        _put(file, "simulation/Ts", 1)
        _put(file, "simulation/tSample", netlist.timesteps)
        file.flush()
        return file.id.get_file_image()


def _put(group: Any, name: str, value: Any) -> None:
    """A dataset in the smallest width; texts as netx has them."""
    if isinstance(value, str):
        group.create_dataset(name, data=np.bytes_(value), track_times=False)
        return
    group.create_dataset(name, data=narrow(np.asarray(value)), track_times=False)


def _type(group: Any, name: str) -> None:
    group.create_dataset("type", (1,), "S10", np.array([name.encode()], "S10"), track_times=False)


def _netx(netlist: Netlist, found: Lowered, file: Any) -> None:
    number = 0
    for layer in found.layers:
        if layer.links and len(layer.links[0].reads) == 1 and len(found.layers[layer.links[0].source].shape) > 1:
            group = file.create_group(f"layer/{number}")
            _type(group, "flatten")
            _put(group, "shape", [layer.links[0].reads[0], 1, 1])
            number += 1
        group = file.create_group(f"layer/{number}")
        _put(group, "shape", layer.shape)
        if layer.links:
            _synapses(group, layer)
            _neurons(group, netlist, layer)
        else:
            _type(group, "input")
        number += 1


def _synapses(group: Any, layer: Layer) -> None:
    link = _written(layer.links[0])
    if link.kind == "conv":
        _type(group, "conv")
        _put(group, "inChannels", link.reads[0])
        _put(group, "outChannels", link.gives[0])
        _put(group, "kernelSize", link.weight.shape[2:])
        for name in ("stride", "padding", "dilation", "groups"):
            _put(group, name, getattr(link, name))
        _put(group, "weight", link.weight)
        return
    _type(group, "dense")
    _put(group, "inFeatures", link.weight.shape[1])
    _put(group, "outFeatures", link.weight.shape[0])
    _put(group, "weight", link.weight)


def _written(link: Link) -> Link:
    """A link as a layer of netx: gains alone are a convolution of 1x1, channel by channel, or a diagonal."""
    if link.kind != "scale":
        return link
    gains = np.broadcast_to(link.weight, link.reads[0])
    if len(link.reads) == 1:
        return replace(link, kind="dense", weight=np.diag(gains))
    return replace(link, kind="conv", weight=gains.reshape(-1, 1, 1, 1), groups=len(gains))


def _neurons(group: Any, netlist: Netlist, layer: Layer) -> None:
    offset = offsets(netlist, layer)
    if offset is None:
        raise InternalError(f"{layer.name} was taken for a layer of the netx layout")
    bias, theta = offset
    if bias.any():
        _put(group, "bias", bias)
    gathers = layer.program is None
    told = {
        "type": "CUBA",
        "iDecay": UNITY,
        "vDecay": 0,
        "vThMant": (1 << LIMITS["threshold_bits"].value) - 1 if gathers else theta - 1,
        "refDelay": 1,
        "gradedSpike": 0,
    }
    for name, value in told.items():
        _put(group, f"neuron/{name}", value)


def _extended(group: Any, layer: Layer, layers: tuple[Layer, ...]) -> None:
    _type(group, "spikeloom" if layer.links else "input")
    _put(group, "shape", layer.shape)
    if not layer.links:
        return
    if layer.bias is not None:
        _put(group, "bias", layer.bias)
    for place, link in enumerate(layer.links):
        _link(group.create_group(f"spikeloom/link/{place}"), link, delay(link, layer, layers))
    _program(group.create_group("spikeloom/neuron"), layer)


def _link(group: Any, link: Link, wait: int) -> None:
    told = {"source": link.source, "kind": link.kind, "reads": link.reads, "gives": link.gives, "delay": wait, "axis": link.axis}
    told |= {name: getattr(link, name) for name in ("stride", "padding", "dilation", "groups") if link.kind == "conv"}
    for name, value in told.items():
        _put(group, name, value)
    if link.index is not None:
        _put(group, "index", link.index)
    for place, term in enumerate(link.terms):
        name = f"weight_{place}" if place else "weight"
        _put(group, name, term.mantissa)
        group[name].attrs["exponent"] = term.exponent


def _program(group: Any, layer: Layer) -> None:
    match layer.program:
        case Population() as program:
            _put(group, "program", "staircase")
            for name in ("thresholds", "heights", "axis"):
                _put(group, name, getattr(program, name))
            if program.membrane is not None:
                _membrane(group.create_group("membrane"), program.membrane)
        case Requantise() as program:
            _put(group, "program", "relay")
            for name in ("multiplier", "shift", "low", "high", "axis"):
                _put(group, name, getattr(program, name))
        case None:
            _put(group, "program", "gather")


def _membrane(group: Any, membrane: Membrane) -> None:
    for name in ("initial", "taken", "decay", "decay_shift", "leak", "reset"):
        _put(group, name, getattr(membrane, name))


def latency(found: Lowered, timesteps: int) -> int:
    """Ticks from the first input of a sample to its answer: a tick for each layer behind the first, and T."""
    return max(layer.depth for layer in found.layers) - 1 + timesteps


def words(found: Lowered) -> int:
    """Synapses stored, with every term of every weight."""
    return sum(math.prod(link.weight.shape) * len(link.terms) for layer in found.layers for link in layer.links)
