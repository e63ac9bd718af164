"""
Operators that move values without computing: reshaping, slicing, joining, padding.

A batch dimension that is dynamic reaches a Reshape as a symbolic size; it is written −1 in the graph where nothing else is.
Slice with a negative step is a forward slice, flipped.

Source: https://onnx.ai/onnx/operators/
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import SymInt, Tensor

from spikeloom.capture.onnx.convolution import padded
from spikeloom.capture.onnx.graph import Host, Node, Size, Value, host_from, integers, number, unsupported

_PAD_MODES = {"edge": "replicate", "reflect": "reflect", "wrap": "circular"}


def identity(_: Node, x: Value) -> Value:
    """`x` itself."""
    return x


def shape(node: Node, x: Tensor) -> Host:
    """The sizes of `x`, a host array; symbolic where a dimension is dynamic."""
    return host_from(x.shape[node.attributes.get("start", 0) : node.attributes.get("end")])


def size(_: Node, x: Tensor) -> Host:
    """The number of cells of `x`, a host array."""
    return host_from([x.numel()]).reshape(())


def target_shape(node: Node, sizes: Sequence[Size], wanted: Sequence[Size]) -> list[Size]:
    """The shape a Reshape asks for: 0 copies the size in that place, one symbolic size becomes −1."""
    keep = not node.attributes.get("allowzero", 0)
    target = [sizes[i] if keep and isinstance(size, int) and size == 0 else size for i, size in enumerate(wanted)]
    symbolic = [i for i, size in enumerate(target) if isinstance(size, SymInt)]
    if len(symbolic) == 1 and not any(isinstance(size, int) and size == -1 for size in target):
        target[symbolic[0]] = -1
    return target


def reshape(node: Node, x: Tensor, wanted: Value) -> Tensor:
    """The same cells, in order, under another shape."""
    return x.reshape(target_shape(node, x.shape, integers(node, wanted, "target sizes")))


def flatten(node: Node, x: Tensor) -> Tensor:
    """Two axes: all before `axis`, all from it on."""
    axis = node.attributes.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    x = x.unsqueeze(-1) if axis == x.ndim else x.flatten(axis)
    return x.unsqueeze(0) if axis == 0 else x.flatten(0, axis - 1) if axis > 1 else x


def transpose(node: Node, x: Tensor) -> Tensor:
    """Axes permuted; reversed where no order is given."""
    return x.permute(node.attributes.get("perm", list(range(x.ndim))[::-1]))


def _axes(node: Node, given: Value | None) -> list[int] | None:
    return node.attributes.get("axes") if given is None else integers(node, given, "axes")


def squeeze(node: Node, x: Tensor, given: Value | None = None) -> Tensor:
    """Axes of size 1 taken away: those named, or all."""
    axes = _axes(node, given)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes)) if len(axes) != 1 else x.squeeze(axes[0])


def unsqueeze(node: Node, x: Tensor, given: Value | None = None) -> Tensor:
    """Axes of size 1 put in, at their places in the result."""
    axes = _axes(node, given) or []
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def concat(node: Node, *values: Tensor) -> Tensor:
    """Tensors joined along `axis`. One whose batch is 1 beside a larger batch (a constant of a file with batch 1) is repeated for each."""
    tensors = list(values)
    axis = node.attributes["axis"] % tensors[0].ndim
    batch = next((t.shape[0] for t in tensors if isinstance(t.shape[0], SymInt) or t.shape[0] != 1), 1)
    if axis != 0:
        tensors = [t.expand(batch, *t.shape[1:]) if not isinstance(t.shape[0], SymInt) and t.shape[0] == 1 else t for t in tensors]
    return torch.cat(tensors, axis)


def split(node: Node, x: Tensor, given: Value | None = None) -> tuple[Tensor, ...]:
    """`x` cut along `axis` into parts of the sizes given, or into as many equal parts as there are outputs (the last may be smaller)."""
    axis, parts = node.attributes.get("axis", 0), len(node.outputs)
    sizes = node.attributes.get("split") if given is None else integers(node, given, "sizes")
    return torch.split(x, sizes if sizes is not None else (x.shape[axis] + parts - 1) // parts, axis)


def cut(node: Node, x: Tensor, axis: int, start: Size, stop: Size, step: int) -> Tensor:
    """One axis sliced as Python slices; a negative step is a forward slice, flipped."""
    if step > 0:
        return torch.ops.aten.slice.Tensor(x, axis, start, stop, step)
    if isinstance(x.shape[axis], SymInt):
        raise unsupported(node, "a negative step along a dynamic dimension", found=step)
    places = range(*slice(start, stop, step).indices(x.shape[axis]))
    first, last = (places[-1], places[0]) if len(places) else (0, -1)
    return torch.ops.aten.slice.Tensor(x, axis, first, last + 1, -step).flip(axis)


def slices(node: Node, *given: Value | None) -> tuple[list[Size], list[Size], list[int], list[int]]:
    """Starts, stops, axes and steps of a Slice: inputs, or attributes before operator set 10."""
    named = dict(zip(("starts", "ends", "axes", "steps"), (*given, None, None, None, None), strict=False))
    values = {key: node.attributes.get(key) if value is None else integers(node, value, key) for key, value in named.items()}
    starts = values["starts"] or []
    axes, steps = values["axes"] or list(range(len(starts))), values["steps"] or [1] * len(starts)
    return starts, values["ends"] or [], axes, steps


def slice_(node: Node, x: Tensor, *given: Value | None) -> Tensor:
    """Each named axis sliced from start to stop by step."""
    for start, stop, axis, step in zip(*slices(node, *given), strict=True):
        x = cut(node, x, axis, start, stop, step)
    return x


def gather(node: Node, x: Tensor, index: Value) -> Tensor:
    """Places picked along `axis`: a constant place is a select, an even run of constant places a slice, else an index."""
    axis = node.attributes.get("axis", 0) % x.ndim
    if isinstance(index, Tensor):
        return torch.ops.aten.index.Tensor(x, [None] * axis + [index])
    places = integers(node, index, "places")
    if index.ndim == 0:
        return x.select(axis, places[0])
    step = places[1] - places[0] if len(places) > 1 else 1
    places = [place + x.shape[axis] if place < 0 else place for place in places]
    return cut(node, x, axis, places[0], places[-1] + 1, step)


def expand(node: Node, x: Tensor, wanted: Value) -> Tensor:
    """`x` repeated along axes of size 1 until it has the sizes asked for (1: as it is)."""
    given = integers(node, wanted, "target sizes")
    sizes: list[Size] = [1] * (x.ndim - len(given)) + given
    own: list[Size] = [1] * (len(sizes) - x.ndim) + list(x.shape)
    return x.expand([mine if isinstance(size, int) and size == 1 else size for mine, size in zip(own, sizes, strict=True)])


def tile(node: Node, x: Tensor, repeats: Value) -> Tensor:
    """`x` repeated along each axis."""
    return x.repeat(integers(node, repeats, "repeats"))


def pad(node: Node, x: Tensor, pads: Value | None = None, value: Value | None = None, axes: Value | None = None) -> Tensor:
    """Cells added (or, negative, taken away) around `x`."""
    cells: list[Size] = node.attributes["pads"] if pads is None else integers(node, pads, "pads")
    fill = node.attributes.get("value", 0.0) if value is None else number(node, value, "fill value")
    places = [axis % x.ndim for axis in (range(x.ndim) if axes is None else integers(node, axes, "axes"))]
    begin, end = [0] * x.ndim, [0] * x.ndim
    for place, b, e in zip(places, cells[: len(places)], cells[len(places) :], strict=True):
        begin[place], end[place] = b, e
    mode = node.attributes.get("mode", "constant")
    outer = next((axis for axis in range(x.ndim) if begin[axis] or end[axis]), x.ndim)
    if mode == "constant":
        return padded(x, begin[outer:], end[outer:], fill)
    if outer == x.ndim:
        return x
    if outer < 2 or mode not in _PAD_MODES:
        raise unsupported(node, f"padding by {mode} here", found=f"begin {begin}, end {end}", allowed="spatial axes of [N, C, …]")
    return F.pad(x, [c for axis in range(x.ndim - 1, 1, -1) for c in (begin[axis], end[axis])], _PAD_MODES[mode])


def depth_to_space(node: Node, x: Tensor) -> Tensor:
    """Blocks of channels laid out as b×b cells; the block index before (DCR) or after (CRD) the channel."""
    b = node.attributes["blocksize"]
    if node.attributes.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, b)
    channels, height, width = x.shape[1:]
    blocks = x.reshape(-1, b, b, channels // b**2, height, width).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(-1, channels // b**2, height * b, width * b)


def space_to_depth(node: Node, x: Tensor) -> Tensor:
    """b×b cells laid out as channels, the block index before the channel (CRD, operator set 26: after it)."""
    b = node.attributes["blocksize"]
    if node.attributes.get("mode", "DCR") == "CRD":
        return F.pixel_unshuffle(x, b)
    channels, height, width = x.shape[1:]
    blocks = x.reshape(-1, channels, height // b, b, width // b, b).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(-1, channels * b**2, height // b, width // b)
