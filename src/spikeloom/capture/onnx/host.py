"""
Arithmetic on sizes and constants, in numpy: what a graph computes from shapes and never from data.

Elements may be symbolic sizes (dtype object), so that a dynamic batch passes through. Quantised weights are made float here:

    DequantizeLinear: (q − zero point)·scale        QuantizeLinear: clip(round half to even(x/scale) + zero point)      (1)

scale and zero point one number, one per place along `axis`, or one per block of `block_size` places.

Source: https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from spikeloom.capture.onnx.graph import Host, Node, Value, integers, number, tensor_from, unsupported
from spikeloom.capture.onnx.layout import slices, target_shape

_INTEGER_TYPES = {2: np.uint8, 3: np.int8, 5: np.int16, 6: np.int32, 7: np.int64}
_FLOAT_TYPES = {1: np.float32, 10: np.float16, 11: np.float64}


def along(node: Node, values: Host, x: Host) -> Host:
    """Scales or zero points as float32, shaped to broadcast against `x`; (1)."""
    values, axis, block = np.asarray(values, np.float32), node.attributes.get("axis", 1), node.attributes.get("block_size", 0)
    if values.size == 1:
        return values.reshape(())
    if block:
        repeated = np.repeat(values, block, axis=axis)
        return np.take(repeated, np.arange(x.shape[axis]), axis=axis)
    return values.reshape([-1 if place == axis % x.ndim else 1 for place in range(x.ndim)])


def dequantize(node: Node, x: Host, scale: Host, zero_point: Host | None = None) -> Host:
    """Float values of integers on a grid; (1)."""
    centred = x.astype(np.float32) if zero_point is None else x.astype(np.float32) - along(node, zero_point, x)
    return np.asarray(centred * along(node, scale, x), scale.dtype)


def quantize(node: Node, x: Host, scale: Host, zero_point: Host | None = None) -> Host:
    """Integers of float values, saturating at the ends of the type of the zero point; (1)."""
    dtype = np.dtype(np.uint8) if zero_point is None else zero_point.dtype
    if dtype.kind not in "iu":
        raise unsupported(node, "quantisation to this type", found=dtype, allowed="integers of 8, 16 or 32 bits")
    steps = np.rint(x.astype(np.float32) / along(node, scale, x)) + (0 if zero_point is None else along(node, zero_point, x))
    return np.asarray(np.clip(steps, np.iinfo(dtype).min, np.iinfo(dtype).max), dtype)


def elementwise(function: Callable[[Any, Any], Any]) -> Callable[[Node, Host, Host], Host]:
    """The operator that broadcasts two operands, of their own type or of symbolic sizes."""

    def apply(_: Node, a: Host, b: Host) -> Host:
        if a.dtype != object and b.dtype != object:
            return np.asarray(function(a, b))
        return np.asarray(np.frompyfunc(function, 2, 1)(a, b), dtype=object)

    return apply


def numeric(function: Callable[[Host], Host]) -> Callable[[Node, Host], Host]:
    """The operator that is a function of known numbers; UnsupportedError for a symbolic size."""

    def apply(node: Node, x: Host) -> Host:
        if x.dtype == object:
            raise unsupported(node, "this operator on the size of a dynamic dimension", todo="export the model with that dimension fixed")
        return np.asarray(function(x))

    return apply


def divided(a: Any, b: Any) -> Any:
    """a / b; integers towards zero (sizes are never negative)."""
    if isinstance(a, np.ndarray) and a.dtype.kind == "f":
        return a / b
    return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)) if isinstance(a, np.ndarray) else a // b


def equal(a: Any, b: Any) -> Any:
    """Whether two values agree, as plain truth."""
    return a == b if isinstance(a, np.ndarray) else bool(a == b)


def where(_: Node, condition: Host, a: Host, b: Host) -> Host:
    """`a` where the condition holds, else `b`."""
    return np.where(condition.astype(bool), a, b)


def cast(node: Node, x: Host) -> Host:
    """`x` in another element type; a symbolic size stays one as an integer."""
    to = node.attributes["to"]
    if x.dtype == object:
        return x if to in _INTEGER_TYPES else np.asarray(np.frompyfunc(torch.sym_float, 1, 1)(x), dtype=object)
    dtype = {**_INTEGER_TYPES, **_FLOAT_TYPES, 9: np.bool_}.get(to)
    if dtype is None:
        raise unsupported(node, "a constant of this element type", found=to, allowed=sorted(_INTEGER_TYPES | _FLOAT_TYPES))
    return x.astype(dtype)


def gather(node: Node, x: Host, index: Host) -> Host:
    """Places picked along `axis`."""
    return np.asarray(np.take(x, index, axis=node.attributes.get("axis", 0)))


def axes_of(node: Node, given: Host | None) -> tuple[int, ...] | None:
    """Axes from the input or the attribute; None where neither names any."""
    axes = node.attributes.get("axes") if given is None else integers(node, given, "axes")
    return None if axes is None else tuple(axes)


def squeeze(node: Node, x: Host, given: Host | None = None) -> Host:
    """Axes of size 1 taken away: those named, or all."""
    return np.squeeze(x, axes_of(node, given))


def unsqueeze(node: Node, x: Host, given: Host | None = None) -> Host:
    """Axes of size 1 put in, at their places in the result."""
    return np.expand_dims(x, axes_of(node, given) or ())


def concat(node: Node, *values: Host) -> Host:
    """Arrays joined along `axis`."""
    return np.concatenate(values, axis=node.attributes["axis"])


def slice_(node: Node, x: Host, *given: Host | None) -> Host:
    """Each named axis sliced from start to stop by step."""
    for start, stop, axis, step in zip(*slices(node, *given), strict=True):
        x = x[(slice(None),) * (axis % x.ndim) + (slice(start, stop, step),)]
    return x


def reshape(node: Node, x: Host, wanted: Host) -> Host:
    """The same elements, in order, under another shape."""
    return x.reshape(target_shape(node, x.shape, integers(node, wanted, "target sizes")))


def filled(node: Node, sizes: Host) -> Value:
    """An array of the sizes given, of one value (the number 0 unless given); a tensor where a size is symbolic."""
    value, wanted = node.attributes.get("value", np.zeros(1, np.float32)), integers(node, sizes, "sizes")
    if any(isinstance(size, torch.SymInt) for size in wanted):
        return torch.full(wanted, value.reshape(-1)[0].item(), dtype=tensor_from(value).dtype)
    return np.full(wanted, value.reshape(-1)[0], dtype=value.dtype)


def run(node: Node, start: Host, limit: Host, delta: Host) -> Value:
    """Numbers from start to below limit by delta; a tensor where a bound is symbolic."""
    bounds = [number(node, value, "bound") for value in (start, limit, delta)]
    return torch.arange(*bounds) if any(isinstance(bound, torch.SymInt) for bound in bounds) else np.arange(*bounds, dtype=start.dtype)


def shape(node: Node, x: Host) -> Host:
    """The sizes of a constant."""
    return np.array(x.shape[node.attributes.get("start", 0) : node.attributes.get("end")], dtype=np.int64)


def product(node: Node, x: Host, given: Host | None = None) -> Host:
    """The product over some axes."""
    return np.asarray(np.prod(x, axis=axes_of(node, given), keepdims=bool(node.attributes.get("keepdims", 1))))


def largest(_: Node, *values: Host) -> Host:
    """The largest of any number of operands."""
    return np.asarray(np.maximum.reduce(np.broadcast_arrays(*values)))


def smallest(_: Node, *values: Host) -> Host:
    """The smallest of any number of operands."""
    return np.asarray(np.minimum.reduce(np.broadcast_arrays(*values)))


HOST_OPERATORS: Mapping[str, Callable[..., Value]] = {
    "Abs": numeric(np.abs),
    "Add": elementwise(lambda a, b: a + b),
    "Cast": cast,
    "Ceil": numeric(np.ceil),
    "Concat": concat,
    "ConstantOfShape": filled,
    "DequantizeLinear": dequantize,
    "Div": elementwise(divided),
    "Equal": elementwise(equal),
    "Floor": numeric(np.floor),
    "Gather": gather,
    "Identity": lambda node, x: x,
    "Max": largest,
    "Min": smallest,
    "Mod": elementwise(lambda a, b: a % b),
    "Mul": elementwise(lambda a, b: a * b),
    "QuantizeLinear": quantize,
    "Range": run,
    "ReduceProd": product,
    "Reshape": reshape,
    "Shape": shape,
    "Slice": slice_,
    "Sqrt": numeric(np.sqrt),
    "Squeeze": squeeze,
    "Sub": elementwise(lambda a, b: a - b),
    "Transpose": lambda node, x: np.transpose(x, node.attributes.get("perm")),
    "Unsqueeze": unsqueeze,
    "Where": where,
}
