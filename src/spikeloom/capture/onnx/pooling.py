"""
Pooling windows. With n size, k dilated kernel, s stride, b and e padding at begin and end:

    out = ⌊(n + b + e − k)/s⌋ + 1, or ⌈…⌉ with ceil_mode, less a last window that would start in the end padding   (1)

ATen pads both ends alike and may then add a last, clipped window. Where that gives the windows of (1) — always, where b = e;
and for the SAME padding of TensorFlow — one ATen node is the exact form. Else the input is padded first: by −∞ for a
maximum; for an average by zeros, divided by what an input of ones gives where padding must not count.

Source: https://onnx.ai/onnx/operators/onnx__MaxPool.html, onnx__AveragePool.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.capture.onnx.convolution import extent, padded, pads_of
from spikeloom.capture.onnx.graph import Node, Size, unsupported

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_GLOBAL_AVERAGE = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


@final
@dataclass(frozen=True)
class Windows:
    """Where the windows of a pooling lie along each axis, and how many there are."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[Size]
    end: list[Size]
    outputs: list[Size]


def count(size: Size, span: int, stride: int, begin: Size, end: Size, ceil: bool) -> Size:
    """How many windows fit along an axis; (1)."""
    room = size + begin + end - span
    if not ceil:
        return room // stride + 1
    windows = (room + stride - 1) // stride + 1
    return windows - 1 if (windows - 1) * stride >= size + begin else windows


def windows_of(node: Node, x: Tensor) -> Windows:
    """The windows of a pooling node over `x` [N, C, spatial…]."""
    kernel: list[int] = node.attributes["kernel_shape"]
    if x.ndim - 2 != len(kernel) or len(kernel) not in _MAX:
        raise unsupported(node, "pooling over these axes", found=f"input of {x.ndim} dimensions, kernel {kernel}", allowed="1 to 3 axes")
    ones = [1] * len(kernel)
    strides, dilations = node.attributes.get("strides", ones), node.attributes.get("dilations", ones)
    spans, mode = extent(kernel, dilations), node.attributes.get("auto_pad", "NOTSET")
    begin, end = pads_of(node, x.shape[2:], spans, strides)
    ceil = bool(node.attributes.get("ceil_mode", 0)) and mode == "NOTSET"
    places = zip(x.shape[2:], spans, strides, begin, end, strict=True)
    return Windows(kernel, strides, dilations, begin, end, [count(n, k, s, b, e, ceil) for n, k, s, b, e in places])


def native_ceil(w: Windows, sizes: Sequence[Size]) -> bool | None:
    """The `ceil_mode` with which ATen's pooling, padded by `begin` at both ends, has exactly these windows; None if neither has."""
    spans = extent(w.kernel, w.dilations)
    if any(b > span // 2 for b, span in zip(w.begin, spans, strict=True)):
        return None
    for ceil in (False, True):
        places = zip(sizes, spans, w.strides, w.begin, strict=True)
        if [count(n, k, s, b, b, ceil) for n, k, s, b in places] == w.outputs:
            return ceil
    return None


def covering(w: Windows, sizes: Sequence[Size]) -> list[Size]:
    """End padding (negative: cells to drop) with which the windows end exactly at the end of each axis."""
    places = zip(w.outputs, w.strides, extent(w.kernel, w.dilations), sizes, w.begin, strict=True)
    return [(out - 1) * s + span - n - b for out, s, span, n, b in places]


def max_pool(node: Node, x: Tensor) -> Tensor:
    """Maximum over windows; padding never wins."""
    w = windows_of(node, x)
    pool, ceil = _MAX[len(w.kernel)], native_ceil(w, x.shape[2:])
    if ceil is not None:
        return pool(x, w.kernel, w.strides, w.begin, w.dilations, ceil)
    return pool(padded(x, w.begin, covering(w, x.shape[2:]), -torch.inf), w.kernel, w.strides, 0, w.dilations)


def average_pool(node: Node, x: Tensor) -> Tensor:
    """Average over windows; padding counts as zeros (`count_include_pad`) or not at all."""
    w = windows_of(node, x)
    if any(d != 1 for d in w.dilations):
        raise unsupported(node, "dilated average pooling", found=w.dilations, allowed=1)
    pool, ceil = _AVERAGE[len(w.kernel)], native_ceil(w, x.shape[2:])
    include = bool(node.attributes.get("count_include_pad", 0))
    if ceil is not None and (w.begin == w.end or not include):
        return pool(x, w.kernel, w.strides, w.begin, ceil, include)
    if include:
        return _average_counting_pads(w, x)
    end = covering(w, x.shape[2:])
    ones = padded(torch.ones(1, 1, *x.shape[2:], dtype=x.dtype, device=x.device), w.begin, end)
    return pool(padded(x, w.begin, end), w.kernel, w.strides) / pool(ones, w.kernel, w.strides)


def _average_counting_pads(w: Windows, x: Tensor) -> Tensor:
    """Padding counts up to its given end; a last window beyond it (ceil_mode) is clipped there."""
    x = padded(x, w.begin, w.end)
    whole = [count(n, k, s, 0, 0, False) for n, k, s in zip(x.shape[2:], w.kernel, w.strides, strict=True)]
    y = _AVERAGE[len(w.kernel)](x, w.kernel, w.strides, 0, whole != w.outputs)
    for axis, size in enumerate(w.outputs):
        y = y.narrow(axis + 2, 0, size) if y.shape[axis + 2] != size else y
    return y


def global_average_pool(node: Node, x: Tensor) -> Tensor:
    """Average over all spatial cells, kept as axes of size 1."""
    if x.ndim - 2 not in _GLOBAL_AVERAGE:
        raise unsupported(node, "global pooling over this many axes", found=x.ndim - 2, allowed="1, 2 or 3")
    return _GLOBAL_AVERAGE[x.ndim - 2](x, 1)


def global_max_pool(_: Node, x: Tensor) -> Tensor:
    """Maximum over all spatial cells, kept as axes of size 1."""
    return torch.amax(x, list(range(2, x.ndim)), keepdim=True)
