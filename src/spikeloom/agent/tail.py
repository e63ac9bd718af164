"""
The plastic tail of a network: its last linear layers and the populations between them, as functions of their weights.

    h_l = W_l·s_(l-1) + b_l,  s_l = neurons_l(h_l),  ψ_l = ∂s_l/∂h_l                       (1)
    L_l = (L_(l+1) ∘ ψ_(l+1))·B_(l+1) in one linear step: L_l = L_out·F_l,  F_l = W_out·…·W_(l+1) as they were converted      (2)

What lies before the tail (convolutions, say) runs as it is. ψ is the neurons' own surrogate derivative: of an identity staircase 1 inside
its range and 0 outside, of a function staircase the slope of its cell. The feedback F is fixed: no wire follows the weights as they change.

Sources: Bellec et al. 2020, Nature Communications 11, 3625 (broadcast learning signals); Lillicrap et al. 2016, Nature Communications 7,
13276 (feedback that is fixed).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, fx

from spikeloom.errors import ConfigError, UnsupportedError
from spikeloom.ir import Program, Quantised, biased, clone, constant_name, dynamic, read, set_weights, source_of, weighted
from spikeloom.ir.rules import name_of
from spikeloom.kernels import fire_with_slope, serves
from spikeloom.plasticity import in_steps, with_codes
from spikeloom.simulate import executable
from spikeloom.simulate.kernel import run_population

Weights = tuple[Tensor, ...]
"""W_1, b_1, W_2, b_2, …: [out, in] and [out] of each layer of a tail, the output last."""


@final
@dataclass(frozen=True)
class Passed:
    """One pass through a tail: what comes to each layer [B, in], ψ of the neurons that it drives [B, out], and the output [B, k]."""

    pre: tuple[Tensor, ...]
    psi: tuple[Tensor, ...]
    output: Float[Tensor, "b k"]


@final
class Tail:
    """The last layers of a program at T = 1. Weights are given at each run: a tail holds none but those that were converted."""

    def __init__(self, program: Program, layers: int | None = None) -> None:
        """`layers`: how many of the last linear layers are plastic (None: all that lie in one chain). UnsupportedError where none does,
        ConfigError for more than there are."""
        module = executable(program, 1)
        chain = _chain(program.graph)
        if not chain:
            raise UnsupportedError("no layer to learn in", found="the output is not that of a linear layer", allowed="a linear layer last")
        if layers is not None and not 1 <= layers <= len(chain):
            raise ConfigError("so many plastic layers are not there", found=layers, allowed=f"1 to {len(chain)}")
        self.names = tuple(node.name for node in chain[len(chain) - (layers or len(chain)) :])
        placed = {node.name: node for node in module.graph.nodes}
        ends = [placed[name] for name in self.names]
        output = next(node for node in module.graph.nodes if node.op == "output")
        between = [(begin, source_of(end)) for begin, end in pairwise(ends)]
        self._before = None if source_of(ends[0]).op == "placeholder" else _part(module, None, source_of(ends[0]))
        self._neurons = [_part(module, begin, end) for begin, end in between]
        self._after = None if _output_of(output) is ends[-1] else _part(module, ends[-1], _output_of(output))
        self.converted: Weights = tuple(value for node in ends for value in _floating(node, program))
        kept = (program.tensors[constant_name(node.args[1])] for node in ends)
        self._grids = tuple(weight if isinstance(weight, Quantised) else None for weight in kept)
        self.feedback = _feedback(self.converted)
        self._layers = [_Driven(neurons, None if neurons is None else _alone(neurons)) for neurons in (*self._neurons, self._after)]

    def __len__(self) -> int:
        return len(self.names)

    def inputs(self, x: Tensor) -> Float[Tensor, "b i"]:
        """What comes to the tail for the network's inputs [B, …]."""
        if self._before is None:
            return x
        with torch.no_grad():
            return self._before(x)

    def run(self, x: Float[Tensor, "b i"], weights: Weights) -> Float[Tensor, "b k"]:
        """The outputs [B, k] alone, for what comes to the tail."""
        with torch.inference_mode():
            for place, driven in enumerate(self._layers):
                x = driven.spikes(torch.addmm(weights[2 * place + 1], x, weights[2 * place].T))
            return x

    def observe(self, x: Float[Tensor, "b i"], weights: Weights) -> Passed:
        """Equation (1) with what each synapse and neuron needs to learn."""
        pre, psi = list[Tensor](), list[Tensor]()
        for place, driven in enumerate(self._layers):
            pre.append(x)
            x, slope = driven(torch.addmm(weights[2 * place + 1], x, weights[2 * place].T))
            psi.append(slope)
        return Passed(tuple(pre), tuple(psi), x)

    def signals(self, at_output: Float[Tensor, "b k"], passed: Passed) -> tuple[Tensor, ...]:
        """L_l ∘ ψ_l of (2) for every layer, [B, out], from L at the output [B, k]."""
        last = at_output if self._after is None else at_output * passed.psi[-1]
        return (*((at_output @ wires).mul_(psi) for wires, psi in zip(self.feedback[:-1], passed.psi[:-1], strict=True)), last)

    def on_grid(self, weights: Weights) -> Weights:
        """The weights as the network holds them: those of few bits rounded to their own grids, the others as they are."""
        if all(grid is None for grid in self._grids):
            return weights
        rounded = (
            weight if (kept := self._grids[place // 2]) is None or place % 2 else _rounded(weight, kept).numbers()
            for place, weight in enumerate(weights)
        )
        return tuple(rounded)

    def written(self, program: Program, weights: Weights) -> Program:
        """The program with these weights in the tail; nothing else of it changes."""
        graph, tensors = clone(program.graph), dict(program.tensors)
        placed = {node.name: node for node in graph.nodes}
        for place, name in enumerate(self.names):
            weight, bias, kept = weights[2 * place].clone(), weights[2 * place + 1].clone(), self._grids[place]
            set_weights(placed[name], graph, tensors, weight if kept is None else _rounded(weight, kept), bias)
        graph.eliminate_dead_code()
        used = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
        return program.replaced(graph=graph, tensors={name: tensor for name, tensor in tensors.items() if name in used})


@final
@dataclass(frozen=True)
class _Population:
    """One population of identity staircases without decay, leak or gate: s and v[0], for each neuron or one for all, and its levels."""

    step: Tensor
    v0: Tensor
    levels: int
    negative: int

    def fired(self, h: Float[Tensor, "b o"]) -> tuple[Float[Tensor, "b o"], Float[Tensor, "b o"]]:
        """(s, ψ)."""
        return fire_with_slope(h, self.step, self.v0, self.levels, self.negative)


@final
@dataclass(frozen=True)
class _Driven:
    """What a layer drives (None: nothing, it is the output), and the population that this is, where it is one alone."""

    neurons: fx.GraphModule | None
    alone: _Population | None

    def spikes(self, h: Float[Tensor, "b o"]) -> Float[Tensor, "b o"]:
        """s alone."""
        if self.neurons is None:
            return h
        return self.neurons(h) if self.alone is None else self.alone.fired(h)[0]

    def __call__(self, h: Float[Tensor, "b o"]) -> tuple[Float[Tensor, "b o"], Float[Tensor, "b o"]]:
        """(s, ψ) of elementwise neurons, ψ by their surrogate derivative; of identity staircases alone in closed form."""
        if self.neurons is None:
            return h, torch.ones_like(h)
        if self.alone is not None:
            return self.alone.fired(h)
        with torch.inference_mode(False), torch.enable_grad():
            h = h.clone().requires_grad_()
            s = self.neurons(h)
            (slope,) = torch.autograd.grad(s.sum(), h)
        return s.detach(), slope


def _alone(neurons: fx.GraphModule) -> _Population | None:
    """The population that these neurons are, where they are one alone and of numbers that the kernel takes."""
    made = [node for node in neurons.graph.nodes if node.op not in ("placeholder", "get_attr", "output")]
    if len(made) != 1 or made[0].target is not run_population or made[0].kwargs["reset"] == "gated":
        return None
    (x, step, v0, decay, leak), told = made[0].args, made[0].kwargs
    known = all(isinstance(each, fx.Node) for each in (x, step, v0)) and (decay, leak) == (1.0, 0.0) and told["timesteps"] == 1
    if not known or not serves(_held(neurons, step), _held(neurons, v0)):
        return None
    return _Population(_held(neurons, step), _held(neurons, v0), told["levels"], told["negative"])


def _held(module: fx.GraphModule, node: fx.Node) -> Tensor:
    found: Any = module
    for name in str(node.target).split("."):
        found = getattr(found, name)
    return found


def _feedback(weights: Weights) -> tuple[Tensor, ...]:
    """F_l [k, out_l] of (2), for the output layer the identity."""
    wires = torch.eye(len(weights[-1]))
    found = [wires]
    for place in range(len(weights) - 2, 0, -2):
        wires = wires @ weights[place]
        found.append(wires)
    return tuple(reversed(found))


def _chain(graph: fx.Graph) -> list[fx.Node]:
    """The linear layers that lie in one chain at the end, in order: between them each value has one user, and nothing else comes in."""
    live, found = dynamic(graph), list[fx.Node]()
    node = _output_of(next(node for node in graph.nodes if node.op == "output"))
    while node.op in ("call_function", "call_module"):
        inputs = [operand for operand in node.all_input_nodes if operand in live]
        if len(inputs) != 1 or len(node.users) != 1:
            break
        if weighted(node) and name_of(node.target).startswith("aten.linear."):
            found.append(node)
        elif weighted(node):
            break
        node = inputs[0]
    return found[::-1]


def _output_of(output: fx.Node) -> fx.Node:
    value: Any = output.args[0]
    while not isinstance(value, fx.Node):
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
    return value


def _floating(node: fx.Node, program: Program) -> Sequence[Tensor]:
    weight, bias = biased(node, program.tensors)
    return read(weight).detach().float().clone(), read(bias).detach().float().clone()


def _rounded(weight: Tensor, kept: Quantised) -> Quantised:
    """The nearest weight on a grid with its scales as they are."""
    zero = 0.0 if kept.zero is None else kept.zero[..., None].to(weight.dtype)
    steps = in_steps(kept, weight).view(*kept.scale.shape, -1) + zero
    codes = steps.round().clamp(kept.grid.low, kept.grid.high)
    return with_codes(kept, codes.view(kept.shape).to(torch.int8))


def _part(module: fx.GraphModule, begin: fx.Node | None, end: fx.Node) -> fx.GraphModule:
    """A module of what lies after `begin` (None: of the inputs) up to `end`."""
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    if begin is not None:
        copies[begin] = graph.placeholder("h")
    for node in module.graph.nodes:
        needed = all(operand in copies for operand in node.all_input_nodes)
        if node in copies or node.op == "output" or not needed or (begin is not None and node.op == "placeholder"):
            continue
        copies[node] = graph.node_copy(node, lambda operand: copies[operand])
        if node is end:
            break
    graph.output(copies[end])
    part = fx.GraphModule(module, graph)
    part.graph.eliminate_dead_code()
    part.recompile()
    return part
