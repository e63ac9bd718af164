"""What the tests of ir, plan and convert share: networks written on one line, random statistics for batch norms, capture."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.capture import capture
from spikeloom.ir import Program, calls, name_of


class Wired(nn.Module):
    """A network written as a function of its input and its layers."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.layers)


def conv(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Conv2d:
    """A convolution that keeps the size of its picture."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **options)


def awake(model: nn.Module) -> nn.Module:
    """The model in eval mode, its batch norms with statistics that are not 0 and 1 (a fold that forgets one would not show)."""
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2.0)
            if layer.affine:
                nn.init.normal_(layer.weight)
                nn.init.normal_(layer.bias)
    return model.eval()


def captured(model: nn.Module, *shape: int) -> Program:
    """The program of a model at a random input of that shape."""
    return capture(model, (torch.randn(shape),))


def operations(program: Program) -> list[str]:
    """The bare names of a program's operations in execution order."""
    return [name_of(node.target).split(".")[1] for node in calls(program.graph)]
