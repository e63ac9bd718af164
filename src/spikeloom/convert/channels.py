"""
Which axis of a value holds its channels: what shares a scale, and what may have one of its own.

    [B, C], [B, C, …] after a convolution    1                [B, L, C], [B, H, W, C] after a linear layer    the last
    [B, H, L, D], operands of attention      heads and features, (1, 3)
    [B, H, L, L], scores of attention        heads, 1
"""

import math
from collections.abc import Sequence

from torch import fx

from spikeloom.ir import Kind, calls, dynamic, kind, name_of, weighted
from spikeloom.neuron import Axis

_PRODUCTS = ("aten.matmul.", "aten.bmm.", "aten.einsum.", "aten.baddbmm.")
_MAXIMA = ("aten.amax.", "aten.amin.")


def channel_axis(node: fx.Node, readers: Sequence[fx.Node]) -> Axis:
    """The axis of a value that its channels lie on, from what made it and who reads it."""
    rank = len(node.meta["spec"][0])
    if rank < 3:
        return 1
    made_by_product = name_of(node.target).startswith(_PRODUCTS)
    if rank == 4 and (made_by_product or _reach_product(readers)):
        return 1 if any(name_of(reader.target).startswith(_MAXIMA) for reader in readers) else (1, 3)
    if rank == 4 and any(name_of(reader.target).startswith(_MAXIMA) for reader in readers) and _product_made(node):
        return 1
    return rank - 1 if rank < 5 and _last(node, rank) else 1


def channels_of(node: fx.Node, axis: Axis) -> int:
    """How many channels a value has on an axis; 0 where it has no such axis."""
    shape = node.meta["spec"][0]
    axes = (axis,) if isinstance(axis, int) else axis
    return math.prod(shape[place] for place in axes) if max(axes) < len(shape) else 0


def _last(node: fx.Node, rank: int) -> bool:
    """Whether the nearest layer before a value is linear; where none is, [B, L, C] has its channels last, [B, C, H, W] has not."""
    waiting, seen = [node], set[fx.Node]()
    while waiting:
        here = waiting.pop(0)
        if weighted(here):
            return name_of(here.target).startswith("aten.linear.")
        new = [operand for operand in here.all_input_nodes if operand not in seen and operand.op == "call_function"]
        seen.update(new)
        waiting += new
    return rank == 3


def _reach_product(readers: Sequence[fx.Node]) -> bool:
    """Whether readers are products of two values, or pass it on to one."""
    waiting, seen = list(readers), set[fx.Node]()
    live = dynamic(readers[0].graph) if readers else set[fx.Node]()
    while waiting:
        here = waiting.pop()
        if here in seen or here.op != "call_function":
            continue
        seen.add(here)
        if name_of(here.target).startswith(_PRODUCTS) and kind(here, live) is Kind.PRODUCT:
            return True
        if kind(here, live) is Kind.MOVE:
            waiting += list(here.users)
    return False


def _product_made(node: fx.Node) -> bool:
    """Whether a value is a product of two values, scaled, shifted or masked."""
    live = dynamic(node.graph)
    for _ in calls(node.graph):
        if name_of(node.target).startswith(_PRODUCTS):
            return True
        before = [operand for operand in node.all_input_nodes if operand in live and operand.op == "call_function"]
        if len(before) != 1:
            return False
        node = before[0]
    return False
