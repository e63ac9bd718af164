"""
The network file: JSON, one entry a core, that a person can read and `simulator` runs.

    {"format": 1, "target": "truenorth", "timesteps": T, "period": P, "arrival": tick of the first input,
     "encode":  {"element": [ … ], "level": [ … ]}    the host: input spike i is sent where the sample's element i is at least the level
     "inputs":  [[[core, axon, ticks after arrival], …] for each input spike],
     "outputs": [{"first": tick, "neurons": [first, last + 1]}, …],                the layers that answer
     "readout": {"weights": [[output, neuron, weight], …], "offset": [ …] }        what the host adds up, offsets for each tick
     "cores":   [{"kind", "layer", "axon_types": "0102…",
                  "crossbar": base64 of bits, neuron by neuron, an axon each, most significant first,
                  "neurons": {name: one number for all, or one for each}}]}

Neurons' numbers: weights (four lists, by axon type), leak, threshold, negative_threshold, reset_mode ("normal": to 0, "linear": minus the
threshold), saturates (1: at -negative_threshold; 0: resets there to 0), start, and target_core (-1 the host, -2 nobody), target_axon (the
number of the output, for the host), delay.
"""

import base64
import json
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from spikeloom.backend.truenorth.cores import Core
from spikeloom.backend.truenorth.gates import Current, Layers
from spikeloom.backend.truenorth.mapping import Mapped

FORMAT = 1
FIELDS = ("leak", "threshold", "negative_threshold", "saturates", "start", "reset_mode")


def network_file(chip: Mapped, layers: Layers, timesteps: int) -> bytes:
    """The file of a chip. The same chip gives the same bytes."""
    outputs = [{"first": chip.ticks[source], "neurons": [places.start, places.stop]} for source, places in sorted(chip.output_of.items())]
    told = {
        "format": FORMAT,
        "target": "truenorth",
        "timesteps": timesteps,
        "period": chip.period,
        "arrival": chip.arrival,
        "encode": {"element": layers.elements.tolist(), "level": layers.levels.tolist()},
        "inputs": chip.inputs,
        "outputs": outputs,
        "readout": _readout(chip, layers.answer),
        "cores": [_core(core) for core in chip.cores],
    }
    rows = ",\n".join(f' "{name}": {json.dumps(value)}' for name, value in told.items() if name != "cores")
    cores = ",\n  ".join(json.dumps(core) for core in told["cores"])  # pyright: ignore[reportGeneralTypeIssues]
    return f'{{\n{rows},\n "cores": [\n  {cores}\n ]\n}}\n'.encode()


def _readout(chip: Mapped, answer: Current) -> dict[str, Any]:
    weights = list[list[int]]()
    for source, places in sorted(chip.output_of.items()):
        part = answer.reads[source].tocoo()
        weights += [[int(o), places.start + int(n), int(w)] for o, n, w in zip(part.row, part.col, part.data, strict=True) if w]
    return {"weights": sorted(weights), "offset": answer.bias.tolist()}


def _core(core: Core) -> dict[str, Any]:
    neurons = core.neurons
    bits = np.zeros((len(neurons), len(core.types)), np.uint8)
    for place, neuron in enumerate(neurons):
        bits[place, neuron.axons] = 1
    told: dict[str, Any] = {name: _short([getattr(neuron, name) for neuron in neurons]) for name in FIELDS}
    told["weights"] = [_short([neuron.weights[kind] for neuron in neurons]) for kind in range(4)]
    for place, name in enumerate(("target_core", "target_axon", "delay")):
        told[name] = _short([neuron.target[place] for neuron in neurons])
    return {
        "kind": core.kind,
        "layer": core.layer,
        "axon_types": "".join(map(str, core.types)),
        "count": len(neurons),
        "crossbar": base64.b64encode(np.packbits(bits, axis=1).tobytes()).decode(),
        "neurons": told,
    }


def _short(values: list[Any]) -> Any:
    plain = [int(value) if not isinstance(value, str) else value for value in values]
    return plain[0] if plain and all(value == plain[0] for value in plain) else plain


def crossbar(core: dict[str, Any]) -> UInt8[ndarray, "n a"]:
    """The binary crossbar of a core, from the file."""
    axons, width = len(core["axon_types"]), -(-len(core["axon_types"]) // 8)
    packed = np.frombuffer(base64.b64decode(core["crossbar"]), np.uint8).reshape(core["count"], width)
    return np.unpackbits(packed, axis=1, count=axons) if axons else np.zeros((core["count"], 0), np.uint8)
