"""
What stands against whole numbers: every operation of a program that has no place in the HW dialect, named before any work.
"""

from typing import Any

from torch import Tensor, fx

from spikeloom.backend.lower.populations import encodes
from spikeloom.backend.target import Refusal
from spikeloom.ir import (
    Kind,
    Program,
    argument,
    calls,
    constant_name,
    dynamic,
    kind,
    kwargs_of,
    line,
    name_of,
    note,
    population,
    staircase,
    weighted,
)

POOLS = ("aten.avg_pool1d.", "aten.avg_pool2d.", "aten.adaptive_avg_pool1d.", "aten.adaptive_avg_pool2d.", "aten.mean.dim")
MAXIMA = ("aten.max_pool1d.default", "aten.max_pool2d.default")
LAYERS = ("aten.linear.", "aten.conv1d.", "aten.conv2d.")
SCALES = ("aten.mul.", "aten.div.", "aten.neg.")
ALLOWED = "linear, conv1d, conv2d, sums, means and maxima over windows, additions, moves, neurons of identity and function staircases"


def obstacles(program: Program, timesteps: int) -> list[Refusal]:
    """Everything that stands against lowering a program for T ticks; nothing where it can be lowered."""
    live, found = dynamic(program.graph), list[Refusal]()
    inputs = [node for node in program.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1 or "float" not in program.inputs[0].dtype:
        told = ", ".join(f"{spec.name}: {spec.dtype}" for spec in program.inputs)
        found.append(Refusal("the input", told, "one input of numbers", "embed tokens outside of the network"))
    for node in calls(program.graph):
        if node in live:
            problem = _problem(node, program, live, timesteps)
            if problem is not None:
                found.append(Refusal(node.name, line(node), *problem))
    return found


def _problem(node: fx.Node, program: Program, live: set[fx.Node], timesteps: int) -> tuple[str, str] | None:
    name, what = name_of(node.target), kind(node, live)
    if "floating" in note(node):
        return "operations in whole numbers", f"it stays floating: {note(node)['floating']}"
    if node.target is population:
        return _neuron(node, program)
    if node.target is staircase:
        return _staircase(node, timesteps)
    if what is Kind.AFFINE and name.startswith(LAYERS):
        return None if weighted(node) else ("weights that are constants", "a product of two spike trains has no whole-number form yet")
    if what in (Kind.AFFINE, Kind.MAX) and name.startswith((*POOLS, *MAXIMA)):
        return _window(node, name)
    if what is Kind.AFFINE and name.startswith(SCALES):
        return None if _one_number(node, program) else ("a constant that is one number", "fold the constant into a layer")
    if what in (Kind.MOVE, Kind.SHAPE) or (what is Kind.ADD and name.startswith(("aten.add.", "aten.sub.", "aten.rsub."))):
        return None
    return ALLOWED, "convert the network so that this becomes a neuron, or compile without it"


def _neuron(node: fx.Node, program: Program) -> tuple[str, str] | None:
    if kwargs_of(node).get("reset") == "gated":
        return "reset by subtraction or to zero", "convert without --dual-threshold"
    shared = program.tensor(node.args[1]).numel() == 1
    return (
        None if shared or isinstance(kwargs_of(node).get("axis", 1), int) else ("channels on one axis", "convert with per_channel: false")
    )


def _staircase(node: fx.Node, timesteps: int) -> tuple[str, str] | None:
    if len(node.args) > 3:
        return "thresholds that are constants", "another population scales this one's thresholds: that is a norm or an attention"
    if not isinstance(kwargs_of(node).get("axis", 1), int):
        return "channels on one axis", "convert with per_channel: false"
    if timesteps > 1 and not encodes(node):
        return "populations of equal steps at T > 1", "a function of a running mean has no whole-number form; convert with T = 1"
    return None


def _window(node: fx.Node, name: str) -> tuple[str, str] | None:
    average = name.startswith(("aten.avg_pool1d.", "aten.avg_pool2d."))
    if not average and not name.startswith(MAXIMA):
        return None
    padded = _some(argument(node, 3, "padding", 0), 0)
    if average and padded and argument(node, 5, "count_include_pad", True) is False:
        return "means that count their padding", "set count_include_pad"
    if average and argument(node, 6, "divisor_override") is not None:
        return "means over their windows", "leave out divisor_override"
    if not average and _some(argument(node, 4, "dilation", 1), 1):
        return "windows without gaps", "leave out dilation"
    return ("windows that fit", "leave out ceil_mode") if argument(node, 4 if average else 5, "ceil_mode", False) else None


def _some(value: Any, neutral: int) -> bool:
    return any(each != neutral for each in ([value] if isinstance(value, int) else value))


def _one_number(node: fx.Node, program: Program) -> bool:
    constants = [operand for operand in node.all_input_nodes if operand.op == "get_attr"]
    tensors: list[Tensor] = [program.tensors[constant_name(operand)] for operand in constants]
    return all(tensor.numel() == 1 for tensor in tensors)
