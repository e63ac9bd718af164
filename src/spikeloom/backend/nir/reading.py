"""
A NIR file as a netlist. A file that we wrote gives its netlist back, bit for bit; another's is read by what NIR says (`foreign`).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikeloom.backend.nir.foreign import foreign
from spikeloom.backend.nir.library import nir
from spikeloom.backend.nir.nodes import operation_of
from spikeloom.backend.nir.writing import FORMAT
from spikeloom.errors import ProgramError
from spikeloom.ir.hardware import Netlist, Source, Wire, netlist_of


def read(
    path: Path, *, input_range: tuple[int, int] = (0, 1), timesteps: int = 1, dt: float | None = None, weight_bits: int | None = None
) -> Netlist:
    """
    The netlist of a NIR file.

    What a foreign file does not say is taken from the other arguments: the least and greatest whole number of the input, the number of
    ticks, a tick's length (default: 1/r of its IF neurons), and to how many bits weights that lie on no grid are rounded (default: they are
    refused). A file of ours says all of it itself. Raises ProgramError where the file is damaged, UnsupportedError where a node cannot be
    put into whole numbers, ResourceError without the library nir.
    """
    graph = graph_at(path)
    if graph.metadata.get("made_by") != "spikeloom":
        return foreign(graph, input_range=input_range, timesteps=timesteps, dt=dt, weight_bits=weight_bits)
    try:
        return _ours(graph)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ProgramError(
            "a NIR file breaks what its metadata says", found=f"{path}: {error!r}", todo="compile the network again"
        ) from error


def graph_at(path: Path) -> Any:
    """The graph of a file, its types unchecked. Raises ProgramError where it cannot be read."""
    library = nir()
    try:
        return library.read(str(path), type_check=False)
    except Exception as error:  # nir and h5py raise what comes: OSError, KeyError, ValueError, AssertionError
        raise ProgramError("no NIR graph can be read", found=f"{path}: {error}", todo="give a file that nir.write made") from error


def _ours(graph: Any) -> Netlist:
    told: Mapping[str, Any] = graph.metadata
    if int(told["spikeloom_format"]) != FORMAT:
        raise ValueError(f"format {told['spikeloom_format']}")
    shape = tuple(int(side) for side in graph.nodes["input"].input_type["input"])
    wire = Wire(shape, int(told["input_low"]), int(told["input_high"]), bool(told["input_spikes"]))
    order = str(told["order"]).split("\n") if told["order"] else []
    operations = [operation_of(graph.nodes[name]) for name in order]
    return netlist_of(
        Source(str(told["source"]), float(told["input_step"])),
        wire,
        operations,
        str(told["result"]),
        unit=float(told["result_unit"]),
        timesteps=int(told["timesteps"]),
        settings=json.loads(told["settings"]),
    )
