"""
The text form of a program: one line per value, read top to bottom. Tests compare it; `print(text(program))` shows it.

    program snn
    %x = input f32[2, 3, 32, 32]
    @conv1.weight f32[16, 3, 3, 3]
    %conv2d = aten.conv2d.default(%x, @conv1.weight, @conv1.bias, [1, 1], [1, 1]) : f32[2, 16, 32, 32]
    return %linear
"""

from typing import Any

from torch import Tensor, fx

from spikeloom.ir.program import Program
from spikeloom.ir.quantised import Quantised
from spikeloom.ir.rules import name_of

_SHORT = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "int64": "i64", "int32": "i32", "bool": "b1"}


def spec_text(shape: tuple[int, ...] | list[int], dtype: str) -> str:
    """A shape and dtype as ``f32[2, 3]``."""
    return f"{_SHORT.get(dtype, dtype)}[{', '.join(str(size) for size in shape)}]"


def tensor_text(tensor: Tensor) -> str:
    """A tensor's shape and dtype, and the grid it lies on where it lies on one."""
    plain = spec_text(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
    if not isinstance(tensor, Quantised):
        return plain
    shared = "" if tensor.grid.group is None else f" by {tensor.grid.group}"
    return f"{plain} on {tensor.grid.low}..{tensor.grid.high}{shared}"


def value_text(value: Any) -> str:
    """An argument: %name for a value, @name for a constant, Python's own form for the rest."""
    match value:
        case fx.Node():
            return f"@{value.target}" if value.op == "get_attr" else f"%{value.name}"
        case list() | tuple():
            return f"[{', '.join(value_text(item) for item in value)}]"
        case dict():
            return "{" + ", ".join(f"{key}: {value_text(item)}" for key, item in value.items()) + "}"
        case _:
            return repr(value)


def line(node: fx.Node) -> str:
    """One operation as a line of text, with the shape it gives where it is known."""
    parts = [value_text(argument) for argument in node.args] + [f"{key}={value_text(value)}" for key, value in node.kwargs.items()]
    spec = node.meta.get("spec")
    shape = f" : {spec_text(*spec)}" if spec is not None else ""
    return f"%{node.name} = {name_of(node.target)}({', '.join(parts)}){shape}"


def text(program: Program) -> str:
    """The whole program as text."""
    lines = [f"program {program.dialect}"]
    lines += [f"%{spec.name} = input {spec_text(spec.shape, spec.dtype)}" for spec in program.inputs]
    lines += [f"@{name} {tensor_text(tensor)}" for name, tensor in sorted(program.tensors.items())]
    lines += [line(node) for node in program.graph.nodes if node.op == "call_function"]
    lines += [f"return {value_text(node.args[0])}" for node in program.graph.nodes if node.op == "output"]
    return "\n".join(lines)
