"""
The floating twin of a logic-gated network: the same layers with real weights and real values between them, which it is judged against.

    TernaryLinear, TernaryConv2d    linear and convolution without bias
    Gate                            batch norm and ReLU
    Readout                         batch norm
    OrPool2d                        max-pool
    Bits                            nothing: the twin reads values themselves (so K bits a value become one)
"""

import copy
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from spikeloom.logic.layers import Bits, Gate, OrPool2d, Readout, Residual, TernaryConv2d, TernaryLinear


def floating_twin(network: nn.Module) -> nn.Module:
    """An untrained network of the same form in floating point; [B, ...] → logits [B, classes]. It leaves `network` as it was."""
    first = next((layer for layer in network.modules() if isinstance(layer, TernaryLinear | TernaryConv2d)), None)
    bits = next((layer.each for layer in network.modules() if isinstance(layer, Bits)), 1)
    return _turned(network, first, bits)


def _turned(layer: nn.Module, first: nn.Module | None, bits: int) -> nn.Module:
    fewer = bits if layer is first else 1
    if isinstance(layer, TernaryLinear):
        outputs, inputs = layer.latent.shape
        return nn.Linear(inputs // fewer, outputs, bias=False)
    if isinstance(layer, TernaryConv2d):
        outputs, inputs, height, width = layer.latent.shape
        inputs = inputs * layer.groups // fewer
        return nn.Conv2d(inputs, outputs, (height, width), layer.stride, layer.padding, groups=layer.groups, bias=False)
    if isinstance(layer, Gate):
        return nn.Sequential(_Norm(len(layer.shift)), nn.ReLU())
    if isinstance(layer, Readout):
        return nn.BatchNorm1d(len(layer.shift))
    if isinstance(layer, OrPool2d):
        return nn.MaxPool2d(layer.kernel, layer.stride)
    if isinstance(layer, Bits):
        return nn.Identity()
    if isinstance(layer, Residual):
        shortcut = None if layer.shortcut is None else _turned(layer.shortcut, first, bits)
        return Residual(_turned(layer.body, first, bits), shortcut)
    turned = copy.deepcopy(layer)
    for name, child in layer.named_children():
        setattr(turned, name, _turned(child, first, bits))
    return turned


@final
class _Norm(nn.Module):
    """Batch norm over the channels of [B, C, ...], whatever follows them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Float[Tensor, "b c *any"]) -> Float[Tensor, "b c *any"]:
        """Each channel with mean 0 and deviation 1, then scaled and moved as learnt."""
        return self.norm(x.flatten(2)).view_as(x) if x.dim() > 2 else self.norm(x)
