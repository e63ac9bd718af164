"""Small logic-gated networks whose gates have random thresholds."""

import torch
from torch import Tensor, nn

from spikeloom.ir import Program
from spikeloom.logic import Gate, Readout, convolutional, freeze, fully_connected

FORMS = ("full", "bits", "pooled", "residual", "strided")


def network(form: str) -> tuple[nn.Module, Tensor]:
    """A network, and an example of its inputs."""
    if form == "full":
        return fully_connected(6, (6, 5), 3), torch.rand(2, 6)
    if form == "bits":
        return fully_connected(4, (7,), 3, bits=(0.3, 0.6)), torch.rand(2, 4)
    if form == "wide":
        return fully_connected(24, (6,), 3), torch.rand(2, 24)
    if form == "pooled":
        return convolutional((2, 9, 8), (3, 4), 6, 3), torch.rand(2, 2, 9, 8)
    if form == "residual":
        return convolutional((1, 6, 6), (3,), 5, 4, bits=(0.3, 0.7), residual=True), torch.rand(2, 1, 6, 6)
    made = convolutional((2, 8, 8), (4,), 5, 3)
    made[1].stride, made[1].padding, made[1].groups = 2, 0, 2
    made[1].latent = nn.Parameter(torch.randn(4, 1, 3, 3))
    made[-4] = nn.Identity()
    return nn.Sequential(*made[:5], nn.Flatten(), *fully_connected(4, (5,), 3)[2:]), torch.rand(2, 2, 8, 8)


def frozen(form: str, seed: int = 0) -> Program:
    """The network as a program; its gates' thresholds and its classes' offsets are near what makes a difference."""
    torch.manual_seed(seed)
    made, example = network(form)
    for layer in made.modules():
        if isinstance(layer, Gate):
            layer.mean.normal_()
            layer.shift.data.normal_()
        if isinstance(layer, Readout):
            layer.mean.normal_()
    return freeze(made, example)
