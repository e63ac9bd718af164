"""
NIR, the neuromorphic intermediate representation: networks as files that other spiking tools read, and such files as netlists.

    network.nir   an HDF5 file of the library nir (`writing`, `nodes`, `neurons`)
    README.md     which readers run it spike for spike, and why others do not (`page`)

`read` gives the netlist back, or that of another tool's file.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.backend.nir.executor import run_graph
from spikeloom.backend.nir.options import NirOptions
from spikeloom.backend.nir.page import page
from spikeloom.backend.nir.reading import graph_at, read
from spikeloom.backend.nir.refusing import refusals
from spikeloom.backend.nir.writing import bytes_of, differences, graph_of, types_checked
from spikeloom.backend.target import Form, Golden, Target, Verdict
from spikeloom.ir.hardware import Netlist, netlist_files

__all__ = ["TARGET", "NirOptions", "read"]

FILE = "network.nir"


def form(options: NirOptions) -> Form:
    """Over several ticks uniform staircases with membranes, whose reset, levels and start stay what they are; at one tick as asked for."""
    return Form(options.membranes, gains=options.gains)


def emit(netlist: Netlist, golden: Golden, options: NirOptions) -> Mapping[str, bytes]:
    """The graph and its page."""
    return {FILE: bytes_of(graph_of(netlist, options)), "README.md": page(netlist, options).encode()}


def verify(folder: Path, netlist: Netlist, golden: Golden, options: NirOptions) -> Verdict:
    """The file, read by the library nir and run node by node, against the golden vectors; and the netlist read back from it."""
    graph, ticks = graph_at(folder / FILE), golden.inputs
    if ticks.ndim == len(netlist.wires[netlist.source.name].shape) + 1:
        ticks = np.broadcast_to(ticks, (int(graph.metadata["timesteps"]), *ticks.shape))
    found = run_graph(graph, ticks)
    wrong = (found != golden.outputs).reshape(len(found), -1).any(1)
    same = netlist_files(read(folder / FILE)) == netlist_files(netlist)
    how = "network.nir read by nir and executed node by node in float64, outside the netlist"
    return Verdict(len(found), int(wrong.sum()) if same else len(found), how, {"netlist read back equal": same})


def report(netlist: Netlist, options: NirOptions) -> Mapping[str, Any]:
    """Nodes by kind, edges, the file's size, and where plain readers differ."""
    graph = graph_of(netlist, options)
    return {
        "nodes": dict(sorted(Counter(type(node).__name__ for node in graph.nodes.values()).items())),
        "edges": len(graph.edges),
        "bytes": len(bytes_of(graph)),
        "types checked by nir": types_checked(netlist, options),
        "plain readers differ at": json.loads(json.dumps(differences(netlist))),
    }


TARGET = Target(
    "nir",
    "NIR, the neuromorphic intermediate representation (HDF5)",
    {
        "Affine": "on one axis",
        "Convolution": "yes; groups as zeros",
        "Pool": "sum; maximum by our metadata",
        "Add": "edges, with Scale nodes for gains",
        "Route": "flatten, chosen channels and strides, or onto one axis",
        "Requantise": "Scale; rounding by our metadata",
        "Population": "IF and LIF; reset, levels, start and leak in metadata",
    },
    NirOptions,
    form,
    refusals,
    emit,
    verify,
    report,
)
