"""
Heads of attention between the value projection and the output projection: a basis of their own.

    (p·v)·Q = p·(v·Q)        attention mixes positions, never the features of a head                       (1)

so that Q goes into the rows of the value projection and Qᵀ into the columns of the output projection, one Q a head. Which rows and
columns they are is found by moving labels (`moves`): whatever reshapes, splits and repeats lie between, grouped queries among them.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Int
from torch import Tensor, fx

from spikeloom.ir import Program, calls, name_of, output_channels, weighted
from spikeloom.plan.moves import Labels, channels_along, followed, moves, shape_of, softmaxes

_PRODUCTS = {"aten.matmul.default": 1, "aten.bmm.default": 1, "aten.scaled_dot_product_attention.default": 2}
"""Products of attention weights and values, and which argument the values are."""


@final
@dataclass(frozen=True, eq=False)
class Heads:
    """One attention's values: the layers around it, the rows [H, D] that each head reads of the first, the columns [H, D] of the second
    that it writes to, or why there are none."""

    product: fx.Node
    value: fx.Node | None = None
    output: fx.Node | None = None
    rows: Int[Tensor, "h d"] | None = None
    columns: Int[Tensor, "h d"] | None = None
    obstacle: str = ""

    @property
    def name(self) -> str:
        """The heads are called after the layer that reads them."""
        return f"heads of {(self.output or self.product).name}"


def heads(program: Program) -> list[Heads]:
    """The attentions of a program, in order, each with its rows and columns or the obstacle."""
    weights, found = softmaxes(program.graph), list[Heads]()
    for node in calls(program.graph):
        place = _PRODUCTS.get(name_of(node.target))
        if place is not None and (place == 2 or node.args[0] in weights):
            found.append(_heads(node, place, program))
    return found


def _heads(product: fx.Node, place: int, program: Program) -> Heads:
    value = product.args[place]
    layer = _layer_before(value)
    if layer is None:
        return Heads(product, obstacle="its values do not come straight from a linear layer")
    rows = _rows(layer, product, place, program)
    if rows is None:
        return Heads(product, obstacle=f"the features of its heads cannot be told apart in %{layer.name}, or others read them too")
    reader, columns = _columns(product, rows, output_channels(layer, program.tensors)[0])
    if reader is None or columns is None:
        return Heads(product, obstacle="no linear layer alone reads its result")
    return Heads(product, layer, reader, rows, columns)


def _layer_before(node: object) -> fx.Node | None:
    """The linear layer that a value is moved from."""
    while isinstance(node, fx.Node) and moves(node):
        node = node.all_input_nodes[0]
    return node if isinstance(node, fx.Node) and weighted(node) and name_of(node.target).startswith("aten.linear.") else None


def _rows(layer: fx.Node, product: fx.Node, place: int, program: Program) -> Labels | None:
    """[H, D]: which row of the layer each feature of each head is; None where it is not the same everywhere, or somebody else reads it."""
    ends = followed(layer, channels_along(len(shape_of(layer)) - 1, shape_of(layer)))
    own = [held for reader, operand, held in ends if reader is product and operand is product.args[place]]
    if len(own) != 1 or own[0].dim() < 3:
        return None
    lead = own[0][0, ..., 0, :]
    if not torch.equal(own[0], lead.unsqueeze(-2).unsqueeze(0).expand_as(own[0])):
        return None
    rows, every = lead.reshape(-1, lead.shape[-1]), set(lead.flatten().tolist())
    others = (held for reader, operand, held in ends if reader is not product or operand is not product.args[place])
    whole = every <= set(range(output_channels(layer, program.tensors)[0])) and _apart(rows)
    return rows if whole and not any(every & set(held.flatten().tolist()) for held in others) else None


def _apart(rows: Labels) -> bool:
    """Whether any two heads have the same rows in the same order, or none in common."""
    distinct = rows.unique(dim=0)
    return distinct.numel() == distinct.unique().numel()


def _columns(product: fx.Node, rows: Labels, size: int) -> tuple[fx.Node | None, Labels | None]:
    """The linear layer that alone reads a product, and [H, D], which of its columns each feature of each head is."""
    shape = shape_of(product)
    if math.prod(shape[1:-2]) != len(rows):
        return None, None
    labels = rows + size * torch.arange(len(rows))[:, None]
    spread = labels.view(1, *shape[1:-2], 1, shape[-1]).expand(shape).contiguous()
    ends = followed(product, spread)
    if len(ends) != 1 or not weighted(ends[0][0]) or not name_of(ends[0][0].target).startswith("aten.linear."):
        return None, None
    reader, _, held = ends[0]
    columns = held.reshape(-1, held.shape[-1])
    order = columns[0].argsort()
    fits = bool((columns == columns[0]).all()) and torch.equal(columns[0][order], labels.flatten().sort().values)
    return (reader, order[labels.flatten().argsort().argsort()].view_as(rows)) if fits else (None, None)
