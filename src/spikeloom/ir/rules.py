"""
The dialects' rule tables: which operation may stand in which dialect, and what kind of operation it is.

A rule is data: one row per operation, by its public name (``aten.conv2d.default``). The tables are the allow-list of
everything a program may hold and everything a saved folder may name; nothing outside them is ever resolved or run.

The kind says how an operation treats spikes:

    affine      linear in its one dynamic operand, weights constant: spikes in, current out (an accumulation)
    move        moves, repeats or selects values without computing: spikes in, spikes out
    add         sums dynamic operands: currents meet at a membrane
    product     multiplies dynamic operands (with one dynamic operand it is affine)
    max         takes a maximum: on unary spikes a logical OR
    activation  a scalar function: becomes a neuron population
    norm        a nonlinear function of several values (softmax, normalisation, attention)
    neuron      a spiking population
    shape       computes on sizes, not on values
    create      makes a constant
    recurrent   a whole recurrent network in one operation
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, final

import torch
from torch._ops import OpOverload

from spikeloom.ir import ops


class Dialect(StrEnum):
    """The four types a program can have; each is a set of legal operations."""

    ANN = "ann"
    QNN = "qnn"
    SNN = "snn"
    HW = "hw"


class Kind(StrEnum):
    """How an operation treats spikes; the module's docstring says each."""

    AFFINE = "affine"
    MOVE = "move"
    ADD = "add"
    PRODUCT = "product"
    MAX = "max"
    ACTIVATION = "activation"
    NORM = "norm"
    NEURON = "neuron"
    SHAPE = "shape"
    CREATE = "create"
    RECURRENT = "recurrent"


@final
@dataclass(frozen=True)
class Rule:
    """One row: the operation's public name, its kind, and the dialects it may stand in."""

    name: str
    kind: Kind
    dialects: frozenset[Dialect]


_FLOAT = frozenset({Dialect.ANN, Dialect.QNN, Dialect.SNN})
_ANN = frozenset({Dialect.ANN, Dialect.QNN})
_SNN = frozenset({Dialect.SNN})

_TABLE: Mapping[Kind, str] = {
    Kind.AFFINE: """
        conv1d.default conv2d.default conv3d.default conv1d.padding conv2d.padding conv3d.padding
        conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input convolution.default
        linear.default addmm.default mv.default
        batch_norm.default
        avg_pool1d.default avg_pool2d.default avg_pool3d.default
        adaptive_avg_pool1d.default adaptive_avg_pool2d.default adaptive_avg_pool3d.default
        mean.default mean.dim sum.default sum.dim_IntList cumsum.default diff.default
        upsample_bilinear2d.vec upsample_bilinear2d.default upsample_bicubic2d.vec upsample_bicubic2d.default
        upsample_linear1d.vec upsample_linear1d.default upsample_trilinear3d.vec
        embedding.default neg.default
        """,
    Kind.MOVE: """
        alias.default clone.default contiguous.default detach.default detach_.default dropout.default feature_dropout.default
        view.default reshape.default _unsafe_view.default view_as.default reshape_as.default flatten.using_ints unflatten.int
        permute.default transpose.int t.default movedim.int numpy_T.default swapaxes.default
        squeeze.default squeeze.dim squeeze.dims unsqueeze.default expand.default expand_as.default repeat.default tile.default
        repeat_interleave.self_int
        slice.Tensor select.int narrow.default index_select.default index.Tensor gather.default take_along_dim.default
        split.Tensor split_with_sizes.default split.sizes chunk.default unbind.int unfold.default im2col.default
        cat.default concat.default stack.default hstack.default vstack.default
        pad.default constant_pad_nd.default reflection_pad2d.default replication_pad2d.default
        upsample_nearest2d.vec upsample_nearest2d.default upsample_nearest1d.vec upsample_nearest1d.default
        _upsample_nearest_exact2d.vec
        pixel_shuffle.default pixel_unshuffle.default channel_shuffle.default roll.default flip.default rot90.default
        to.dtype to.dtype_layout to.device _to_copy.default type_as.default
        col2im.default where.self masked_scatter.default masked_fill.Scalar masked_fill.Tensor
        where.ScalarOther where.ScalarSelf where.Scalar
        fill.Scalar fill.Tensor slice_scatter.default select_scatter.default index_put.default copy.default tril.default triu.default
        """,
    Kind.ADD: """add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Scalar rsub.Tensor""",
    Kind.PRODUCT: """
        mul.Tensor mul.Scalar div.Tensor div.Scalar matmul.default bmm.default mm.default baddbmm.default einsum.default
        """,
    Kind.MAX: """
        max_pool1d.default max_pool2d.default max_pool3d.default adaptive_max_pool2d.default amax.default amin.default
        maximum.default minimum.default max.other min.other
        max_pool2d_with_indices.default max.dim max.default topk.default argmax.default
        """,
    Kind.ACTIVATION: """
        relu.default relu6.default leaky_relu.default prelu.default elu.default selu.default celu.default silu.default
        gelu.default hardswish.default hardsigmoid.default hardtanh.default sigmoid.default tanh.default softplus.default
        mish.default exp.default log.default reciprocal.default rsqrt.default sqrt.default pow.Tensor_Scalar square.default
        abs.default erf.default clamp.default clamp_min.default clamp_max.default log_sigmoid.default
        threshold.default rrelu.default hardshrink.default sin.default cos.default sign.default
        """,
    Kind.NORM: """
        softmax.int _softmax.default log_softmax.int layer_norm.default native_layer_norm.default group_norm.default
        instance_norm.default _native_batch_norm_legit.no_stats rms_norm.default scaled_dot_product_attention.default
        var.correction var.dim std.correction std.dim linalg_vector_norm.default norm.ScalarOpt_dim norm.Scalar
        var_mean.correction cosine_similarity.default cdist.default grid_sampler.default
        floor_divide.default div.Tensor_mode pow.Scalar pow.Tensor_Tensor remainder.Scalar floor.default ceil.default round.default
        fft_fft2.default prod.default prod.dim_int
        """,
    Kind.SHAPE: """
        sym_size.int sym_numel.default sym_stride.int eq.Scalar eq.Tensor ne.Scalar ne.Tensor lt.Scalar lt.Tensor gt.Scalar
        gt.Tensor le.Scalar le.Tensor ge.Scalar ge.Tensor logical_not.default logical_and.default logical_or.default
        bitwise_and.Tensor bitwise_or.Tensor bitwise_not.default __and__.Tensor __or__.Tensor
        _assert_tensor_metadata.default _assert_scalar.default sym_constrain_range_for_size.default sym_constrain_range.default
        """,
    Kind.CREATE: """
        arange.default arange.start arange.start_step zeros.default ones.default full.default empty.memory_format
        zeros_like.default ones_like.default full_like.default new_zeros.default new_ones.default new_full.default
        scalar_tensor.default lift_fresh_copy.default linspace.default eye.default eye.m one_hot.default meshgrid.default
        meshgrid.indexing new_empty.default empty_like.default zero.default
        """,
    Kind.RECURRENT: """lstm.input gru.input rnn_tanh.input rnn_relu.input lstm_cell.default gru_cell.default""",
}

_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "operator.getitem": operator.getitem,
    "operator.add": operator.add,
    "operator.sub": operator.sub,
    "operator.mul": operator.mul,
    "operator.floordiv": operator.floordiv,
    "operator.truediv": operator.truediv,
    "operator.mod": operator.mod,
    "operator.neg": operator.neg,
    "operator.eq": operator.eq,
    "operator.ge": operator.ge,
    "operator.le": operator.le,
    "operator.lt": operator.lt,
    "operator.gt": operator.gt,
    "torch.sym_max": torch.sym_max,
    "torch.sym_min": torch.sym_min,
    "torch.sym_float": torch.sym_float,
    "torch.sym_int": torch.sym_int,
}


def _rows() -> dict[str, Rule]:
    rows = {
        f"aten.{name}": Rule(f"aten.{name}", kind, _ANN if kind is Kind.RECURRENT else _FLOAT)
        for kind, names in _TABLE.items()
        for name in names.split()
    }
    rows |= {name: Rule(name, Kind.MOVE if name == "operator.getitem" else Kind.SHAPE, _FLOAT) for name in _OPERATORS}
    rows |= {name: Rule(name, Kind.NEURON, _SNN) for name in ops.OPERATIONS}
    return rows


RULES: Mapping[str, Rule] = _rows()


def name_of(target: object) -> str:
    """The public name of a node's target: ``aten.relu.default``, ``operator.getitem``, ``spikeloom.population``."""
    if isinstance(target, OpOverload):
        return str(target)
    for table in (_OPERATORS, ops.OPERATIONS):
        for name, function in table.items():
            if function is target:
                return name
    module, name = getattr(target, "__module__", "?"), getattr(target, "__name__", repr(target))
    return f"{module}.{name}"


def resolve(name: str) -> Callable[..., Any] | None:
    """The function behind a name of the allow-list, or None where the list has no such name. Imports and runs nothing."""
    if name not in RULES:
        return None
    if name in _OPERATORS:
        return _OPERATORS[name]
    if name in ops.OPERATIONS:
        return ops.OPERATIONS[name]
    _, operation, overload = name.split(".")
    packet = getattr(torch.ops.aten, operation, None)
    return getattr(packet, overload, None) if packet is not None else None
