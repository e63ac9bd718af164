"""Small logic-gated networks whose gates have random thresholds."""

import torch
from torch import Tensor, nn

from spikeloom.ir import Program
from spikeloom.logic import Bits, Gate, Readout, TernaryConv2d, TernaryLinear, convolutional, freeze, fully_connected

FORMS = ("full", "bits", "pooled", "residual", "strided")


def network(form: str) -> tuple[nn.Module, Tensor]:
    """A network, and an example of its inputs."""
    if form == "full":
        return fully_connected(8, (7, 6), 3), torch.rand(2, 8)
    if form == "bits":
        return fully_connected(4, (7,), 3, bits=(0.3, 0.6)), torch.rand(2, 4)
    if form == "wide":
        return fully_connected(24, (8,), 3), torch.rand(2, 24)
    if form == "pooled":
        return convolutional((2, 9, 8), (3, 4), 6, 3), torch.rand(2, 2, 9, 8)
    if form == "residual":
        return convolutional((1, 6, 6), (3,), 5, 4, bits=(0.3, 0.7), residual=True), torch.rand(2, 1, 6, 6)
    conv = TernaryConv2d(2, 4, 3, stride=2, groups=2)
    return nn.Sequential(Bits(), conv, Gate(4), nn.Flatten(), TernaryLinear(36, 3), Readout(3)), torch.rand(2, 2, 8, 8)


def frozen(form: str, seed: int = 0) -> Program:
    """The network as a program; its gates' thresholds and its classes' offsets are those of random inputs."""
    torch.manual_seed(seed)
    made, example = network(form)
    made.train()
    for layer in made.modules():
        if isinstance(layer, Gate):
            layer.shift.data.normal_(std=0.3)
    for _ in range(30):
        made((torch.rand(64, *example.shape[1:]) * 1.2 - 0.1).clamp(0, 1))
    return freeze(made, example)
