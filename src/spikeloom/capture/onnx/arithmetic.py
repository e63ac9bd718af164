"""
Arithmetic between tensors, matrix products and reductions.

A constant of one element is a Python number in the graph (`mul(x, 0.5)`), so that a converter sees a scale and not a product.

    Gemm: α·A'·B' + β·C, a linear layer where A' = A, α = β = 1 and C is a vector (`as_linear` arranges constant weights so)   (1)

Source: https://onnx.ai/onnx/operators/
"""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.capture.onnx.graph import ELEMENT_TYPES, Node, Value, integers, number, tensor_from, unsupported


def operand(node: Node, value: Value) -> Any:
    """A tensor as it is, a host scalar as a number."""
    return value if isinstance(value, Tensor) else number(node, value, "operand computed from shapes")


def _ranked(result: Tensor, *values: Value) -> Tensor:
    """The result with as many axes as broadcasting gives: a host scalar may have more axes than the tensor has."""
    missing = max(value.ndim for value in values) - result.ndim
    return result.reshape([1] * missing + list(result.shape)) if missing > 0 else result


def binary(function: Callable[[Any, Any], Tensor]) -> Callable[[Node, Value, Value], Tensor]:
    """The operator that broadcasts two operands."""
    return lambda node, a, b: _ranked(function(operand(node, a), operand(node, b)), a, b)


def variadic(function: Callable[[Any, Any], Tensor]) -> Callable[..., Tensor]:
    """The operator that chains a function of two over any number of operands."""
    return lambda node, *values: _ranked(reduce(function, [operand(node, value) for value in values]), *values)


def divided(a: Any, b: Any) -> Tensor:
    """a / b; integers towards zero."""
    sample = a if isinstance(a, Tensor) else b
    return a / b if sample.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def power(a: Any, b: Any) -> Tensor:
    """a to the b, in the type of a."""
    result = torch.pow(a, b)
    return result.to(a.dtype) if isinstance(a, Tensor) and result.dtype != a.dtype else result


def larger(a: Any, b: Any) -> Tensor:
    """The larger of two; against the number 0 that is a ReLU."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.maximum(a, b)
    x, limit = (a, b) if isinstance(a, Tensor) else (b, a)
    return F.relu(x) if limit == 0 and x.is_floating_point() else torch.clamp(x, min=limit)


def smaller(a: Any, b: Any) -> Tensor:
    """The smaller of two."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.minimum(a, b)
    x, limit = (a, b) if isinstance(a, Tensor) else (b, a)
    return torch.clamp(x, max=limit)


def mean(node: Node, first: Value, *others: Value) -> Tensor:
    """The mean of any number of operands."""
    total = variadic(lambda a, b: a + b)(node, first, *others)
    return total / (1 + len(others)) if others else total


def where(node: Node, condition: Tensor, a: Value, b: Value) -> Tensor:
    """`a` where the condition holds, else `b`."""
    result = torch.where(condition, operand(node, a), operand(node, b))
    dtype = a.dtype if isinstance(a, Tensor) else tensor_from(a).dtype
    return _ranked(result if result.dtype == dtype else result.to(dtype), condition, a, b)


def cast(node: Node, x: Tensor) -> Tensor:
    """`x` in another element type."""
    if node.attributes["to"] not in ELEMENT_TYPES:
        raise unsupported(node, "a cast to this element type", found=node.attributes["to"], allowed=sorted(ELEMENT_TYPES))
    dtype = ELEMENT_TYPES[node.attributes["to"]]
    return x if x.dtype == dtype else x.to(dtype)


def matmul(_: Node, a: Tensor, b: Tensor) -> Tensor:
    """The matrix product over the last two axes."""
    return torch.matmul(a, b)


def gemm(node: Node, a: Tensor, b: Tensor, c: Value | None = None) -> Tensor:
    """α·A'·B' + β·C; (1)."""
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    a = a.t() if node.attributes.get("transA", 0) else a
    weight = b if node.attributes.get("transB", 0) else b.t()
    if alpha == 1.0 and (c is None or (isinstance(c, Tensor) and beta == 1.0 and c.shape == weight.shape[:1])):
        return F.linear(a, weight, c)  # (1)
    y = F.linear(a, weight)
    y = y if alpha == 1.0 else y * alpha
    return y if c is None else y + (operand(node, c) if beta == 1.0 else operand(node, c) * beta)


def einsum(node: Node, *values: Tensor) -> Tensor:
    """Einstein's summation."""
    return torch.einsum(node.attributes["equation"], *values)


def _axes(node: Node, x: Tensor, given: Value | None) -> list[int] | None:
    """The axes of a reduction, from its attribute or its input; all where none are named; None where it then does nothing."""
    named = node.attributes.get("axes") if given is None else integers(node, given, "axes")
    if not named and node.attributes.get("noop_with_empty_axes", 0):
        return None
    return named or list(range(x.ndim))


def reduction(function: Callable[..., Tensor], before: Callable[[Tensor], Tensor] | None = None) -> Callable[..., Tensor]:
    """The operator that reduces some axes by `function(x, axes, keepdim=…)`, each element first passed through `before`."""

    def reduced(node: Node, x: Tensor, axes: Value | None = None) -> Tensor:
        where, x = _axes(node, x, axes), x if before is None else before(x)
        return x if where is None else function(x, where, keepdim=bool(node.attributes.get("keepdims", 1)))

    return reduced


def reduce_l2(node: Node, x: Tensor, axes: Value | None = None) -> Tensor:
    """The root of the sum of squares over some axes."""
    return torch.sqrt(reduction(torch.sum, torch.square)(node, x, axes))


def extremum(function: Callable[..., Tensor]) -> Callable[[Node, Tensor], Tensor]:
    """The operator that gives the index of the largest or smallest element along an axis, the first of equals."""

    def index(node: Node, x: Tensor) -> Tensor:
        if node.attributes.get("select_last_index", 0):
            raise unsupported(node, "the last of equal elements", found="select_last_index=1", allowed="select_last_index=0")
        return function(x, node.attributes.get("axis", 0), keepdim=bool(node.attributes.get("keepdims", 1)))

    return index
