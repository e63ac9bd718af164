"""
A netlist as a NIR graph: nodes of the library `nir`, edges, and in the graph's metadata what the netlist as a whole is.
"""

import io
import json
from typing import Any

import numpy as np

from spikeloom.backend.nir.library import nir
from spikeloom.backend.nir.neurons import plain
from spikeloom.backend.nir.nodes import part_of, within
from spikeloom.backend.nir.options import NirOptions
from spikeloom.backend.nir.window import window_of
from spikeloom.ir.hardware import Convolution, Netlist, Operation, Pool, Population, Requantise, Route

FORMAT = 1
INPUT, OUTPUT = "input", "output"


def graph_of(netlist: Netlist, options: NirOptions) -> Any:
    """The graph. Nodes bear the names of operations; the network's own ends are `input` and `output`."""
    library, wire = nir(), netlist.wires[netlist.source.name]
    nodes: dict[str, Any] = {INPUT: library.Input({"input": np.array(wire.shape)})}
    places, edges = {netlist.source.name: INPUT}, list[tuple[str, str]]()
    for operation in netlist.operations:
        part = part_of(operation, netlist, options)
        nodes |= part.nodes
        places[operation.name] = operation.name
        edges += [(places.get(start, start), end) for start, end in part.edges]
    nodes[OUTPUT] = library.Output({"output": np.array(netlist.wires[netlist.output].shape)})
    edges.append((places[netlist.output], OUTPUT))
    return library.NIRGraph(nodes, edges, _told(netlist, options), type_check=types_checked(netlist, options))


def bytes_of(graph: Any) -> bytes:
    """The HDF5 file of a graph. The same graph gives the same bytes (HDF5 keeps no times unless told to)."""
    kept = io.BytesIO()
    nir().write(kept, graph)
    return kept.getvalue()


def types_checked(netlist: Netlist, options: NirOptions) -> bool:
    """Whether nir 1.0.8 can check the graph's types: Flatten must not count a batch, and kernels must be square (it takes their height
    for their width)."""
    return not options.batch_axis and all(_square(operation, netlist) for operation in netlist.operations)


def _square(operation: Operation, netlist: Netlist) -> bool:
    match operation:
        case Convolution():
            return operation.weight.shape[2] == operation.weight.shape[3]
        case Route():
            window = window_of(operation, [netlist.wires[read] for read in operation.reads])
            return window is None or window.square
        case _:
            return True


def differences(netlist: Netlist) -> dict[str, str]:
    """The operations that a reader of plain NIR runs otherwise than we do, and why."""
    found = dict[str, str]()
    for operation in netlist.operations:
        reads = [netlist.wires[read] for read in operation.reads]
        match operation:
            case Population():
                why = plain(operation, netlist.timesteps)
            case Pool(what="max"):
                why = "a maximum, written as a sum"
            case Requantise():
                why = "rounding and limits"
            case Route() if within(operation, reads) and window_of(operation, reads) is None:
                why = "values that change places within a picture"
            case _:
                why = ""
        found |= {operation.name: why} if why else {}
    return found


def _told(netlist: Netlist, options: NirOptions) -> dict[str, Any]:
    wire = netlist.wires[netlist.source.name]
    return {
        "made_by": "spikeloom",
        "spikeloom_format": FORMAT,
        "dt": options.dt,
        "timesteps": netlist.timesteps,
        "order": "\n".join(operation.name for operation in netlist.operations),
        "source": netlist.source.name,
        "input_step": netlist.source.step,
        "input_low": wire.low,
        "input_high": wire.high,
        "input_spikes": int(wire.spikes),
        "result": netlist.output,
        "result_unit": netlist.unit,
        "settings": json.dumps(dict(netlist.settings)),
        "plain_readers_differ": json.dumps(differences(netlist)),
    }
