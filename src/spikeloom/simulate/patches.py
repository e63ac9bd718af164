"""
A layer's input as rows for least squares: y[row] = W x[row] + b for convolutions (a sample of positions) and linear layers.
"""

import torch
from jaxtyping import Float
from torch import Tensor, fx
from torch.nn import functional as F

from spikeloom.ir import argument, groups_of, name_of


def solvable(node: fx.Node) -> bool:
    """Whether `rows` knows this layer: linear, and 1-d or 2-d convolution with numeric padding."""
    return name_of(node.target) in ("aten.linear.default", "aten.conv2d.default", "aten.conv1d.default")


def rows(
    node: fx.Node, x: Tensor, y: Tensor, weight: Tensor, positions: int, generator: torch.Generator
) -> tuple[Float[Tensor, "g n i"], Float[Tensor, "g n o"]]:
    """Inputs and outputs of a layer as rows per group, at `positions` random places of each sample (linear: all of them).

    x is the layer's input [B, …], y any value of its output's shape.
    """
    if name_of(node.target) == "aten.linear.default":
        return _some(x.flatten(0, -2), y.flatten(0, -2), positions * x.shape[0], generator)
    if y.dim() == 3:
        x, y, weight = x.unsqueeze(2), y.unsqueeze(2), weight.unsqueeze(2)
    stride, padding, dilation = (
        _pair(argument(node, place, name, default)) for place, name, default in ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1))
    )
    if name_of(node.target) == "aten.conv1d.default":
        stride, padding, dilation = [1, stride[0]], [0, padding[0]], [1, dilation[0]]
    groups, width = groups_of(node), y.shape[3]
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    places = torch.randperm(y.shape[2] * width, generator=generator)[:positions]
    taps = [slice(0, dilation[d] * (weight.shape[2 + d] - 1) + 1, dilation[d]) for d in (0, 1)]
    cut = [padded[:, :, at // width * stride[0] :, at % width * stride[1] :][:, :, taps[0], taps[1]] for at in places.tolist()]
    inputs = torch.stack(cut, 1).flatten(0, 1)  # [B·P, C, kh, kw]
    outputs = y.flatten(2)[:, :, places].transpose(1, 2).flatten(0, 1)  # [B·P, O]
    n = inputs.shape[0]
    return inputs.reshape(n, groups, -1).transpose(0, 1), outputs.reshape(n, groups, -1).transpose(0, 1)


def _some(x: Tensor, y: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    chosen = torch.randperm(x.shape[0], generator=generator)[:count]
    return x[chosen].unsqueeze(0), y[chosen].unsqueeze(0)


def _pair(value: int | list[int]) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values if len(values) > 1 else values * 2
