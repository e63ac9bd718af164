"""
Sensitivity: how much the network's output diverges for noise on what a layer gives; it makes the worth of layers comparable.

    F_c = E[ Σ_places (∂ℓ/∂z_c)² ],     ℓ = −log p_y(z), y drawn from the network's own p                        (1)

To second order noise of variance σ² on channel c's current z makes the output's distribution diverge by σ²·F_c/2 (Kullback-Leibler, in
nats); of outputs that are no logits ℓ is a random projection of them, and the divergence their squared error. Gradients pass populations
by their surrogates, so that neurons that are saturated or far from firing pass none.

Source: the output's half of a Kronecker-factored Fisher matrix, Martens & Grosse 2015, arXiv:1503.05671; its use for pruning over layers,
Zeng & Urtasun 2018 (MLPrune), Wang et al. 2019, arXiv:1905.05934.
"""

from collections.abc import Iterable
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.ir import Program, calls, name_of, weighted, weights_of
from spikeloom.simulate import decoded, executable, primary, repeated, rows


def sensitivities(
    program: Program, batches: Iterable[tuple[Tensor, ...]], timesteps: int, generator: torch.Generator, *, logits: bool = True
) -> dict[str, Tensor]:
    """F [channels] of every layer with weights, by node name: (1), a mean over all samples of the batches [B, …]."""
    watch = _Currents(program, timesteps)
    sums: dict[str, Tensor] = {}
    count = 0
    for inputs in batches:
        with torch.enable_grad():
            output = primary(decoded(watch.run(*(repeated(value, timesteps) for value in inputs)), timesteps))
            loss = _drawn(output, generator) if logits else _projected(output, generator)
            found = torch.autograd.grad(loss, list(watch.currents.values()), allow_unused=True)
        for (name, value), gradient in zip(watch.currents.items(), found, strict=True):
            gradient = torch.zeros_like(value) if gradient is None else gradient
            gradient = gradient.view(timesteps, -1, *value.shape[1:]).sum(0)  # noise on the mean over T moves every step alike
            sums[name] = sums.get(name, 0.0) + _squares(watch.nodes[name], watch.inputs[name], gradient, program, generator).double()
        count += inputs[0].shape[0]
        watch.currents.clear()
    return {name: total / max(count, 1) for name, total in sums.items()}


def _squares(node, x, gradient, program, generator):
    b = x.shape[0]
    weight = weights_of(node, program.tensors)[0]
    if name_of(node.target).startswith("aten.linear."):
        x, gradient = x.reshape(1, b, -1, x.shape[-1]), gradient.reshape(1, b, -1, gradient.shape[-1])
    else:
        p = gradient[0, 0].numel()
        x, gradient = rows(node, x, gradient, weight, p, generator)
        x, gradient = x.unflatten(1, (b, p)), gradient.unflatten(1, (b, p))
    x = x - x.mean((1, 2), keepdim=True)
    fisher = torch.stack([(one.transpose(1, 2) @ other).square().sum(0) for one, other in zip(gradient, x, strict=True)])
    power = x.square().mean((1, 2)).sum(1)
    return (fisher.sum(2) / power.clamp_min(1e-12)[:, None]).flatten()


def _drawn(output: Tensor, generator: torch.Generator) -> Tensor:
    """Σ −log p_y with y drawn from p, over all samples (and tokens)."""
    logits = output.flatten(0, -2).log_softmax(1)
    drawn = torch.multinomial(logits.detach().exp(), 1, generator=generator)
    return -logits.gather(1, drawn).sum()


def _projected(output: Tensor, generator: torch.Generator) -> Tensor:
    """A random projection of every sample's output, relative to how much outputs vary."""
    signs = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
    return (output * signs).sum() / output.detach().std().clamp_min(1e-12)


@final
class _Currents(fx.Interpreter):
    """Runs a program with gradients and keeps what its layers give, and where their channels lie."""

    def __init__(self, program: Program, timesteps: int) -> None:
        super().__init__(executable(program, timesteps, adjustable=True))
        self.layers = {node.name for node in calls(program.graph) if weighted(node)}
        self.currents: dict[str, Tensor] = {}
        self.inputs = {}
        self.timesteps = timesteps
        self.nodes = {node.name: node for node in calls(program.graph) if weighted(node)}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self.layers:
            value = value if value.requires_grad else value.detach().requires_grad_()
            self.currents[n.name] = value
            self.inputs[n.name] = decoded(self.env[n.args[0]].detach(), self.timesteps)
        return value
