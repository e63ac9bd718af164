"""
The graph of an exported program, read from its JSON without torch's own reader.

torch's reader evaluates what the file says: sizes go through `sympify`, which is Python's eval, targets through getattr on torch, tree
specifications through importlib, names into generated source. Here an operation is looked up in the allow-list, a size is a number or
dynamic, a name is an identifier, and nothing else has a meaning.

Source: torch/_export/serde/schema.py of torch 2.13 (schema version 8).
"""

import json
import keyword
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import fx
from torch._ops import OpOverload

from spikeloom.errors import SourceError, UnsupportedError
from spikeloom.ir import resolve

SCHEMA = 8
DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format}
STRIDED = 7
DAMAGES = (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError)
_PLAIN = frozenset({"as_int", "as_ints", "as_string", "as_strings", "as_bool", "as_bools", "as_int_lists"})
_NUMBERS = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}
_TRAINS = {"aten.batch_norm.default": "training", "aten.dropout.default": "train", "aten.dropout_.default": "train"}


@final
@dataclass(frozen=True)
class Taken:
    """One input of the program: its name, its shape (None where a size is dynamic), the shape it was exported at, its dtype."""

    name: str
    shape: tuple[int | None, ...]
    example: tuple[int, ...]
    dtype: torch.dtype


def read_graph(body: Mapping[str, Any]) -> tuple[fx.Graph, tuple[Taken, ...]]:
    """
    The graph behind `models/<name>.json`, its weights as get_attr nodes of their own names, and what it takes.

    UnsupportedError names all operations outside the allow-list at once. SourceError: another schema, exported in training mode.
    """
    if body["schema_version"]["major"] != SCHEMA:
        raise SourceError(
            "the archive has another schema", found=body["schema_version"], allowed=f"major {SCHEMA}", todo="save it with torch 2.13"
        )
    rows = body["graph_module"]["graph"]
    _refuse_unknown(row["target"] for row in rows["nodes"])
    graph = fx.Graph()
    values, taken = _inputs(graph, body["graph_module"]["signature"]["input_specs"], rows["tensor_values"])
    for row in rows["nodes"]:
        _operation(graph, row, values)
    outputs = [_output(spec, values) for spec in body["graph_module"]["signature"]["output_specs"]]
    shape = json.loads(body["graph_module"]["module_call_graph"][0]["signature"]["out_spec"])[1]
    graph.output(_unflattened(shape, iter(outputs)))
    graph.lint()
    return graph, taken


def allowed_name(target: str) -> str | None:
    """The allow-list's name for a serialized target, in-place forms among them; None for anything else."""
    name = target.removeprefix("torch.ops.") if target.startswith("torch.ops.aten.") else target.removeprefix("_")
    return name if resolve(name) is not None or resolve(_out_of_place(name)) is not None else None


def _out_of_place(name: str) -> str:
    return re.sub(r"^(aten\.\w+)_\.", r"\1.", name)


def _refuse_unknown(targets: Iterable[str]) -> None:
    unknown = sorted({target for target in targets if allowed_name(target) is None})
    if unknown:
        raise UnsupportedError(
            "the archive names operations outside the allow-list",
            found=", ".join(unknown[:8]) + (f", and {len(unknown) - 8} more" if len(unknown) > 8 else ""),
            todo="save `exported.run_decompositions({})` instead, or where you trust the file load it with --allow-pickle",
        )


def _function(name: str) -> Any:
    found = resolve(name)
    if found is None:  # an in-place form
        _, operation, overload = name.split(".")
        found = getattr(getattr(torch.ops.aten, operation), overload)
    return found


def identifier(name: object) -> str:
    """The name, where it is one that source code may hold. SourceError otherwise."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name == "self":
        raise SourceError("the archive holds a name that is none", found=repr(name)[:80], todo="do not trust this file")
    return name


def qualified(name: object) -> str:
    """A weight's name: letters, digits and underscores between dots. SourceError otherwise."""
    if not isinstance(name, str) or re.fullmatch(r"\w+(\.\w+)*", name, flags=re.ASCII) is None:
        raise SourceError("the archive holds a weight with no proper name", found=repr(name)[:80], todo="do not trust this file")
    return name


def _inputs(graph: fx.Graph, specs: Sequence[Mapping[str, Any]], metas: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Taken, ...]]:
    values, taken = dict[str, Any](), list[Taken]()
    weights = dict[str, str]()
    for spec in specs:
        (kind, said), *_ = spec.items()
        match kind:
            case "parameter" | "buffer" | "tensor_constant":
                weights[said["arg"]["name"]] = qualified(said[f"{kind}_name"])
            case "user_input" if "as_tensor" in said["arg"]:
                name = identifier(said["arg"]["as_tensor"]["name"])
                values[name] = graph.placeholder(name)
                taken.append(_taken(name, metas[name]))
            case "user_input" if "as_none" in said["arg"]:
                pass
            case "constant_input":
                pass
            case _:
                raise UnsupportedError("the archive takes an input that is no tensor", found=json.dumps(spec)[:120])
    values |= {name: graph.get_attr(target) for name, target in weights.items()}
    return values, tuple(taken)


def _taken(name: str, meta: Mapping[str, Any]) -> Taken:
    shape = tuple(size.get("as_int") for size in meta["sizes"])
    return Taken(name, shape, tuple(_hint(size) for size in meta["sizes"]), DTYPES[meta["dtype"]])


def _hint(size: Mapping[str, Any]) -> int:
    """A size as a number; a dynamic one at the hint beside its expression, which is not read."""
    return int(size["as_int"] if "as_int" in size else (size["as_expr"].get("hint") or {}).get("as_int", 2))


def _operation(graph: fx.Graph, row: Mapping[str, Any], values: dict[str, Any]) -> None:
    name = str(allowed_name(row["target"]))
    function = _function(name)
    arguments = [(said["name"], _argument(said["arg"], values), said.get("kind", 1)) for said in row["inputs"]]
    if isinstance(function, OpOverload):
        known = {argument.name for argument in function._schema.arguments}  # pyright: ignore[reportPrivateUsage]
        if odd := [key for key, _, _ in arguments if key not in known]:
            raise SourceError(f"the archive gives {name} an argument it does not have", found=odd, todo="do not trust this file")
        flag = _TRAINS.get(name)
        if any(key == flag and value is True for key, value, _ in arguments):
            raise SourceError(f"the program was exported in training mode ({name})", todo="export it again after model.eval()")
    args = tuple(value for _, value, kind in arguments if kind != 2)
    kwargs = {key: value for key, value, kind in arguments if kind == 2}
    node = graph.call_function(function, args, kwargs)
    for key, value in _results(graph, node, row["outputs"]):
        values[key] = value


def _results(graph: fx.Graph, node: fx.Node, outputs: Sequence[Mapping[str, Any]]) -> list[tuple[str, fx.Node]]:
    """The names an operation's results go by, with a getitem for each where there are several."""
    said = [next(iter(output.items())) for output in outputs]
    if len(said) == 1 and said[0][0] != "as_tensors":
        return [(_named(value), node) for _, value in said if isinstance(value, Mapping)]
    items = said[0][1] if len(said) == 1 else [value for _, value in said]
    parts = [(index, item) for index, item in enumerate(items) if isinstance(item, Mapping)]
    return [(_named(item), graph.call_function(operator.getitem, (node, index))) for index, item in parts]


def _named(item: Mapping[str, Any]) -> str:
    return str(item["name"] if "name" in item else item["as_name"])


def _argument(said: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """A serialized argument as a value; only the kinds an exported program of tensors holds."""
    (kind, value), *_ = said.items()
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return values[value["name"]]
        case "as_tensors":
            return [values[item["name"]] for item in value]
        case "as_optional_tensor":
            return _argument(value, values)
        case "as_optional_tensors" | "as_sym_ints" | "as_sym_floats" | "as_sym_bools":
            return [_argument(item, values) for item in value]
        case "as_sym_int" | "as_sym_float" | "as_sym_bool":
            return _argument(value, values)
        case "as_name":
            return values[value]
        case "as_float":
            return _NUMBERS[value] if isinstance(value, str) else float(value)
        case "as_floats":
            return [_NUMBERS[item] if isinstance(item, str) else float(item) for item in value]
        case "as_scalar_type":
            return DTYPES[value]
        case "as_memory_format":
            return MEMORY_FORMATS[value]
        case "as_layout" if value == STRIDED:
            return torch.strided
        case "as_device":
            return torch.device("cpu")
        case _ if kind in _PLAIN:
            return value
        case _:
            raise UnsupportedError("the archive holds an argument of a kind no program here has", found=f"{kind}: {json.dumps(value)[:80]}")


def _output(spec: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    (kind, said), *_ = spec.items()
    if kind != "user_output":
        raise SourceError("the program changes its own state as it runs", found=kind, todo="export it again after model.eval()")
    return _argument(said["arg"], values)


def _unflattened(shape: Mapping[str, Any], leaves: Any) -> Any:
    """Outputs in their structure: tuples, and dicts for anything whose parts have names."""
    if shape["type"] is None:
        return next(leaves)
    parts = [_unflattened(child, leaves) for child in shape["children_spec"]]
    keys = json.loads(shape["context"]) if shape["context"] else None
    if isinstance(keys, list) and len(keys) == len(parts) and all(isinstance(key, str) for key in keys):
        return dict(zip(keys, parts, strict=True))
    return tuple(parts)
