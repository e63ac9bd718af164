"""
The k largest of E values in spikes, and what their indices choose: a mixture of experts' router.

    b_ej = sign(x_j − x_e + δ_ej)                comparing neurons, one for each pair; δ_ej = ±10⁻³⁰ settles ties by index     (1)
    r_e  = (E − 1 + Σ_j b_ej) / 2                how many beat x_e: its rank, from 0                                       (2)
    s_ie = 1 where r_e = i, else 0               neurons that answer to one rank, i = 0 … k − 1                            (3)
    topk = Σ_e s_ie x_e                          a product of spikes                                                       (4)

No index is ever made: `one_hot` of the indices is s itself, and what `gather` picks at them is (4) of other values.

Source: ours; sorting by counting comparisons is rank sort (Knuth, The Art of Computer Programming 3, 5.2).
"""

import torch
from torch import Tensor, fx

from spikeloom.convert.writer import Writer, shape_of
from spikeloom.ir import argument, function_of, note, source_of

TIE = 1e-30


def unfold_topk(writer: Writer, node: fx.Node) -> None:
    """(1)–(4) in place of a topk along the last axis and of what reads its values and its indices."""
    x, k, largest = source_of(node), int(argument(node, 1, "k")), bool(argument(node, 3, "largest", True))
    chosen = _chosen(writer.at(node), x, k, largest)
    for part in list(node.users):
        if part.args[1] == 0:
            writer.replace(part, _picked(writer.at(part), chosen, x))
            continue
        for reader in list(part.users):
            new = chosen if function_of(reader) == "one_hot" else _picked(writer.at(reader), chosen, source_of(reader))
            reader.replace_all_uses_with(new)
            writer.graph.erase_node(reader)
        writer.graph.erase_node(part)
    writer.graph.erase_node(node)


def _chosen(writer: Writer, x: fx.Node, k: int, largest: bool) -> fx.Node:
    """(3): [..., k, E]."""
    size = shape_of(x)[-1]
    rank = _rank(writer, x, size, largest)
    order = torch.arange(k, dtype=torch.float32)[:, None]
    u = writer.call("sub.Tensor", writer.call("unsqueeze.default", rank, -2), writer.constant("ranks", order))
    above, below = (writer.call("sign.default", writer.call("add.Scalar", each, 0.5)) for each in (u, writer.call("neg.default", u)))
    halves = (writer.call("mul.Scalar", writer.call("add.Scalar", each, 1.0), 0.5) for each in (above, below))
    chosen = writer.call("mul.Tensor", *halves)
    note(chosen)["free"] = True
    return chosen


def _rank(writer: Writer, x: fx.Node, size: int, largest: bool) -> fx.Node:
    """(1) and (2): [..., E]."""
    own, other = (writer.call("unsqueeze.default", x, axis) for axis in (-1, -2))
    ahead = writer.call("sub.Tensor", *((other, own) if largest else (own, other)))
    beaten = writer.call("sign.default", writer.call("add.Tensor", ahead, writer.constant("ties", ties(size))))
    note(beaten)["free"] = True
    total = writer.call("sum.dim_IntList", beaten, [-1])
    return writer.call("mul.Scalar", writer.call("add.Scalar", total, size - 1.0), 0.5)


def _picked(writer: Writer, chosen: fx.Node, x: fx.Node) -> fx.Node:
    """(4): [..., k]."""
    return writer.call("sum.dim_IntList", writer.call("mul.Tensor", chosen, writer.call("unsqueeze.default", x, -2)), [-1])


def ties(size: int) -> Tensor:
    """δ of (1): of equals, the first is ahead."""
    ones = torch.full((size, size), TIE)
    return ones.tril(-1) - ones.triu(1)
