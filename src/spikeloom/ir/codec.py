"""
Arguments as JSON and back: what a node's argument may be, and nothing else.

Scalars, strings and lists stand for themselves; everything else is a one-key object: {"%": node}, {"tuple": […]},
{"dict": {…}}, {"float": "inf"}, {"dtype": "float32"}, {"device": "cpu"}, {"layout": "strided"},
{"memory_format": "contiguous_format"}, {"slice": [a, b, c]}.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from spikeloom.errors import ProgramError

_TORCH = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format}


def encode(value: Any) -> Any:
    """The JSON form of an argument; ProgramError for a type that has none."""
    match value:
        case fx.Node():
            return {"%": value.name}
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"float": repr(value)}
        case tuple():
            return {"tuple": [encode(item) for item in value]}
        case list():
            return [encode(item) for item in value]
        case dict():
            return {"dict": {str(key): encode(item) for key, item in value.items()}}
        case slice():
            return {"slice": [encode(part) for part in (value.start, value.stop, value.step)]}
        case torch.device():
            return {"device": str(value)}
        case _:
            for key, kind in _TORCH.items():
                if isinstance(value, kind):
                    return {key: str(value).removeprefix("torch.")}
            raise ProgramError("an argument cannot be written down", found=f"{type(value).__name__}: {value!r}")


def decode(value: Any, nodes: Mapping[str, fx.Node]) -> Any:
    """The argument behind its JSON form; ProgramError for anything `encode` never writes."""
    if isinstance(value, list):
        return [decode(item, nodes) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        raise ProgramError("an argument has a form no program has", found=value)
    key, inner = next(iter(value.items()))
    match key:
        case "%" if isinstance(inner, str):
            if inner not in nodes:
                raise ProgramError("an operation reads a value that does not exist yet", found=f"%{inner}")
            return nodes[inner]
        case "tuple" if isinstance(inner, list):
            return tuple(decode(item, nodes) for item in inner)
        case "dict" if isinstance(inner, dict):
            return {name: decode(item, nodes) for name, item in inner.items()}
        case "slice" if isinstance(inner, list) and len(inner) == 3:
            return slice(*(decode(part, nodes) for part in inner))
        case "float" if inner in ("inf", "-inf", "nan"):
            return float(inner)
        case "device" if isinstance(inner, str) and re.fullmatch(r"cpu|meta|cuda(:\d{1,3})?", inner):
            return torch.device(inner)
        case "dtype" | "layout" | "memory_format" if isinstance(inner, str):
            found = getattr(torch, inner, None)
            if isinstance(found, _TORCH[key]):
                return found
        case _:
            pass
    raise ProgramError("an argument has a form no program has", found=value)
