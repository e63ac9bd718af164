"""
Weights on an integer grid: w = s·(q − z), whole numbers q of few bits, a scale s per output channel or per group of its inputs.

    8 bits      q from −128 to 127
    4 bits      q from −8 to 7, two of them in a byte
    ternary     q in −1, 0, 1 (1.58 bits), four of them in a byte

A quantised weight is a tensor like any other to every pass and operation, which read w; kept and saved are the packed q, the scales, the
zero points, and how much of the layer's output was lost by it. Hardware reads q and s.

Source: Jacob et al. 2018, arXiv:1712.05877 (affine quantisation); ternary: Ma et al. 2024, arXiv:2402.17764 (1.58 bits).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.ir.handle import Kept, read

_SAME = frozenset({"aten.detach.default", "aten.alias.default", "aten.clone.default"})


@final
@dataclass(frozen=True)
class Grid:
    """The whole numbers from `low` to `high` that weights take, and how many inputs of an output channel share a scale (None: all)."""

    low: int
    high: int
    group: int | None = None

    def __post_init__(self) -> None:
        if not -128 <= self.low < self.high <= 127 or (self.group is not None and self.group < 1):
            allowed = "-128 <= low < high <= 127, groups of 1 input or more"
            raise ConfigError("weights cannot take such values", found=(self.low, self.high, self.group), allowed=allowed)

    @property
    def bits(self) -> float:
        """Bits of information in a weight: 8, 4, or 1.58."""
        return round(math.log2(self.high - self.low + 1), 2)

    @property
    def width(self) -> int:
        """Bits a weight takes where it is kept: 8, 4 or 2."""
        return next(width for width in (2, 4, 8) if self.high - self.low < 2**width)


WEIGHTS: Mapping[str, tuple[int, int]] = {"8": (-128, 127), "4": (-8, 7), "ternary": (-1, 1)}
"""The grids there are, by name."""


def grid_named(name: str, group: int | None = None) -> Grid:
    """One of `WEIGHTS`. Raises ConfigError for another name."""
    if name not in WEIGHTS:
        raise ConfigError("weights of that kind are unknown", found=name, allowed=", ".join(WEIGHTS))
    return Grid(*WEIGHTS[name], group)


def packed(codes: Int8[Tensor, " n"], grid: Grid) -> UInt8[Tensor, " b"]:
    """Codes, several of them in a byte where they are of few bits, the first of them lowest."""
    each = 8 // grid.width
    raised = (codes.to(torch.int16) - grid.low).to(torch.uint8)
    rows = torch.nn.functional.pad(raised, (0, -len(raised) % each)).view(-1, each)
    shifts = torch.arange(each, dtype=torch.uint8) * grid.width
    return (rows << shifts).sum(1, dtype=torch.uint8)


def unpacked(kept: UInt8[Tensor, " b"], grid: Grid, count: int) -> Int8[Tensor, " n"]:
    """What `packed` made of `count` codes."""
    shifts = torch.arange(8 // grid.width, dtype=torch.uint8, device=kept.device) * grid.width
    raised = (kept[:, None] >> shifts) & (2**grid.width - 1)
    return (raised.flatten()[:count].to(torch.int16) + grid.low).to(torch.int8)


@final
class Quantised(Kept):
    """A weight on a grid. `scale` [r, n] is per row of its first axis (or one for all, r = 1) and group of inputs, `zero` of the same
    shape the code that stands for 0 (None: 0); `error` is the share of the layer's output power that rounding cost, where it is known."""

    kept: Tensor
    scale: Tensor
    zero: Tensor | None
    grid: Grid
    error: float | None

    def __new__(
        cls, kept: Tensor, scale: Tensor, zero: Tensor | None, grid: Grid, shape: Sequence[int], error: float | None = None
    ) -> "Quantised":
        return Tensor._make_wrapper_subclass(cls, tuple(shape), dtype=scale.dtype, device=scale.device, requires_grad=False)

    def __init__(
        self, kept: Tensor, scale: Tensor, zero: Tensor | None, grid: Grid, shape: Sequence[int], error: float | None = None
    ) -> None:
        super().__init__()
        self.kept, self.scale, self.zero, self.grid, self.error = kept, scale, zero, grid, error

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"Quantised({tuple(self.shape)}, {self.grid})"

    def __tensor_flatten__(self) -> tuple[list[str], tuple[Grid, float | None]]:
        return ["kept", "scale", *(["zero"] if self.zero is not None else [])], (self.grid, self.error)

    @staticmethod
    def __tensor_unflatten__(inner: Mapping[str, Tensor], told: tuple[Grid, float | None], size: Any, stride: Any) -> "Quantised":
        return Quantised(inner["kept"], inner["scale"], inner.get("zero"), told[0], size, told[1])

    def codes(self) -> Int8[Tensor, " *any"]:
        """q, in the weight's shape."""
        return unpacked(read(self.kept), self.grid, self.numel()).view(self.shape)

    def numbers(self) -> Tensor:
        """w."""
        q = self.codes().view(self.scale.shape[0], self.scale.shape[1], -1).to(self.scale.dtype)
        w = q if self.zero is None else q - self.zero[..., None].to(q.dtype)
        return (w * self.scale[..., None]).view(self.shape)

    @classmethod
    def __torch_dispatch__(
        cls, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if isinstance(args[0], Quantised) and str(func) in _SAME:
            return args[0]
        return super().__torch_dispatch__(func, types, args, kwargs)


def quantised(
    codes: Int8[Tensor, " *any"],
    scale: Float[Tensor, "r n"],
    grid: Grid,
    zero: Int8[Tensor, "r n"] | None = None,
    error: float | None = None,
) -> Quantised:
    """The weight that these codes and scales are. Raises ConfigError where the scales do not fit the codes."""
    rows, groups = scale.shape
    if rows not in (1, codes.shape[0]) or codes.numel() % (rows * groups):
        raise ConfigError("scales do not fit the weights", found=tuple(scale.shape), allowed=f"(1 or {codes.shape[0]}, groups of inputs)")
    return Quantised(packed(codes.flatten(), grid), scale, zero, grid, codes.shape, error)


def apart(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Tensors as files hold them, and what is to be known of the quantised ones: the inverse of `together`."""
    flat, told = dict[str, Tensor](), dict[str, dict[str, Any]]()
    for name, tensor in tensors.items():
        if not isinstance(tensor, Quantised):
            flat[name] = tensor
            continue
        parts = {"": tensor.kept, "::scale": tensor.scale} | ({} if tensor.zero is None else {"::zero": tensor.zero})
        flat |= {name + end: part for end, part in parts.items()}
        grid = tensor.grid
        told[name] = {"low": grid.low, "high": grid.high, "bits": grid.bits, "group": grid.group}
        told[name] |= {"shape": list(tensor.shape), "error": tensor.error}
    return flat, told


def together(flat: Mapping[str, Tensor], told: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """The tensors that `apart` took apart. Raises ValueError where the parts of one do not fit."""
    tensors = {name: tensor for name, tensor in flat.items() if "::" not in name}
    for name, row in told.items():
        grid = Grid(int(row["low"]), int(row["high"]), None if row["group"] is None else int(row["group"]))
        kept, scale, zero = (flat.get(name + end) for end in ("", "::scale", "::zero"))
        count = math.prod(row["shape"])
        if kept is None or scale is None or kept.dtype is not torch.uint8 or kept.numel() != -(-count * grid.width // 8):
            raise ValueError(f"{name} is no weight on the grid it says")
        if scale.dim() != 2 or scale.shape[0] not in (1, row["shape"][0]) or count % scale.numel():
            raise ValueError(f"the scales of {name} do not fit it: {tuple(scale.shape)}")
        if zero is not None and zero.shape != scale.shape:
            raise ValueError(f"the zero points of {name} do not fit it: {tuple(zero.shape)}")
        tensors[name] = Quantised(kept, scale, zero, grid, row["shape"], row["error"])
    return tensors
