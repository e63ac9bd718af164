"""
Small logic-gated networks by their shape: fully connected ones and convolutional ones. `bits` are a thermometer's thresholds, or a code of
one's own (`Bits`, `rate_bits`).
"""

from collections.abc import Sequence

from torch import nn

from spikeloom.errors import ConfigError
from spikeloom.logic.layers import Bits, Gate, OrPool2d, Readout, Residual, TernaryConv2d, TernaryLinear
from spikeloom.logic.ternary import SHARE


def fully_connected(
    inputs: int, hidden: tuple[int, ...], classes: int, bits: Sequence[float] | Bits = (0.5,), share: float = SHARE
) -> nn.Sequential:
    """[B, ...] of `inputs` values → logits [B, classes]: layers of `hidden` gates. Without any, classes count inputs themselves.

    A weight is 0 where it is below `share` of the mean: the smaller, the fewer are.
    """
    code = bits if isinstance(bits, Bits) else Bits(bits)
    layers: list[nn.Module] = [nn.Flatten(), code]
    size = inputs * code.each
    for width in hidden:
        layers += [TernaryLinear(size, width, share), Gate(width)]
        size = width
    return nn.Sequential(*layers, TernaryLinear(size, classes, share), Readout(classes))


def convolutional(
    shape: tuple[int, int, int],
    channels: tuple[int, ...],
    hidden: int,
    classes: int,
    bits: Sequence[float] | Bits = (0.5,),
    residual: bool = False,
) -> nn.Sequential:
    """[B, C, H, W] → logits [B, classes]: for each of `channels` a stage of two 3x3 convolutions and a pool of 2x2, then a layer of
    `hidden` gates. With `residual` the counts of a stage's first convolution are added to those of its second: a shortcut past its gates
    (Liu et al. 2018, Bi-Real Net, arXiv:1808.00278)."""
    code = bits if isinstance(bits, Bits) else Bits(bits)
    layers: list[nn.Module] = [code]
    wide, height, width = shape[0] * code.each, shape[1], shape[2]
    for outputs in channels:
        if min(height, width) < 2:
            raise ConfigError("the picture is too small for so many stages", found=len(channels), allowed="each stage halves it")
        layers += [*_stage(wide, outputs, residual), Gate(outputs), OrPool2d(2)]
        wide, height, width = outputs, height // 2, width // 2
    layers += [nn.Flatten(), TernaryLinear(wide * height * width, hidden), Gate(hidden), TernaryLinear(hidden, classes), Readout(classes)]
    return nn.Sequential(*layers)


def _stage(inputs: int, outputs: int, residual: bool) -> list[nn.Module]:
    def conv(wide: int) -> TernaryConv2d:
        return TernaryConv2d(wide, outputs, 3, padding=1)

    second = nn.Sequential(Gate(outputs), conv(outputs))
    return [conv(inputs), *([Residual(second)] if residual else second)]
