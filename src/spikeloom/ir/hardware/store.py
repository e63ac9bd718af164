"""
A netlist as two files: `netlist.json` (operations, wires, numbers) and `netlist.safetensors` (arrays). Reading executes nothing.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save as bytes_of_arrays

from spikeloom.errors import ProgramError
from spikeloom.ir.hardware.intervals import wires_of
from spikeloom.ir.hardware.netlist import Membrane, Netlist, Operation, Source, Wire

FORMAT = 1
_OPERATIONS = {operation.__name__.lower(): operation for operation in get_args(Operation)}
_SMALL = (np.int8, np.int16, np.int32, np.int64)


def netlist_files(netlist: Netlist) -> dict[str, bytes]:
    """The two files. The same netlist gives the same bytes."""
    arrays = dict[str, ndarray]()
    rows = [_taken_apart(operation, operation.name, arrays) for operation in netlist.operations]
    kept = bytes_of_arrays({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)})
    told = {
        "format": FORMAT,
        "source": dataclasses.asdict(netlist.source),
        "operations": rows,
        "output": netlist.output,
        "unit": netlist.unit,
        "timesteps": netlist.timesteps,
        "wires": {name: dataclasses.asdict(wire) for name, wire in netlist.wires.items()},
        "settings": dict(netlist.settings),
        "sha256": hashlib.sha256(kept).hexdigest(),
    }
    return {"netlist.json": (json.dumps(told, indent=1) + "\n").encode(), "netlist.safetensors": kept}


def load_netlist(folder: Path) -> Netlist:
    """The netlist that the two files of a folder hold. Raises ProgramError where they are missing, altered, or do not fit each other."""
    try:
        told, kept = json.loads((folder / "netlist.json").read_text()), (folder / "netlist.safetensors").read_bytes()
    except (OSError, ValueError) as error:
        raise ProgramError("no netlist can be read", found=f"{folder}: {error}", todo="compile the network again") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT or told.get("sha256") != hashlib.sha256(kept).hexdigest():
        raise ProgramError("a netlist's files do not belong to each other", found=folder, todo="compile the network again")
    try:
        return _put_together(told, arrays_of(kept))
    except (KeyError, TypeError, ValueError, SafetensorError, IndexError) as error:
        raise ProgramError("a netlist breaks its format", found=f"{folder}: {error!r}", todo="compile the network again") from error


def _taken_apart(value: Any, prefix: str, arrays: dict[str, ndarray]) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": type(value).__name__.lower()}
    for field in dataclasses.fields(value):
        row[field.name] = _kept(getattr(value, field.name), f"{prefix}/{field.name}", arrays)
    return row


def _kept(value: Any, name: str, arrays: dict[str, ndarray]) -> Any:
    if isinstance(value, ndarray):
        arrays[name] = narrow(value)
        return {"array": name}
    if isinstance(value, Membrane):
        return _taken_apart(value, name, arrays)
    if isinstance(value, tuple) and any(isinstance(item, ndarray) for item in value):
        return [_kept(item, f"{name}/{place}", arrays) for place, item in enumerate(value)]
    return value


def narrow(values: ndarray) -> ndarray:
    """Whole numbers in the smallest type that holds them."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    kind = next(kind for kind in _SMALL if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return values.astype(kind)


def _put_together(told: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> Netlist:
    source = Source(**told["source"])
    wires = {name: Wire(tuple(row["shape"]), row["low"], row["high"], row["spikes"]) for name, row in told["wires"].items()}
    operations = tuple(_given_back(row, arrays) for row in told["operations"])
    proven = wires_of(source, wires[source.name], operations, told["timesteps"])
    if dict(proven) != wires or told["output"] not in wires:
        raise ValueError("its ranges are not those of its operations")
    return Netlist(source, operations, told["output"], told["unit"], told["timesteps"], wires, told["settings"])


def _given_back(row: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> Any:
    kinds: Mapping[str, Any] = {**_OPERATIONS, "membrane": Membrane}
    return kinds[row["kind"]](**{name: _read(value, arrays) for name, value in row.items() if name != "kind"})


def _read(value: Any, arrays: Mapping[str, ndarray]) -> Any:
    if isinstance(value, dict):
        return arrays[value["array"]].astype(np.int64) if "array" in value else _given_back(value, arrays)
    return tuple(_read(item, arrays) for item in value) if isinstance(value, list) else value
