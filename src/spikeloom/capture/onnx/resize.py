"""
Resizing of [N, C, spatial…]. A cell i of the result looks at the place x of the input; with r = input size / output size,

    half_pixel: x = (i + ½)·r − ½    asymmetric: x = i·r    align_corners: x = i·(n − 1)/(m − 1)               (1)

ATen has two nearest rules, ⌊i·r⌋ and ⌊(i + ½)·r⌋, and linear and cubic by half_pixel and align_corners. A nearest mode is
taken where one of ATen's rules picks the same cells, compared in exact fractions, cell by cell; whatever has no ATen form
is refused by name.

Source: https://onnx.ai/onnx/operators/onnx__Resize.html
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import torch.nn.functional as F
from torch import SymInt, Tensor

from spikeloom.capture.onnx.graph import Node, Size, Value, integers, unsupported

_HALF = Fraction(1, 2)
_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}
_ROUNDING: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda x: math.ceil(x - _HALF),
    "round_prefer_ceil": lambda x: math.floor(x + _HALF),
}


@final
@dataclass(frozen=True)
class Axis:
    """One spatial axis: its size before and after (None where dynamic), output per input where a scale is given, and r of (1)."""

    before: int | None
    after: int | None
    scale: float | None
    ratio: Fraction


def place(mode: str, i: int, axis: Axis) -> Fraction | None:
    """Where cell i of the result looks in the input, (1); None for a mode without a rule here or one that needs sizes not known."""
    if mode == "asymmetric":
        return i * axis.ratio
    if mode == "tf_half_pixel_for_nn":
        return (i + _HALF) * axis.ratio
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and axis.after is not None and axis.after > 1):
        return (i + _HALF) * axis.ratio - _HALF
    if axis.after is None or axis.before is None or mode not in ("align_corners", "pytorch_half_pixel"):
        return None
    return Fraction(i * (axis.before - 1), axis.after - 1) if mode == "align_corners" and axis.after > 1 else Fraction(0)


def picks(axis: Axis, rule: Callable[[int], Fraction | None], rounding: Callable[[Fraction], int]) -> list[int] | None:
    """The cell each cell of the result copies; over one period where the sizes are not known."""
    places = [rule(i) for i in range(axis.after if axis.after is not None else axis.ratio.denominator)]
    if any(p is None for p in places):
        return None
    top = axis.before - 1 if axis.before is not None else math.inf
    return [int(min(max(rounding(p), 0), top)) for p in places if p is not None]


def nearest_rule(node: Node, axes: Sequence[Axis], mode: str, rounding: str) -> str:
    """The ATen rule that copies the same cells along every axis; UnsupportedError where neither does."""
    for name, shift in (("nearest", Fraction(0)), ("nearest-exact", _HALF)):
        if all(_same_picks(axis, mode, rounding, shift) for axis in axes):
            return name
    allowed = "asymmetric with floor, half_pixel with round_prefer_ceil"
    raise unsupported(node, f"nearest resizing by {mode} with {rounding}", allowed=allowed)


def _same_picks(axis: Axis, mode: str, rounding: str, shift: Fraction) -> bool:
    wanted = picks(axis, lambda i: place(mode, i, axis), _ROUNDING[rounding])
    return wanted is not None and wanted == picks(axis, lambda i: (i + shift) * axis.ratio, math.floor)


def corners(node: Node, axes: Sequence[Axis], mode: str, exact: bool) -> bool:
    """ATen's `align_corners` for a coordinate mode (`exact`: to known sizes); UnsupportedError where the mode has no ATen form."""
    if mode == "align_corners" and exact:
        return True
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and all(axis.after != 1 for axis in axes)):
        return False
    if mode == "asymmetric" and all(axis.before is not None and axis.before == axis.after for axis in axes):
        return False
    allowed = "half_pixel; pytorch_half_pixel and align_corners to known sizes"
    raise unsupported(node, f"{node.attributes.get('mode')} resizing by {mode}", allowed=allowed)


def axes_of(node: Node, x: Tensor, scales: list[float] | None, sizes: list[Size] | None) -> list[Axis]:
    """The spatial axes of a resizing; UnsupportedError where batch or channels would be resized."""
    named = [axis % x.ndim for axis in node.attributes.get("axes", range(x.ndim))]
    given = dict(zip(named, scales if scales is not None else sizes or [], strict=True))
    channels = given.get(1, 1 if scales is not None else x.shape[1])
    if (scales is not None and (given.get(0, 1) != 1 or channels != 1)) or (scales is None and channels != x.shape[1]):
        raise unsupported(node, "resizing of batch or channels", found=list(given.values()), allowed="spatial axes only")
    before = [None if isinstance(size, SymInt) else size for size in x.shape]
    if scales is None:
        return [_sized(node, before[i], given.get(i, x.shape[i])) for i in range(2, x.ndim)]
    factors = [float(given.get(i, 1.0)) for i in range(2, x.ndim)]
    return [_scaled(n, factor) for n, factor in zip(before[2:], factors, strict=True)]


def _sized(node: Node, before: int | None, after: Size) -> Axis:
    if before is None or isinstance(after, SymInt):
        raise unsupported(node, "resizing between sizes that are both dynamic", todo="export the model with a fixed height and width")
    return Axis(before, int(after), None, Fraction(before, int(after)))


def _scaled(before: int | None, factor: float) -> Axis:
    after = None if before is None else math.floor(before * factor)
    return Axis(before, after, factor, 1 / Fraction(factor).limit_denominator(4096))


def target(node: Node, *given: Value | None) -> tuple[list[float] | None, list[Size] | None]:
    """Scales or sizes, one of them None: (scales) before operator set 11, (roi, scales, sizes) from there on."""
    scales, sizes = (given[0], None) if node.opset < 11 and given else ((*given, None, None, None)[1:3])
    if scales is None or (not isinstance(scales, Tensor) and scales.size == 0):
        if sizes is None and "scales" in node.attributes:
            return list(node.attributes["scales"]), None
        return None, integers(node, sizes, "sizes")
    if isinstance(scales, Tensor):
        raise unsupported(node, "scales that depend on the data")
    return [float(scale) for scale in scales.tolist()], None


def resize(node: Node, x: Tensor, *given: Value | None) -> Tensor:
    """`x` with its spatial axes resized, by the one ATen operation that is exactly this; UnsupportedError where there is none."""
    a, legacy = node.attributes, node.opset < 11
    if a.get("antialias", 0) or a.get("exclude_outside", 0) or a.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise unsupported(node, "resizing with antialias, exclude_outside or keep_aspect_ratio_policy", allowed="the defaults")
    axes = axes_of(node, x, *target(node, *given))
    kind = a.get("mode", "nearest")
    mode = a.get("coordinate_transformation_mode", "asymmetric" if legacy else "half_pixel")
    exact = all(axis.after is not None and (axis.scale is None or axis.before == axis.after * axis.ratio) for axis in axes)
    size, factors = ([axis.after for axis in axes], None) if exact else (None, [axis.scale for axis in axes])
    if kind == "nearest":
        rule = nearest_rule(node, axes, mode, a.get("nearest_mode", "floor" if legacy else "round_prefer_floor"))
        return F.interpolate(x, size, factors, mode=rule)  # pyright: ignore[reportArgumentType]
    if kind == "linear" or (kind == "cubic" and x.ndim == 4 and math.isclose(a.get("cubic_coeff_a", -0.75), -0.75)):
        rule = "bicubic" if kind == "cubic" else _LINEAR[x.ndim]
        return F.interpolate(x, size, factors, mode=rule, align_corners=corners(node, axes, mode, exact))  # pyright: ignore[reportArgumentType]
    raise unsupported(node, f"{kind} resizing of {x.ndim} dimensions", allowed="nearest, linear; cubic of [N, C, H, W] with a = −0.75")
