"""
What a logic-gated program does, step by step, in whole numbers: what packed execution runs and what is written out as logic.

    Compare   bits of input values: 1 where a value reaches its channel's threshold
    Count     Σ t·s over weights -1, 0, 1 and spikes
    Fire      1 where a count reaches its channel's whole threshold
    Either    1 where any of a window is
    Sum       counts added to counts; `Offset`: a whole number added for each channel
    Move      values put elsewhere
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int8, Int32
from torch import Tensor, fx

from spikeloom.errors import ProgramError
from spikeloom.ir import (
    Kind,
    Program,
    Quantised,
    args_of,
    argument,
    calls,
    dynamic,
    groups_of,
    kind,
    kwargs_of,
    line,
    name_of,
    staircase,
    target_of,
    weighted,
    weights_of,
)
from spikeloom.kernels.packed import check_range

LARGEST = 2**31


@final
@dataclass(frozen=True, eq=False)
class Compare:
    """`thresholds` [C], or [1] for all channels."""

    name: str
    reads: tuple[str, ...]
    thresholds: Float[Tensor, " c"]


@final
@dataclass(frozen=True, eq=False)
class Count:
    """`codes` [O, I] of a linear layer, [O, I/groups, KH, KW] of a convolution with the same stride and padding both ways."""

    name: str
    reads: tuple[str, ...]
    codes: Int8[Tensor, "o i *kernel"]
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def fan_in(self) -> int:
        """The weights of an output that are not 0, at most."""
        return int((self.codes != 0).flatten(1).sum(1).max())


@final
@dataclass(frozen=True, eq=False)
class Fire:
    """`thresholds` [C], or [1] for all channels."""

    name: str
    reads: tuple[str, ...]
    thresholds: Int32[Tensor, " c"]


@final
@dataclass(frozen=True)
class Either:
    """A square window without an edge."""

    name: str
    reads: tuple[str, ...]
    kernel: int
    stride: int


@final
@dataclass(frozen=True)
class Sum:
    """Two counts of one shape."""

    name: str
    reads: tuple[str, ...]


@final
@dataclass(frozen=True, eq=False)
class Offset:
    """`offsets` [C] along the last axis."""

    name: str
    reads: tuple[str, ...]
    offsets: Int32[Tensor, " c"]


@final
@dataclass(frozen=True)
class Move:
    """`place` puts the values read [B, ...] where they belong, whatever their type."""

    name: str
    reads: tuple[str, ...]
    place: Callable[..., Any]


Step = Compare | Count | Fire | Either | Sum | Offset | Move


@final
@dataclass(frozen=True, eq=False)
class Netlist:
    """The steps in order; `input` is the name of what comes in, `output` of the step whose counts are the answer. `shapes` are those of
    all values at the example batch."""

    input: str
    steps: tuple[Step, ...]
    output: str
    shapes: Mapping[str, tuple[int, ...]]


def netlist(program: Program) -> Netlist:
    """The program's steps. Raises ProgramError naming what is no counting of bits or comparing of whole numbers, NumericError where a
    count, with what is added to it, could leave 32 bits."""
    live, steps = dynamic(program.graph), list[Step]()
    counted = set[str]()  # values that are counts
    given = {node.name for node in program.graph.nodes if node.op == "placeholder"}  # values as they come
    most = dict[str, int]()  # how far a count may be from 0
    for node in calls(program.graph):
        if node not in live and not any(user in live for user in node.users):
            continue
        step = _step(program, node, live, counted)
        if step is None:
            raise ProgramError("the program does more than count and compare", found=line(node), todo="convert with --method logic_gated")
        if isinstance(step, Count | Either) and given.intersection(step.reads):
            raise ProgramError("a layer counts values that are no bits", found=line(node), todo="begin the network with Bits")
        if isinstance(step, Move) and given.intersection(step.reads):
            given.add(step.name)
        most[step.name] = _most(step, most)
        steps.append(step)
    sources = [node for node in program.graph.nodes if node.op == "placeholder"]
    output = next(node for node in program.graph.nodes if node.op == "output").args[0]
    if len(sources) != 1 or not isinstance(output, fx.Node) or output.name not in counted:
        raise ProgramError("a logic-gated network has one input and answers with counts", found=f"{len(sources)} inputs")
    shapes = {node.name: node.meta["spec"][0] for node in program.graph.nodes if node.meta.get("spec") is not None}
    return Netlist(sources[0].name, tuple(steps), output.name, {sources[0].name: program.inputs[0].shape, **shapes})


def _most(step: Step, most: Mapping[str, int]) -> int:
    """How far from 0 a step's counts may be; raises NumericError where that is beyond 32 bits."""
    if isinstance(step, Compare | Fire | Either):
        return 0
    own = step.fan_in if isinstance(step, Count) else 0
    added = int(step.offsets.abs().max()) if isinstance(step, Offset) else 0
    read = [] if isinstance(step, Count) else [most.get(name, 0) for name in step.reads]
    reached = max(read, default=0) if isinstance(step, Move) else sum(read)
    check_range(own + reached, added)
    return own + reached + added


def _step(program: Program, node: fx.Node, live: set[fx.Node], counted: set[str]) -> Step | None:
    what, name = kind(node, live), name_of(node.target)
    reads = tuple(operand.name for operand in node.all_input_nodes if operand.op != "get_attr")
    if node.target is staircase:
        return _gate(program, node, reads, counted)
    if what is Kind.AFFINE and weighted(node):
        counted.add(node.name)
        return _count(program, node, reads)
    if name.startswith("aten.add."):
        return _sum(program, node, reads, counted)
    if name.startswith("aten.max_pool2d."):
        kernel = _one(argument(node, 1, "kernel_size"))
        return Either(node.name, reads, kernel, _one(argument(node, 2, "stride", []) or kernel))
    if what in (Kind.MOVE, Kind.SHAPE):
        if any(read in counted for read in reads):
            counted.add(node.name)
        return Move(node.name, reads, _placing(node))
    return None


def _gate(program: Program, node: fx.Node, reads: tuple[str, ...], counted: set[str]) -> Step | None:
    thresholds, values = program.tensor(node.args[1]), program.tensor(node.args[2])
    plain = thresholds.shape[-1] == 1 and values.shape[-1] == 2 and kwargs_of(node)["axis"] == 1 and len(reads) == 1
    if not plain or bool(values[..., 0].any()) or bool((values[..., 1] != 1).any()):
        return None
    each = thresholds.flatten()
    if reads[0] not in counted:
        return Compare(node.name, reads, each)
    return Fire(node.name, reads, each.ceil().clamp(1 - LARGEST, LARGEST - 1).to(torch.int32))


def _count(program: Program, node: fx.Node, reads: tuple[str, ...]) -> Step | None:
    weight, bias = weights_of(node, program.tensors)
    if not isinstance(weight, Quantised) or (weight.grid.low, weight.grid.high) != (-1, 1) or bias is not None:
        return None
    if bool((weight.scale != 1).any()) or weight.zero is not None:
        return None
    if name_of(node.target).startswith("aten.linear."):
        return Count(node.name, reads, weight.codes())
    stride, padding = _one(argument(node, 3, "stride", 1)), _one(argument(node, 4, "padding", 0))
    return Count(node.name, reads, weight.codes(), stride, padding, groups_of(node))


def _sum(program: Program, node: fx.Node, reads: tuple[str, ...], counted: set[str]) -> Step | None:
    if not all(read in counted for read in reads):
        return None
    counted.add(node.name)
    if len(args_of(node)) == 2 and len(reads) == 2:
        return Sum(node.name, reads)
    constant = node.args[1]
    if not isinstance(constant, fx.Node) or constant.op != "get_attr":
        return Sum(node.name, (reads[0], reads[0])) if node.args[0] is node.args[1] else None
    offsets = program.tensor(constant)
    check_range(0, int(offsets.double().abs().max()))  # before they are whole numbers of 32 bits, where they would wrap
    return Offset(node.name, reads, offsets.to(torch.int32))


def _placing(node: fx.Node) -> Callable[..., Any]:
    """The node's operation on the values it reads, in their order."""
    order = {operand.name: place for place, operand in enumerate(node.all_input_nodes)}

    def place(*values: Any) -> Any:
        args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), lambda operand: values[order[operand.name]])
        return target_of(node)(*args, **kwargs)

    return place


def _one(value: Any) -> int:
    return int(value) if isinstance(value, int) else int(value[0])
