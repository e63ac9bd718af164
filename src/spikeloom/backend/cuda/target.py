"""
The CUDA target: what it takes, and what a person wants to know of the result.
"""

from collections.abc import Mapping
from typing import Any

from spikeloom.backend.cuda.files import files, written
from spikeloom.backend.cuda.numbers import Constants
from spikeloom.backend.cuda.options import CudaOptions
from spikeloom.backend.cuda.plan import planned
from spikeloom.backend.cuda.products import operator, shape_of
from spikeloom.backend.cuda.refusals import refusals
from spikeloom.backend.cuda.verify import verify
from spikeloom.backend.target import Form, Golden, Target
from spikeloom.ir.hardware import Affine, Convolution, Netlist

TAKES = {
    "Affine": "any; bytes four at a time (dp4a), ternary weights on spikes as planes of bits, or the weights of active inputs only",
    "Convolution": "the same; groups one product at a time",
    "Pool": "sum; maximum, over time too (windows of at most 256 places there)",
    "Add": "any gains; inside of the kernel of what reads it",
    "Route": "any; one that only renames places costs nothing",
    "Requantise": "shifts up to 62, 64 bits where they are needed; inside of the kernel of what reads it",
    "Population": "any thresholds, heights and membranes, all ticks in one kernel",
}


def emit(netlist: Netlist, golden: Golden, options: CudaOptions) -> Mapping[str, bytes]:
    """The files."""
    return files(netlist, golden, options)


def report(netlist: Netlist, options: CudaOptions) -> Mapping[str, Any]:
    """Memory, the steps, and how each layer is summed."""
    work, constants = planned(netlist, options), Constants()
    written(work, constants)
    layers = {step.operation.name: step for step in work.steps if isinstance(step.operation, Affine | Convolution)}
    kinds = dict[str, str]()
    for name, step in layers.items():
        layer = step.operation
        if isinstance(layer, Affine | Convolution):
            kinds[name] = f"{step.way}, {operator(step, layer.weight, shape_of(layer, step.reads[0], step.made))}"
    return {
        "constant_bytes": constants.bytes,
        "buffer_bytes_per_sample": sum(work.slots) * netlist.timesteps,
        "steps": len(work.steps),
        "inside_other_steps": sum(len(step.within) - 1 for step in work.steps if step.within),
        "kernels": kinds,
        "arch": options.arch,
    }


TARGET = Target(
    name="cuda",
    title="CUDA kernels for a GPU, dense or event-driven",
    takes=TAKES,
    options=CudaOptions,
    form=lambda _: Form(),
    refusals=refusals,
    emit=emit,
    verify=verify,
    report=report,
)
