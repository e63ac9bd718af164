"""
What an ONNX file says, in plain values: nodes, constants, inputs, outputs; nothing of the `onnx` library is kept.

A value that flows between nodes is either a tensor, or a *host* array: sizes, axes and scalars that Python must know to build the
graph. A host array that holds the size of a dynamic dimension has dtype object (its elements are `torch.SymInt` under `torch.export`).

Source: the ONNX specification, https://github.com/onnx/onnx/blob/main/docs/IR.md
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from spikeloom.errors import UnsupportedError

Host: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Value: TypeAlias = Tensor | Host
Size: TypeAlias = Any  # int, or torch.SymInt where a dimension is dynamic (torch's stubs call both int)

# TensorProto.DataType: the element types a tensor of a model may have.
ELEMENT_TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
}


@final
@dataclass(frozen=True)
class InputSpec:
    """One input of the model: its name, its shape (None where a dimension is dynamic) and its element type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: torch.dtype


@final
@dataclass(frozen=True)
class Node:
    """
    One operation. An absent optional input, or an output nobody reads, is the empty name.

    `operator` names its domain if that is not ONNX's own. `on_sizes`: it computes on the sizes of tensors, all host arrays.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int
    on_sizes: bool = False


@final
@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can run; constants by name; inputs and outputs in the file's order."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Host]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]


def unsupported(node: Node, what: str, *, found: object = None, allowed: object = None, todo: str | None = None) -> UnsupportedError:
    """The error for a known operator used in a way that has no exact ATen form."""
    todo = todo or "export the model again without it, or replace that layer in the source model"
    return UnsupportedError(f"ONNX node {node.name!r} ({node.operator}): {what}", found=found, allowed=allowed, todo=todo)


def tensor_from(array: Host) -> Tensor:
    """The array as a tensor with memory of its own; UnsupportedError for an element type that numpy itself does not have."""
    if array.dtype == object:
        raise UnsupportedError(
            "an ONNX node computes on the size of a dynamic dimension", todo="export the model with that dimension fixed"
        )
    if array.dtype.kind not in "fiub":
        raise UnsupportedError(
            "an ONNX constant has an element type that cannot be used as a weight",
            found=array.dtype.name,
            allowed="floats, integers and truth values of numpy's own",
            todo="export the model in float32",
        )
    return torch.from_numpy(np.array(array, order="C"))


def host_from(values: Iterable[Size]) -> Host:
    """A vector of sizes: int64 where all are known, else dtype object."""
    values = list(values)
    if all(isinstance(v, int | np.integer) for v in values):
        return np.array(values, dtype=np.int64)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def known(value: Value) -> Value:
    """The value; an array of dtype object that holds no symbolic size, as the int64 it is."""
    if isinstance(value, Tensor) or value.dtype != object or not all(isinstance(v, int | np.integer) for v in value.reshape(-1).tolist()):
        return value
    return value.astype(np.int64)


def integers(node: Node, value: Value | None, what: str) -> list[Size]:
    """The elements of a host array as integers (or symbolic sizes); UnsupportedError where they are computed from data."""
    if value is None:
        raise unsupported(node, f"its {what} are missing")
    if isinstance(value, Tensor):
        raise unsupported(node, f"its {what} depend on the data, so that the shape of the result is not known before it runs")
    return [v if isinstance(v, torch.SymInt) else int(v) for v in value.reshape(-1).tolist()]


def number(node: Node, value: Value, what: str) -> Any:
    """A host array of one element as a Python number (or a symbolic size); UnsupportedError for data, and for more elements."""
    if isinstance(value, Tensor) or value.size != 1:
        raise unsupported(node, f"its {what} must be one constant number", found=f"shape {tuple(value.shape)}")
    return value.reshape(-1).tolist()[0]


def last_uses(graph: Graph) -> tuple[tuple[str, ...], ...]:
    """For each node the names that nobody reads after it, so that their memory can go."""
    seen, frees = set(graph.outputs), list[tuple[str, ...]]()
    for node in reversed(graph.nodes):
        names = {name for name in (*node.inputs, *node.outputs) if name and name not in seen}
        frees.append(tuple(sorted(names)))
        seen |= names
    return tuple(reversed(frees))
