"""
Where the batch lies in every value. The T steps of a run are folded into it, step by step, so wherever a neuron keeps a state over
time the batch must stand in front.

The axis shows in two shapes of a value, at the example's batch and at twice as many. A reshape can merge it with other axes; what
lies outside of it in row-major order no reshape changes: [L, B, C] as [L·B, C] has L outside of the batch, though on axis 0.
"""

import dataclasses
import math

from torch import fx

from spikeloom.errors import VerifyError
from spikeloom.ir.graph import dynamic
from spikeloom.ir.program import Program
from spikeloom.ir.rules import name_of
from spikeloom.ir.verify import shapes

RESHAPES = ("aten.reshape.", "aten.view.", "aten._unsafe_view.", "aten.flatten.", "aten.unflatten.")


def astray(program: Program) -> set[fx.Node]:
    """The values that depend on the input and do not have the batch in front; none where the batch has a fixed size (a capture can
    have fixed it inside)."""
    if not any(spec.dynamic for spec in program.inputs):
        return set()
    twice = tuple(
        dataclasses.replace(spec, shape=(2 * spec.shape[0], *spec.shape[1:])) if spec.dynamic else spec for spec in program.inputs
    )
    once = shapes(program)
    try:
        double = shapes(program.replaced(inputs=twice))
    except VerifyError:
        return set()
    live, outside, found = dynamic(program.graph), dict[fx.Node, int](), set[fx.Node]()
    for node in program.graph.nodes:
        if node not in live or node.op == "output":
            continue
        read = [operand for operand in node.all_input_nodes if operand in live]
        outside[node] = max((outside[operand] for operand in read), default=1)
        if node.name not in once:
            continue
        axis = _batch_axis(once[node.name][0], double[node.name][0])
        if node.op == "call_function" and name_of(node.target).startswith(RESHAPES):
            before = once[read[0].name][0]
            beyond = outside[node] * math.prod(before[: _batch_axis(before, double[read[0].name][0])])
            outside[node] = -(-beyond // math.prod(once[node.name][0][:axis]))
        if axis != 0 or outside[node] > 1:
            found.add(node)
    return found


def _batch_axis(once: tuple[int, ...], double: tuple[int, ...]) -> int:
    """The first axis that grows with the batch; one past the last where none does."""
    return next((axis for axis, (few, many) in enumerate(zip(once, double, strict=True)) if few != many), len(once))
