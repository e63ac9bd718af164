"""ONNX files as modules: names, folded constants, the batch dimension, real models, and one clear error for each thing that is wrong."""

import copy
import inspect
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("onnx", reason="reading ONNX files needs the extra spikeloom[onnx]")
pytest.importorskip("onnxruntime", reason="the reference for ONNX files is onnxruntime (a development dependency)")

import onnx
from onnx import parser
from tests.capture.onnx_models import assert_close, aten_of, exported, inputs_of, ints, loaded, model_of, outputs_of, reference, scalar

from spikeloom.capture.onnx import InputSpec, load_onnx
from spikeloom.capture.onnx.batch import free_target
from spikeloom.capture.onnx.pooling import count
from spikeloom.errors import NumericError, ResourceError, SourceError, UnsupportedError

PICTURE = ("N", 3, 8, 8)
CONV = "y = Conv(x, w)"


# --- what a module holds ---------------------------------------------------------------------------------------------------


def test_names_are_the_files_made_readable_and_statistics_are_buffers(tmp_path: Path) -> None:
    body = "c = Conv(x, features_0, features_0_2)\nn = BatchNormalization(c, s, b, m, v)\ny = Relu(n)"
    arrays = {name: np.ones(4, np.float32) for name in ("s", "b", "m", "v", "features_0_2")}
    model = model_of(body, {"x": PICTURE}, features_0=(4, 3, 3, 3), **arrays)
    renamed = {"features_0": "features.0/weight", "features_0_2": "features.0/bias", "s": "12", "b": "type", "m": "bn::mean"}
    for names in [model.graph.node[0].input, model.graph.node[1].input]:
        for place, name in enumerate(names):
            names[place] = renamed.get(name, name)
    for tensor in model.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    model.graph.node[0].name, model.graph.node[1].name, model.graph.node[2].name = "/stem/conv", "/stem/conv", "forward"
    module = loaded(tmp_path, model)
    assert [name for name, _ in module.named_parameters()] == ["features_0_weight", "features_0_bias", "tensor_12", "type_2"]
    assert [name for name, _ in module.named_buffers()] == ["bn_mean", "v"]
    assert [name for name, _ in module.named_children()] == ["stem_conv", "stem_conv_2", "forward_2"]
    assert not module.training
    stack = [list(node.meta["nn_module_stack"].values())[-1][0] for node in exported(module).graph.nodes if node.op == "call_function"]
    assert stack == ["stem_conv", "stem_conv_2", "forward_2"]


def test_a_module_owns_its_weights_and_a_copy_runs_on_its_own(tmp_path: Path) -> None:
    module = loaded(tmp_path, model_of(CONV, {"x": PICTURE}, w=(4, 3, 3, 3)))
    inputs = inputs_of(module, 2)
    before, twin = outputs_of(module, inputs), copy.deepcopy(module)
    with torch.no_grad():
        nn.init.zeros_(module.get_parameter("w"))
    assert float(np.abs(outputs_of(module, inputs)[0]).max()) == 0.0
    assert_close(outputs_of(twin, inputs), before)


def test_values_are_forgotten_after_their_last_use(tmp_path: Path) -> None:
    body = "a = Relu(x)\nb = Sigmoid(a)\nc = Tanh(b)\nd = Add(a, c)\ny = Neg(d)"
    module, alive = loaded(tmp_path, model_of(body, {"x": ("N", 4)})), list[str]()
    seen: dict[str, weakref.ref[torch.Tensor]] = {}

    def watch(layer: nn.Module, given: Any, results: Any) -> None:
        alive.append("".join(name for name, value in seen.items() if value() is not None))
        seen[layer.node.outputs[0]] = weakref.ref(results[0])

    for layer in module.children():
        layer.register_forward_hook(watch)
    assert_close(
        outputs_of(module, [np.float32([[1, -1, 2, 0]])]),
        [-np.float32([[1, 0, 2, 0]]) - np.tanh(1 / (1 + np.exp(-np.float32([[1, 0, 2, 0]]))))],
    )
    assert alive == ["", "a", "ab", "ac", "d"]


def test_several_inputs_and_outputs_keep_their_order_and_names(tmp_path: Path) -> None:
    model = model_of("a = Sub(self, i)\nb = Relu(i)", {"i": ("N", 4), "self": ("N", 4)}, ("a", "b", "c"), c=(2, 4))
    model.graph.input[0].name = model.graph.node[0].input[1] = model.graph.node[1].input[0] = "in.0"
    module = loaded(tmp_path, model)
    assert [spec.name for spec in module.input_specs] == ["in.0", "self"]
    assert list(inspect.signature(module.forward).parameters) == ["in_0", "self_2"]
    inputs = inputs_of(module, 3)
    assert_close(outputs_of(module, inputs), reference(model, module, inputs))
    shapes = {"in_0": {0: torch.export.Dim.DYNAMIC}, "self_2": {0: torch.export.Dim.DYNAMIC}}
    program = torch.export.export(module, tuple(map(torch.from_numpy, inputs)), dynamic_shapes=shapes, strict=False)
    assert aten_of(program) == ["sub.Tensor", "relu"]
    assert_close(outputs_of(program.module(), inputs), reference(model, module, inputs))


def test_input_specs_say_what_is_dynamic(tmp_path: Path) -> None:
    module = loaded(tmp_path, model_of("y = Conv<pads=[1,1,1,1]>(x, w)", {"x": ("N", 3, "h", "w")}, w=(4, 3, 3, 3)))
    assert module.input_specs == (InputSpec("x", (None, 3, None, None), torch.float32),)


def test_dynamic_height_and_width_export(tmp_path: Path) -> None:
    body = """c = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w)
              p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(c)
              u = Resize<nearest_mode="floor", coordinate_transformation_mode="asymmetric">(p, , s)
              y = GlobalAveragePool(u)"""
    module = loaded(tmp_path, model_of(body, {"x": ("N", 3, "h", "w")}, w=(4, 3, 3, 3), s=np.float32([1, 1, 2, 2])))
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(module, (torch.zeros(2, 3, 16, 20),), dynamic_shapes=(sizes,), strict=False)
    assert aten_of(program) == ["conv2d", "max_pool2d", "upsample_nearest2d.vec", "adaptive_avg_pool2d"]
    assert_close(outputs_of(program.module(), [x := np.ones((1, 3, 24, 18), np.float32)]), outputs_of(module, [x]))


# --- constants -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "constants"),
    [
        ("", {"q": np.arange(108, dtype=np.uint8).reshape(4, 3, 3, 3), "s": scalar(0.1), "z": np.uint8(100)}),
        (
            "<axis=0>",
            {"q": np.arange(-54, 54, dtype=np.int8).reshape(4, 3, 3, 3), "s": np.float32([0.1, 1, 2, 3]), "z": np.int8([0, 1, -2, 3])},
        ),
        (
            "<axis=1, block_size=2>",
            {"q": np.arange(108, dtype=np.int8).reshape(4, 3, 3, 3), "s": (4, 2, 3, 3), "z": np.zeros((4, 2, 3, 3), np.int8)},
        ),
    ],
)
def test_quantised_weights_become_float_parameters(attributes: str, constants: dict[str, Any], tmp_path: Path) -> None:
    model = model_of(f"w = DequantizeLinear{attributes}(q, s, z)\n{CONV}", {"x": PICTURE}, opset=21, **constants)
    module = loaded(tmp_path, model)
    assert [name for name, _ in module.named_parameters()] == ["w"]
    assert aten_of(exported(module)) == ["conv2d"]
    inputs = inputs_of(module, 2)
    assert_close(outputs_of(module, inputs), reference(model, module, inputs))


def test_weights_quantised_and_back_in_the_file_are_rounded_so(tmp_path: Path) -> None:
    body = f"q = QuantizeLinear(v, s, z)\nw = DequantizeLinear(q, s, z)\n{CONV}"
    model = model_of(body, {"x": PICTURE}, v=(4, 3, 3, 3), s=scalar(0.01), z=np.int8(3))
    module = loaded(tmp_path, model)
    steps = module.get_parameter("w").detach() / 0.01
    assert torch.allclose(steps, steps.round(), atol=1e-4)
    assert float(steps.max()) == pytest.approx(124, abs=1e-3)  # saturates at 127 less the zero point
    inputs = inputs_of(module, 2)
    assert_close(outputs_of(module, inputs), reference(model, module, inputs))


def test_constants_are_folded_before_anything_runs(tmp_path: Path) -> None:
    body = f"k = Constant<value_floats=[2.0]>()\nt = Transpose<perm=[3,2,0,1]>(v)\nw = Mul(t, k)\n{CONV}"
    model = model_of(body, {"x": PICTURE}, v=(3, 3, 3, 4))
    module = loaded(tmp_path, model)
    assert [name for name, _ in module.named_parameters()] == ["w"]
    inputs = inputs_of(module, 2)
    assert_close(outputs_of(module, inputs), reference(model, module, inputs))


def test_a_constant_may_be_infinite(tmp_path: Path) -> None:
    model = model_of("c = Div(a, b)\nt = Div(x, c)\ny = Sub(x, t)", {"x": ("N", 4)}, a=np.float32([1, 1, 1, 1]), b=np.float32([1, 0, 2, 0]))
    module = loaded(tmp_path, model)
    inputs = inputs_of(module, 2)
    assert_close(outputs_of(module, inputs), reference(model, module, inputs))


def test_a_weight_read_as_it_is_and_transposed_stays_right_in_both_places(tmp_path: Path) -> None:
    model = model_of("a = Gemm(x, w)\nb = Gemm<transB=1>(a, w)\ny = Gemm<alpha=2.0>(b, w)", {"x": ("N", 4)}, w=(4, 4))
    module = loaded(tmp_path, model)
    inputs = inputs_of(module, 3)
    assert_close(outputs_of(module, inputs), reference(model, module, inputs))


def test_local_functions_are_inlined_and_dead_nodes_dropped(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
    g (float[N,4] x) => (float[N,4] y) { d = Foo(x)  y = mine.twice(x) }
    <domain: "mine", opset_import: ["" : 17]> twice (a) => (b) { b = Add(a, a) }"""
    module = loaded(tmp_path, parser.parse_model(text))
    assert aten_of(exported(module)) == ["add.Tensor"]


def test_weights_in_another_file_are_read(tmp_path: Path) -> None:
    model = model_of(CONV, {"x": PICTURE}, w=(4, 3, 3, 3))
    expected = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert np.array_equal(load_onnx(tmp_path / "m.onnx").get_parameter("w").detach().numpy(), expected)


# --- the batch dimension ---------------------------------------------------------------------------------------------------

SHUFFLE = """a = Reshape(x, t)
             b = Transpose<perm=[1,0,2]>(a)
             c = Reshape(b, u)
             y = Gather<axis=0>(c, i)"""  # ShuffleNet's channel split, the batch merged with the channels
FIXED = {
    "heads": ("t = Transpose<perm=[0,2,3,1]>(x)\ny = Reshape(t, s)", {"s": ints(1, -1, 2)}),
    "channel shuffle": (SHUFFLE, {"t": ints(2, 2, 64), "u": ints(2, -1, 2, 8, 8), "i": ints(1).reshape(())}),
    "class token": ("t = Reshape(x, s)\ny = Concat<axis=1>(c, t)", {"s": ints(1, 4, 64), "c": (1, 1, 64)}),
    "sizes of a resize": ('y = Resize<mode="linear">(x, , , s)', {"s": ints(1, 4, 5, 5)}),
}


@pytest.mark.parametrize("name", FIXED)
def test_a_file_with_batch_1_takes_any_batch_and_gives_the_same_for_each_sample(name: str, tmp_path: Path) -> None:
    body, constants = FIXED[name]
    model = model_of(body, {"x": (1, 4, 8, 8)}, **constants)
    module = loaded(tmp_path, model)
    assert module.fixed_batch is None
    assert module.input_specs[0].shape == (None, 4, 8, 8)
    (x,) = inputs_of(module, 3)
    wanted = [np.concatenate([reference(model, module, [x[i : i + 1]])[0] for i in range(3)])]
    assert_close(outputs_of(module, [x]), wanted)
    assert_close(outputs_of(exported(module).module(), [x]), wanted)


@pytest.mark.parametrize(
    ("body", "constants", "shape", "batch"),
    [
        ("y = Gather<axis=0>(x, i)", {"i": ints(0).reshape(())}, (1, 4, 8, 8), 1),  # the batch is taken away
        ("y = Softmax<axis=0>(x)", {}, (1, 4, 8, 8), 1),  # samples meet
        ("m = ReduceMean<axes=[0]>(x)\ny = Expand(m, s)", {"s": ints(2, 4, 8, 8)}, (1, 4, 8, 8), 1),  # always two rows
        ("t = Transpose<perm=[1,2,3,0]>(x)\ny = Reshape(t, s)", {"s": ints(1, 256)}, (1, 4, 8, 8), 1),  # the batch innermost
        ("y = Reshape(x, s)", {"s": ints(2, 256)}, (2, 4, 8, 8), 2),
        ("y = Reshape(x, s)", {"s": ints(1, 4)}, (1, "n"), 1),  # sizes not known: not run
    ],
)
def test_a_batch_that_cannot_be_freed_is_kept_and_said(
    body: str, constants: dict[str, Any], shape: tuple[Any, ...], batch: int, tmp_path: Path
) -> None:
    model = model_of(body, {"x": shape}, **constants)
    module = loaded(tmp_path, model)
    assert module.fixed_batch == batch
    inputs = [np.random.default_rng(0).normal(size=[s if isinstance(s, int) else 4 for s in shape]).astype(np.float32)]
    assert_close(outputs_of(module, inputs), reference(model, module, inputs))


def test_a_declared_dynamic_batch_that_only_runs_at_1_is_said_to_be_fixed(tmp_path: Path) -> None:
    body = "t = Transpose<perm=[1,2,3,0]>(x)\na = Reshape(t, s)\ny = Add(a, b)"
    module = loaded(tmp_path, model_of(body, {"x": ("N", 4, 8, 8)}, s=ints(2, -1), b=(2, 128)))
    assert module.fixed_batch == 1


@pytest.mark.parametrize(
    ("single", "double", "target", "free"),
    [
        ((1, 4, 6), (2, 4, 6), (1, 24), [-1, 24]),
        ((1, 4, 6), (2, 4, 6), (2, 2, 6), [-1, 2, 6]),  # merged with the channels
        ((2, 3, 5), (2, 6, 5), (2, 1, 3, 5), [2, -1, 3, 5]),  # behind an axis of 2
        ((6, 1), (6, 2), (4, 1, 6), None),  # inside an axis of the target
        ((1, 1), (2, 2), (1, 1), None),
    ],
)
def test_the_place_of_the_batch_in_a_reshape(single: Any, double: Any, target: Any, free: Any) -> None:
    assert free_target(single, double, target) == free


def test_windows_that_start_in_the_end_padding_do_not_count() -> None:
    assert count(8, 3, 2, 0, 0, ceil=False) == 3
    assert count(8, 3, 2, 0, 0, ceil=True) == 4
    assert count(6, 2, 3, 0, 1, ceil=True) == 2  # a third would start at 6, in the padding


# --- what is refused -------------------------------------------------------------------------------------------------------


def test_all_unsupported_operators_are_named_in_one_error(tmp_path: Path) -> None:
    body = "a = NonZero(x)\nb = Foo(x)\nv, i = TopK(x, k)\nm, j = MaxPool<kernel_shape=[2,2]>(x)\ny = com.acme.Bar(a, b, v, m, j)"
    model = model_of(body, {"x": PICTURE}, k=ints(1))
    for index, node in enumerate(model.graph.node):
        node.name = f"n{index}"
    model.opset_import.append(onnx.helper.make_opsetid("com.acme", 1))
    with pytest.raises(UnsupportedError, match="5 operator") as caught:
        loaded(tmp_path, model)
    assert caught.value.found == "Foo: n1; MaxPool with a second output: n3; NonZero: n0; TopK: n2; com.acme.Bar: n4"


def test_quantised_activations_are_refused_with_advice(tmp_path: Path) -> None:
    body = f"q = QuantizeLinear(x, s, z)\nd = DequantizeLinear(q, s, z)\n{CONV.replace('x', 'd')}"
    with pytest.raises(UnsupportedError, match="before activations were quantised"):
        loaded(tmp_path, model_of(body, {"x": PICTURE}, w=(4, 3, 3, 3), s=scalar(0.1), z=np.uint8(0)))


@pytest.mark.parametrize(
    ("body", "constants", "message", "opset"),
    [
        (
            'y = Resize<mode="linear", coordinate_transformation_mode="asymmetric">(x, , s)',
            {"s": np.float32([1, 1, 2, 2])},
            "linear resizing by asymmetric",
            17,
        ),
        ('y = Resize<nearest_mode="ceil">(x, , s)', {"s": np.float32([1, 1, 2, 2])}, "nearest resizing by half_pixel with ceil", 17),
        ('y = Resize<mode="cubic", cubic_coeff_a=-0.5>(x, , s)', {"s": np.float32([1, 1, 2, 2])}, "cubic resizing", 17),
        ('y = Resize<antialias=1, mode="linear">(x, , s)', {"s": np.float32([1, 1, 2, 2])}, "antialias", 18),
        ("y = Resize(x, , s)", {"s": np.float32([1, 2, 2, 2])}, "batch or channels", 17),
        ("y = AveragePool<kernel_shape=[2,2], dilations=[2,2]>(x)", {}, "dilated average pooling", 19),
        ("y = LRN<size=2>(x)", {}, "even number of channels", 17),
        ("y = GroupNormalization<num_groups=1>(x, s, b)", {"s": (1,), "b": (1,)}, "one scale a group", 18),
        (
            "y = BatchNormalization<training_mode=1>(x, s, b, m, v)",
            {"s": (3,), "b": (3,), "m": (3,), "v": (3,)},
            "batch norm that trains",
            17,
        ),
        ("y = Dropout(x, r, t)", {"r": scalar(0.5), "t": np.array(True)}, "stays on", 17),
        ("i = ArgMax<select_last_index=1>(x)\ny = Cast<to=1>(i)", {}, "last of equal", 17),
        ('y = Pad<mode="reflect">(x, p)', {"p": ints(0, 1, 0, 0, 0, 0, 0, 0)}, "padding by reflect", 17),
        ("y = ConvTranspose<output_shape=[20,20]>(x, w)", {"w": (3, 4, 3, 3)}, "larger than the transposed", 17),
        ("y = Cast<to=16>(x)", {}, "element type", 17),
        ("s = Cast<to=7>(x)\nr = Reshape(s, m)\ny = Expand(w, r)", {"m": ints(-1), "w": (1,)}, "depend on the data", 17),
        ("t = ReduceSum<keepdims=0>(x)\ny = Pad(x, p, t)", {"p": ints(0, 0, 1, 1, 0, 0, 1, 1)}, "one constant number", 17),
        ("s = Shape(x)\nc = Greater(s, k)\nd = Cast<to=1>(c)\ny = Mul(x, d)", {"k": ints(0)}, "on sizes of the input", 17),
    ],
)
def test_a_use_without_an_exact_form_is_refused_by_node(
    body: str, constants: dict[str, Any], message: str, opset: int, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match=message):
        loaded(tmp_path, model_of(body, {"x": PICTURE}, opset=opset, **constants))


def test_what_a_graph_computes_from_a_symbolic_size_is_refused_when_it_is_captured(tmp_path: Path) -> None:
    body = "s = Shape<start=0, end=1>(x)\nf = Cast<to=1>(s)\nq = Sqrt(f)\ny = Mul(x, q)"
    module = loaded(tmp_path, model_of(body, {"x": PICTURE}))
    with pytest.raises(UnsupportedError, match="size of a dynamic dimension"):
        exported(module)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an ONNX file"),
        (b"PK\x03\x04 not a protobuf", "is not an ONNX file, or it is truncated"),
        (model_of(CONV, {"x": PICTURE}, w=(4, 3, 3, 3)).SerializeToString()[:-40], "is not an ONNX file, or it is truncated"),
        (model_of("y = Conv(z, w)", {"x": PICTURE}, w=(4, 3, 3, 3)).SerializeToString(), "nothing before it gives"),
        (model_of("y = Relu(x)\ny = Relu(x)", {"x": PICTURE}).SerializeToString(), "there is already"),
        (model_of("z = Relu(x)", {"x": PICTURE}).SerializeToString(), "the graph reads"),
        (model_of('y = Conv<pads="all">(x, w)', {"x": PICTURE}, w=(4, 3, 3, 3)).SerializeToString(), "not a sound ONNX model"),
        (model_of("y = Conv(x, w)", {"x": PICTURE}, w=(4, 5, 3, 3)).SerializeToString(), r"Conv_0.*does not run"),
        (model_of("w = Reshape(v, s)\ny = Conv(x, w)", {"x": PICTURE}, v=(7,), s=ints(2, 2)).SerializeToString(), "cannot be computed"),
    ],
)
def test_a_file_that_is_no_sound_model_is_one_source_error(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        load_onnx(tmp_path / "m.onnx")


def test_a_constant_shorter_than_its_shape_is_a_source_error(tmp_path: Path) -> None:
    model = model_of(CONV, {"x": PICTURE}, w=(4, 3, 3, 3))
    model.graph.initializer[0].raw_data = b"\0" * 8
    with pytest.raises(SourceError, match="not a sound ONNX model"):
        loaded(tmp_path, model)


def test_a_path_that_leads_to_no_file_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no ONNX file at .*missing\.onnx"):
        load_onnx(tmp_path / "missing.onnx")
    with pytest.raises(SourceError, match="found: a folder"):
        load_onnx(tmp_path)


@pytest.mark.parametrize("location", ["gone.bin", "../outside.bin"])
def test_external_weights_missing_or_outside_the_folder_are_a_source_error(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(4 * 108))
    model = model_of(CONV, {"x": PICTURE}, w=(4, 3, 3, 3))
    onnx.save_model(model, folder / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    stored = onnx.load(folder / "model.onnx", load_external_data=False)
    next(entry for entry in stored.graph.initializer[0].external_data if entry.key == "location").value = location
    (folder / "model.onnx").write_bytes(stored.SerializeToString())
    with pytest.raises(SourceError, match="keeps in another file"):
        load_onnx(folder / "model.onnx")


def test_versions_and_types_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    model = model_of(CONV, {"x": PICTURE}, w=(4, 3, 3, 3))
    model.opset_import[0].version = 6
    with pytest.raises(UnsupportedError, match="operator set version"):
        loaded(tmp_path, model)
    model.opset_import[0].version = 17
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
    with pytest.raises(UnsupportedError, match=r"input 'x'.*\n.*BFLOAT16"):
        loaded(tmp_path, model)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    model.graph.initializer[0].CopyFrom(onnx.helper.make_tensor("w", onnx.TensorProto.BFLOAT16, (4, 3, 3, 3), np.zeros(108)))
    with pytest.raises(UnsupportedError, match=r"element type.*\n.*bfloat16"):
        loaded(tmp_path, model)


def test_inputs_of_the_wrong_shape_or_number_are_refused_by_name(tmp_path: Path) -> None:
    module = loaded(tmp_path, model_of(CONV, {"x": PICTURE}, w=(4, 3, 3, 3)))
    with pytest.raises(NumericError, match="input 'x'"):
        module(torch.zeros(2, 3, 9, 8))
    with pytest.raises(NumericError, match="input 'x'"):
        module(torch.zeros(3, 8, 8))
    with pytest.raises(NumericError, match="number of inputs"):
        module(torch.zeros(2, 3, 8, 8), torch.zeros(2))


def test_a_missing_onnx_library_is_a_resource_error_that_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.onnx").write_bytes(b"")
    for name in [name for name in sys.modules if name == "onnx" or name.startswith("onnx.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ResourceError, match=r"spikeloom\[onnx\]"):
        load_onnx(tmp_path / "m.onnx")


# --- real models -----------------------------------------------------------------------------------------------------------

REAL = {
    "cifar10_resnet8_mlperftiny/model.onnx": {
        "conv2d",
        "batch_norm",
        "relu",
        "add.Tensor",
        "pad",
        "avg_pool2d",
        "flatten.using_ints",
        "linear",
    },
    "deeplabv3_mnv2_pascal/model.onnx": {"conv2d", "relu6", "relu", "add.Tensor", "adaptive_avg_pool2d", "upsample_bilinear2d.vec", "cat"},
    "face_rfb320/model.onnx": {"conv2d", "relu", "add.Tensor", "cat", "permute", "reshape", "softmax.int"},
    "fastestdet_coco/model.onnx": {
        "conv2d", "relu", "add.Tensor", "cat", "permute", "reshape", "softmax.int", "sigmoid", "select.int", "max_pool2d", "avg_pool2d",
        "pad", "upsample_nearest2d.vec",
    },
    "imagenet_mobilenetv1_025_224/model.onnx": {"conv2d", "relu6", "pad", "adaptive_avg_pool2d", "flatten.using_ints"},
    "imagenet_mobilenetv2_100_224/model_w8_qdq.onnx": {"conv2d", "relu6", "pad", "adaptive_avg_pool2d", "flatten.using_ints", "add.Tensor"},
    "kws_dscnn/model.onnx": {"conv2d", "relu", "pad", "adaptive_avg_pool2d", "flatten.using_ints", "linear"},
    "vww_mobilenetv1_025/model.onnx": {"conv2d", "relu", "pad", "adaptive_avg_pool2d", "flatten.using_ints", "linear"},
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_models_equal_onnxruntime_at_any_batch_and_capture_cleanly(name: str, shared: Callable[[str], Path]) -> None:
    folder, file = name.split("/")
    path = shared(folder) / file
    module = load_onnx(path)
    assert module.fixed_batch is None
    inputs = inputs_of(module, 3)
    singles = [reference(str(path), module, [x[i : i + 1] for x in inputs]) for i in range(3)]
    assert_close(outputs_of(module, [x[:1] for x in inputs]), singles[0])
    wanted = [np.concatenate(parts) for parts in zip(*singles, strict=True)]
    assert_close(outputs_of(module, inputs), wanted)
    program = exported(module)
    assert set(aten_of(program)) == REAL[name]
    assert_close(outputs_of(program.module(), inputs), wanted)
