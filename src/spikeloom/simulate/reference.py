"""
The reference: a spiking program run as the ANN it stands for, every population replaced by the function it approximates.

Populations remember the ANN's operation in their note (`op`, its further arguments), so the reference needs nothing but
the program itself; before weights are changed it equals the fused ANN.
"""

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.ir import OPERATIONS, Program, calls, clone, driven_by
from spikeloom.simulate.execute import put_module
from spikeloom.simulate.function import float_function


def driving(values: Sequence[Tensor]) -> Tensor:
    """What a population compares with its thresholds: its input, over its gain where it has one."""
    x, *gain = values
    return x / gain[0] if gain else x


def reference(program: Program) -> fx.GraphModule:
    """A module over the program's graph in which populations are the ANN's functions; node names are the program's."""
    graph, modules = clone(program.graph), dict[str, Any](program.tensors)
    for node in list(calls(graph)):
        if node.target in OPERATIONS.values():
            put_module(node, graph, modules, _Function(float_function(node)), tuple(driven_by(node)))
    return fx.GraphModule(modules, graph)


@final
class _Function(torch.nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *values: Tensor) -> Tensor:
        return self.function(driving(values))
