"""
Two networks of one graph abreast: the ANN and its SNN run operation by operation over the same samples.

What works layer by layer (compensation, pruning) sees at every layer what the ANN gives there and what the SNN's layer really receives,
after everything before it was changed. The exact side computes every population's function (`reference`) with the weights as they were
given, or with those of an earlier network (`exact`); the spiking side runs T steps with what has been set so far.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.errors import DataError
from spikeloom.ir import (
    OPERATIONS,
    Batches,
    Context,
    Program,
    Quantised,
    batches_of,
    biased,
    checked,
    clone,
    constant_name,
    driven_by,
    large,
    like,
    name_of,
    note,
    on_disk,
    set_weights,
    shapes,
    source_of,
    target_of,
    trim,
    weighted,
)
from spikeloom.simulate.execute import decoded, executable, firing, repeated
from spikeloom.simulate.frontier import Frontier, size_of, widest_cut
from spikeloom.simulate.function import float_function
from spikeloom.simulate.reference import driving

Weights = tuple[Tensor, Tensor | None]
"""A layer's weight and bias."""


@final
class Abreast:
    """Both networks at the frontier (`exact`, `spiking`), and the graph and tensors that are being changed.

    At most `limit_bytes` of values are held at once: as many calibration samples are used as that leaves room for; `memory_bytes` of them
    are in memory and not on disk. `exact` gives layers by name the weights that the exact side uses.
    """

    def __init__(
        self,
        program: Program,
        context: Context,
        timesteps: int = 1,
        *,
        limit_bytes: int = 8 * 2**30,
        memory_bytes: int = 2**30,
        exact: Mapping[str, Weights] | None = None,
    ) -> None:
        self.program, self.context, self.timesteps = program, context, timesteps
        self.graph, self.tensors = clone(program.graph), dict(program.tensors)
        bound = executable(program, timesteps)
        self._bound, self._modules = {node.name: node for node in bound.graph.nodes}, dict(bound.named_modules())
        self.exact, self.spiking = (Frontier(self.graph, memory_bytes // 2, context.scratch) for _ in range(2))
        self.large = large(program)
        self.chunks = chunks_of(program, batches_of(context), timesteps, limit_bytes, memory_bytes)
        self.samples = sum(chunk[0].shape[0] for chunk in self.chunks)
        self._weights = exact or {}

    def nodes(self, what: str) -> Iterator[fx.Node]:
        """Every operation in execution order, told as progress of `what`. Where one is given out the exact side has its value and both
        sides have its operands; the spiking side computes it when the next is asked for, with the weights and parameters it has by then."""
        nodes = [node for node in self.graph.nodes if node.op != "output"]
        places = iter(range(len(self.program.inputs)))
        for done, node in enumerate(nodes):
            if node.op == "placeholder":
                place = next(places)
                self.exact.put(node, [chunk[place] for chunk in self.chunks])
                self.spiking.put(node, [repeated(chunk[place], self.timesteps) for chunk in self.chunks])
            elif node.op == "get_attr":
                self.exact.put(node, [self.tensors[constant_name(node)]])
                self.spiking.put(node, [self.tensors[constant_name(node)]])
            else:
                self._put_exact(node)
                yield node
                self.spiking.put(node, self._fired(node) if node.target in OPERATIONS.values() else self.computed(node))
            self.context.progress(what, done + 1, len(nodes))
            self.exact.drop_before(node)
            self.spiking.drop_before(node)
            if self.large and weighted(node):
                trim()

    def _put_exact(self, node: fx.Node) -> None:
        if node.target in OPERATIONS.values():
            function = float_function(node)
            return self.exact.put(node, (function(driving(values)) for values in self.driving(node, self.exact)))
        if "device" in note(node):  # what a chip does to a current is none of the ANN's
            return self.exact.put(node, self.exact.values[source_of(node)])
        for operand, value in self._given(node):
            self.exact.put(operand, [value])
        return self.exact.put(node, self.exact.call(node, target_of(node)))

    def _given(self, node: fx.Node) -> Iterator[tuple[fx.Node, Tensor]]:
        """The constants of a layer that the exact side has other weights for."""
        if node.name in self._weights:
            now = self.weights(node)
            for operand, value, own in zip(node.args[1:3], self._weights[node.name], now, strict=False):
                if isinstance(operand, fx.Node):
                    yield operand, torch.zeros_like(own) if value is None else value

    def driving(self, node: fx.Node, side: Frontier) -> list[tuple[Tensor, ...]]:
        """What drives a population on one side, per chunk: its current, and its gain where it has one."""
        return list(zip(*(side.values[each] for each in driven_by(node)), strict=True))

    def computed(self, node: fx.Node) -> Iterator[Any]:
        """What the SNN gives at an operation, per chunk: by the operation itself, or by what binding to T made of it."""
        bound = self._bound[node.name]
        if bound.op == "call_module":
            module = self._modules[str(bound.target)]
            return (module(*values) for values in self.spiking.operands(node))
        return self.spiking.call(node, target_of(bound))

    def _fired(self, node: fx.Node) -> Iterator[Tensor]:
        return map(firing(node, self.tensors, self.timesteps), self.driving(node, self.spiking))

    def received(self, node: fx.Node) -> Iterator[Tensor]:
        """What a layer receives in the SNN, per chunk: means over T."""
        return (decoded(value, self.timesteps) for value in self.spiking.values[source_of(node)])

    def targets(self, node: fx.Node) -> Iterable[Tensor]:
        """What a layer should give: the ANN's value, plus the error of the branch it is added to, where that is known already."""
        targets = self.exact.values[node]
        users = list(node.users)
        if len(users) != 1 or not name_of(users[0].target).startswith("aten.add.Tensor") or users[0].kwargs.get("alpha", 1) != 1:
            return targets
        others = [operand for operand in users[0].args if isinstance(operand, fx.Node) and operand is not node]
        other = others[0] if len(others) == 1 else None
        if other is None or other not in self.spiking.values or other.op != "call_function":
            return targets
        pairs = list(zip(self.exact.values[other], self.spiking.values[other], strict=True))
        if pairs[0][0].shape != targets[0].shape:
            return targets
        return (y + (a - decoded(s, self.timesteps)) for y, (a, s) in zip(targets, pairs, strict=True))

    def untouched(self, node: fx.Node) -> bool:
        """Whether a layer reads the network's input itself: nothing before it can be wrong."""
        return all(operand.op in ("placeholder", "get_attr") for operand in node.all_input_nodes)

    def weights(self, node: fx.Node) -> tuple[Tensor, Tensor]:
        """A layer's weight and bias as they are now, zeros where it has none."""
        return biased(node, self.tensors)

    def set(self, node: fx.Node, weight: Tensor, bias: Tensor) -> None:
        """Give a layer other weights, in the form it had them; those of a large program lie on disk."""
        before = self.weights(node)[0]
        if weight is not before:
            weight = weight if isinstance(weight, Quantised) else like(weight, before)
            weight = on_disk(weight, self.context.scratch) if self.large else weight
        set_weights(node, self.graph, self.tensors, weight, bias)
        for operand in node.args[1:3]:
            if isinstance(operand, fx.Node):
                self.spiking.put(operand, [self.tensors[constant_name(operand)]])


def chunks_of(program: Program, batches: Batches, timesteps: int, limit_bytes: int, memory_bytes: int) -> list[tuple[Tensor, ...]]:
    """As many calibration samples as the widest cut of the graph leaves room for, in chunks that run at once. Raises DataError below 2."""
    chunks: list[tuple[Tensor, ...]] = []
    taken, room, size = 0, 1, 1
    for inputs in checked(batches(), program):
        if not chunks:
            room, size = _room(program, inputs, timesteps, limit_bytes, memory_bytes)
        for part in zip(*(value.split(size) for value in inputs), strict=True):
            if taken < room:
                chunks.append(tuple(value[: room - taken] for value in part))
                taken += chunks[-1][0].shape[0]
        if taken >= room:
            break
    if taken < 2:
        raise DataError("working layer by layer needs at least two samples", found=taken, todo="give more calibration data")
    return chunks


def _room(program: Program, inputs: tuple[Tensor, ...], timesteps: int, limit_bytes: int, memory_bytes: int) -> tuple[int, int]:
    """How many samples like these there is room for, and how many run at once."""
    specs = shapes(program, [value[:2].shape for value in inputs]) if any(spec.lengths for spec in program.inputs) else None
    cut, widest = widest_cut(program.graph, specs), max(size_of(node, specs) for node in program.graph.nodes)
    room = limit_bytes // max(4 * cut * (1 + timesteps), 1)
    return max(room, 16), min(max(memory_bytes // 16 // max(4 * widest * timesteps, 1), 1), 64)
