"""
The weights a spiking network works towards: those of the ANN with the same layers, before they were rounded, pruned or corrected.
"""

from collections.abc import Mapping

from torch import Tensor

from spikeloom.ir import Program, biased, calls, constant_name, weighted


def exact_weights(program: Program, reference: Program | None) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight and bias of the reference's layers of the same names, by name; none without a reference."""
    layers = {} if reference is None else {node.name: node for node in calls(reference.graph) if weighted(node)}
    own = [node.name for node in calls(program.graph) if weighted(node) and node.name in layers]
    return {name: biased(layers[name], reference.tensors) for name in own} if reference is not None else {}


def constants_of(program: Program, exact: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Exact weights and biases by the names of the program's constants they stand for."""
    layers = [(node.args[1:3], exact[node.name]) for node in calls(program.graph) if node.name in exact]
    pairs = [pair for operands, held in layers for pair in zip(operands, held, strict=False)]
    return {constant_name(operand): held for operand, held in pairs if operand is not None}
