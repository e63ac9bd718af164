"""
A graph as a torch module. Weights are parameters of the module, named after the file's; statistics and indices are buffers.
Every node is a submodule named after the file's, so that a capture can say which layer an ATen operation came from.
"""

import inspect
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any, TypeAlias, final

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.capture.onnx.graph import Graph, Host, InputSpec, Node, Value, last_uses, tensor_from
from spikeloom.capture.onnx.operators import OPERATORS, evaluate
from spikeloom.capture.onnx.rewrite import fresh
from spikeloom.errors import NumericError


@final
@dataclass(frozen=True)
class Weight:
    """A tensor of the module, by its attribute."""

    attribute: str


Source: TypeAlias = str | Weight | Host | None  # where an input lies: a value by name, a weight, a host array, nowhere


@final
@dataclass(frozen=True)
class Step:
    """One layer's turn: where its inputs lie, what its outputs are called, and which values nobody needs after it."""

    layer: str
    sources: tuple[Source, ...]
    outputs: tuple[str, ...]
    frees: tuple[str, ...]


def identifier(name: str, taken: Container[str]) -> str:
    """A name Python and torch can use, and nothing among `taken`: every run of other characters is one underscore."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "value"
    return fresh(f"tensor_{plain}" if plain[0].isdigit() else plain, taken)


def identifiers(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """An identifier for each name, all of them different and none among `taken`."""
    used, found = set(taken), list[str]()
    for name in names:
        found.append(identifier(name, used))
        used.add(found[-1])
    return found


def on_host(node: Node, slot: int, constant: Host) -> bool:
    """Whether a constant input of a node stays on the host, and is no weight."""
    return node.on_sizes or OPERATORS[node.operator].host(slot, constant)


def weights_of(graph: Graph) -> dict[str, bool]:
    """The constants that are tensors, in the order of their first use, and whether each is learned: floating, and no running statistic."""
    found: dict[str, bool] = {}
    for node in graph.nodes:
        for slot, name in enumerate(node.inputs):
            if name in graph.constants and not on_host(node, slot, graph.constants[name]):
                learned = slot not in OPERATORS[node.operator].statistics and graph.constants[name].dtype.kind == "f"
                found[name] = found.get(name, True) and learned
    return found | {name: False for name in graph.outputs if name in graph.constants}


def sources_of(graph: Graph, node: Node, attributes: Mapping[str, str]) -> tuple[Source, ...]:
    """Where each input of a node lies."""

    def source(slot: int, name: str) -> Source:
        if name not in graph.constants:
            return name or None
        constant = graph.constants[name]
        return constant if on_host(node, slot, constant) else Weight(attributes[name])

    return tuple(source(slot, name) for slot, name in enumerate(node.inputs))


def refuse_misfits(specs: tuple[InputSpec, ...], inputs: tuple[Tensor, ...]) -> None:
    """NumericError where the inputs are not as many, or not of the sizes, as the graph takes."""
    if len(inputs) != len(specs):
        raise NumericError("the model takes another number of inputs", found=len(inputs), allowed=[spec.name for spec in specs])
    for spec, x in zip(specs, inputs, strict=True):
        fixed = [axis for axis, size in enumerate(spec.shape) if size is not None]
        if x.ndim != len(spec.shape) or any(x.shape[axis] != spec.shape[axis] for axis in fixed):
            allowed = [size if size is not None else "any" for size in spec.shape]
            raise NumericError(f"input {spec.name!r} has a shape the model does not take", found=list(x.shape), allowed=allowed)


def forward_of(names: Iterable[str]) -> Callable[..., Any]:
    """A forward method whose signature names the inputs of a graph (`torch.export` matches dynamic shapes by it)."""

    def forward(self: "OnnxModule", *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.run(inputs)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in ("self", *names)]
    forward.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    return forward


@final
class Layer(nn.Module):
    """One node of the graph."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.node = node

    def forward(self, *values: Value | None) -> tuple[Value, ...]:
        """The node's outputs, of its inputs in the file's order (None where one is absent)."""
        return evaluate(self.node, values)

    def extra_repr(self) -> str:
        """The operator and its attributes."""
        return ", ".join([self.node.operator, *(f"{key}={value}" for key, value in self.node.attributes.items())])


@final
class OnnxModule(nn.Module):
    """
    An ONNX graph in eval mode. `forward` takes its inputs in order and returns its output, or a tuple of several.

    `input_specs` describes the inputs; `fixed_batch` is the only batch size the graph takes, None where any will do.
    """

    def __init__(
        self, inputs: tuple[InputSpec, ...], outputs: tuple[str | Weight, ...], steps: tuple[Step, ...], fixed_batch: int | None
    ) -> None:
        super().__init__()
        self.input_specs, self.fixed_batch = inputs, fixed_batch
        self._results, self._steps = outputs, steps
        self.forward = MethodType(forward_of(identifiers([spec.name for spec in inputs], ["self"])), self)

    def run(self, inputs: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        """The outputs of the graph; NumericError where the inputs are not what it takes."""
        refuse_misfits(self.input_specs, inputs)
        values: dict[str, Value] = {spec.name: x for spec, x in zip(self.input_specs, inputs, strict=True)}
        for step in self._steps:
            results = getattr(self, step.layer)(*(self._value(source, values) for source in step.sources))
            values.update(zip(step.outputs, results, strict=False))
            for name in step.frees:
                values.pop(name, None)
        outputs = tuple(self._value(source, values) for source in self._results)
        tensors = tuple(value if isinstance(value, Tensor) else torch.from_numpy(np.asarray(value, np.int64)) for value in outputs)
        return tensors[0] if len(tensors) == 1 else tensors

    def _value(self, source: Source, values: Mapping[str, Value]) -> Value | None:
        if isinstance(source, Weight):
            return getattr(self, source.attribute)
        return values[source] if isinstance(source, str) else source


def module_of(graph: Graph, fixed_batch: int | None) -> OnnxModule:
    """The module of a settled graph, in eval mode, with weights of its own."""
    weights, reserved = weights_of(graph), {*dir(OnnxModule((), (), (), None))}
    attributes = dict(zip(weights, identifiers(weights, reserved), strict=True))
    layers = identifiers([node.name for node in graph.nodes], reserved | {*attributes.values()})
    steps = zip(layers, graph.nodes, last_uses(graph), strict=True)
    module = OnnxModule(
        graph.inputs,
        tuple(Weight(attributes[name]) if name in attributes else name for name in graph.outputs),
        tuple(Step(layer, sources_of(graph, node, attributes), node.outputs, frees) for layer, node, frees in steps),
        fixed_batch,
    )
    for name, learned in weights.items():
        tensor = tensor_from(graph.constants[name])
        if learned:
            module.register_parameter(attributes[name], nn.Parameter(tensor))
        else:
            module.register_buffer(attributes[name], tensor)
    for layer, node in zip(layers, graph.nodes, strict=True):
        module.add_module(layer, Layer(node))
    return module.eval()
