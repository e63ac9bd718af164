"""
An ANN's form in logic-gated layers: what each of its operations becomes, with weights that begin at the ANN's.

    convolution, linear             `TernaryConv2d`, `TernaryLinear`: latent weights are the ANN's, each output scaled alike
    activation                      `Gate`, L of them for each of its neurons where `levels` is L
    max-pool                        `OrPool2d` of spikes
    average pool, mean              a ternary layer of every channel by itself over the window
    sum                             counts added to counts: what a gate of a summand reads, not what it sends
    flatten, reshape, cat, …        the same, on spikes or on counts as the reader needs them
    the input                       `Bits`; the output `Readout`

Biases go: thresholds take their place. What the network answers has to be learnt (`train`), with the ANN as the teacher.
"""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from spikeloom.errors import UnsupportedError
from spikeloom.ir import Kind, Program, argument, calls, constant_name, dynamic, groups_of, kind, line, name_of, read, source_of, weighted
from spikeloom.logic.layers import INITIAL, Bits, Gate, OrPool2d, Readout, TernaryConv2d, TernaryLinear

ALLOWED = "2-d convolutions, linear layers, activations, max- and average pools, sums, and what moves values"
_POOLS = ("aten.avg_pool2d.", "aten.adaptive_avg_pool2d.", "aten.mean.dim")


def turned(program: Program, bits: tuple[float, ...], levels: int = 1) -> fx.GraphModule:
    """A classifier in the ANN dialect (batch norm folded) as a network of logic-gated layers, in training mode, to be taught.

    `bits` are the thresholds that an input value is compared with, `levels` the gates of a neuron.
    Raises UnsupportedError naming every operation that has no such form.
    """
    turner = _Turner(program, bits, levels)
    unknown = [line(node) for node in calls(program.graph) if node in turner.live and turner.rule(node) is None]
    outputs = [node for node in program.graph.nodes if node.op == "output"]
    answer = outputs[0].args[0]
    if not isinstance(answer, fx.Node) or len(program.inputs) != 1 or len(answer.meta["spec"][0]) != 2:
        unknown.append("its answer is not one row of logits for one input")
    if unknown:
        found = "; ".join(unknown[:4]) + (f" and {len(unknown) - 4} more" if len(unknown) > 4 else "")
        raise UnsupportedError("this network has no logic-gated form", found=found, allowed=ALLOWED)
    return turner.network(answer)


@final
class _Turner:
    """One translation under way: for each value of the ANN, its counts and its spikes, each made when first asked for."""

    def __init__(self, program: Program, bits: tuple[float, ...], levels: int) -> None:
        self.program, self.bits, self.levels = program, bits, levels
        self.live = dynamic(program.graph)
        self.graph, self.layers = fx.Graph(), dict[str, nn.Module]()
        self.known: dict[tuple[fx.Node, str], fx.Node] = {}
        self.wide: dict[fx.Node, int] = {}  # how many spikes stand for one value

    def rule(self, node: fx.Node) -> Callable[[fx.Node], fx.Node] | None:
        """How a node's first form is made, if it has any."""
        what, name = kind(node, self.live), name_of(node.target)
        if weighted(node) and name.startswith(("aten.conv2d.", "aten.linear.")):
            return self._plain_layer(node)
        if name.startswith(_POOLS) and len(node.meta["spec"][0]) in (2, 4) and len(source_of(node).meta["spec"][0]) == 4:
            return self.pooled
        if name.startswith("aten.max_pool2d.") and _plain_pool(node):
            return self.maximum
        rules: dict[Kind, Callable[[fx.Node], fx.Node]] = {
            Kind.ACTIVATION: lambda n: self.counts(source_of(n)),
            Kind.ADD: self.added,
            Kind.MOVE: lambda n: self.moved(n, self.spikes),
        }
        return rules.get(what) if what is not None else None

    def _plain_layer(self, node: fx.Node) -> Callable[[fx.Node], fx.Node] | None:
        """Layers whose geometry the ternary ones have: squares, nothing dilated, channels along axis 1."""
        if not name_of(node.target).startswith("aten.conv2d."):
            return self.linear if len(node.meta["spec"][0]) == 2 else None
        stride, padding, dilation = (
            _pair(argument(node, 3, "stride", 1)),
            argument(node, 4, "padding", 0),
            argument(node, 5, "dilation", 1),
        )
        plain = not isinstance(padding, str) and stride[0] == stride[1] and len(set(_pair(padding))) == 1 and set(_pair(dilation)) == {1}
        return self.convolution if plain else None

    def network(self, answer: fx.Node) -> fx.GraphModule:
        for spec in self.program.inputs:
            node = next(node for node in self.program.graph.nodes if node.op == "placeholder" and node.name == spec.name)
            self.known[node, "spikes"] = self.place("bits", Bits(self.bits, learnt=True), self.graph.placeholder("x"))
            self.wide[node] = len(self.bits)
        counts = self.counts(answer)
        self.graph.output(self.place("readout", Readout(int(answer.meta["spec"][0][1])), counts))
        return fx.GraphModule(self.layers, self.graph).train()

    def place(self, name: str, layer: nn.Module, x: fx.Node) -> fx.Node:
        self.layers[name] = layer
        return self.graph.call_module(name, (x,))

    def counts(self, node: fx.Node) -> fx.Node:
        """The value as counts; spikes are counted one by one, each with a weight of its own."""
        if (node, "counts") in self.known:
            return self.known[node, "counts"]
        what = kind(node, self.live) if node.op == "call_function" else None
        if what is Kind.MOVE:
            made = self.moved(node, self.counts)
        elif node.op == "placeholder" or what is Kind.MAX:
            made = self.counted(node)
        else:
            rule = self.rule(node)
            made = rule(node) if rule is not None else self.counted(node)
        self.known[node, "counts"] = made
        return made

    def spikes(self, node: fx.Node) -> fx.Node:
        """The value as spikes: through a gate where it is counts."""
        if (node, "spikes") in self.known:
            return self.known[node, "spikes"]
        what = kind(node, self.live)
        if what is Kind.ACTIVATION and (source_of(node), "spikes") in self.known and self.only_spikes(source_of(node)):
            self.wide[node] = self.wide[source_of(node)]
            made = self.spikes(source_of(node))
        elif what is Kind.MOVE:
            made = self.moved(node, self.spikes)
            self.wide[node] = max(self.wide[operand] for operand in node.all_input_nodes if operand in self.live)
        elif what is Kind.MAX:
            made = self.maximum(node)
        else:
            made = self.gated(node)
        self.known[node, "spikes"] = made
        return made

    def only_spikes(self, node: fx.Node) -> bool:
        return node.op == "placeholder" or kind(node, self.live) is Kind.MAX

    def gated(self, node: fx.Node) -> fx.Node:
        channels, x = int(node.meta["spec"][0][1]), self.counts(node)
        if self.levels > 1:
            x = self.graph.call_function(torch.ops.aten.repeat_interleave.self_int, (x, self.levels, 1))
        gate = Gate(channels * self.levels)
        if self.levels > 1:  # evenly over what a normal distribution has
            places = torch.special.ndtri((torch.arange(self.levels) + 1.0) / (self.levels + 1))
            gate.shift.data = (-places).repeat(channels)
        self.wide[node] = self.levels
        return self.place(f"{node.name}_gate", gate, x)

    def moved(self, node: fx.Node, form: Callable[[fx.Node], fx.Node]) -> fx.Node:
        if name_of(node.target).startswith("aten.reshape.") and len(node.meta["spec"][0]) == 2:  # whatever number of channels spikes have
            return self.graph.call_function(torch.ops.aten.flatten.using_ints, (form(source_of(node)), 1, -1))
        args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), lambda operand: self.operand(operand, form))
        return self.graph.call_function(node.target, args, kwargs)  # pyright: ignore[reportArgumentType]

    def operand(self, operand: fx.Node, form: Callable[[fx.Node], fx.Node]) -> Any:
        if operand in self.live and operand.meta.get("spec") is not None:
            return form(operand)
        if (operand, "size") not in self.known:
            self.known[operand, "size"] = self.moved(operand, form)
        return self.known[operand, "size"]

    def convolution(self, node: fx.Node) -> fx.Node:
        source, weight = source_of(node), read(self.program.tensors[constant_name(node.args[1])])
        x, groups = self.spikes(source), groups_of(node)
        weight = weight.repeat_interleave(self.wide[source], 1)
        stride, padding = _pair(argument(node, 3, "stride", 1))[0], _pair(argument(node, 4, "padding", 0))[0]
        size = (int(weight.shape[2]), int(weight.shape[3]))
        layer = TernaryConv2d(weight.shape[1] * groups, weight.shape[0], size, stride, padding, groups)
        return self.place(node.name, _begun(layer, weight), x)

    def linear(self, node: fx.Node) -> fx.Node:
        source, weight = source_of(node), read(self.program.tensors[constant_name(node.args[1])])
        x, wide = self.spikes(source), self.wide[source]
        channels = _channels_before_flattening(source)
        weight = weight.unflatten(1, (channels, -1)).repeat_interleave(wide, 1).flatten(1)
        return self.place(node.name, _begun(TernaryLinear(weight.shape[1], weight.shape[0]), weight), x)

    def maximum(self, node: fx.Node) -> fx.Node:
        x = self.spikes(source_of(node))
        self.wide[node] = self.wide[source_of(node)]
        kernel = _pair(argument(node, 1, "kernel_size"))[0]
        stride = argument(node, 2, "stride", []) or kernel
        return self.place(node.name, OrPool2d(kernel, _pair(stride)[0]), x)

    def pooled(self, node: fx.Node) -> fx.Node:
        """A count over the window of every channel by itself; over the whole picture where no window is named."""
        source = source_of(node)
        x, (_, channels, height, width) = self.spikes(source), source.meta["spec"][0]
        named = name_of(node.target).startswith("aten.avg_pool2d.")
        kernel = _pair(argument(node, 1, "kernel_size")) if named else (height, width)
        stride = _pair(argument(node, 2, "stride", []) or kernel)[0] if named else 1
        weight = torch.ones(channels, self.wide[source], *kernel)
        layer = TernaryConv2d(channels * self.wide[source], channels, kernel, stride, 0, channels)
        made = self.place(node.name, _begun(layer, weight), x)
        flat = len(node.meta["spec"][0]) == 2
        return self.graph.call_function(torch.ops.aten.flatten.using_ints, (made, 1, -1)) if flat else made

    def added(self, node: fx.Node) -> fx.Node:
        operands = [operand for operand in node.args[:2] if isinstance(operand, fx.Node) and operand in self.live]
        made = [self.counts(operand) for operand in operands]
        return self.graph.call_function(torch.ops.aten.add.Tensor, (made[0], made[1])) if len(made) > 1 else made[0]

    def counted(self, node: fx.Node) -> fx.Node:
        """Each channel's spikes with one weight, 1 at the start."""
        x, channels = self.spikes(node), int(node.meta["spec"][0][1])
        if len(node.meta["spec"][0]) != 4:
            raise UnsupportedError("this network has no logic-gated form", found=f"{line(node)} is added as spikes", allowed=ALLOWED)
        layer = TernaryConv2d(channels * self.wide[node], channels, 1, groups=channels)
        return self.place(f"{node.name}_counts", _begun(layer, torch.ones(channels, self.wide[node], 1, 1)), x)


def _begun(layer: Any, weight: Tensor) -> Any:
    """The layer with latent weights that are the ANN's, as large on average as new ones are."""
    size = weight.flatten(1).abs().mean(1).clamp_min(1e-12).view(-1, *(1,) * (weight.dim() - 1))
    layer.latent.data = (weight / size * INITIAL * 0.8).float()  # E|n| = 0.8 for a standard normal n
    return layer


def _channels_before_flattening(source: fx.Node) -> int:
    """How many channels a flattened value had when it was a picture."""
    while source.op == "call_function" and len(source.meta["spec"][0]) == 2 and name_of(source.target).startswith(_FLAT):
        source = source_of(source)
    return int(source.meta["spec"][0][1])


_FLAT = ("aten.flatten.", "aten.reshape.", "aten.view.", "aten.squeeze.", "aten.alias.", "aten.clone.", "aten.dropout.", "aten.contiguous.")


def _plain_pool(node: fx.Node) -> bool:
    kernel, stride = _pair(argument(node, 1, "kernel_size")), argument(node, 2, "stride", [])
    square = kernel[0] == kernel[1] and len(set(_pair(stride or kernel))) == 1
    return square and set(_pair(argument(node, 3, "padding", 0))) == {0} and set(_pair(argument(node, 4, "dilation", 1))) == {1}


def _pair(value: Any) -> tuple[int, int]:
    both = [value, value] if isinstance(value, int) else list(value)
    return (int(both[0]), int(both[-1]))
