"""
The vendor's open simulator, xylosim: the same arrays, run by SynSense's C++.

rockpool's own wrapper of it, and `config_from_specification`, import samna, whose package on PyPI fetches a closed library from elsewhere;
xylosim itself needs neither.
"""

import importlib
import importlib.util
from typing import Any, Literal

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.xylo.simulator import Specification
from spikeloom.errors import ResourceError


def installed() -> bool:
    """Whether xylosim is there."""
    return importlib.util.find_spec("xylosim") is not None


def run_vendor(spec: Specification, events: Int[ndarray, "b t i"], read: Literal["Vmem", "Spike"] = "Vmem") -> Int[ndarray, "b t o"]:
    """What `simulator.run` gives, by xylosim. Raises ResourceError without it."""
    (layer, _kept), found = _layer(spec), list[Any]()
    for sample in events:
        layer.reset_all()
        spikes = np.array(layer.evolve(sample.astype(int).tolist()))
        found.append(spikes if read == "Spike" else np.array(layer.rec_v_mem_out).T)
    return np.stack(found).astype(np.int64)


def _layer(spec: Specification) -> tuple[Any, list[Any]]:
    """A layer, and its synapses, which must live as long: xylosim keeps bare pointers to them."""
    try:
        library: Any = importlib.import_module("xylosim.v2")
    except ImportError as error:
        raise ResourceError(
            "the vendor's simulator is not installed",
            found=str(error),
            todo="pip install wheel pybind11 xylosim, or --option simulator=own",
        ) from error

    def synapses(weights: Int[ndarray, "m n"]) -> list[list[Any]]:
        return [[library.XyloSynapse(int(post), 0, int(row[post])) for post in np.flatnonzero(row)] for row in weights]

    def numbers(values: Int[ndarray, " n"]) -> list[int]:
        return [int(value) for value in values]

    kept = [synapses(weights) for weights in (spec.weights_in, spec.weights_rec, spec.weights_out)]
    layer = library.XyloLayer(
        synapses_in=kept[0],
        synapses_rec=kept[1],
        synapses_out=kept[2],
        aliases=[[] for _ in spec.threshold],
        threshold=numbers(spec.threshold),
        threshold_out=numbers(spec.threshold_out),
        has_bias=bool(spec.bias_hidden.any() or spec.bias_out.any()),
        bias=numbers(spec.bias_hidden),
        bias_out=numbers(spec.bias_out),
        weight_shift_inp=spec.weight_shift_in,
        weight_shift_rec=spec.weight_shift_rec,
        weight_shift_out=spec.weight_shift_out,
        dash_mem=numbers(spec.dash_mem),
        dash_mem_out=numbers(spec.dash_mem_out),
        dash_syns=[[int(dash)] for dash in spec.dash_syn],
        dash_syns_out=[[int(dash)] for dash in spec.dash_syn_out],
        name="spikeloom",
    )
    return layer, kept
