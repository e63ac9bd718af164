"""
Reading an ONNX file: bytes become a `Graph`. Nothing in the file is executed; it is parsed, checked and translated.

Weights kept beside the file (external data) are read from its folder only; local functions are inlined; `Constant`
nodes become constants. Operator sets 7 and later are read: older ones broadcast by other rules.

Source: https://github.com/onnx/onnx/blob/main/docs/IR.md and docs/ExternalData.md
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from spikeloom.capture.onnx.graph import ELEMENT_TYPES, Graph, Host, InputSpec, Node
from spikeloom.errors import ResourceError, SourceError, UnsupportedError

OLDEST_OPSET = 7
_ONNX_DOMAINS = ("", "ai.onnx")


def onnx_library() -> ModuleType:
    """The `onnx` package; ResourceError naming the extra that installs it where it is missing."""
    try:
        for part in ("checker", "external_data_helper", "inliner"):
            import_module(f"onnx.{part}")
        return import_module("onnx")
    except ImportError as error:
        raise ResourceError("reading ONNX files needs the onnx library", found=error, todo="pip install 'spikeloom[onnx]'") from error


def read_model(path: Path) -> Any:
    """The parsed `ModelProto` with its weights in memory; SourceError where the file is not one, or its external data is missing."""
    onnx = onnx_library()
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise SourceError(f"no ONNX file at {path}", found="a folder" if path.is_dir() else "nothing", todo="check the path")
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise SourceError(f"{path} is not an ONNX file, or it is truncated", found=error, todo="copy or export it again") from error
    if model.ir_version == 0 or not model.HasField("graph"):
        raise SourceError(f"{path} is not an ONNX file", found="no graph in it", todo="export the model again")
    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        todo = "put the external data file, whole and under its own name, beside the .onnx file"
        raise SourceError(f"the weights that {path} keeps in another file cannot be read", found=error, todo=todo) from error
    return model


def opsets_of(model: Any, newest: int) -> dict[str, int]:
    """Operator set version by domain, ONNX's own under the empty name; UnsupportedError for a version that cannot be read."""
    versions = {"" if entry.domain in _ONNX_DOMAINS else entry.domain: entry.version for entry in model.opset_import}
    version = versions.setdefault("", 1)
    if not OLDEST_OPSET <= version <= newest:
        raise UnsupportedError(
            "the operator set version of the ONNX file cannot be read",
            found=version,
            allowed=f"{OLDEST_OPSET} to {newest}",
            todo="export the model again with opset_version=17, or upgrade the onnx library",
        )
    return versions


def attribute_of(onnx: ModuleType, attribute: Any) -> Any:
    """A node's attribute in plain Python: numbers, lists, text, arrays; subgraphs as they are (no operator here takes one)."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return list(value) if attribute.type in (attribute.FLOATS, attribute.INTS) else value


def node_of(onnx: ModuleType, proto: Any, index: int, opsets: Mapping[str, int]) -> Node:
    """One node; a nameless one is called by its operator and its place."""
    domain = "" if proto.domain in _ONNX_DOMAINS else proto.domain
    return Node(
        name=proto.name or f"{proto.op_type}_{index}",
        operator=f"{domain}.{proto.op_type}" if domain else proto.op_type,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes={attribute.name: attribute_of(onnx, attribute) for attribute in proto.attribute},
        opset=opsets.get(domain, 1),
    )


def constant_of(node: Node) -> Host | None:
    """The array a `Constant` node holds; None for any other node, and for text and sparse constants."""
    if node.operator != "Constant" or len(node.attributes) != 1:
        return None
    (kind, value), dtypes = next(iter(node.attributes.items())), {"value_float": np.float32, "value_int": np.int64}
    if kind == "value":
        return value
    dtype = dtypes.get(kind.removesuffix("s"))
    return None if dtype is None else np.array(value, dtype=dtype)


def input_of(onnx: ModuleType, proto: Any) -> InputSpec:
    """Name, shape and element type of a graph input; UnsupportedError where it is no tensor of known rank."""
    tensor = proto.type.tensor_type
    if not proto.type.HasField("tensor_type") or not tensor.HasField("shape") or tensor.elem_type not in ELEMENT_TYPES:
        raise UnsupportedError(
            f"ONNX input {proto.name!r} is not a tensor of numbers with a known number of dimensions",
            found=onnx.helper.printable_type(proto.type) or "no type",
            allowed="a tensor with a shape, of float16, float32, float64, integers or truth values",
            todo="export the model in float32, with tensor inputs and their shapes",
        )
    shape = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim)
    return InputSpec(proto.name, shape, ELEMENT_TYPES[tensor.elem_type])


def _is_defined(onnx: ModuleType, operator: str, opset: int) -> bool:
    """Whether onnx's checker knows the operator at this version (it refuses deprecated ones, which are read here)."""
    return onnx.defs.has(operator, max_inclusive_version=opset) and not onnx.defs.get_schema(operator, opset).deprecated


def refuse_unsound(onnx: ModuleType, model: Any, path: Path, opsets: Mapping[str, int]) -> None:
    """SourceError where onnx's checker finds a node or a constant malformed; operators it does not know are left to the operator table."""
    context = type(onnx.checker.DEFAULT_CONTEXT)()
    context.ir_version, context.opset_imports = model.ir_version, dict(opsets)
    try:
        for tensor in model.graph.initializer:
            onnx.checker.check_tensor(tensor, context)
        for node in model.graph.node:
            if node.domain in _ONNX_DOMAINS and _is_defined(onnx, node.op_type, opsets[""]):
                onnx.checker.check_node(node, context)
    except onnx.checker.ValidationError as error:
        raise SourceError(f"{path} is not a sound ONNX model", found=str(error).strip().splitlines()[0], todo="export it again") from error


def refuse_disorder(graph: Graph, path: Path) -> None:
    """SourceError where a node or an output reads what nothing before it gives, or a node gives what there is already."""
    known = {"", *graph.constants, *(spec.name for spec in graph.inputs)}
    for node in (*graph.nodes, None):
        where, names = ("the graph", graph.outputs) if node is None else (f"node {node.name!r}", node.inputs)
        if missing := [name for name in names if name not in known]:
            raise SourceError(f"{path} is not a sound ONNX model", found=f"{where} reads {missing}, which nothing before it gives")
        given = () if node is None else tuple(name for name in node.outputs if name)
        if twice := [name for name in given if name in known]:
            raise SourceError(f"{path} is not a sound ONNX model", found=f"{where} gives {twice}, which there is already")
        known.update(given)


def read_graph(path: Path) -> Graph:
    """
    The graph an ONNX file holds.

    Raises SourceError (not ONNX, truncated, malformed, external data missing), UnsupportedError (operator set version,
    inputs that are no tensors), ResourceError (the onnx library is missing).
    """
    onnx, model = onnx_library(), read_model(path)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    opsets = opsets_of(model, onnx.defs.onnx_opset_version())
    refuse_unsound(onnx, model, path, opsets)
    try:
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        nodes = [node_of(onnx, proto, index, opsets) for index, proto in enumerate(model.graph.node)]
    except (ValueError, TypeError) as error:
        raise SourceError(f"a constant in {path} cannot be read", found=error, todo="copy or export the file again") from error
    folded = {node.outputs[0]: array for node in nodes if (array := constant_of(node)) is not None}
    constants |= folded
    inputs = tuple(input_of(onnx, proto) for proto in model.graph.input if proto.name not in constants)
    kept = tuple(node for node in nodes if node.outputs[0] not in folded)
    graph = Graph(kept, constants, inputs, tuple(proto.name for proto in model.graph.output))
    refuse_disorder(graph, path)
    return graph
