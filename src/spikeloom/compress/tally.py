"""
What pruning saved: weights that are there and synaptic operations, by layer and in all, before and after.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from spikeloom.ir import Context, Program, batches_of, calls, checked, read, weighted, weights_of
from spikeloom.simulate import Counter

SAMPLES = 128
"""Calibration samples that operations are counted on."""


def first_of(context: Context, program: Program, count: int) -> Iterator[tuple[Tensor, ...]]:
    """The first calibration samples, in the batches they come in."""
    for inputs in checked(batches_of(context)(), program):
        yield tuple(value[:count] for value in inputs)
        count -= len(inputs[0])
        if count <= 0:
            return


def operations_of(program: Program, context: Context, timesteps: int) -> dict[str, float]:
    """Synaptic operations an inference of every layer with weights, graded events: presynaptic events × weights that are there."""
    layers = {node.name for node in calls(program.graph) if weighted(node)}
    counter = Counter(program, timesteps)
    for inputs in first_of(context, program, SAMPLES):
        counter.add(inputs)
    return {row.node: row.operations.get("graded", 0.0) for row in counter.counts().rows if row.node in layers}


def told(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, Any]:
    """Both, in all and by layer."""
    layers = {name: [before[name], after.get(name, 0.0)] for name in before}
    return {"before": sum(before.values()), "after": sum(after.values()), "layers": layers}


def sparsity_of(program: Program, names: Mapping[str, object]) -> dict[str, Any]:
    """The share of zeros of some layers: in all, and by layer."""
    counts: dict[str, tuple[int, int]] = {}
    for node in calls(program.graph):
        if node.name in names:
            weight = read(weights_of(node, program.tensors)[0])
            counts[node.name] = (int((weight == 0).sum()), weight.numel())
    zeros, all_ = (sum(pair[place] for pair in counts.values()) for place in (0, 1))
    return {"all": zeros / max(all_, 1), "layers": {name: zeros / max(count, 1) for name, (zeros, count) in counts.items()}}
