"""
The student: a spiking program whose chosen tensors are trained parameters (`latent`), unrolled over its time steps.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from spikeloom.errors import ConfigError
from spikeloom.ir import (
    TRANSPOSED,
    Grid,
    Program,
    Quantised,
    argument,
    calls,
    constant_name,
    name_of,
    note,
    population,
    read,
    staircase,
    text,
    weighted,
)
from spikeloom.neuron import are_shifts
from spikeloom.train.latent import Decay, Free, Latent, OnGrid, Scale, Share, typical
from spikeloom.train.through_time import Unrolled

TRAINABLE = ("weights", "biases", "steps", "v0", "heights", "decay", "leak")
"""What of a spiking network can be trained."""


def latents_of(program: Program, chosen: Collection[str], grid: Grid | None) -> list[Latent]:
    """How the chosen tensors of a program are trained, those first that others are made from. Weights that lie on a grid stay on it, and
    all of them come to lie on `grid` where one is given. Raises ConfigError where nothing of what was chosen is there."""
    found: dict[str, Latent] = {}
    for node in calls(program.graph):
        if node.target is population:
            found |= {latent.name: latent for latent in _of_population(node, program, chosen)}
        elif node.target is staircase and "heights" in chosen:
            found |= {latent.name: latent for latent in _of_table(node, program)}
        elif weighted(node):
            found |= {latent.name: latent for latent in _of_layer(node, program, chosen, grid)}
    if not found:
        raise ConfigError("there is nothing to train in this network", found=", ".join(chosen), allowed=", ".join(TRAINABLE))
    return sorted(found.values(), key=lambda latent: isinstance(latent, Share))


def _of_population(node: fx.Node, program: Program, chosen: Collection[str]) -> list[Latent]:
    names = [constant_name(operand) for operand in node.args[1:5]]
    step, v0, decay, leak = (program.tensors[name] for name in names)
    made: list[Latent] = [Scale(names[0], "steps", step)] if "steps" in chosen else []
    for group, name, value in (("v0", names[1], v0), ("leak", names[3], leak)):
        if group not in chosen:
            continue
        shared = "steps" in chosen and value.shape == step.shape
        made.append(Share(name, group, value, step, names[0]) if shared else Free(name, group, value, size=typical(step)))
    return [*made, Decay(names[2], "decay", decay)] if "decay" in chosen else made


def _of_table(node: fx.Node, program: Program) -> list[Latent]:
    """Heights, but for tables that are known exactly, and those whose heights are powers of two."""
    name = constant_name(node.args[2])
    values = read(program.tensors[name])
    return [] if "known" in note(node) or are_shifts(values) else [Scale(name, "heights", values)]


def _of_layer(node: fx.Node, program: Program, chosen: Collection[str], grid: Grid | None) -> list[Latent]:
    made: list[Latent] = []
    if "weights" in chosen:
        name = constant_name(node.args[1])
        weight, pruned = program.tensors[name], "pruned" in note(node)
        own = weight.grid if isinstance(weight, Quantised) and grid is None else grid
        tensor = weight if own is not None and grid is None else read(weight)
        shared = name_of(node.target).startswith(TRANSPOSED)
        made.append(Free(name, "weights", weight, pruned) if own is None else OnGrid(name, "weights", tensor, own, pruned, shared))
    bias = argument(node, 2, "bias")
    if "biases" in chosen and bias is not None:
        made.append(Free(constant_name(bias), "biases", program.tensors[constant_name(bias)]))
    return made


@final
class Student(nn.Module):
    """A program's chosen tensors as parameters, and the network that they are part of. The `best` parameters so far are kept beside them,
    as buffers."""

    def __init__(self, program: Program, latents: Sequence[Latent], network: Unrolled) -> None:
        super().__init__()
        self.program, self.latents, self.network = program, tuple(latents), network
        starts = [latent.start() for latent in self.latents]
        self.sizes = [[size for _, size in start] for start in starts]
        self.raw = nn.ParameterList(nn.Parameter(value.detach().clone()) for start in starts for value, _ in start)
        for place, parameter in enumerate(self.raw):
            self.register_buffer(f"best_{place}", parameter.detach().clone())
        names = {latent.name for latent in self.latents}
        self.fixed = {name: read(tensor) for name, tensor in program.tensors.items() if name not in names}

    def groups(self, rates: Mapping[str, float]) -> list[dict[str, Any]]:
        """The parameters for an optimiser, each with its peak learning rate: that of its group times its typical size."""
        made: list[dict[str, Any]] = []
        for latent, sizes, raw in zip(self.latents, self.sizes, self.raws(), strict=True):
            made += [{"params": [value], "peak": rates[latent.group] * size} for value, size in zip(raw, sizes, strict=True)]
        return made

    def tensors(self) -> dict[str, Tensor]:
        """The program's tensors, differentiable where they are trained."""
        made = dict(self.fixed)
        for latent, raw in zip(self.latents, self.raws(), strict=True):
            made[latent.name] = latent.value(raw, made)
        return made

    def forward(self, *inputs: Tensor) -> tuple[Any, dict[str, Tensor]]:
        """The network's outputs [B, …], and the means of its wanted nodes."""
        return self.network(self.tensors(), inputs)

    def redraw_(self, drawn: Mapping[str, Tensor]) -> None:
        """Tensors that are not trained are these from now on."""
        where = next((value.device for value in self.raw), None)
        self.fixed.update({name: tensor.to(where) for name, tensor in drawn.items()})

    @torch.no_grad()
    def confine_(self) -> None:
        """After a step of the optimiser: every parameter is where it may be."""
        for latent, raw in zip(self.latents, self.raws(), strict=True):
            latent.confine_(raw)

    @torch.no_grad()
    def keep_(self) -> None:
        """The parameters as they are now are the best."""
        for place, value in enumerate(self.raw):
            self.get_buffer(f"best_{place}").copy_(value)

    @torch.no_grad()
    def trained(self) -> Program:
        """The program with the best parameters."""
        best, made = [self.get_buffer(f"best_{place}") for place in range(len(self.raw))], dict(self.fixed)
        tensors = dict(self.program.tensors)
        for latent, raw in zip(self.latents, self._shared_out(best), strict=True):
            made[latent.name] = latent.value(raw, made)
            stored = latent.stored(raw, made)
            tensors[latent.name] = stored if isinstance(stored, Quantised) else stored.detach().cpu()
        return self.program.replaced(tensors=tensors)

    @torch.no_grad()
    def digest(self) -> str:
        """A digest of the network as it is now, by which a training that is resumed knows what it began with."""
        total, values = hashlib.sha256(text(self.program).encode()), self.tensors()
        for latent in self.latents:
            total.update(values[latent.name].cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return total.hexdigest()[:16]

    def moved(self, device: torch.device) -> "Student":
        """Itself, all of it on a device."""
        self.fixed = {name: tensor.to(device) for name, tensor in self.fixed.items()}
        return self.to(device)

    def raws(self) -> list[list[Tensor]]:
        """The parameters by the latent that they belong to."""
        return self._shared_out(list(self.raw))

    def _shared_out(self, values: Sequence[Tensor]) -> list[list[Tensor]]:
        """Values of all parameters by the latent that they belong to."""
        rest = iter(values)
        return [[next(rest) for _ in sizes] for sizes in self.sizes]
