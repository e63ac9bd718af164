"""
Which axis of a value holds its channels: what shares a scale, and what may have one of its own.

    [B, C], [B, C, …] after a convolution    1                [B, L, C], [B, H, W, C] after a linear layer    the last
    [B, H, L, D], operands of attention      heads and features, (1, 3)
    [B, L, H, D], before heads are moved     heads and features, (2, 3)
    [B, H, L, L], scores of attention        heads, 1
    [B·H, L, L], scores, heads in the batch  none: an axis that the value has not

A size that varies from text to text is no channel axis (`fixed`).

A scale of its own costs a channel nothing: it goes into the weights that read it (per-channel scale migration). In a transformer the
inputs of all linear layers have one for every channel: what norms give, what attention gives (heads and features), and gated products.
Functions of a current that go into a layer directly (GELU) share one table, heights and all: a table for each of the 512 hidden channels
of the character GPT-2 gains nothing (N=15, thresholds alone: perplexity +4.25 % for +4.20 %).
"""

import math
from collections.abc import Collection, Sequence

from torch import fx

from spikeloom.ir import Kind, dynamic, function_of, kind, name_of, weighted
from spikeloom.neuron import Axis

_PRODUCTS = ("aten.matmul.", "aten.bmm.", "aten.einsum.", "aten.baddbmm.")
_MAXIMA = ("aten.amax.", "aten.amin.")
_MOVED = ("aten.transpose.", "aten.permute.", "aten.movedim.", "aten.swapaxes.")
_ELEMENTWISE = (Kind.ADD, Kind.AFFINE, Kind.MOVE, Kind.ACTIVATION, Kind.NEURON)


def channel_axis(node: fx.Node, readers: Sequence[fx.Node]) -> Axis:
    """The axis of a value that its channels lie on, from what made it and who reads it."""
    rank = len(node.meta["spec"][0])
    if rank < 3:
        return 1
    if rank < 5 and _is_score(node, readers):
        return 1 if rank == 4 else rank
    if rank == 4 and _has_heads(node, readers):
        return (1, 3) if _moves_heads(node) else (2, 3)
    layers = {name_of(reader.target).startswith("aten.linear.") for reader in readers if weighted(reader)}
    if len(layers) == 1:
        return rank - 1 if layers.pop() else 1
    return rank - 1 if rank < 5 and _last(node, rank) else 1


def channels_of(node: fx.Node, axis: Axis) -> int:
    """How many channels a value has on an axis; 0 where it has no such axis."""
    shape = node.meta["spec"][0]
    axes = (axis,) if isinstance(axis, int) else axis
    return math.prod(shape[place] for place in axes) if max(axes) < len(shape) else 0


def fixed(node: fx.Node, axis: Axis, varying: Collection[int]) -> Axis:
    """Of these axes those whose size is none of the `varying` ones; where that leaves none, an axis that the value has not."""
    shape = node.meta["spec"][0]
    kept = tuple(place for place in ((axis,) if isinstance(axis, int) else axis) if place >= len(shape) or shape[place] not in varying)
    return kept if len(kept) > 1 else kept[0] if kept else len(shape)


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


def _has_heads(node: fx.Node, readers: Sequence[fx.Node]) -> bool:
    """Whether a value is a product of two values, or goes into one and comes from a linear layer whose features were split."""
    if name_of(node.target).startswith(_PRODUCTS):
        return True
    return not weighted(node) and _reach_product(readers) and _last(node, 4)


def _moves_heads(node: fx.Node) -> bool:
    """Whether a value is a product of two values, or its axes were moved since the linear layer it comes from: [B, L, H, D] no more."""
    live, waiting, seen = dynamic(node.graph), [node], set[fx.Node]()
    while waiting:
        here = waiting.pop()
        if here in seen or here not in live or here.op != "call_function" or weighted(here):
            continue
        seen.add(here)
        if name_of(here.target).startswith((*_PRODUCTS, *_MOVED)):
            return True
        waiting += here.all_input_nodes
    return False


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


def _is_score(node: fx.Node, readers: Sequence[fx.Node]) -> bool:
    """Whether a value is a product of two values, scaled, capped, shifted or masked, whose maximum is taken, or the softmax of one."""
    softmax = function_of(node) in ("softmax", "_softmax")
    if not softmax and not any(name_of(reader.target).startswith(_MAXIMA) for reader in readers):
        return False
    live, seen, waiting = dynamic(node.graph), set[fx.Node](), node.all_input_nodes if softmax else [node]
    while waiting:
        here, *waiting = waiting
        if here not in live or here in seen or here.op != "call_function" or weighted(here):
            continue
        seen.add(here)
        if name_of(here.target).startswith(_PRODUCTS):
            return True
        if kind(here, live) in _ELEMENTWISE:
            waiting += here.all_input_nodes
    return False
