"""
Knobs: what may be turned in a block, each as a dimensionless parameter p that is 0 where nothing is turned.

    steps, heights of tables, scales of weights on a grid       value = held · eᵖ           (1)    signs and zeros stay
    initial potentials, biases, weights                         value = held + size · p     (2)    size: the step, the rms of what is held
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, fx

from spikeloom.ir import Quantised, args_of, constant_name, note, population, read, staircase, weighted
from spikeloom.neuron import are_shifts


@final
@dataclass(frozen=True)
class Knob:
    """One tensor of a program that may be turned: by (1) where `size` is None, else by (2); a `mask` says which entries."""

    held: Tensor
    size: Tensor | None = None
    mask: Tensor | None = None

    @property
    def rest(self) -> Tensor:
        """p = 0, in the shape it has."""
        return torch.zeros_like(self.held.scale if isinstance(self.held, Quantised) else read(self.held))

    def turned(self, p: Tensor) -> Tensor:
        """The value at p, as a plain tensor with p's gradients."""
        if isinstance(self.held, Quantised):
            rows = read(self.held).view(*self.held.scale.shape, -1)
            return (rows * p.exp()[..., None]).view(self.held.shape)
        p = p if self.mask is None else p * self.mask
        return read(self.held) * p.exp() if self.size is None else read(self.held) + self.size * p

    def set(self, p: Tensor) -> Tensor:
        """The value at p, in the form that is held."""
        if not isinstance(self.held, Quantised):
            return self.turned(p)
        one = self.held
        return Quantised(one.kept, one.scale * p.exp(), one.zero, one.grid, one.shape, one.error)


def knobs_of(nodes: Iterable[fx.Node], tensors: Mapping[str, Tensor], *, weights: bool) -> dict[str, Knob]:
    """The knobs of some nodes, by the names of the tensors they turn; `weights`: those that lie on no grid too."""
    found: dict[str, Knob] = {}
    for node in nodes:
        if node.target is population:
            found |= _of_population(node, tensors)
        elif node.target is staircase and "known" not in note(node):
            values = constant_name(node.args[2])
            if not are_shifts(tensors[values]):
                found[values] = Knob(tensors[values])
        elif weighted(node):
            found |= _of_layer(node, tensors, weights)
    return found


def _of_population(node: fx.Node, tensors: Mapping[str, Tensor]) -> dict[str, Knob]:
    step, v0 = (constant_name(operand) for operand in args_of(node)[1:3])
    return {step: Knob(tensors[step]), v0: Knob(tensors[v0], read(tensors[step]))}


def _of_layer(node: fx.Node, tensors: Mapping[str, Tensor], weights: bool) -> dict[str, Knob]:
    names = [None if operand is None else constant_name(operand) for operand in (*node.args[1:3], None)[:2]]
    held = {name: tensors[name] for name in names if name is not None}
    free = {name: Knob(tensor, _rms(tensor), _zeros(node, tensor)) for name, tensor in held.items() if not isinstance(tensor, Quantised)}
    weight = names[0]
    if weight is not None and weight in free and not weights:
        del free[weight]
    return free | {name: Knob(tensor) for name, tensor in held.items() if isinstance(tensor, Quantised)}


def _rms(tensor: Tensor) -> Tensor:
    return read(tensor).square().mean().sqrt().clamp_min(1e-6)


def _zeros(node: fx.Node, tensor: Tensor) -> Tensor | None:
    """Which weights of a pruned layer may be turned."""
    return (read(tensor) != 0).to(read(tensor)) if "pruned" in note(node) and tensor.dim() > 1 else None
