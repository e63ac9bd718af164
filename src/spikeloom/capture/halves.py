"""
Half-precision models: they are captured as float32 programs whose weights stay where they are, in the precision they have.

For the time of the capture every half-precision parameter has a stand-in, zeros in float32 that nobody reads and that therefore take no
memory; in the program the parameter itself takes its place, as a handle (`ir.handle`).
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from spikeloom.ir import Handle

HALVES = (torch.bfloat16, torch.float16)


@contextmanager
def in_full(model: nn.Module) -> Generator[Mapping[int, Tensor]]:
    """Inside, the model is a float32 one; yields what stands behind each stand-in, by its address. Afterwards it is as it was."""
    behind: dict[int, Tensor] = {}
    twins: dict[int, nn.Parameter] = {}
    changed: list[tuple[dict[str, nn.Parameter | None] | dict[str, Tensor | None], str, Tensor]] = []
    try:
        for module in model.modules():
            for name, value in list(module._parameters.items()):  # pyright: ignore[reportPrivateUsage]
                if value is not None and value.dtype in HALVES and value.numel() > 0:
                    changed.append((module._parameters, name, value))  # pyright: ignore[reportPrivateUsage]
                    twin = twins.setdefault(id(value), stand_in(value))
                    behind[twin.data_ptr()] = Handle(value.detach(), torch.float32)
                    module._parameters[name] = twin  # pyright: ignore[reportPrivateUsage]
            for name, value in list(module._buffers.items()):  # pyright: ignore[reportPrivateUsage]
                if value is not None and value.dtype in HALVES:
                    changed.append((module._buffers, name, value))  # pyright: ignore[reportPrivateUsage]
                    module._buffers[name] = value.float()  # pyright: ignore[reportPrivateUsage]
        yield behind
    finally:
        for place, name, value in changed:
            place[name] = value  # pyright: ignore[reportArgumentType]


def stand_in(parameter: Tensor) -> nn.Parameter:
    """A float32 parameter of the same shape: memory that is asked for and never touched costs nothing."""
    return nn.Parameter(torch.from_numpy(np.zeros(tuple(parameter.shape), np.float32)), requires_grad=False)


def in_dtype(values: Any, dtype: torch.dtype) -> Any:
    """A structure of inputs with its floating-point tensors in one dtype."""
    return pytree.tree_map(lambda value: value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value, values)


def dtype_of(model: nn.Module) -> torch.dtype:
    """The dtype of a model's first floating-point parameter; float32 where it has none."""
    return next((value.dtype for value in model.parameters() if value.is_floating_point()), torch.float32)


def casts_to_half(exported: ExportedProgram) -> bool:
    """Whether a model that is a float32 one brings values to half precision itself."""
    values = (node.meta.get("val") for node in exported.graph.nodes if node.op == "call_function")
    return any(isinstance(value, Tensor) and value.dtype in HALVES for value in values)
