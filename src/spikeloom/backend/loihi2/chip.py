"""
The files of a folder read back: network.net in either layout, and placement.json. Nothing here knows of the netlist they are from.
"""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.loihi2.netx import FORMAT, library
from spikeloom.errors import ProgramError


@final
@dataclass(frozen=True, eq=False)
class Edge:
    """Synapses as the file has them; `weight` has its terms put together."""

    source: int
    kind: str
    weight: Int[ndarray, "..."]
    reads: tuple[int, ...]
    gives: tuple[int, ...]
    delay: int
    told: Mapping[str, Any]
    index: Int[ndarray, " n"] | None


@final
@dataclass(frozen=True, eq=False)
class Neurons:
    """A layer as the file has it."""

    shape: tuple[int, ...]
    edges: tuple[Edge, ...]
    bias: Int[ndarray, "..."] | None
    neuron: Mapping[str, Any]
    depth: int


@final
@dataclass(frozen=True, eq=False)
class Chip:
    """What the files hold: layers (0 is the input), cores, T."""

    layers: tuple[Neurons, ...]
    cores: tuple[Mapping[str, Any], ...]
    timesteps: int
    steps: int


def loaded(folder: Path) -> Chip:
    """The chip's configuration. Raises ProgramError where the files are missing or are no such network."""
    h5py = library()
    try:
        content, cores = (folder / "network.net").read_bytes(), json.loads((folder / "placement.json").read_text())["cores"]
        with h5py.File(io.BytesIO(content), "r") as file:
            if int(file.attrs["spikeloom_format"]) != FORMAT:
                raise ValueError(f"format {file.attrs['spikeloom_format']}")
            read = _chain if file.attrs["spikeloom_layout"] == "netx" else _graph
            layers, timesteps = read(file["layer"]), int(file.attrs["spikeloom_timesteps"])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ProgramError("no Loihi 2 network can be read", found=f"{folder}: {error}", todo="compile the network again") from error
    return Chip(layers, tuple(cores), timesteps, timesteps + layers[-1].depth - 1)


def _text(value: Any) -> str:
    found = value[()]
    return (found if isinstance(found, bytes) else found[0]).decode()


def _array(value: Any) -> ndarray:
    return np.asarray(value[()]).astype(np.int64)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(int(side) for side in _array(value))


def _chain(group: Any) -> tuple[Neurons, ...]:
    """netx: each layer reads the one before it."""
    layers = list[Neurons]()
    for number in range(len(group)):
        layer, kind = group[str(number)], _text(group[str(number)]["type"])
        if kind == "flatten":
            continue
        shape, depth = _shape(layer["shape"]), len(layers)
        if kind == "input":
            layers.append(Neurons(shape, (), None, {}, 0))
            continue
        told = {name: layer[name][()].tolist() for name in ("stride", "padding", "dilation", "groups") if name in layer}
        before = layers[-1].shape if kind == "conv" else (math.prod(layers[-1].shape),)
        edge = Edge(depth - 1, kind, _array(layer["weight"]), before, shape, 0, told, None)
        bias = _array(layer["bias"]).reshape(-1, *(1,) * (len(shape) - 1)) if "bias" in layer else None
        neuron = {name: _text(value) if name == "type" else int(value[()]) for name, value in layer["neuron"].items()}
        layers.append(Neurons(shape, (edge,), bias, neuron | {"program": "cuba"}, depth))
    return tuple(layers)


def _graph(group: Any) -> tuple[Neurons, ...]:
    """The extension."""
    layers = list[Neurons]()
    for number in range(len(group)):
        layer = group[str(number)]
        shape, edges, neuron, depth = _shape(layer["shape"]), tuple[Edge, ...](), dict[str, Any](), 0
        if _text(layer["type"]) == "spikeloom":
            links, neuron = layer["spikeloom/link"], _read(layer["spikeloom/neuron"])
            edges = tuple(_edge(links[str(place)]) for place in range(len(links)))
            depth = 1 + max(layers[edge.source].depth + edge.delay for edge in edges)
        layers.append(Neurons(shape, edges, _array(layer["bias"]) if "bias" in layer else None, neuron, depth))
    return tuple(layers)


def _read(group: Any) -> dict[str, Any]:
    found = dict[str, Any]()
    for name, value in group.items():
        if hasattr(value, "keys"):
            found[name] = _read(value)
        elif value.dtype.kind == "S":
            found[name] = _text(value)
        else:
            found[name] = _array(value) if value.shape else int(value[()])
    return found


def _edge(group: Any) -> Edge:
    told = _read(group)
    names = [name for name in group if name.startswith("weight")]
    weight = np.sum([told[name] << int(group[name].attrs["exponent"]) for name in names], 0)
    where = {name: told[name].tolist() if isinstance(told[name], ndarray) else told[name] for name in told if name in _CONV}
    return Edge(
        told["source"], told["kind"], weight, _shape(group["reads"]), _shape(group["gives"]), told["delay"], where, told.get("index")
    )


_CONV = ("stride", "padding", "dilation", "groups", "axis")
