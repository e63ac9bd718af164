"""
Normalisation layers, in inference.

    BatchNormalization:  s·(x − running mean)/√(running variance + ε) + b       (1)
    LRN:                 x / (k + α/n · Σ_{n neighbours} x²)^β, n odd           (2)

Source: https://onnx.ai/onnx/operators/
"""

import torch.nn.functional as F
from torch import Tensor

from spikeloom.capture.onnx.graph import Node, Value, number, unsupported


def batch_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """One ATen batch norm on running statistics; (1)."""
    if node.attributes.get("training_mode", 0) or not node.attributes.get("spatial", 1):
        raise unsupported(
            node, "batch norm that trains, or that is not per channel", todo="export the model in eval mode (training_mode=0, spatial=1)"
        )
    return F.batch_norm(x, mean, variance, scale, bias, False, 0.1, node.attributes.get("epsilon", 1e-5))


def instance_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Each sample's channel normalised over its own cells."""
    return F.instance_norm(x, weight=scale, bias=bias, eps=node.attributes.get("epsilon", 1e-5))


def layer_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """The axes from `axis` on normalised together."""
    shape, epsilon = x.shape[node.attributes.get("axis", -1) :], node.attributes.get("epsilon", 1e-5)
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return F.layer_norm(x, shape, scale, bias, epsilon)
    y = F.layer_norm(x, shape, eps=epsilon) * scale
    return y if bias is None else y + bias


def group_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Groups of channels normalised over their cells; scale and bias per channel (operator set 21)."""
    if node.opset < 21:
        raise unsupported(node, "group normalisation with one scale a group", found=f"opset {node.opset}", allowed="opset 21 or later")
    return F.group_norm(x, node.attributes["num_groups"], scale, bias, node.attributes.get("epsilon", 1e-5))


def local_response_norm(node: Node, x: Tensor) -> Tensor:
    """Each cell divided by a power of the energy of its neighbouring channels; (2)."""
    size = node.attributes["size"]
    if size % 2 == 0:
        raise unsupported(node, "local response normalisation over an even number of channels", found=size, allowed="an odd size")
    alpha, beta, k = node.attributes.get("alpha", 1e-4), node.attributes.get("beta", 0.75), node.attributes.get("bias", 1.0)
    return F.local_response_norm(x, size, alpha, beta, k)


def dropout(node: Node, x: Tensor, ratio: Value | None = None, training: Value | None = None) -> Tensor:
    """The identity: a model in inference drops nothing."""
    drops = ratio is None or number(node, ratio, "ratio") != 0
    if training is not None and number(node, training, "training mode") and drops:
        raise unsupported(node, "dropout that stays on in inference", todo="export the model in eval mode")
    return x
