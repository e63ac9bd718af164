"""
The operator table: what each ONNX operator is in ATen, and which of its constants Python must know to build it.

`evaluate` runs one node. Values that are all host arrays stay so (sizes, constants); a tensor among them makes it ATen's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spikeloom.capture.onnx import activation, arithmetic, convolution, layout, normalisation, pooling, resize
from spikeloom.capture.onnx.graph import Host, Node, Value, known, tensor_from, unsupported
from spikeloom.capture.onnx.host import HOST_OPERATORS


def nowhere(slot: int, value: Host) -> bool:
    """Every constant is a tensor (a weight)."""
    return False


def after_data(slot: int, value: Host) -> bool:
    """Every constant but the first input's is a host value: sizes, axes, limits."""
    return slot > 0


def scalars(slot: int, value: Host) -> bool:
    """A constant of one element is a number."""
    return value.size == 1


def choices(slot: int, value: Host) -> bool:
    """As `scalars`, but the condition is a tensor."""
    return slot > 0 and value.size == 1


def even_runs(slot: int, value: Host) -> bool:
    """Constant places that are one, or a run with an even positive step, make a select or a slice."""
    if slot == 0 or value.ndim > 1 or value.size == 0:
        return False
    flat = value.reshape(-1)
    steps = set(np.diff(flat).tolist())
    return len(steps) < 2 and all(step > 0 for step in steps) and bool((flat[0] >= 0) == (flat[-1] >= 0))


@final
@dataclass(frozen=True)
class Operator:
    """An operator's function of (node, values…), where its constants are host values, and which inputs are statistics, not weights."""

    function: Callable[..., Value | tuple[Tensor, ...]]
    host: Callable[[int, Host], bool] = nowhere
    statistics: tuple[int, ...] = ()


def _plain(function: Callable[[Tensor], Tensor]) -> Operator:
    return Operator(activation.unary(function))


def _binary(function: Callable[[Any, Any], Tensor]) -> Operator:
    return Operator(arithmetic.binary(function), scalars)


def _reduction(function: Callable[..., Tensor], before: Callable[[Tensor], Tensor] | None = None) -> Operator:
    return Operator(arithmetic.reduction(function, before), after_data)


OPERATORS: Mapping[str, Operator] = {
    "Abs": _plain(torch.abs),
    "Add": _binary(lambda a, b: a + b),
    "And": Operator(arithmetic.binary(torch.logical_and)),
    "ArgMax": Operator(arithmetic.extremum(torch.argmax)),
    "ArgMin": Operator(arithmetic.extremum(torch.argmin)),
    "AveragePool": Operator(pooling.average_pool),
    "BatchNormalization": Operator(normalisation.batch_norm, statistics=(3, 4)),
    "Cast": Operator(arithmetic.cast),
    "Ceil": _plain(torch.ceil),
    "Celu": Operator(activation.celu),
    "Clip": Operator(activation.clip, after_data),
    "Concat": Operator(layout.concat),
    "Conv": Operator(convolution.conv),
    "ConvTranspose": Operator(convolution.conv_transpose),
    "Cos": _plain(torch.cos),
    "DepthToSpace": Operator(layout.depth_to_space),
    "Div": _binary(arithmetic.divided),
    "Dropout": Operator(normalisation.dropout, after_data),
    "Einsum": Operator(arithmetic.einsum),
    "Elu": Operator(activation.elu),
    "Equal": _binary(lambda a, b: a == b),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Expand": Operator(layout.expand, after_data),
    "Flatten": Operator(layout.flatten),
    "Floor": _plain(torch.floor),
    "Gather": Operator(layout.gather, even_runs),
    "Gelu": Operator(activation.gelu),
    "Gemm": Operator(arithmetic.gemm),
    "GlobalAveragePool": Operator(pooling.global_average_pool),
    "GlobalMaxPool": Operator(pooling.global_max_pool),
    "Greater": _binary(lambda a, b: a > b),
    "GreaterOrEqual": _binary(lambda a, b: a >= b),
    "GroupNormalization": Operator(normalisation.group_norm),
    "HardSigmoid": Operator(activation.hard_sigmoid),
    "HardSwish": _plain(F.hardswish),
    "Identity": Operator(layout.identity),
    "InstanceNormalization": Operator(normalisation.instance_norm),
    "LRN": Operator(normalisation.local_response_norm),
    "LayerNormalization": Operator(normalisation.layer_norm),
    "LeakyRelu": Operator(activation.leaky_relu),
    "Less": _binary(lambda a, b: a < b),
    "LessOrEqual": _binary(lambda a, b: a <= b),
    "Log": _plain(torch.log),
    "LogSoftmax": Operator(activation.log_softmax),
    "MatMul": Operator(arithmetic.matmul),
    "Max": Operator(arithmetic.variadic(arithmetic.larger), scalars),
    "MaxPool": Operator(pooling.max_pool),
    "Mean": Operator(arithmetic.mean, scalars),
    "Min": Operator(arithmetic.variadic(arithmetic.smaller), scalars),
    "Mish": _plain(F.mish),
    "Mul": _binary(lambda a, b: a * b),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "Or": Operator(arithmetic.binary(torch.logical_or)),
    "PRelu": Operator(activation.prelu),
    "Pad": Operator(layout.pad, after_data),
    "Pow": _binary(arithmetic.power),
    "Reciprocal": _plain(torch.reciprocal),
    "ReduceL1": _reduction(torch.sum, torch.abs),
    "ReduceL2": Operator(arithmetic.reduce_l2, after_data),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceSum": _reduction(torch.sum),
    "ReduceSumSquare": _reduction(torch.sum, torch.square),
    "Relu": _plain(F.relu),
    "Reshape": Operator(layout.reshape, after_data),
    "Resize": Operator(resize.resize, after_data),
    "Round": _plain(torch.round),
    "Selu": Operator(activation.selu),
    "Shape": Operator(layout.shape),
    "Sigmoid": _plain(torch.sigmoid),
    "Sign": _plain(torch.sign),
    "Sin": _plain(torch.sin),
    "Size": Operator(layout.size),
    "Slice": Operator(layout.slice_, after_data),
    "Softmax": Operator(activation.softmax),
    "Softplus": _plain(F.softplus),
    "Softsign": _plain(F.softsign),
    "SpaceToDepth": Operator(layout.space_to_depth),
    "Split": Operator(layout.split, after_data),
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": Operator(layout.squeeze, after_data),
    "Sub": _binary(lambda a, b: a - b),
    "Sum": Operator(arithmetic.variadic(lambda a, b: a + b), scalars),
    "Swish": Operator(activation.swish),
    "Tanh": _plain(torch.tanh),
    "ThresholdedRelu": Operator(activation.thresholded_relu),
    "Tile": Operator(layout.tile, after_data),
    "Transpose": Operator(layout.transpose),
    "Unsqueeze": Operator(layout.unsqueeze, after_data),
    "Upsample": Operator(resize.resize, after_data),
    "Where": Operator(arithmetic.where, choices),
}

MANY_OUTPUTS = frozenset({"Split"})


def evaluate(node: Node, values: tuple[Value | None, ...]) -> tuple[Value, ...]:
    """The outputs of one node: host arrays where all inputs are, else by the operator table."""
    if not any(isinstance(value, Tensor) for value in values):
        return (evaluate_host(node, values),)
    operator = OPERATORS[node.operator]
    given = [tensor_from(v) if isinstance(v, np.ndarray) and not operator.host(slot, v) else v for slot, v in enumerate(values)]
    result = operator.function(node, *given)
    return result if isinstance(result, tuple) else (result,)


def evaluate_host(node: Node, values: tuple[Value | None, ...]) -> Value:
    """One node on host arrays alone; UnsupportedError where the operator is none that computes on sizes."""
    if node.operator not in HOST_OPERATORS:
        raise unsupported(node, "this operator on sizes of the input", allowed=sorted(HOST_OPERATORS))
    return known(HOST_OPERATORS[node.operator](node, *values))


def evaluate_constants(node: Node, arrays: tuple[Host | None, ...]) -> tuple[Host, ...]:
    """One node on constants: as sizes where the host table has it, else by the operator table on tensors."""
    if node.operator in HOST_OPERATORS:
        results = (evaluate_host(node, arrays),)
    else:
        first = next(slot for slot, array in enumerate(arrays) if array is not None)
        results = evaluate(node, tuple(tensor_from(a) if slot == first and a is not None else a for slot, a in enumerate(arrays)))
    return tuple(value.numpy() if isinstance(value, Tensor) else value for value in results)
