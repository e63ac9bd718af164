"""
The batch dimension. Many files are written for a batch of 1, and the only place that holds them to it is a Reshape to constant
sizes. Run once at batch 1 and once at batch 2, the axis whose size doubles is where the batch lies, and the cells before it
are the product P of the sizes before it. Row-major order puts the batch in the reshaped tensor at the first place j with

    Π_{i<j} target_i = P,        so target_j becomes −1                                               (1)

whatever that target is (a batch merged with channels included). The graph is kept so only if its outputs say so too:

    f(x ⊕ y) = f(x) ⊕ f(y)       for random samples x, y, ⊕ joining along the batch                   (2)

Source: ours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from spikeloom.capture.onnx.graph import Graph, Host, InputSpec, Node, Value, last_uses, tensor_from
from spikeloom.capture.onnx.module import on_host, weights_of
from spikeloom.capture.onnx.operators import evaluate
from spikeloom.capture.onnx.rewrite import EVALUATION_ERRORS, fresh
from spikeloom.errors import SourceError, UserError

TOLERANCE = 1e-4  # of (2), relative to the largest value of an output; convolutions round differently at other batch sizes
Values: TypeAlias = dict[str, Value]


def samples(specs: Sequence[InputSpec], count: int) -> Values:
    """The same random inputs each time, of `count` samples or of the batch a file fixes: normal numbers, or zeros and ones."""
    generator, found = torch.Generator().manual_seed(0), Values()
    for spec in specs:
        batch = count if spec.shape[0] in (None, 1) else spec.shape[0]
        x = torch.randn([batch, *(size or 1 for size in spec.shape[1:])], generator=generator)
        found[spec.name] = (x if spec.dtype.is_floating_point else x > 0).to(spec.dtype)
    return found


def free_target(single: Sequence[int], double: Sequence[int], target: Sequence[int]) -> list[int] | None:
    """Target sizes of a Reshape for any batch, from the input's shape at batch 1 and 2 and the target at batch 1; (1).

    None where the batch lies along no one axis, or falls inside one of the target.
    """
    changed = [axis for axis, (one, two) in enumerate(zip(single, double, strict=True)) if one != two]
    if len(changed) != 1 or double[changed[0]] != 2 * single[changed[0]]:
        return None
    before = math.prod(single[: changed[0]])
    places = [j for j in range(len(target)) if math.prod(target[:j]) == before]
    return [-1 if j == places[0] else size for j, size in enumerate(target)] if places else None


def run_node(node: Node, constants: Mapping[str, Host], weights: Mapping[str, Tensor], values: Values) -> None:
    """Runs one node on `values` and puts its outputs among them."""

    def given(slot: int, name: str) -> Value | None:
        if name not in constants:
            return values[name] if name else None
        return constants[name] if on_host(node, slot, constants[name]) else weights[name]

    results = evaluate(node, tuple(given(slot, name) for slot, name in enumerate(node.inputs)))
    values.update(zip(node.outputs, results, strict=False))


def run_alone(graph: Graph, weights: Mapping[str, Tensor], count: int) -> None:
    """Runs the graph once on `count` random samples; SourceError where a node does not take what the one before it gives."""
    values = samples(graph.inputs, count)
    for node, frees in zip(graph.nodes, last_uses(graph), strict=True):
        try:
            run_node(node, graph.constants, weights, values)
        except UserError:
            raise
        except EVALUATION_ERRORS as error:
            found = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            todo = "check that the model runs in onnxruntime; if it does, please report it"
            raise SourceError(f"ONNX node {node.name!r} ({node.operator}) does not run", found=found, todo=todo) from error
        for name in frees:
            values.pop(name, None)


def freed(graph: Graph, weights: Mapping[str, Tensor]) -> Graph | None:
    """The graph with its constant Reshapes open to any batch, if that is proved to be the same for each sample; else None."""
    both = samples(graph.inputs, 2)
    runs: tuple[Values, Values, Values] = (_part(both, 0), _part(both, 1), both)
    nodes, constants = list[Node](), dict(graph.constants)
    for node, frees in zip(graph.nodes, last_uses(graph), strict=True):
        node = _freed_reshape(node, constants, runs)
        nodes.append(node)
        for values in runs:
            try:
                run_node(node, constants, weights, values)
            except (UserError, *EVALUATION_ERRORS):
                return None
            for name in frees:
                values.pop(name, None)
    if not all(_same_for_each(*(values.get(name) for values in runs)) for name in graph.outputs):
        return None
    inputs = tuple(replace(spec, shape=(None, *spec.shape[1:])) for spec in graph.inputs)
    return replace(graph, nodes=tuple(nodes), constants=constants, inputs=inputs)


def _part(values: Values, place: int) -> Values:
    return {name: value[place : place + 1] for name, value in values.items()}


def _freed_reshape(node: Node, constants: dict[str, Host], runs: tuple[Values, Values, Values]) -> Node:
    """A Reshape to constant sizes with its batch open, those sizes put among `constants`; any other node as it is."""
    if node.operator != "Reshape" or node.inputs[1] not in constants or node.inputs[0] not in runs[0]:
        return node
    single, double = (values[node.inputs[0]] for values in (runs[0], runs[2]))
    try:
        (alone,) = evaluate(node, (single, constants[node.inputs[1]]))
    except (UserError, *EVALUATION_ERRORS):
        return node
    target = free_target(single.shape, double.shape, alone.shape)
    if target is None:
        return node
    name = fresh(f"{node.inputs[1]}.{node.name}", constants)
    constants[name] = np.array(target, dtype=np.int64)
    return replace(node, inputs=(node.inputs[0], name))


def _same_for_each(first: Value | None, second: Value | None, both: Value | None) -> bool:
    """Whether an output at batch 2 is the outputs of its two samples, one after the other; (2)."""
    if not isinstance(first, Tensor) or not isinstance(second, Tensor) or not isinstance(both, Tensor):
        return False
    if first.ndim == 0 or first.shape[0] != 1 or both.shape != (2, *first.shape[1:]) or second.shape != first.shape:
        return False
    joined = torch.cat([first, second])
    if not both.is_floating_point():
        return float((joined != both).float().mean()) < 0.01  # an index may flip between two near equals
    scale = float(joined.abs().nan_to_num(0.0, 0.0, 0.0).amax()) if joined.numel() else 0.0
    return torch.allclose(both, joined, rtol=0.0, atol=TOLERANCE * scale, equal_nan=True)


def with_free_batch(graph: Graph) -> tuple[Graph, int | None]:
    """
    The graph open to any batch where that is proved, and else the one batch size it takes.

    A graph whose height, width or channels are dynamic is not run: its file's word is taken for the batch.
    Raises SourceError where the graph does not run at all, UnsupportedError where a node has no ATen form.
    """
    batches = [spec.shape[0] for spec in graph.inputs if spec.shape]
    declared = next((size for size in batches if size is not None), None)
    if not graph.inputs or any(not spec.shape or None in spec.shape[1:] for spec in graph.inputs):
        return graph, declared
    weights = {name: tensor_from(graph.constants[name]) for name in weights_of(graph)}
    with torch.no_grad():
        run_alone(graph, weights, 1)
        free = freed(graph, weights) if {None, 1}.issuperset(batches) else None
        if free is not None:
            return free, None
        return graph, declared or _only_batch(graph, weights)


def _only_batch(graph: Graph, weights: Mapping[str, Tensor]) -> int | None:
    """1 where a graph that declares its batch dynamic runs at 1 and not at 2; None where it runs at both."""
    try:
        run_alone(graph, weights, 2)
    except UserError:
        return 1
    return None
