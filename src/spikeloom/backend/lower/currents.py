"""
Numbers with units: what a value of the spiking program is in whole numbers, and how sums of currents get one unit.

    x = unit · k        `Known`: a wire of the netlist carries the whole numbers k; the unit is one for each element of a sample
    i = Σ terms + b     `Pending`: a current whose weights are still floating, until it is known what reads it

A pending current gets its unit u when it is read. The weights of each output channel then take all of their bits, W = round(w / u) with
u = max|w| / (2^(bits-1) - 1). What must be whole in that unit as well (a residual operand's unit, the step of a membrane) is an anchor a:
where a/u is large, u is widened so that a is ⌊a/u⌋ units exactly; else the sum is kept in units of u / 2^f, fine enough that rounding
costs an anchor less than 1 in 2^9.                                                                                          (1)

Source: Jacob et al. 2018, arXiv:1712.05877 (whole-number arithmetic of quantised networks); aligned scales of residual additions are ours.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from spikeloom.errors import UnsupportedError
from spikeloom.ir.hardware import Add, Operation

WELL_APART = 16
"""A unit may be widened by one part in as many for an anchor to be whole."""
FINE = 9
"""Bits of an anchor that is not whole."""


@final
@dataclass(frozen=True, eq=False)
class Known:
    """A wire and the unit of its whole numbers, for each element of a sample; NaN where an element is always 0 and any unit would do."""

    name: str
    unit: Float[ndarray, "..."]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample."""
        return self.unit.shape

    def scaled(self, factor: float) -> "Known":
        """The same whole numbers, each standing for `factor` times as much."""
        return Known(self.name, self.unit * factor)


@final
@dataclass(frozen=True, eq=False)
class Synapses:
    """Weights [O, ...] on whole inputs: `emit(name, W, b)` gives the operations for whole weights and bias, the last of them of that
    name. With a `unit` [O] they are whole already (a quantised layer's codes); else they are floating, and get their unit when the current
    is read. The current is `factor` times the layer's; `settled(W, u, d)` is told the whole weights, what each row of them is worth in the
    layer's own current, and by how much rounding moved its bias."""

    weight: Float[ndarray, "o *i"] | Int[ndarray, "o *i"]
    emit: Callable[[str, Int[ndarray, "o *i"], Int[ndarray, " o"] | None], tuple[Operation, ...]]
    settled: Callable[[Int[ndarray, "o *i"], Float[ndarray, " o"], Float[ndarray, " o"]], None]
    unit: Float[ndarray, " o"] | None = None
    factor: float = 1.0

    def scaled(self, factor: float) -> "Synapses":
        """`factor` times the current."""
        weight, unit = (self.weight * factor, None) if self.unit is None else (self.weight, self.unit * factor)
        return dataclasses.replace(self, weight=weight, unit=unit, factor=self.factor * factor)


@final
@dataclass(frozen=True, eq=False)
class Pending:
    """A current: Σ of terms, plus `bias` [1] or one for each place of `axis`; `shape` is that of a sample."""

    name: str
    terms: tuple[Known | Synapses, ...]
    bias: Float[ndarray, " c"]
    axis: int
    shape: tuple[int, ...]

    def scaled(self, factor: float) -> "Pending":
        """`factor` times the current."""
        return Pending(self.name, tuple(term.scaled(factor) for term in self.terms), self.bias * factor, self.axis, self.shape)

    def plus(self, other: "Pending", name: str) -> "Pending":
        """The sum of two currents."""
        axis = self.axis if any(isinstance(term, Synapses) for term in self.terms) or self.bias.size > 1 else other.axis
        rival = any(isinstance(term, Synapses) for term in other.terms) or other.bias.size > 1
        if rival and axis != other.axis:
            raise UnsupportedError("currents whose channels lie on different axes cannot be summed in whole numbers", found=name)
        return Pending(name, (*self.terms, *other.terms), self.bias + other.bias, axis, self.shape)


@final
@dataclass(frozen=True, eq=False)
class Gathered:
    """A current in whole numbers: x = unit·k + bias, unit and bias [C] (or [1]) along `axis`. The bias is not in k."""

    known: Known
    unit: Float[ndarray, " c"]
    bias: Float[ndarray, " c"]
    axis: int


def gathered(
    current: Pending,
    put: Callable[[Operation], None],
    bits: int,
    *,
    anchor: Float[ndarray, " _"] | None = None,
    gains: bool = True,
    fine: int | None = None,
    one: bool = False,
    biased: bool = True,
) -> Gathered:
    """A pending current as whole numbers; `put` takes the operations. `anchor` is what must be (nearly) whole in the current's unit, [1] or
    one for each channel; without `gains` what comes alone is never followed by a sum; with `fine` each channel's anchor is at least 2^fine
    units; `one` gives all channels one unit; `biased` puts the bias into the whole numbers, rounded."""
    channels = current.shape[current.axis]
    units = [_unit_of(term, current, channels) for term in current.terms]
    anchors = [unit for unit in units if unit is not None] + ([] if anchor is None else [np.broadcast_to(anchor, channels)])
    free = [term for term, unit in zip(current.terms, units, strict=True) if unit is None]
    alone = len(current.terms) == 1
    coarse, shift = _units(free, anchors, channels, bits, gains or not alone, one)
    finer = np.full(1, shift) if fine is None or anchor is None else _bits_short(fine, np.abs(anchor) / coarse)
    unit = _exactly(coarse / (1 << finer), current, units)
    gain = [_whole(coarse if each is None else each, unit) for each in units]
    bias = np.rint(np.broadcast_to(current.bias, channels) / unit).astype(np.int64) if biased else np.zeros(channels, np.int64)
    kept = bias if bias.any() else None
    plain = alone and bool((gain[0] == 1).all())
    names = list[str]()
    for place, (term, each) in enumerate(zip(current.terms, gain, strict=True)):
        first = biased and not any(isinstance(earlier, Synapses) for earlier in current.terms[:place])
        moved = bias * unit - current.bias if first else np.zeros(channels)
        name = current.name if plain else f"{current.name}_{place}"
        names.append(_emitted(term, name, coarse, unit * each, kept if plain else None, moved, put))
    left = np.zeros(channels) if biased else np.broadcast_to(current.bias, channels)
    if plain and (kept is None or isinstance(current.terms[0], Synapses)):
        return Gathered(Known(names[0], _spread(unit, current.axis, current.shape)), unit, left, current.axis)
    put(Add(current.name, tuple(names), tuple(compact(each) for each in gain), kept, current.axis))
    return Gathered(Known(current.name, _spread(unit, current.axis, current.shape)), unit, left, current.axis)


def _emitted(
    term: Known | Synapses,
    name: str,
    coarse: Float[ndarray, " c"],
    worth: Float[ndarray, " c"],
    bias: Int[ndarray, " c"] | None,
    moved: Float[ndarray, " c"],
    put: Callable[[Operation], None],
) -> str:
    """The wire that carries a term; synapses are put under this name, with this bias, and told what their rows are worth in the end."""
    if isinstance(term, Known):
        return term.name
    whole = term.weight
    if term.unit is None:
        whole = np.rint(term.weight / coarse.reshape(-1, *[1] * (term.weight.ndim - 1)))
    for operation in term.emit(name, whole.astype(np.int64), bias):
        put(operation)
    term.settled(whole.astype(np.int64), worth / term.factor, moved / term.factor)
    return name


def _exactly(unit: Float[ndarray, " c"], current: Pending, units: list[Float[ndarray, " c"] | None]) -> Float[ndarray, " c"]:
    """The unit, moved a little so that it divides that of the first operand that is a wire: nothing of it is lost."""
    for term, each in zip(current.terms, units, strict=True):
        if isinstance(term, Known) and each is not None:
            size = np.where(np.isnan(each), unit, np.abs(each))
            return size / np.maximum(np.rint(size / unit), 1)
    return unit


def _unit_of(term: Known | Synapses, current: Pending, channels: int) -> Float[ndarray, " c"] | None:
    """The unit that a term has, NaN where any would do; None where its weights are floating."""
    if isinstance(term, Known):
        return np.broadcast_to(by_channel(term.unit, current.axis, current.name), channels)
    return None if term.unit is None else np.broadcast_to(term.unit, channels)


def _units(
    free: list[Any], anchors: list[Float[ndarray, " c"]], channels: int, bits: int, gains: bool, one: bool
) -> tuple[Float[ndarray, " c"], int]:
    """(u, f) of equation (1): the unit of floating weights for each channel, and by how many bits the sum's is finer."""
    sizes = [np.where(np.isfinite(anchor) & (anchor != 0), np.abs(anchor), np.nan) for anchor in anchors]
    tops = [np.abs(term.weight).reshape(channels, -1).max(1) for term in free]
    natural = np.max(tops, 0) / ((1 << (bits - 1)) - 1) if tops else np.zeros(channels)
    natural = np.where(natural > 0, natural, _least(sizes, channels))
    if one:
        natural = np.full(channels, natural.max() if tops else natural.min())
    if not sizes:
        return natural, 0
    if tops and len(sizes) == 1 and not one:
        ratio = np.floor(sizes[0] / natural * (1 + 1e-12))
        if not gains or (np.nan_to_num(ratio, nan=WELL_APART) >= WELL_APART).all():
            return np.where(np.isnan(ratio), natural, sizes[0] / np.maximum(np.nan_to_num(ratio, nan=1.0), 1)), 0
    ratios = np.concatenate([size / natural for size in sizes])
    ratios = ratios[np.isfinite(ratios)]
    if not gains or not ratios.size or bool((np.abs(ratios - np.rint(ratios)) <= 1e-9 * ratios).all()):
        return natural, 0
    return natural, max(FINE - int(np.floor(np.log2(ratios.min()))), 0)


def _bits_short(fine: int, ratios: Float[ndarray, " _"]) -> Int[ndarray, " _"]:
    """By how many bits units have to be finer for anchors, so many of them each, to be 2^fine of the finer ones."""
    return np.maximum(fine - np.floor(np.log2(ratios)), 0).astype(np.int64)


def _least(sizes: list[Float[ndarray, " c"]], channels: int) -> Float[ndarray, " c"]:
    """For each channel the smallest anchor, or 1 where there is none: the unit where nothing floating is weighed."""
    lowest = np.full(channels, np.inf)
    for size in sizes:
        lowest = np.fmin(lowest, size)
    return np.where(np.isfinite(lowest), lowest, 1.0)


def _whole(unit: Float[ndarray, " c"], of: Float[ndarray, " c"]) -> Int[ndarray, " c"]:
    """How many of the second unit the first is; 1 where the first is none."""
    return np.rint(np.where(np.isnan(unit), of, unit) / of).astype(np.int64)


def with_constant(current: Pending, constant: Any, name: str) -> Pending:
    """A current and a constant: one number, or one for each place of an axis."""
    if constant.size == 1:
        return dataclasses.replace(current, bias=current.bias + constant.reshape(-1))
    shape = (1,) * (len(current.shape) - constant.ndim) + tuple(constant.shape)[-len(current.shape) :]
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    fixed = current.bias.size > 1 or any(isinstance(term, Synapses) for term in current.terms)
    if constant.size != int(np.prod(shape)) or len(axes) != 1 or (fixed and axes[0] != current.axis):
        raise UnsupportedError("a constant is added that is not one number for each channel", found=f"{name}: {tuple(constant.shape)}")
    return dataclasses.replace(current, bias=current.bias + constant.reshape(-1), axis=axes[0])


def by_channel(unit: Float[ndarray, "..."], axis: int, name: str) -> Float[ndarray, " c"]:
    """A unit that is the same throughout each place of an axis, [C]; [1] where it is the same everywhere. Raises UnsupportedError else."""
    rows = np.moveaxis(unit, axis, 0).reshape(unit.shape[axis], -1)
    nothing: Any = np.isnan(rows).all(1)
    filled = np.where(nothing[:, None], 1.0, rows)
    low, high = np.nanmin(filled, 1), np.nanmax(filled, 1)
    if bool(np.any(np.abs(high - low) > 1e-9 * np.abs(high))):
        raise UnsupportedError("values of different scales meet in one channel", found=name, todo="convert with one scale for all channels")
    found = np.asarray(np.where(nothing, np.nan, high))
    seen = found[~nothing]
    return seen[:1] if len(seen) and _alike(seen) else found


def compact(values: Int[ndarray, " c"]) -> Int[ndarray, " _"]:
    """[1] where all are the same."""
    return values[:1] if len(values) > 1 and bool((values == values[0]).all()) else values


def _alike(values: Float[ndarray, " c"]) -> bool:
    return bool(np.nanmax(np.abs(values - values[0])) <= 1e-12 * np.abs(values[0])) if np.isfinite(values[0]) else False


def _spread(unit: Float[ndarray, " c"], axis: int, shape: tuple[int, ...]) -> Float[ndarray, "..."]:
    return np.broadcast_to(unit.reshape([-1 if place == axis else 1 for place in range(len(shape))]), shape)
