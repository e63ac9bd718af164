"""
Onto a grid: once weights are rounded, every channel's gain and bias are set so that the layer gives what it gave before.

    g = Σ (y − ȳ)(t − t̄) / Σ (y − ȳ)²,   b ← t̄ − g·ȳ       t the layer's output before, y its output on the grid without bias      (1)

Layer by layer, in execution order, each for the inputs that it gets from those before it: one run of both networks. A coarse grid
(ternary) leaves a network that training can start from, where rounding alone leaves one that knows nothing.

Source: bias correction, Nagel et al. 2019, arXiv:1906.04721, with a gain beside it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, fx

from spikeloom.ir import Program, argument, calls, constant_name, output_channels, read, weighted
from spikeloom.simulate import Recorder, executable, repeated
from spikeloom.train.latent import OnGrid
from spikeloom.train.student import Student

GAINS = (0.25, 4.0)
"""The least and the most that a channel is multiplied with: one that hardly says anything is not blown up."""


@torch.no_grad()
def match_(student: Student, inputs: tuple[Tensor, ...], timesteps: int) -> None:
    """The student's scales and biases are those of (1), on these inputs; they are the best so far. Layers without a bias keep none."""
    on_grid = {latent.name for latent in student.latents if isinstance(latent, OnGrid)}
    layers = [node for node in calls(student.program.graph) if weighted(node) and constant_name(node.args[1]) in on_grid]
    shown = tuple(repeated(value, timesteps) for value in inputs)
    plain = {name: read(tensor).to(inputs[0].device) for name, tensor in student.program.tensors.items()}
    program = student.program.replaced(tensors=plain)
    before = Recorder(executable(program, timesteps, adjustable=True), [node.name for node in layers])
    before.run(*shown)
    program = program.replaced(tensors=student.tensors())
    after = _Matching(executable(program, timesteps, adjustable=True), layers, program, before.kept)
    after.run(*shown)
    places = {latent.name: raw for latent, raw in zip(student.latents, student.raws(), strict=True)}
    for name, change in after.changes.items():
        if name in on_grid:
            places[name][1].add_(change.log().view(-1, 1) if change.numel() == len(places[name][1]) else change.log().mean())
        elif name in places:
            places[name][0].copy_(change)
    student.keep_()


@final
class _Matching(fx.Interpreter):
    """Runs a network and makes every layer on a grid give what it gave before; `changes` are the gains of weights and new biases."""

    def __init__(self, module: fx.GraphModule, layers: Iterable[fx.Node], program: Program, targets: Mapping[str, Tensor]) -> None:
        super().__init__(module)
        self.layers, self.program, self.targets = {node.name: node for node in layers}, program, targets
        self.changes: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name not in self.layers:
            return value
        layer = self.layers[n.name]
        bias, (_, axis) = argument(layer, 2, "bias"), output_channels(layer, self.program.tensors)
        rows, target = (each.movedim(axis, 0).flatten(1) for each in (value, self.targets[n.name]))
        if bias is None:
            gain = (rows * target).sum(1) / rows.square().sum(1).clamp_min(1e-12)
            shift = torch.zeros_like(gain)
        else:
            rows = rows - self.program.tensor(bias)[:, None]
            gain, shift = gains(rows, target)
            self.changes[constant_name(bias)] = shift
        self.changes[constant_name(layer.args[1])] = gain = gain.clamp(*GAINS)
        made = rows * gain[:, None] + shift[:, None]
        return made.view(value.movedim(axis, 0).shape).movedim(0, axis)


def gains(rows: Float[Tensor, "c n"], target: Float[Tensor, "c n"]) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """(1)."""
    own, meant = rows.mean(1, keepdim=True), target.mean(1, keepdim=True)
    gain = ((rows - own) * (target - meant)).sum(1) / (rows - own).square().sum(1).clamp_min(1e-12)
    gain = gain.clamp(*GAINS)
    return gain, meant[:, 0] - gain * own[:, 0]
