"""
What stands against whole numbers: every operation of a program that has no place in the HW dialect, named before any work.
"""

from typing import Any

from torch import Tensor, fx

from spikeloom.backend.lower.layers import room_of
from spikeloom.backend.lower.populations import encodes
from spikeloom.backend.lower.sums import LAYERS, SCALES, SUMS, Problem, shape_of, unsummable
from spikeloom.backend.target import Refusal
from spikeloom.errors import UnsupportedError
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
    source_of,
    staircase,
    weighted,
    weights_of,
)

POOLS = ("aten.avg_pool1d.", "aten.avg_pool2d.", "aten.adaptive_avg_pool1d.", "aten.adaptive_avg_pool2d.", "aten.mean.dim")
MAXIMA = ("aten.max_pool1d.default", "aten.max_pool2d.default")
ALLOWED = "linear, conv1d, conv2d, sums, means and maxima over windows, additions, moves, neurons of identity and function staircases"


def obstacles(program: Program, timesteps: int) -> list[Refusal]:
    """Everything that stands against lowering a program for T ticks; nothing where it can be lowered."""
    live, found = dynamic(program.graph), list[Refusal]()
    inputs = [node for node in program.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1 or "float" not in program.inputs[0].dtype:
        told = ", ".join(f"{spec.name}: {spec.dtype}" for spec in program.inputs)
        found.append(Refusal("the input", told, "one input of numbers", "embed tokens outside of the network"))
    output = next(node for node in program.graph.nodes if node.op == "output").args[0]
    if not isinstance(output, fx.Node):
        found.append(Refusal("the output", str(output), "one output", "convert the network with one output"))
    sums = unsummable(program, live)
    for node in calls(program.graph):
        if node in live:
            problem = sums.get(node) or _problem(node, program, live, timesteps)
            if problem is not None:
                found.append(Refusal(node.name, line(node), *problem))
    return found


def refuse(problem: str, refusals: list[Refusal]) -> None:
    """Raises UnsupportedError that names all of them; does nothing where there are none."""
    if not refusals:
        return
    rows = [f"{refusal.where}: {refusal.found} (allowed: {refusal.allowed})" for refusal in refusals]
    shown = rows[:8] + ([f"and {len(rows) - 8} more"] if len(rows) > 8 else [])
    todos = "; ".join(dict.fromkeys(refusal.todo for refusal in refusals if refusal.todo))
    raise UnsupportedError(problem, found="\n    " + "\n    ".join(shown), todo=todos or None)


def _problem(node: fx.Node, program: Program, live: set[fx.Node], timesteps: int) -> Problem | None:
    name, what = name_of(node.target), kind(node, live)
    if "floating" in note(node):
        return "operations in whole numbers", f"it stays floating: {note(node)['floating']}"
    if node.target is population:
        return _neuron(node, program)
    if node.target is staircase:
        return _staircase(node, timesteps)
    if what is Kind.AFFINE and name.startswith(LAYERS):
        return _layer(node, program)
    if what in (Kind.AFFINE, Kind.MAX) and name.startswith((*POOLS, *MAXIMA)):
        return _window(node, name, program)
    if what is Kind.AFFINE and name.startswith(SCALES):
        return None if _one_number(node, program) else ("a constant that is one number", "fold the constant into a layer")
    if what in (Kind.MOVE, Kind.SHAPE) or (what is Kind.ADD and name.startswith(SUMS)):
        return None
    return ALLOWED, "convert the network so that this becomes a neuron, or compile without it"


def _neuron(node: fx.Node, program: Program) -> Problem | None:
    if kwargs_of(node).get("reset") == "gated":
        return "reset by subtraction or to zero", "convert without --dual-threshold"
    shared = program.tensor(node.args[1]).numel() == 1
    return (
        None if shared or isinstance(kwargs_of(node).get("axis", 1), int) else ("channels on one axis", "convert with per_channel: false")
    )


def _staircase(node: fx.Node, timesteps: int) -> Problem | None:
    if len(node.args) > 3:
        return "thresholds that are constants", "another population scales this one's thresholds: that is a norm or an attention"
    if not isinstance(kwargs_of(node).get("axis", 1), int):
        return "channels on one axis", "convert with per_channel: false"
    if timesteps > 1 and not encodes(node):
        return "populations of equal steps at T > 1", "a function of a running mean has no whole-number form; convert with T = 1"
    return None


def _layer(node: fx.Node, program: Program) -> Problem | None:
    if not weighted(node):
        return "weights that are constants", "a product of two spike trains has no whole-number form yet"
    by_name = argument(node, 4, "padding", 0) == "same" and not name_of(node.target).startswith("aten.linear.")
    if by_name and any(room % 2 for room in room_of(node, weights_of(node, program.tensors)[0].shape)):
        return "padding that is the same on both sides", "pad it explicitly"
    return None


def _window(node: fx.Node, name: str, program: Program) -> Problem | None:
    average = name.startswith(("aten.avg_pool1d.", "aten.avg_pool2d."))
    if not average and not name.startswith(MAXIMA):
        return _mean(node, name, shape_of(source_of(node), program))
    padded = _some(argument(node, 3, "padding", 0), 0)
    if average and padded and argument(node, 5, "count_include_pad", True) is False:
        return "means that count their padding", "set count_include_pad"
    if average and argument(node, 6, "divisor_override") is not None:
        return "means over their windows", "leave out divisor_override"
    if not average and _some(argument(node, 4, "dilation", 1), 1):
        return "windows without gaps", "leave out dilation"
    return ("windows that fit", "leave out ceil_mode") if argument(node, 4 if average else 5, "ceil_mode", False) else None


def _mean(node: fx.Node, name: str, shape: tuple[int, ...]) -> Problem | None:
    """What stands against a mean over axes or to a given size, of values of this shape."""
    given: Any = argument(node, 1, "dim" if name.startswith("aten.mean.") else "output_size")
    if name.startswith("aten.mean."):
        axes = given if isinstance(given, list | tuple) else [given]
        within = bool(axes) and all(isinstance(axis, int) and axis % len(shape) for axis in axes)
        return None if within else ("means over axes of a sample", "leave the batch's axis out of the mean")
    sides = shape[2:]
    wanted: Any = [given] * len(sides) if isinstance(given, int) else given
    even = all(want is None or not side % int(want) for side, want in zip(sides, wanted, strict=True))
    return None if even else ("windows of one size", f"give a size that divides {list(sides)}")


def _some(value: Any, neutral: int) -> bool:
    return any(each != neutral for each in ([value] if isinstance(value, int) else value))


def _one_number(node: fx.Node, program: Program) -> bool:
    constants = [operand for operand in node.all_input_nodes if operand.op == "get_attr"]
    tensors: list[Tensor] = [program.tensors[constant_name(operand)] for operand in constants]
    return all(tensor.numel() == 1 for tensor in tensors)
