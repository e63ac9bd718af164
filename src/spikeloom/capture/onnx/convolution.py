"""
Convolutions, and the padding rule they share with pooling.

ONNX pads begin and end of an axis apart, or computes both from `auto_pad`; with d dilation, k kernel, s stride, n size:

    SAME_UPPER, SAME_LOWER:  out = ⌈n/s⌉,  begin + end = max((out − 1)·s + (k − 1)·d + 1 − n, 0)               (1)
    ConvTranspose:           out = (n − 1)·s + (k − 1)·d + 1 + output_padding − begin − end                     (2)

Source: https://onnx.ai/onnx/operators/onnx__Conv.html, onnx__ConvTranspose.html
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from spikeloom.capture.onnx.graph import Node, Size, unsupported

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def extent(kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """How many cells a dilated kernel spans along each axis."""
    return [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]


def halves(total: Sequence[Size], upper: bool) -> tuple[list[Size], list[Size]]:
    """Padding split over both sides, the odd cell at the end (upper) or at the beginning."""
    small, large = [t // 2 for t in total], [t - t // 2 for t in total]
    return (small, large) if upper else (large, small)


def pads_of(node: Node, sizes: Sequence[Size], spans: Sequence[int], strides: Sequence[int]) -> tuple[list[Size], list[Size]]:
    """Cells to pad at the begin and the end of each axis, for axes of `sizes` cells and kernels that span `spans`; (1)."""
    mode, pads = node.attributes.get("auto_pad", "NOTSET"), node.attributes.get("pads", [0] * 2 * len(sizes))
    if mode == "VALID":
        return [0] * len(sizes), [0] * len(sizes)
    if mode == "NOTSET":
        return list(pads[: len(sizes)]), list(pads[len(sizes) :])
    total = [max(((n + s - 1) // s - 1) * s + span - n, 0) for n, span, s in zip(sizes, spans, strides, strict=True)]  # (1)
    return halves(total, upper=mode == "SAME_UPPER")


def padded(x: Tensor, begin: Sequence[Size], end: Sequence[Size], value: float = 0.0) -> Tensor:
    """`x` with its last axes padded; F.pad takes the last axis first."""
    flat = [cells for pair in reversed(list(zip(begin, end, strict=True))) for cells in pair]
    return F.pad(x, flat, value=value) if any(cells != 0 for cells in flat) else x


def _axes(node: Node, weight: Tensor) -> int:
    if weight.ndim - 2 not in _CONV:
        raise unsupported(node, "convolution over this many axes", found=weight.ndim - 2, allowed="1, 2 or 3")
    return weight.ndim - 2


def conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """One ATen convolution; padding that differs between begin and end goes before it as an explicit pad."""
    axes = _axes(node, weight)
    ones = [1] * axes
    strides, dilations = node.attributes.get("strides", ones), node.attributes.get("dilations", ones)
    begin, end = pads_of(node, x.shape[2:], extent(weight.shape[2:], dilations), strides)
    if begin != end:
        x, begin = padded(x, begin, end), [0] * axes
    return _CONV[axes](x, weight, bias, strides, begin, dilations, node.attributes.get("group", 1))


def conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """One ATen transposed convolution; where begin and end differ, the whole result is computed and cut; (2)."""
    axes = _axes(node, weight)
    ones, zeros = [1] * axes, [0] * axes
    strides, dilations = node.attributes.get("strides", ones), node.attributes.get("dilations", ones)
    extra = node.attributes.get("output_padding", zeros)
    spans, group = extent(weight.shape[2:], dilations), node.attributes.get("group", 1)
    whole = [(n - 1) * s + span + e for n, s, span, e in zip(x.shape[2:], strides, spans, extra, strict=True)]
    begin, end = _pads_transposed(node, x, whole, strides)
    if begin == end:
        return _CONV_TRANSPOSE[axes](x, weight, bias, strides, begin, extra, group, dilations)
    y = _CONV_TRANSPOSE[axes](x, weight, bias, strides, zeros, extra, group, dilations)
    for axis in range(axes):
        y = y.narrow(axis + 2, begin[axis], whole[axis] - begin[axis] - end[axis])
    return y


def _pads_transposed(node: Node, x: Tensor, whole: Sequence[Size], strides: Sequence[int]) -> tuple[list[Size], list[Size]]:
    """Cells to cut at both ends: given, or whatever leads from the whole result to `output_shape` (SAME: size times stride)."""
    mode, wanted = node.attributes.get("auto_pad", "NOTSET"), node.attributes.get("output_shape")
    if wanted is None and not mode.startswith("SAME"):
        return pads_of(node, x.shape[2:], [1] * len(whole), strides)
    wanted = wanted if wanted is not None else [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    total = [full - size for full, size in zip(whole, wanted, strict=True)]
    if any(cells < 0 for cells in total):
        what = "an output larger than the transposed convolution gives"
        raise unsupported(node, what, found=list(wanted), allowed=f"at most {list(whole)}")
    return halves(total, upper=mode != "SAME_LOWER")
