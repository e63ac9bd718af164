"""
A trained logic-gated network as a spiking program: ternary weights on their grid, gates with whole-number thresholds.

    TernaryLinear, TernaryConv2d    linear, conv2d: a ternary grid of scale 1, no bias
    Gate, Bits                      staircases of one threshold: 0 below it, 1 from it on
    Readout                         a whole-number offset; the scale of the logits stays in `settings["logit_scale"]`
    OrPool2d                        max_pool2d of spikes
    Residual, +, flatten, Sequential    as torch.fx traces them, and ATen's operations that move or add values

The program gives whole numbers, the network's logits divided by that scale: the same answers.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from spikeloom.errors import ProgramError
from spikeloom.ir import RULES, Dialect, Grid, Kind, Program, TensorSpec, name_of, quantised, shaped, staircase, swept, verify
from spikeloom.logic.layers import LEAVES, Bits, Gate, OrPool2d, Readout, TernaryConv2d, TernaryLinear, check_weights
from spikeloom.logic.ternary import ternary

TERNARY = Grid(-1, 1)
_aten = torch.ops.aten
_ADDS = (operator.add, torch.add)
_FLATTENS = (torch.flatten,)
_PASSED = frozenset({Kind.MOVE, Kind.ADD, Kind.SHAPE})


@final
class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LEAVES) or super().is_leaf_module(m, module_qualified_name)


@final
class _Writer:
    """The graph being written; each method writes what one layer means, before whatever comes next."""

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.tensors: dict[str, Tensor] = {}
        self.scale = 1.0

    def constant(self, name: str, value: Tensor) -> fx.Node:
        self.tensors[name] = value
        return self.graph.get_attr(name)

    def synapses(self, name: str, layer: TernaryLinear | TernaryConv2d, x: fx.Node) -> fx.Node:
        codes = ternary(layer.latent.detach(), layer.share).to(torch.int8)
        weight = self.constant(f"{name}.weight", quantised(codes, torch.ones(1, 1), TERNARY))
        if isinstance(layer, TernaryLinear):
            node = self.graph.call_function(_aten.linear.default, (x, weight))
        else:
            stride, padding = [layer.stride] * 2, [layer.padding] * 2
            node = self.graph.call_function(_aten.conv2d.default, (x, weight, None, stride, padding, [1, 1], layer.groups))
        node.meta["note"] = {"pruned": "ternary"}
        return node

    def gate(self, name: str, thresholds: Tensor, x: fx.Node) -> fx.Node:
        """`thresholds` are one a channel, or one for all."""
        shape = () if len(thresholds) == 1 else (len(thresholds),)
        values = torch.tensor([0.0, 1.0]).expand(*shape, 2).contiguous()
        constants = self.constant(f"{name}.thresholds", thresholds.view(*shape, 1)), self.constant(f"{name}.values", values)
        return self.graph.call_function(staircase, (x, *constants), {"axis": 1, "function": "gate", "encoding": "graded"})

    def bits(self, name: str, layer: Bits, x: fx.Node, shape: tuple[int, ...]) -> fx.Node:
        thresholds, channels, inner = layer.thresholds.detach(), shape[1], list(shape[2:])
        if layer.each > 1:
            x = self.graph.call_function(_aten.unsqueeze.default, (x, 2))
            x = self.graph.call_function(_aten.expand.default, (x, [-1, channels, layer.each, *inner]))
            x = self.graph.call_function(_aten.reshape.default, (x, [-1, channels * layer.each, *inner]))
        shared = thresholds.dim() == 1
        return self.gate(name, thresholds.repeat(channels) if shared and layer.each > 1 else thresholds.flatten(), x)

    def readout(self, name: str, layer: Readout, x: fx.Node) -> fx.Node:
        self.scale = float(layer.scale())
        return self.graph.call_function(_aten.add.Tensor, (x, self.constant(f"{name}.offsets", layer.offsets())))

    def pool(self, layer: OrPool2d, x: fx.Node) -> fx.Node:
        return self.graph.call_function(_aten.max_pool2d.default, (x, [layer.kernel] * 2, [layer.stride] * 2))


@final
class _Freezer(fx.Interpreter):
    """Runs the traced network on an example and writes, for every step of it, the program's operation."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.writer = _Writer()
        self.written: dict[fx.Node, fx.Node] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op == "output":
            self.writer.graph.output(self.of(n.args[0]))
        else:
            self.written[n] = self.write(n, isinstance(value, Tensor))
        return value

    def of(self, operand: Any) -> fx.Node:
        if not isinstance(operand, fx.Node) or operand not in self.written:
            raise ProgramError("a logic-gated network hands on something else than values", found=operand)
        return self.written[operand]

    def write(self, n: fx.Node, is_tensor: bool) -> fx.Node:
        if n.op == "placeholder":
            return self.writer.graph.placeholder(n.name)
        if n.op == "call_module":
            return self.layer(n, self.submodules[str(n.target)])
        if n.target in _ADDS and len(n.args) == 2:
            return self.writer.graph.call_function(_aten.add.Tensor, (self.of(n.args[0]), self.of(n.args[1])))
        if n.target in _FLATTENS or (n.op == "call_method" and n.target == "flatten"):
            return self.flat(self.of(n.args[0]), *n.args[1:])
        name = name_of(n.target) if n.op == "call_function" else ""
        sizes = name.startswith("operator.") and not is_tensor
        if name in RULES and RULES[name].kind in _PASSED and (name.startswith("aten.") or sizes):
            args, kwargs = fx.map_arg((n.args, dict(n.kwargs)), self.of)
            return self.writer.graph.call_function(n.target, args, kwargs)  # pyright: ignore[reportArgumentType]
        raise ProgramError(
            "a logic-gated network does more than counting and comparing",
            found=f"{n.op} {n.target}",
            allowed="its layers, sums, and operations that move values",
        )

    def layer(self, n: fx.Node, layer: nn.Module) -> fx.Node:
        x, name, writer = self.of(n.args[0]), str(n.target), self.writer
        rules: tuple[tuple[type[nn.Module] | tuple[type[nn.Module], ...], Callable[[Any], fx.Node]], ...] = (
            ((TernaryLinear, TernaryConv2d), lambda m: writer.synapses(name, m, x)),
            (Gate, lambda m: writer.gate(name, m.thresholds(), x)),
            (Bits, lambda m: writer.bits(name, m, x, tuple(self.env[n.args[0]].shape))),  # pyright: ignore[reportArgumentType]
            (Readout, lambda m: writer.readout(name, m, x)),
            (OrPool2d, lambda m: writer.pool(m, x)),
            (nn.Flatten, lambda m: self.flat(x, m.start_dim, m.end_dim)),
            (nn.Identity, lambda m: x),
        )
        for kind, write in rules:
            if isinstance(layer, kind):
                return write(layer)
        raise ProgramError(
            "a logic-gated network does more than counting and comparing",
            found=f"{name}: {type(layer).__name__}",
            allowed=", ".join(leaf.__name__ for leaf in (*LEAVES, nn.Flatten)),
        )

    def flat(self, x: fx.Node, start: Any = 0, end: Any = -1) -> fx.Node:
        return self.writer.graph.call_function(_aten.flatten.using_ints, (x, start, end))


def freeze(network: nn.Module, example: Tensor, settings: Mapping[str, Any] | None = None) -> Program:
    """The network, in evaluation mode, as a verified program of the SNN dialect for inputs shaped like `example` [B ≥ 2, ...].

    Raises ProgramError for a layer that is not among `LEAVES`, NumericError where all weights of a layer are 0.
    """
    check_weights(network)
    was = network.training
    network.eval()
    try:
        traced = fx.GraphModule(network, _Tracer().trace(network))
        freezer = _Freezer(traced)
        with torch.no_grad():
            freezer.run(example)
    finally:
        network.train(was)
    writer = freezer.writer
    name = next(node.name for node in writer.graph.nodes if node.op == "placeholder")
    inputs = (TensorSpec(name, tuple(example.shape), str(example.dtype).removeprefix("torch.")),)
    told = {**(settings or {}), "logit_scale": writer.scale}
    program = shaped(swept(Program(writer.graph, writer.tensors, Dialect.SNN, inputs, settings=told)))
    verify(program)
    return program
