"""
Activations: each ONNX operator as the one ATen operation a converter can recognise.

    Clip(x; 0, 6) is relu6, Clip(x; 0, ∞) is relu, Clip(x; l, h) is hardtanh            (1)
    HardSigmoid(x; α, β) = max(0, min(1, α·x + β)); α = 1/6, β = 1/2 is ATen's           (2)
    Selu(x; α, γ) = γ·elu(x; α)                                                          (3)
    Softmax before operator set 13 runs over all axes from `axis` on, flattened          (4)

Source: https://onnx.ai/onnx/operators/
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.capture.onnx.arithmetic import larger, smaller
from spikeloom.capture.onnx.graph import Node, Value, number

SELU_ALPHA, SELU_GAMMA = 1.6732632423543772, 1.0507009873554805


def unary(function: Callable[[Tensor], Tensor]) -> Callable[[Node, Tensor], Tensor]:
    """The operator that is a function of its one input and has no attributes."""
    return lambda _, x: function(x)


def _near(a: float, b: float) -> bool:
    """Whether two attributes agree as the float32 numbers a file can hold."""
    return math.isclose(a, b, rel_tol=1e-6)


def _limit(node: Node, given: Value | None, attribute: str) -> float | int | Tensor | None:
    """A limit of Clip: constant, computed or absent; an infinite one, or the end of float32, is no limit."""
    if isinstance(given, Tensor):
        return given
    value = node.attributes.get(attribute) if given is None else number(node, given, f"{attribute} limit")
    return None if value is None or abs(value) >= torch.finfo(torch.float32).max else value


def clip(node: Node, x: Tensor, low: Value | None = None, high: Value | None = None) -> Tensor:
    """`x` held between two limits, either of which may be absent; (1)."""
    lower, upper = _limit(node, low, "min"), _limit(node, high, "max")
    if isinstance(lower, Tensor) or isinstance(upper, Tensor):
        x = x if lower is None else larger(x, lower)
        return x if upper is None else smaller(x, upper)
    if lower is None and upper is None:
        return x
    if x.is_floating_point() and lower == 0 and upper in (None, 6):  # (1)
        return F.relu(x) if upper is None else F.relu6(x)
    if x.is_floating_point() and lower is not None and upper is not None and lower < upper:
        return F.hardtanh(x, lower, upper)
    return torch.clamp(x, lower, upper)


def leaky_relu(node: Node, x: Tensor) -> Tensor:
    """Slope `alpha` below zero."""
    return F.leaky_relu(x, node.attributes.get("alpha", 0.01))


def prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    """A learned slope below zero: ATen's prelu for one slope, or one per channel (as `channelwise_slopes` arranges them)."""
    if slope.numel() == 1 or node.attributes.get("slope_rank") == x.ndim - 1:
        return F.prelu(x, slope.reshape(-1) if slope.ndim != 1 else slope)
    if node.attributes.get("slope_rank", 1) > 1:
        slope = slope.reshape(-1, *[1] * (node.attributes["slope_rank"] - 1))
    return torch.where(x >= 0, x, x * slope)


def elu(node: Node, x: Tensor) -> Tensor:
    """α·(exp(x) − 1) below zero."""
    return F.elu(x, node.attributes.get("alpha", 1.0))


def celu(node: Node, x: Tensor) -> Tensor:
    """α·(exp(x/α) − 1) below zero."""
    return F.celu(x, node.attributes.get("alpha", 1.0))


def selu(node: Node, x: Tensor) -> Tensor:
    """γ·elu(x; α), ATen's selu for the usual constants; (3)."""
    alpha, gamma = node.attributes.get("alpha", SELU_ALPHA), node.attributes.get("gamma", SELU_GAMMA)
    if _near(alpha, SELU_ALPHA) and _near(gamma, SELU_GAMMA):
        return F.selu(x)
    return F.elu(x, alpha) * gamma  # (3)


def hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    """max(0, min(1, α·x + β)), α = 0.2 and β = 0.5 unless given; (2)."""
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    if _near(alpha, 1 / 6) and _near(beta, 0.5):  # (2)
        return F.hardsigmoid(x)
    return F.hardtanh(x * alpha + beta, 0.0, 1.0)


def thresholded_relu(node: Node, x: Tensor) -> Tensor:
    """`x` where it exceeds `alpha`, else zero."""
    return F.threshold(x, node.attributes.get("alpha", 1.0), 0.0)


def gelu(node: Node, x: Tensor) -> Tensor:
    """x·Φ(x), by erf or by tanh."""
    return F.gelu(x, approximate=node.attributes.get("approximate", "none"))


def swish(node: Node, x: Tensor) -> Tensor:
    """x·sigmoid(α·x)."""
    alpha = node.attributes.get("alpha", 1.0)
    return F.silu(x) if alpha == 1.0 else x * torch.sigmoid(x * alpha)


def softmax(node: Node, x: Tensor) -> Tensor:
    """Exponentials normalised along `axis`."""
    return _normalised(node, x, F.softmax)


def log_softmax(node: Node, x: Tensor) -> Tensor:
    """Logarithms of the softmax along `axis`."""
    return _normalised(node, x, F.log_softmax)


def _normalised(node: Node, x: Tensor, function: Callable[..., Tensor]) -> Tensor:
    axis = node.attributes.get("axis", -1 if node.opset >= 13 else 1)
    if node.opset >= 13 or axis in (-1, x.ndim - 1):
        return function(x, dim=axis)
    return function(x.flatten(axis), dim=-1).reshape(x.shape)  # (4)
