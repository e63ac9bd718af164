"""
Sensitivity: how much a network's output reacts to an error in the output of one of its layers.

    E‖δo‖² = Σ_c G_c e_c,     G_c = Σ_positions E_z[(∂(zᵀo)/∂y_c)²],  z = ±1 at random                                      (1)

e_c is the error's power in channel c of the layer's output y, o the network's output; G is the diagonal of JᵀJ, Hutchinson's estimate.
No labels are needed. Errors of different layers add up as far as they are independent and small: layers become comparable.

Sources: Hutchinson 1990, doi:10.1080/03610919008812866; its use for choosing bits: Dong et al. 2020, arXiv:1911.03852 (HAWQ-V2).
"""

from collections.abc import Iterable
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, fx

from spikeloom.errors import DataError
from spikeloom.ir import name_of, weighted
from spikeloom.simulate import primary


@final
class _Marked(fx.Interpreter):
    """Runs a graph and adds, at every layer with weights, a zero that gradients can be had for."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.marks: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if not weighted(n):
            return value
        self.marks[n.name] = torch.zeros_like(value, requires_grad=True)
        return value + self.marks[n.name]


def sensitivities(
    module: fx.GraphModule,
    batches: Iterable[tuple[Tensor, ...]],
    samples: int,
    generator: torch.Generator,
    draws: int = 2,
) -> dict[str, Float[Tensor, " c"]]:
    """G of (1) for every layer with weights, by its name, as a share of the output's power; from the first `samples` samples.

    `module` runs a program (`executable(program, 1)`, or the ANN's `module()`); its node names are the program's.
    """
    marked, power, seen = _Marked(module), 0.0, 0
    totals: dict[str, Tensor] = {}
    for inputs in batches:
        output = primary(marked.run(*inputs))
        power += float(output.detach().square().sum())
        for draw in range(draws):
            z = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
            scalar, marks = (output * z).sum(), list(marked.marks.values())
            found = torch.autograd.grad(scalar, marks, retain_graph=draw + 1 < draws, materialize_grads=True)
            for node, slope in zip(marked.marks, found, strict=True):
                totals[node] = totals.get(node, torch.zeros(())) + _by_channel(slope, module, node).square().sum(1) / draws
        seen += inputs[0].shape[0]
        if seen >= samples:
            break
    if seen == 0:
        raise DataError("sensitivity needs samples", found="an empty stream", todo="give at least one batch")
    return {node: total / max(power, 1e-30) for node, total in totals.items()}


def _by_channel(value: Tensor, module: fx.GraphModule, name: str) -> Float[Tensor, "c n"]:
    node = next(node for node in module.graph.nodes if node.name == name)
    axis = -1 if name_of(node.target).startswith("aten.linear") else 1
    return value.movedim(axis, 0).flatten(1)
