"""
A pair: the ANN and the spiking network that stands for it, run side by side over the calibration samples, some nodes at a time.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

from torch import Tensor, fx

from spikeloom.calibrate.blocks import Block
from spikeloom.calibrate.weights import constants_of, exact_weights
from spikeloom.errors import DataError
from spikeloom.ir import OPERATIONS, Context, Program, batches_of, checked, constant_name, driven_by, note, source_of, target_of
from spikeloom.simulate import Frontier, decoded, driving, executable, float_function, repeated

FEWEST = 5
"""Chunks there are at least, as far as there are samples."""


@final
class Pair:
    """Both networks at the frontier. `tensors` are those of the spiking one, and may be changed between blocks; the ANN has the weights
    of the context's reference where it has one. Samples are held in chunks of `batch`, of fewer where they are few; `len` is how many
    chunks there are."""

    def __init__(self, program: Program, context: Context, timesteps: int, batch: int, memory_bytes: int) -> None:
        self.program, self.graph, self.tensors, self.timesteps = program, program.graph, dict(program.tensors), timesteps
        self.exact = constants_of(program, exact_weights(program, context.reference))
        self.bound = executable(program, timesteps, adjustable=True)
        self.nodes = {node.name: node for node in self.bound.graph.nodes}
        self.named = {node.name: node for node in self.graph.nodes}
        self.modules = dict(self.bound.named_modules())
        self.ann, self.snn = (Frontier(self.graph, memory_bytes // 2, context.scratch) for _ in range(2))
        self.chunks: list[tuple[Tensor, ...]] = []
        for inputs in checked(batches_of(context)(), program):
            self.chunks += zip(*(value.split(batch) for value in inputs), strict=True)
        self.samples = sum(chunk[0].shape[0] for chunk in self.chunks)
        if self.samples < 2:
            raise DataError("calibration needs at least two samples", found=self.samples, todo="give more calibration data")
        if len(self.chunks) < FEWEST:  # few samples are cut finer, so that some can be held out
            size = max(self.samples // FEWEST, 1)
            self.chunks = [part for chunk in self.chunks for part in zip(*(value.split(size) for value in chunk), strict=True)]

    def __len__(self) -> int:
        return len(self.chunks)

    def run_exact(self, nodes: Sequence[fx.Node]) -> None:
        """The ANN's values of these nodes."""
        for node in nodes:
            if node.op == "placeholder":
                self.ann.put(node, self._inputs(node, 1))
            elif node.op == "get_attr":
                self.ann.put(node, [self.exact.get(constant_name(node), self.program.tensors[constant_name(node)])])
            elif node.target in OPERATIONS.values():
                function = float_function(node)
                given = zip(*(self.ann.values[each] for each in driven_by(node)), strict=True)
                self.ann.put(node, (function(driving(values)) for values in given))
            elif "device" in note(node):  # what a chip does to a current is none of the ANN's
                self.ann.put(node, self.ann.values[source_of(node)])
            else:
                self.ann.put(node, self.ann.call(node, target_of(node)))
            self.ann.drop_before(node)

    def run_spiking(self, nodes: Sequence[fx.Node]) -> None:
        """The spiking network's values of these nodes, with the tensors as they are now."""
        for node in nodes:
            if node.op == "placeholder":
                self.snn.put(node, self._inputs(node, self.timesteps))
            elif node.op != "get_attr":
                for constant in (each for each in node.all_input_nodes if each.op == "get_attr"):
                    self.snn.put(constant, [self.tensors[constant_name(constant)]])
                self.snn.put(node, self._spiking(node))
            self.snn.drop_before(node)

    def _inputs(self, node: fx.Node, timesteps: int) -> list[Tensor]:
        place = [spec.name for spec in self.program.inputs].index(node.name)
        return [repeated(chunk[place], timesteps) for chunk in self.chunks]

    def _spiking(self, node: fx.Node) -> Iterable[Any]:
        bound = self.nodes[node.name]
        if bound.op == "call_module":
            return (self.modules[str(bound.target)](*values) for values in self.snn.operands(node))
        return (bound_call(bound, args, kwargs) for args, kwargs in self._arguments(node, bound))

    def _arguments(self, node: fx.Node, bound: fx.Node) -> Iterable[tuple[Any, Any]]:
        for place in range(max((len(self.snn.values[operand]) for operand in node.all_input_nodes), default=1)):
            chunk = lambda operand, place=place: _of(self.snn.values[self.named[operand.name]], place)  # noqa: E731
            yield fx.map_arg((bound.args, bound.kwargs), chunk)

    def spiking(self, block: Block, place: int, values: Mapping[str, Tensor]) -> dict[fx.Node, Tensor]:
        """The mean output over T of a block's outputs for one chunk, with other `values` in the places of some tensors."""
        held: dict[str, Any] = {}

        def value(operand: fx.Node) -> Any:
            if operand.op == "get_attr":
                name = constant_name(operand)
                return values[name] if name in values else self.tensors[name]
            return held[operand.name] if operand.name in held else _of(self.snn.values[self.named[operand.name]], place)

        for node in (node for node in block.nodes if node.op != "get_attr"):
            bound = self.nodes[node.name]
            if node.op == "placeholder":
                held[node.name] = self._inputs(node, self.timesteps)[place]
            elif bound.op == "call_module":
                held[node.name] = self.modules[str(bound.target)](*(value(operand) for operand in bound.all_input_nodes))
            else:
                held[node.name] = bound_call(bound, *fx.map_arg((bound.args, bound.kwargs), value))
        return {node: decoded(held[node.name], self.timesteps) for node in block.outputs}

    def exact_at(self, node: fx.Node, place: int) -> Tensor:
        """What the ANN gives at a node for one chunk."""
        return _of(self.ann.values[node], place)

    def powers(self, nodes: Iterable[fx.Node]) -> dict[fx.Node, float]:
        """E a² of the ANN's values at some nodes."""
        return {node: max(sum(float(v.square().mean()) for v in self.ann.values[node]) / len(self), 1e-12) for node in nodes}


def bound_call(node: fx.Node, args: Any, kwargs: Any) -> Any:
    """A call of a bound program, with its operands' values."""
    return target_of(node)(*args, **kwargs)


def _of(chunks: Sequence[Any], place: int) -> Any:
    """A node's value for one chunk; constants have only one."""
    return chunks[place] if len(chunks) > 1 else chunks[0]
