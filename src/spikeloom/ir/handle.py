"""
Handles: tensors of a program that lie somewhere in another form, and are what the graph takes them for only while it reads them.

A 70-billion-parameter model in bfloat16 is a float32 program whose weights are handles on memory-mapped files: an operation that reads
one gets it in float32 and lets go of it afterwards; nothing else ever holds a second copy. To every pass a handle is a tensor like any
other: it has the shape and the dtype the graph knows, and sharing it costs nothing. Rows, transposes and views of handles are handles.

Source: torch's tensor subclasses (https://docs.pytorch.org/docs/stable/notes/extending.html), as torchao's quantised tensors use them.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

_MOVED = frozenset(
    f"aten.{name}"
    for name in (
        *("alias.default", "detach.default", "t.default", "transpose.int", "permute.default", "view.default", "_unsafe_view.default"),
        *("reshape.default", "unsqueeze.default", "squeeze.dim", "slice.Tensor", "select.int", "expand.default", "narrow.default"),
    )
)
"""What moves numbers and changes none: done to what is stored."""
_ROWS = frozenset({"aten.embedding.default", "aten.index_select.default"})
"""What reads few rows of many: done to what is stored, and only the result is in the graph's dtype."""


class Kept(Tensor):
    """A tensor kept in another form than it is read in, without gradients; what an operation is done to are its `numbers`."""

    __torch_function__: ClassVar[Any] = torch._C._disabled_torch_function_impl  # pyright: ignore[reportPrivateUsage, reportIncompatibleMethodOverride]

    @abstractmethod
    def numbers(self) -> Tensor:
        """The tensor that the graph takes this one for."""

    @classmethod
    def __torch_dispatch__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return func(*pytree.tree_map_only(Kept, read, args), **pytree.tree_map_only(Kept, read, dict(kwargs or {})))


@final
class Handle(Kept):
    """A tensor that is `stored` in one dtype and read in another. `file` is the program file that `stored` is mapped from, if any.

    On any device; saving it (`ir.save`) writes what is stored.
    """

    stored: Tensor
    file: Path | None

    def __new__(cls, stored: Tensor, dtype: torch.dtype, file: Path | None = None) -> "Handle":
        options: dict[str, Any] = {"strides": stored.stride(), "dtype": dtype, "device": stored.device, "requires_grad": False}
        return Tensor._make_wrapper_subclass(cls, stored.shape, **options)

    def __init__(self, stored: Tensor, dtype: torch.dtype, file: Path | None = None) -> None:
        super().__init__()
        self.stored, self.file = stored, file

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"Handle({tuple(self.shape)}, {self.dtype}, stored as {self.stored.dtype})"

    def __tensor_flatten__(self) -> tuple[list[str], tuple[torch.dtype, Path | None]]:
        return ["stored"], (self.dtype, self.file)

    def numbers(self) -> Tensor:
        """What is stored, in the dtype it is read in."""
        return self.stored.to(self.dtype)

    @staticmethod
    def __tensor_unflatten__(inner: Mapping[str, Tensor], kept: tuple[torch.dtype, Path | None], size: Any, stride: Any) -> "Handle":
        return Handle(inner["stored"], *kept)

    @classmethod
    def __torch_dispatch__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        first = args[0] if args else None
        if isinstance(first, Handle) and str(func) in _MOVED:
            return Handle(func(first.stored, *args[1:], **(kwargs or {})), first.dtype)
        if isinstance(first, Handle) and str(func) in _ROWS:
            return func(first.stored, *args[1:], **(kwargs or {})).to(first.dtype)
        return super().__torch_dispatch__(func, types, args, kwargs)


def read(tensor: Tensor) -> Tensor:
    """The tensor that the graph takes a handle for; any other tensor itself."""
    return tensor.numbers() if isinstance(tensor, Kept) else tensor


def stored(tensor: Tensor) -> Tensor:
    """What lies behind a tensor: what a handle has stored, any other tensor itself."""
    return tensor.stored if isinstance(tensor, Handle) else tensor


def like(tensor: Tensor, kept: Tensor) -> Tensor:
    """A new tensor in the form that another one of its dtype is kept in: a change to a handle's weights needs no more room than they."""
    if not isinstance(kept, Handle) or kept.stored.dtype == tensor.dtype:
        return tensor
    return Handle(tensor.to(kept.stored.dtype), tensor.dtype)
