"""Small ONNX models written as text, and what they give: in onnxruntime, in the module, and as captured ATen operations."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import parser

from spikeloom.capture.onnx import OnnxModule, load_onnx

RANDOM = np.random.default_rng(7)


def model_of(body: str, shapes: dict[str, tuple[Any, ...]], outputs: tuple[str, ...] = ("y",), opset: int = 17, **constants: Any) -> Any:
    """A model of the nodes in `body` (ONNX's text form); a constant is an array, or a shape to fill with random numbers."""
    float_ = onnx.TensorProto.FLOAT
    arrays = {k: RANDOM.normal(size=v).astype(np.float32) if isinstance(v, tuple) else np.asarray(v) for k, v in constants.items()}
    graph = onnx.helper.make_graph(
        [parser.parse_node(line.strip()) for line in body.strip().splitlines()],
        "g",
        [onnx.helper.make_tensor_value_info(name, float_, shape) for name, shape in shapes.items()],
        [onnx.helper.make_tensor_value_info(name, float_, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)


def loaded(tmp_path: Path, model: Any) -> OnnxModule:
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    return load_onnx(tmp_path / "model.onnx")


def inputs_of(module: OnnxModule, batch: int, positive: bool = False) -> list[np.ndarray]:
    shapes = [[batch, *(size or 6 for size in spec.shape[1:])] for spec in module.input_specs]
    draws = [RANDOM.normal(size=shape).astype(np.float32) for shape in shapes]
    return [np.abs(x) + 0.1 for x in draws] if positive else draws


def outputs_of(module: Callable[..., Any], inputs: list[np.ndarray]) -> list[np.ndarray]:
    with torch.no_grad():
        result = module(*(torch.from_numpy(x) for x in inputs))
    return [y.detach().numpy() for y in (result if isinstance(result, tuple) else (result,))]


def reference(model: Any, module: OnnxModule, inputs: list[np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model if isinstance(model, str) else model.SerializeToString(), options)
    return session.run(None, {spec.name: x for spec, x in zip(module.input_specs, inputs, strict=True)})


def assert_close(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for y, r in zip(found, wanted, strict=True):
        assert y.shape == r.shape
        assert float(np.abs(y - r).max()) <= 1e-4 * max(float(np.abs(r).max()), 1e-3)


def exported(module: OnnxModule, batch: int = 2) -> torch.export.ExportedProgram:
    inputs = tuple(torch.from_numpy(x) for x in inputs_of(module, batch, positive=True))
    shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs) if module.fixed_batch is None else None
    return torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False)


def aten_of(program: torch.export.ExportedProgram) -> list[str]:
    """The operations of a captured graph in order, by name; reading a size is none."""
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    return [name.removeprefix("aten.").removesuffix(".default") for name in names if not re.search("sym_size|getitem|_assert", name)]


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def scalar(value: float) -> np.ndarray:
    return np.array(value, dtype=np.float32)
