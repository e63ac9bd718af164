"""
Attention in spikes: products of spike trains, and a softmax made of exponential and logarithm neurons.

    q·k      a product of spikes; the scale 1/√d belongs to its weights                                            (1)
    z_j      = x_j − max_i x_i              the maximum of spikes: any shift near it does, the softmax forgets it    (2)
    e_j      = exp(z_j)                     exp neurons                                                           (3)
    l        = log Σ_j e_j                  their sum at the membrane of a logarithm neuron                         (4)
    p_j      = exp(z_j − l) = softmax(x)_j  exp neurons again: what attention·value reads are spikes                 (5)
    p·v      a product of spikes                                                                                  (6)

The reciprocal 1/Σe of the usual form is taken in the logarithm, (4): e_j·(1/Σe) would be a product whose result had to be made
spikes once more, with one rounding more, while the errors of (3) average out in the sum. Masked places carry a very low x, for
which the neurons of (3) and (5) are silent.

Source: the softmax as exp(x − logsumexp x), Blanchard, Higham & Higham 2021, doi:10.1093/imanum/draa038; as neurons: ours.
"""

import math
from typing import Any

import torch
from torch import fx

from spikeloom.convert.writer import Writer, shape_of
from spikeloom.errors import UnsupportedError
from spikeloom.ir import args_of, argument, name_of, note

_CASTS = ("aten.to.dtype", "aten._to_copy.default")
_RESHAPES = ("aten.reshape.default", "aten.view.default", "aten._unsafe_view.default")
MASKED = -1e30
"""What a masked score gets: far below any score, finite, so that a row of masked scores is no NaN."""


def unfold_softmax(writer: Writer, node: fx.Node) -> fx.Node:
    """(2)–(5) for one softmax."""
    z, log_sum = _normaliser(writer, node)
    return writer.call("exp.default", writer.call("sub.Tensor", z, log_sum))


def unfold_log_softmax(writer: Writer, node: fx.Node) -> fx.Node:
    """z − l of (2)–(4)."""
    return writer.call("sub.Tensor", *_normaliser(writer, node))


def _normaliser(writer: Writer, node: fx.Node) -> tuple[fx.Node, fx.Node]:
    """z of (2) and l of (4), in the dtype that a softmax is asked for. Their neurons are free: the shift they run at is their own, not
    the ANN's."""
    dim = int(argument(node, 1, "dim"))
    z = _shifted(writer, node.args[0], dim, argument(node, 2, "dtype"))
    e = writer.call("exp.default", z)
    log_sum = writer.call("log.default", writer.call("sum.dim_IntList", e, [dim], True))
    for each in (e, log_sum):
        note(each)["free"] = True
    return z, log_sum


def _shifted(writer: Writer, x: Any, dim: int, dtype: Any) -> fx.Node:
    """(2). The maximum alone reads the scores as spikes, so it reads them before they are cast and before rows of them are moved about:
    what the difference reads must stay current, for a masked score lies far below any neuron's lowest level."""
    casts, moves = list[fx.Node](), list[fx.Node]()
    dim = -1 if dim == len(shape_of(x)) - 1 else dim
    while name_of(x.target) in _CASTS or (dim == -1 and _keeps_rows(x)):
        kept = casts if name_of(x.target) in _CASTS else moves
        kept.insert(0, x)
        x = x.args[0]
    highest = writer.call("amax.default", x, [dim], True)
    for cast in casts:
        x, highest = (writer.call(name_of(cast.target)[5:], each, *args_of(cast)[1:], **cast.kwargs) for each in (x, highest))
    if isinstance(dtype, torch.dtype) and x.meta["spec"][1] != str(dtype).removeprefix("torch."):
        x, highest = (writer.call("to.dtype", each, dtype) for each in (x, highest))
    z = writer.call("sub.Tensor", x, highest)
    for move in moves:
        z = writer.again(move, z)
    return z


def _keeps_rows(node: fx.Node) -> bool:
    """Whether a node is a reshape that leaves the last axis alone."""
    return name_of(node.target) in _RESHAPES and shape_of(node)[-1] == shape_of(node.args[0])[-1]


def unfold_attention(writer: Writer, node: fx.Node) -> fx.Node:
    """(1) and (6) around a softmax, for scaled dot-product attention with its mask; grouped queries share keys and values."""
    query, key, value = node.args[:3]
    mask, causal = argument(node, 3, "attn_mask"), bool(argument(node, 5, "is_causal", False))
    scale = argument(node, 6, "scale") or 1.0 / math.sqrt(shape_of(query)[-1])
    if argument(node, 7, "enable_gqa", False) and shape_of(query)[-3] != shape_of(key)[-3]:
        shared = shape_of(query)[-3] // shape_of(key)[-3]
        key, value = (writer.call("repeat_interleave.self_int", each, shared, -3) for each in (key, value))
    scores = writer.call("mul.Tensor", writer.call("matmul.default", query, writer.call("transpose.int", key, -2, -1)), scale)
    if causal:
        mask = _causal(writer, shape_of(scores), node)
    if mask is None or mask.meta["spec"][1] != "bool":
        scores = scores if mask is None else writer.call("add.Tensor", scores, mask)
        return writer.call("matmul.default", writer.call("softmax.int", scores, -1), value)
    weights = writer.call("softmax.int", writer.call("where.ScalarOther", mask, scores, MASKED), -1)
    if not _all_see(writer, mask):
        weights = writer.call("where.ScalarOther", mask, weights, 0.0)
    return writer.call("matmul.default", weights, value)


def _all_see(writer: Writer, mask: fx.Node) -> bool:
    """Whether a mask is known to hide something from nobody altogether; who sees nothing gets zeros."""
    return mask.op == "get_attr" and bool(writer.tensors[str(mask.target)].any(-1).all())


def _causal(writer: Writer, shape: tuple[int, ...], node: fx.Node) -> fx.Node:
    """Who may see whom: a constant of the captured lengths."""
    if any(isinstance(size, fx.Node) for size in shape):
        raise UnsupportedError(
            "causal attention of a varying length holds its mask inside", found=node.name, todo="capture with eager attention"
        )
    return writer.constant(f"{node.name}.causal", torch.ones(shape[-2:], dtype=torch.bool).tril())
