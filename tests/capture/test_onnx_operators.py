"""Every ONNX operator of the table: the same numbers as onnxruntime, and the ATen operations it is captured as."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("onnx", reason="reading ONNX files needs the extra spikeloom[onnx]")
pytest.importorskip("onnxruntime", reason="the reference for ONNX files is onnxruntime (a development dependency)")

import onnx
from onnx import parser
from tests.capture.onnx_models import assert_close, aten_of, exported, inputs_of, ints, loaded, model_of, outputs_of, reference, scalar

from spikeloom.capture.onnx.host import HOST_OPERATORS
from spikeloom.capture.onnx.operators import OPERATORS
from spikeloom.errors import UserError

PICTURE, SEQUENCE, ROW = ("N", 3, 8, 7), ("N", 5, 8), ("N", 8)


class Case(NamedTuple):
    """Nodes, the ATen operations they become, constants, and what differs from a picture at operator set 17."""

    body: str
    aten: str
    constants: dict[str, Any] = {}  # noqa: RUF012 - never written to
    shape: tuple[Any, ...] = PICTURE
    opset: int = 17
    positive: bool = False
    mixes: bool = False  # the outputs depend on the batch as a whole: compared so, not sample by sample


def one(operator: str, aten: str, attributes: str = "", shape: tuple[Any, ...] = PICTURE, opset: int = 17, positive: bool = False) -> Case:
    return Case(f"y = {operator}<{attributes}>(x)" if attributes else f"y = {operator}(x)", aten, {}, shape, opset, positive)


COMPARISONS = {"Greater": "gt", "GreaterOrEqual": "ge", "Less": "lt", "LessOrEqual": "le", "Equal": "eq"}
UNARY = "Abs Ceil Cos Erf Exp Floor Neg Reciprocal Round Sigmoid Sign Sin Softplus Tanh Sqrt Log".split()  # noqa: SIM905
REDUCTIONS = {"Max": "amax", "Mean": "mean.dim", "Min": "amin", "Sum": "sum.dim_IntList"}

CASES = [
    # convolution and normalisation
    Case("y = Conv<pads=[1,1,1,1]>(x, w, b)", "conv2d", {"w": (4, 3, 3, 3), "b": (4,)}),
    Case("y = Conv<pads=[0,1,1,2], strides=[2,2]>(x, w)", "pad conv2d", {"w": (4, 3, 3, 3)}),
    Case('y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)', "pad conv2d", {"w": (4, 3, 3, 2)}),
    Case('y = Conv<auto_pad="SAME_LOWER">(x, w)', "pad conv2d", {"w": (4, 3, 2, 2)}),
    Case('y = Conv<auto_pad="VALID", dilations=[2,2], group=3>(x, w)', "conv2d", {"w": (6, 1, 3, 3)}),
    Case("y = Conv<pads=[1,1]>(x, w)", "conv1d", {"w": (4, 5, 3)}, SEQUENCE),
    Case("y = Conv(x, w)", "conv3d", {"w": (4, 2, 2, 2, 2)}, ("N", 2, 4, 4, 4)),
    Case(
        "y = ConvTranspose<pads=[1,1,1,1], strides=[2,2], output_padding=[1,1]>(x, w, b)",
        "conv_transpose2d.input",
        {"w": (3, 4, 3, 3), "b": (4,)},
    ),
    Case("y = ConvTranspose<pads=[0,1,1,0], strides=[2,2]>(x, w)", "conv_transpose2d.input narrow narrow", {"w": (3, 4, 3, 3)}),
    Case('y = ConvTranspose<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)', "conv_transpose2d.input narrow narrow", {"w": (3, 4, 3, 3)}),
    Case("y = ConvTranspose<output_shape=[16,14], strides=[2,2]>(x, w)", "conv_transpose2d.input", {"w": (3, 4, 4, 4)}),
    Case(
        "y = BatchNormalization<epsilon=0.001>(x, s, b, m, v)", "batch_norm", {"s": (3,), "b": (3,), "m": (3,), "v": np.float32([1, 2, 3])}
    ),
    Case("y = InstanceNormalization(x, s, b)", "instance_norm", {"s": (3,), "b": (3,)}),
    Case("y = LayerNormalization<axis=-1>(x, s, b)", "layer_norm", {"s": (8,), "b": (8,)}, SEQUENCE),
    Case("y = LayerNormalization<axis=-2>(x, s)", "layer_norm mul.Tensor", {"s": (8,)}, SEQUENCE),
    Case("y = LayerNormalization(x, s, b)", "layer_norm mul.Tensor add.Tensor", {"s": (1,), "b": (8,)}, SEQUENCE),
    Case("y = GroupNormalization<num_groups=2>(x, s, b)", "group_norm", {"s": (6,), "b": (6,)}, ("N", 6, 4, 4), 21),
    Case("y = LRN<size=3, alpha=0.1>(x)", None, {}, ("N", 6, 4, 4)),
    # matrix products
    Case("y = Gemm<transB=1>(x, w, b)", "linear", {"w": (4, 8), "b": (4,)}, ROW),
    Case("y = Gemm<alpha=0.5, beta=2.0>(x, w, b)", "linear", {"w": (8, 4), "b": (1, 4)}, ROW),
    Case("y = Gemm<transB=1>(x, w)", "linear", {"w": (4, 8)}, ROW),
    Case(
        "t = Transpose(x)\ny = Gemm<transA=1, alpha=2.0, beta=0.5>(t, w, c)",
        "permute t t linear mul.Tensor mul.Tensor add.Tensor",
        {"w": (8, 4), "c": (1, 4)},
        ROW,
    ),
    Case("t = MatMul(x, w)\ny = Add(b, t)", "linear", {"w": (8, 4), "b": (4,)}, SEQUENCE),
    Case("t = MatMul(x, w)\ny = Add(t, b)", "linear", {"w": (8, 4), "b": scalar(0.5)}, SEQUENCE),
    Case("t = MatMul(x, w)\nu = Add(t, b)\ny = Mul(u, t)", "linear add.Tensor mul.Tensor", {"w": (8, 4), "b": (4,)}, SEQUENCE),
    Case("t = MatMul(x, w)\ny = Add(t, b)", "linear add.Tensor", {"w": (8, 4), "b": (5, 4)}, SEQUENCE),
    Case("t = Transpose<perm=[0,2,1]>(x)\ny = MatMul(x, t)", "permute matmul", {}, SEQUENCE),
    Case("y = MatMul(w, x)", "matmul", {"w": (4, 5)}, SEQUENCE),
    Case('y = Einsum<equation="bik,kj->bij">(x, w)', "einsum", {"w": (8, 4)}, SEQUENCE),
    # pooling
    one("MaxPool", "max_pool2d", "kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]"),
    one("MaxPool", "max_pool2d", "kernel_shape=[3,3], strides=[2,2], ceil_mode=1, dilations=[2,1]"),
    one("MaxPool", "max_pool2d", 'kernel_shape=[3,3], strides=[2,2], auto_pad="SAME_UPPER"'),
    one("MaxPool", "pad max_pool2d", "kernel_shape=[2,2], pads=[0,0,1,1]"),
    one("MaxPool", "pad max_pool2d", "kernel_shape=[3,2], pads=[2,0,0,1], strides=[2,2]"),
    one("MaxPool", "pad max_pool2d", "kernel_shape=[3,3], pads=[2,2,2,2], strides=[2,2]"),
    one("MaxPool", "max_pool1d", "kernel_shape=[3], strides=[2]", SEQUENCE),
    one("AveragePool", "avg_pool2d", "kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]"),
    one("AveragePool", "avg_pool2d", "kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2], count_include_pad=1"),
    one("AveragePool", "avg_pool2d", "kernel_shape=[3,3], strides=[2,2], ceil_mode=1", opset=19),
    one("AveragePool", "avg_pool2d", 'kernel_shape=[3,3], strides=[2,2], auto_pad="SAME_UPPER"'),
    one("AveragePool", "pad avg_pool2d", "kernel_shape=[3,3], pads=[0,0,1,1], strides=[2,2], count_include_pad=1"),
    one("AveragePool", "ones pad pad avg_pool2d avg_pool2d div.Tensor", "kernel_shape=[2,2], pads=[0,0,1,1]"),
    one("GlobalAveragePool", "adaptive_avg_pool2d"),
    one("GlobalAveragePool", "adaptive_avg_pool1d", shape=SEQUENCE),
    one("GlobalMaxPool", "amax"),
    # activations
    one("Relu", "relu"),
    Case("y = Clip(x, l, h)", "relu6", {"l": scalar(0), "h": scalar(6)}),
    Case("y = Clip(x, l)", "relu", {"l": scalar(0)}),
    Case("y = Clip(x, l, h)", "hardtanh", {"l": scalar(-0.5), "h": scalar(0.7)}),
    Case("y = Clip(x, , h)", "clamp", {"h": scalar(0.7)}),
    Case("y = Clip<min=0.0, max=6.0>(x)", "relu6", opset=9),
    Case("t = ReduceMean<keepdims=0>(x)\ny = Clip(x, , t)", "mean.dim minimum", shape=ROW, mixes=True),
    Case("t = ReduceMean<keepdims=0>(x)\ny = Clip(x, t, h)", "mean.dim maximum clamp", {"h": scalar(1)}, ROW, mixes=True),
    one("LeakyRelu", "leaky_relu", "alpha=0.2"),
    Case("y = PRelu(x, s)", "prelu", {"s": (3, 1, 1)}),
    Case("y = PRelu(x, s)", "prelu", {"s": (1, 1, 1)}),
    Case("y = PRelu(x, s)", "ge.Scalar mul.Tensor where.self", {"s": (7,)}),
    Case("y = PRelu(x, s)", "prelu", {"s": (8,)}, ROW),
    one("Elu", "elu", "alpha=0.5"),
    one("Celu", "celu", "alpha=0.5"),
    one("Selu", "selu"),
    one("Selu", "elu mul.Tensor", "alpha=1.2, gamma=1.1"),
    one("HardSigmoid", "mul.Tensor add.Tensor hardtanh"),
    one("HardSigmoid", "hardsigmoid", "alpha=0.16666667, beta=0.5"),
    one("HardSwish", "hardswish"),
    one("ThresholdedRelu", "threshold", "alpha=0.5"),
    one("Softsign", "abs add.Tensor div.Tensor"),
    one("Gelu", "gelu", opset=20),
    one("Gelu", "gelu", 'approximate="tanh"', opset=20),
    one("Mish", "mish", opset=18),
    one("Swish", "mul.Tensor sigmoid mul.Tensor", "alpha=2.0", opset=24),
    one("Softmax", "softmax.int", "axis=1"),
    one("Softmax", "flatten.using_ints softmax.int reshape", opset=11),
    one("LogSoftmax", "log_softmax.int"),
    *(one(name, name.lower() if name != "Log" else "log", positive=True) for name in UNARY),
    # arithmetic
    *(Case(f"y = {name}(x, w)", f"{name.lower()}.Tensor", {"w": (3, 1, 1)}) for name in ("Add", "Sub", "Mul", "Div")),
    Case("y = Sub(c, x)", "rsub.Scalar", {"c": scalar(1)}),
    Case("y = Mul(x, c)", "mul.Tensor reshape", {"c": np.full((1, 1, 1), 0.5, np.float32)}, ROW, mixes=True),
    Case("y = Pow(x, c)", "pow.Tensor_Scalar", {"c": scalar(2)}),
    Case("y = Pow(x, c)", "pow.Tensor_Tensor", {"c": np.float32([1, 2, 3]).reshape(3, 1, 1)}, positive=True),
    Case("y = Max(x, c)", "relu", {"c": scalar(0)}),
    Case("y = Max(x, w, c)", "maximum clamp", {"w": (3, 1, 1), "c": scalar(-0.3)}),
    Case("y = Min(c, x, w)", "clamp minimum", {"w": (3, 1, 1), "c": scalar(0.3)}),
    Case("y = Sum(x, w, x)", "add.Tensor add.Tensor", {"w": (3, 1, 1)}),
    Case("y = Mean(x, w)", "add.Tensor div.Tensor", {"w": (3, 1, 1)}),
    *(Case(f"c = {k}(x, t)\ny = Where(c, x, t)", f"{v}.Scalar where.ScalarOther", {"t": scalar(0.2)}) for k, v in COMPARISONS.items()),
    Case(
        "a = Greater(x, t)\nb = Less(x, u)\nc = And(a, b)\nd = Not(c)\ne = Or(d, a)\ny = Cast<to=1>(e)",
        None,
        {"t": scalar(0), "u": (3, 1, 1)},
    ),
    Case("i = Cast<to=6>(x)\nj = Div(i, c)\ny = Cast<to=1>(j)", "to.dtype div.Tensor_mode to.dtype", {"c": np.int32(2)}),
    *(one(f"Reduce{k}", v, "axes=[2,3], keepdims=0", opset=11) for k, v in REDUCTIONS.items()),
    Case("y = ReduceMean(x, a)", "mean.dim", {"a": ints(2, 3)}, opset=18),
    Case("c = Equal(t, x)\nd = And(c, f)\ny = Where(d, x, t)", None, {"t": scalar(0.2), "f": np.array([True])}),
    one("ReduceSum", "", "noop_with_empty_axes=1"),
    one("ReduceL1", "abs sum.dim_IntList", "axes=[1]"),
    one("ReduceL2", "square sum.dim_IntList sqrt", "axes=[1]"),
    one("ReduceSumSquare", "square sum.dim_IntList", "axes=[1]"),
    Case("i = ArgMax<axis=1>(x)\ny = Cast<to=1>(i)", "argmax to.dtype"),
    Case("i = ArgMin<axis=2, keepdims=0>(x)\ny = Cast<to=1>(i)", "argmin to.dtype"),
    # layout
    Case("t = Identity(x)\ny = Relu(t)", "relu"),
    Case("t = Dropout(x)\ny = Relu(t)", "relu"),
    Case("y = Reshape(x, s)", "reshape", {"s": ints(0, 3, -1)}),
    one("Flatten", "flatten.using_ints"),
    one("Flatten", "flatten.using_ints flatten.using_ints", "axis=-2"),
    one("Transpose", "permute", "perm=[0,2,3,1]"),
    Case("t = Unsqueeze(x, a)\ny = Relu(t)", "unsqueeze unsqueeze relu", {"a": ints(1, -1)}, ROW),
    Case("y = Squeeze(x, a)", "squeeze.dims", {"a": ints(2, 3)}, ("N", 3, 1, 1)),
    one("Squeeze", "squeeze.dim", "axes=[1]", ("N", 1, 4), 11),
    Case("y = Concat<axis=1>(x, x)", "cat"),
    Case("a, b = Split<axis=1>(x, s)\ny = Concat<axis=1>(b, a)", "split_with_sizes cat", {"s": ints(1, 2)}),
    Case("a, b = Split<axis=2>(x)\ny = Add(a, b)", "split.Tensor add.Tensor"),
    Case("a, b = Split<axis=3, num_outputs=2>(x)\ny = Relu(b)", "split.Tensor relu", opset=18),
    Case("y = Slice(x, s, e, a, t)", "slice.Tensor slice.Tensor", {"s": ints(1, 0), "e": ints(3, 2**62), "a": ints(1, 2), "t": ints(1, 2)}),
    Case("y = Slice(x, s, e, a, t)", "slice.Tensor flip", {"s": ints(-1), "e": ints(-(2**62)), "a": ints(3), "t": ints(-2)}),
    one("Slice", "slice.Tensor", "axes=[2], starts=[1], ends=[-1]", opset=9),
    Case("y = Gather<axis=1>(x, i)", "select.int", {"i": ints(-1).reshape(())}),
    Case("y = Gather<axis=3>(x, i)", "slice.Tensor", {"i": ints(1, 3, 5)}),
    Case("y = Gather<axis=1>(x, i)", "index.Tensor", {"i": ints(2, 1, 0)}),
    Case("y = Gather<axis=3>(x, i)", "index.Tensor", {"i": ints(-1, 0, 1)}),
    Case("y = Gather<axis=3>(x, i)", "index.Tensor", {"i": ints(0, -1, 2, 3).reshape(2, 2)}),
    Case("y = Expand(x, s)", "expand", {"s": ints(1, 3, 4, 7)}, ("N", 3, 1, 7)),
    Case("y = Tile(x, r)", "repeat", {"r": ints(1, 2, 1, 3)}),
    Case("y = Pad(x, p, v)", "pad", {"p": ints(0, 1, 1, 0, 0, 0, 2, 3), "v": scalar(0.5)}),
    Case("y = Pad(x, p, , a)", "pad", {"p": ints(-1, 2, 0, 1), "a": ints(2, 3)}, opset=18),
    Case('y = Pad<mode="reflect">(x, p)', "pad", {"p": ints(0, 0, 1, 2, 0, 0, 2, 1)}),
    Case('y = Pad<mode="edge">(x, p)', "pad", {"p": ints(0, 0, 1, 2, 0, 0, 2, 1)}),
    Case('t = Pad<mode="edge">(x, p)\ny = Relu(t)', "relu", {"p": ints(0, 0, 0, 0, 0, 0, 0, 0)}),
    Case("y = Pad<pads=[0,0,1,1,0,0,1,1]>(x)", "pad", opset=9),
    one("DepthToSpace", "reshape permute reshape", "blocksize=2", ("N", 8, 3, 4)),
    one("DepthToSpace", "pixel_shuffle", 'blocksize=2, mode="CRD"', ("N", 8, 3, 4)),
    one("SpaceToDepth", "reshape permute reshape", "blocksize=2", ("N", 2, 4, 6)),
    # resizing
    Case(
        'y = Resize<coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, , s)',
        "upsample_nearest2d.vec",
        {"s": np.float32([1, 1, 2, 2])},
    ),
    Case("y = Resize(x, , s)", "upsample_nearest2d.vec", {"s": np.float32([1, 1, 3, 2])}),
    Case('y = Resize<nearest_mode="round_prefer_ceil">(x, , , n)', "_upsample_nearest_exact2d.vec", {"n": ints(1, 3, 4, 14)}),
    Case('y = Resize<mode="linear">(x, , , n)', "upsample_bilinear2d.vec", {"n": ints(1, 3, 5, 11)}),
    Case('y = Resize<mode="linear">(x, , s)', "upsample_bilinear2d.vec", {"s": np.float32([1, 1, 1.3, 0.6])}),
    Case(
        'y = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , , n)',
        "upsample_bilinear2d.vec",
        {"n": ints(1, 3, 5, 11)},
    ),
    Case(
        'y = Resize<mode="linear", coordinate_transformation_mode="pytorch_half_pixel">(x, , , n)',
        "upsample_bilinear2d.vec",
        {"n": ints(1, 3, 5, 11)},
    ),
    Case('y = Resize<mode="cubic">(x, , s)', "upsample_bicubic2d.vec", {"s": np.float32([1, 1, 2, 2])}),
    Case('y = Resize<mode="linear">(x, , s)', "upsample_linear1d.vec", {"s": np.float32([1, 1, 2])}, SEQUENCE),
    Case("y = Resize<axes=[2,3]>(x, , s)", "upsample_nearest2d.vec", {"s": np.float32([2, 2])}, opset=18),
    Case("y = Resize(x, s)", "upsample_nearest2d.vec", {"s": np.float32([1, 1, 2, 2])}, opset=10),
    Case("y = Upsample(x, s)", "upsample_nearest2d.vec", {"s": np.float32([1, 1, 2, 2])}, opset=9),
    one("Upsample", "upsample_nearest2d.vec", 'scales=[1.0,1.0,2.0,2.0], mode="nearest"', opset=7),
    # idioms
    Case("s = Sigmoid(x)\ny = Mul(s, x)", "silu"),
    Case("s = HardSigmoid<alpha=0.16666667, beta=0.5>(x)\ny = Mul(x, s)", "hardswish"),
    Case("s = HardSigmoid(x)\ny = Mul(x, s)", "mul.Tensor add.Tensor hardtanh mul.Tensor"),
    Case("a = Add(x, c)\nb = Clip(a, l, h)\nm = Mul(x, b)\ny = Div(m, h)", "hardswish", {"c": scalar(3), "l": scalar(0), "h": scalar(6)}),
    Case(
        "d = Div(x, r)\ne = Erf(d)\na = Add(e, i)\nm = Mul(x, a)\ny = Mul(m, h)",
        "gelu",
        {"r": scalar(2**0.5), "i": scalar(1), "h": scalar(0.5)},
    ),
    Case(
        "m = ReduceMean<axes=[-1]>(x)\nd = Sub(x, m)\np = Pow(d, t)\nv = ReduceMean<axes=[-1]>(p)\n"
        "a = Add(v, e)\ns = Sqrt(a)\nq = Div(d, s)\ng = Mul(q, w)\ny = Add(g, b)",
        "layer_norm",
        {"t": scalar(2), "e": scalar(1e-5), "w": (8,), "b": (8,)},
        SEQUENCE,
    ),
    Case(  # over another axis it is no layer normalisation
        "m = ReduceMean<axes=[1]>(x)\nd = Sub(x, m)\np = Pow(d, t)\nv = ReduceMean<axes=[1]>(p)\na = Add(v, e)\ns = Sqrt(a)\n"
        "q = Div(d, s)\ng = Mul(q, w)\ny = Add(g, b)",
        None,
        {"t": scalar(2), "e": scalar(1e-5), "w": (8,), "b": (8,)},
        SEQUENCE,
    ),
    # sizes that a graph computes
    Case(
        "s = Shape(x)\nf = Gather(s, i)\nu = Unsqueeze(f, o)\nv = Concat<axis=0>(u, m)\ny = Reshape(x, v)",
        "reshape",
        {"i": ints(0).reshape(()), "o": ints(0), "m": ints(-1)},
    ),
    Case(
        "s = Shape(x)\nb = Slice(s, o, t)\nv = Concat<axis=0>(b, n)\ny = Expand(w, v)",
        "expand",
        {"o": ints(0), "t": ints(1), "n": ints(4), "w": (1, 4)},
    ),
    Case(
        "z = Size(x)\ns = Shape(x)\nb = Gather(s, i)\nq = Div(z, b)\nu = Unsqueeze(q, o)\nv = Concat<axis=0>(m, u)\ny = Reshape(x, v)",
        "reshape",
        {"i": ints(0).reshape(()), "o": ints(0), "m": ints(-1)},
    ),
    Case(
        "s = Shape(x)\nr = Slice(s, a, b)\nc = Cast<to=1>(r)\nf = Floor(c)\nq = Sqrt(f)\n"
        "g = Ceil(q)\nk = Abs(g)\np = ReduceProd<keepdims=0>(k)\ny = Mul(x, p)",
        "mul.Tensor",
        {"a": ints(2), "b": ints(4)},
    ),
    Case(
        "s = Shape(x)\nn = Shape(s)\no = ConstantOfShape<value: tensor = int64[1] {1}>(n)\n"
        "m = Mul(o, g)\ne = Equal(t, m)\nv = Where(e, o, t)\ny = Expand(x, v)",
        None,
        {"g": ints(-1), "t": ints(-1, 3, 4, 7)},
        ("N", 3, 1, 7),
    ),
    Case(
        "s = Shape<start=0, end=1>(x)\nv = Concat<axis=0>(s, n)\nz = ConstantOfShape(v)\ny = Concat<axis=1>(x, z)",
        "full cat",
        {"n": ints(2)},
        ROW,
    ),
    Case(
        "s = Shape<start=0, end=1>(x)\nb = Squeeze(s)\nr = Range(o, b, i)\nf = Cast<to=1>(r)\nu = Unsqueeze(f, a)\ny = Add(x, u)",
        None,
        {"o": ints(0).reshape(()), "i": ints(1).reshape(()), "a": ints(1)},
        ROW,
        mixes=True,
    ),
    Case(
        "s = Shape<start=1>(x)\nc = Mod(s, k)\nd = Add(c, k)\ne = Sub(d, k)\ng = Max(e, k)\n"
        "h = Min(g, k)\nt = Reshape(h, m)\nw = Transpose(t)\nv = Identity(w)\ni = Reshape(v, m)\n"
        "l = Gather(s, i)\ny = Reshape(x, j)",
        "reshape",
        {"k": ints(2), "m": ints(-1), "j": ints(0, -1)},
        ("N", 3, 4, 5),
    ),
]


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{i}-{case.body.split('=')[1].split('<')[0].strip()[:24]}") for i, case in enumerate(CASES)]
)
def test_operator_equals_onnxruntime_and_captures_as_one_aten_operation(case: Case, tmp_path: Path) -> None:
    model = model_of(case.body, {"x": case.shape}, opset=case.opset, **case.constants)
    module = loaded(tmp_path, model)
    for batch in (1, 3):
        (x,) = inputs_of(module, batch, case.positive)
        samples = [x] if case.mixes else [x[i : i + 1] for i in range(batch)]
        wanted = [np.concatenate([reference(model, module, [sample])[0] for sample in samples])]
        assert_close(outputs_of(module, [x]), wanted)
    assert module.fixed_batch is None
    program = exported(module)
    if case.aten is not None:
        assert aten_of(program) == case.aten.split()
    assert_close(outputs_of(program.module(), [x]), wanted)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning:onnx")
def test_onnx_conformance_cases_are_met_or_refused_and_never_wrong(tmp_path: Path) -> None:
    met, wrong = 0, list[str]()
    for case in pytest.importorskip("onnx.backend.test.case.node").collect_testcases(None):
        inputs, wanted = ([np.asarray(value) if isinstance(value, np.ndarray) else None for value in side] for side in case.data_sets[0])
        if not {node.op_type for node in case.model.graph.node} <= set(OPERATORS) or any(v is None or v.size == 0 for v in inputs + wanted):
            continue
        for name, array in zip([spec.name for spec in case.model.graph.input][1:], inputs[1:], strict=True):
            case.model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        try:
            module = loaded(tmp_path, case.model)
        except UserError:
            continue
        met += 1
        found = outputs_of(module, inputs[:1])
        if not all(y.shape == r.shape and y.dtype == r.dtype and np.allclose(y, r, 1e-3, 1e-5) for y, r in zip(found, wanted, strict=True)):
            wrong.append(case.name)
    assert wrong == []
    assert met > 400


def test_every_operator_of_both_tables_has_a_case() -> None:
    used = {parser.parse_node(line.strip()).op_type for case in CASES for line in case.body.splitlines()}
    quantised = {"DequantizeLinear", "QuantizeLinear"}  # constants only: below
    assert (set(OPERATORS) | set(HOST_OPERATORS)) - used == quantised
