"""
The reference: a spiking program run as the ANN it stands for, every population replaced by the function it approximates.

Populations remember the ANN's operation in their note (`op`, its further arguments), so the reference needs nothing but
the program itself; before weights are changed it equals the fused ANN.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.errors import ProgramError
from spikeloom.ir import OPERATIONS, Program, calls, clone, driven_by, evaluated, note, resolve
from spikeloom.simulate.execute import put_module


def float_function(node: fx.Node) -> Callable[[Tensor], Tensor]:
    """The scalar function of the ANN that a population stands for, on tensors of the population's shape."""
    told = note(node)
    if "rows" in told:
        return evaluated(told["rows"])
    if "op" not in told:
        return _identity
    target = resolve(told["op"])
    if target is None:
        raise ProgramError(f"%{node.name} stands for an operation outside the allow-list", found=told["op"])
    if "slope" in told:
        return partial(_prelu, weight=torch.tensor(told["slope"]))
    return partial(_call, target=target, args=tuple(told.get("args", ())), kwargs=dict(told.get("kwargs", {})))


def _identity(x: Tensor) -> Tensor:
    return x


def _prelu(x: Tensor, weight: Tensor) -> Tensor:
    return torch.nn.functional.prelu(x, weight.to(x))


def _call(x: Tensor, target: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return target(x, *args, **kwargs)


def channel_function(node: fx.Node, channel: int) -> Callable[[Tensor], Tensor]:
    """The same for one channel alone, on tensors of any shape (a PReLU has a slope for each)."""
    slope = note(node).get("slope")
    if slope is None:
        return float_function(node)
    own = slope[channel if len(slope) > 1 else 0]
    return lambda x: torch.where(x > 0, x, x * own)


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
