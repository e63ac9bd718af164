"""
Runs a NIR graph on whole numbers, from the nodes of the library `nir` alone: a second way from a file to spikes, which knows nothing of
netlists. It has two laws for neurons:

    ours    what the metadata of a node says (levels, reset, initial potential, …)
    plain   what NIR says: v > v_threshold, then v = v_reset; τ, r and v_leak by one Euler step of dt (equation (3) of `neurons`)

All in float64, in which sums of whole numbers up to 2^53 are exact.
"""

from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Num
from numpy import ndarray

from spikeloom.errors import UnsupportedError

Law = Literal["ours", "plain"]


def run_graph(graph: Any, inputs: Num[ndarray, "t b ..."], law: Law = "ours") -> Float[ndarray, "b ..."]:
    """Σ over the ticks of what the graph's output gives. Raises UnsupportedError for a node or a loop it does not know."""
    order, before = ordered(graph)
    dt, memory = float(graph.metadata.get("dt", 1.0)), dict[str, Any]()
    total: Any = 0
    for x in inputs:
        values = dict[str, Any]()
        for name in order:
            node, reads = graph.nodes[name], [values[start] for start in before[name]]
            read = x.astype(np.float64) if type(node).__name__ == "Input" else sum(reads[1:], reads[0])
            values[name] = _value(name, node, read, memory, law, (dt, len(inputs)))
        total = total + values[_output(graph)]
    return total


def ordered(graph: Any) -> tuple[list[str], dict[str, list[str]]]:
    """The nodes in an order in which each comes after what it reads, and what each reads. Raises UnsupportedError for a loop."""
    before = defaultdict[str, list[str]](list)
    for start, end in graph.edges:
        before[str(end)].append(str(start))
    try:
        order = list(TopologicalSorter({name: before[name] for name in graph.nodes}).static_order())
    except CycleError as error:
        raise UnsupportedError("a NIR graph with a loop is not executed", found=str(error.args[1])) from error
    return order, before


def _output(graph: Any) -> str:
    return next(name for name, node in graph.nodes.items() if type(node).__name__ == "Output")


def _value(name: str, node: Any, x: Any, memory: dict[str, Any], law: Law, time: tuple[float, int]) -> Any:
    match type(node).__name__:
        case "Input" | "Output":
            return x
        case "Affine":
            return x @ node.weight.astype(np.float64).T + node.bias
        case "Linear":
            return x @ node.weight.astype(np.float64).T
        case "Conv2d":
            weight, bias = (torch.from_numpy(np.asarray(part, np.float64)) for part in (node.weight, node.bias))
            stride, padding, dilation = ([int(side) for side in part] for part in (node.stride, node.padding, node.dilation))
            values = torch.from_numpy(x)
            return torch.nn.functional.conv2d(values, weight, bias, stride, padding, dilation, int(node.groups)).numpy()
        case "SumPool2d":
            return _pooled(name, node, x, memory, law, time[1])
        case "Flatten":
            return x.reshape(len(x), -1)
        case "Scale" if law == "ours" and node.metadata.get("operation") == "requantise":
            return _requantised(node, x)
        case "Scale" if law == "ours" and node.metadata.get("operation") == "route" and "index" in node.metadata:
            return _moved(node, x)
        case "Scale":
            return x * node.scale.astype(np.float64)
        case "IF" | "LIF":
            return (_ours if law == "ours" else _plain)(name, node, x, memory, time)
        case other:
            raise UnsupportedError("a NIR node that this executor does not know", found=f"{name}: {other}")


def _pooled(name: str, node: Any, x: Any, memory: dict[str, Any], law: Law, ticks: int) -> Any:
    kernel, stride, padding = ([int(side) for side in part] for part in (node.kernel_size, node.stride, node.padding))
    if law == "plain" or node.metadata.get("what") != "max":
        return torch.nn.functional.avg_pool2d(torch.from_numpy(x), kernel, stride, padding, divisor_override=1).numpy()
    before = memory.get(name)  # the greatest of the sums so far; what it grew by is sent
    memory[name] = total = x if before is None or ticks == 1 else before[0] + x, None
    greatest = torch.nn.functional.max_pool2d(torch.from_numpy(total[0]), kernel, stride, padding).numpy()
    memory[name] = total[0], greatest
    return greatest if before is None or ticks == 1 else greatest - before[1]


def _requantised(node: Any, x: Any) -> Any:
    told = node.metadata
    shift, low, high = (int(told[key]) for key in ("shift", "low", "high"))
    scaled = _row(told["multiplier"], told, x) * x + (0.5 if shift else 0.0) * 2.0**shift
    return np.floor(scaled / 2.0**shift).clip(low, high)


def _moved(node: Any, x: Any) -> Any:
    """Values at `index`; a sum of operands that lie on one axis has gathered them already."""
    if x.ndim == 2:
        return x
    flat, index = x.reshape(len(x), -1), np.asarray(node.metadata["index"])
    return np.where(index < 0, 0.0, flat[:, index]).reshape(x.shape)


def _plain(name: str, node: Any, x: Any, memory: dict[str, Any], time: tuple[float, int]) -> Any:
    v = memory.get(name, np.zeros_like(x))
    if type(node).__name__ == "IF":
        v = v + time[0] * node.r.astype(np.float64) * x
    else:
        pull = node.v_leak.astype(np.float64) - v + node.r.astype(np.float64) * x
        v = v + time[0] / node.tau.astype(np.float64) * pull
    fires = v > node.v_threshold
    memory[name] = np.where(fires, node.v_reset, v)
    return fires.astype(np.float64)


def _ours(name: str, node: Any, x: Any, memory: dict[str, Any], time: tuple[float, int]) -> Any:
    told, h = node.metadata, x
    if told["membrane"]:
        v = memory.get(name, np.zeros_like(x) + _row(told["initial_potential"], told, x))
        kept = np.floor(_row(told["decay"], told, x) * v / 2.0 ** int(told["decay_shift"]))
        h = kept + x - _row(told["leak"], told, x)
    steps = np.diff(np.asarray(told["sends"], np.float64), axis=1)
    sent, taken, count = _row(told["sends"][:, 0], told, x) + 0 * h, 0 * h, 0 * h
    if told["membrane"]:
        taken = taken + _row(told["taken"][:, 0], told, x)
    rest = 0 * h
    for level in range(told["thresholds"].shape[1]):
        threshold = _row(told["thresholds"][:, level], told, x)
        crossed = h >= threshold
        sent, count, rest = sent + crossed * _row(steps[:, level], told, x), count + crossed, rest + (threshold <= 0)
        if told["membrane"]:
            taken = taken + crossed * _row(told["taken"][:, level + 1] - told["taken"][:, level], told, x)
    if told["membrane"]:
        memory[name] = h - taken if told["reset"] == "subtract" else np.where(count == rest, h, 0.0)
    return sent


def _row(values: Any, told: Any, x: Any) -> Any:
    """Numbers for each place of the axis, so that they broadcast over [B, ...]."""
    rank = x.ndim - 1
    return np.asarray(values, np.float64).reshape([-1 if place == int(told["axis"]) else 1 for place in range(rank)])
