"""
Response: how much the network's output answers to noise on what each channel of a layer gives.

    F_c = Σ_j E[(∂ℓ/∂w_cj)²] / Σ_j Var[x_j],     ℓ = ± y_1 ± y_2 ± … of a sample, signs drawn anew                   (1)

To first order a change δw of a channel's weights changes the sample's output by squares of E‖δy‖² ≈ F_c · Var[δw x]; gradients are summed
over all places of a picture before they are squared, so that what errors at different places have in common counts. They pass populations
by their surrogates: neurons that are saturated, or far from firing, pass none.

Source: the output's half of a Kronecker-factored curvature, Martens & Grosse 2015, arXiv:1503.05671; in pruning over layers Wang et al.
2019, arXiv:1905.05934. Random signs: Hutchinson 1990.
"""

from collections.abc import Iterable
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, fx

from spikeloom.ir import Program, calls, groups_of, name_of, source_of, weighted, weights_of
from spikeloom.simulate import decoded, executable, primary, repeated, rows, solvable


def responses(program: Program, batches: Iterable[tuple[Tensor, ...]], timesteps: int, generator: torch.Generator) -> dict[str, Tensor]:
    """F [channels] of every layer that `rows` knows, by node name: (1) over all samples of the batches [B, …], T steps run."""
    watch = _Currents(program, timesteps)
    sums: dict[str, Tensor] = {}
    count = 0
    for inputs in batches:
        with torch.enable_grad():
            output = primary(decoded(watch.run(*(repeated(value, timesteps) for value in inputs)), timesteps))
            signs = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
            gradients = torch.autograd.grad(
                (output * signs).sum(), list(watch.currents.values()), allow_unused=True, materialize_grads=True
            )
        for (name, value), gradient in zip(watch.currents.items(), gradients, strict=True):
            node = watch.layers[name]
            mean = gradient.view(timesteps, -1, *value.shape[1:]).sum(0)  # of the mean over T
            weight = weights_of(node, program.tensors)[0]
            sums[name] = sums.get(name, torch.zeros(())) + _answers(node, watch.inputs[name], mean, weight, generator)
        count += inputs[0].shape[0]
        watch.currents.clear()
    return {name: (total / max(count, 1)).float() for name, total in sums.items()}


def _answers(node: fx.Node, x: Tensor, gradient: Tensor, weight: Tensor, generator: torch.Generator) -> Float[Tensor, " o"]:
    """The sum over samples of (1) for one layer."""
    batch, groups = x.shape[0], groups_of(node)
    if name_of(node.target).startswith("aten.linear."):
        x, gradient = (value.reshape(1, batch, -1, value.shape[-1]) for value in (x, gradient))
    else:
        places = gradient[0, 0].numel()
        x, gradient = (part.view(groups, batch, places, -1) for part in rows(node, x, gradient, weight, places, generator))
    x = x - x.mean((1, 2), keepdim=True)
    power = x.square().mean((1, 2)).sum(1).clamp_min(1e-12)
    squares = torch.stack([(g.transpose(1, 2) @ each).square().sum((0, 2)) for g, each in zip(gradient, x, strict=True)])
    return (squares / power[:, None]).flatten().double()


@final
class _Currents(fx.Interpreter):
    """Runs a program with gradients and keeps what its layers read and give."""

    def __init__(self, program: Program, timesteps: int) -> None:
        super().__init__(executable(program, timesteps, adjustable=True))
        self.layers = {node.name: node for node in calls(program.graph) if weighted(node) and solvable(node)}
        self.timesteps, self.inputs = timesteps, dict[str, Tensor]()
        self.currents: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.layers:
            value = value if value.requires_grad else value.detach().requires_grad_()
            self.currents[n.name] = value
            self.inputs[n.name] = decoded(self.env[source_of(n)].detach(), self.timesteps)
        return value
