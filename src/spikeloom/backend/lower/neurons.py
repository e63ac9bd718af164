"""
Populations in whole numbers.

Without a membrane (T = 1) a current x = u·k + b reaches θ where k ≥ ⌈(θ - b) / u⌉: comparing whole numbers decides exactly what comparing
real ones would. v[0], decay and leak move θ. With a membrane, thresholds are multiples of one whole quantum, so that what is taken back at
a reset is exact; start, leak and bias are rounded to the membrane's unit.

What is sent: levels j where heights are equally far apart (unit: a level), else heights on a grid of `value_bits` (unit: a grid step).
"""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from spikeloom.backend.lower.currents import compact
from spikeloom.ir.hardware import Membrane, Population

DECAY_BITS = 12
WHOLE = 1e-3
"""What is this near to a whole number is one."""
FAR = float(1 << 40)
"""No current reaches it."""
TIE = 1e-9
"""A threshold this near to a whole number of units, relatively, is that number."""


@final
@dataclass(frozen=True, eq=False)
class Neurons:
    """A population of the program: thresholds [C, K] and heights [C, K+1] on the program's scale (C = 1 for all channels), and for
    identity staircases start, decay, leak and step, each [C] or [1]. `reset` is that of its membrane."""

    name: str
    thresholds: Float[ndarray, "_ k"]
    heights: Float[ndarray, "_ k1"]
    axis: int
    step: Float[ndarray, " _"] | None = None
    start: Float[ndarray, " _"] | None = None
    decay: Float[ndarray, " _"] | None = None
    leak: Float[ndarray, " _"] | None = None
    reset: Any = "subtract"


@final
@dataclass(frozen=True, eq=False)
class Sent:
    """Heights as whole numbers [C, K+1], and the unit [C] of each channel."""

    heights: Int[ndarray, "_ k1"]
    unit: Float[ndarray, " _"]


def sent_by(neurons: Neurons, value_bits: int, *, common: bool, noted: Float[ndarray, " _"] | None = None) -> Sent:
    """Heights as whole numbers; with `common` all channels have one unit. They stay the same of the unit that grounding `noted`."""
    values = neurons.heights
    rows = values[:1] if values.shape[0] > 1 and bool((values == values[0]).all()) else values
    if noted is not None and noted.size in (1, len(rows)) and bool((np.abs(off_grid(rows / noted[:, None])) <= WHOLE).all()):
        return Sent(_rows(np.rint(rows / noted[:, None])), noted)
    each = _equal_steps(rows)
    if each is not None and (not common or _same(each)):
        return Sent(_rows(np.rint(rows / each[:, None])), each)
    top = np.abs(rows).max(1)
    top = np.where(top > 0, top, 1.0)
    top = np.full_like(top, top.max()) if common else top
    most = (1 << value_bits) - 1 if (rows >= 0).all() else (1 << (value_bits - 1)) - 1
    unit = top / most
    return Sent(_rows(np.rint(rows / unit[:, None])), unit)


def table(neurons: Neurons, reads: str, unit: Float[ndarray, " _"], bias: Float[ndarray, " _"], sent: Sent) -> Population:
    """A population without a membrane, of a current x = unit·k + bias."""
    shift = bias - (0.0 if neurons.leak is None else neurons.leak)
    shift = shift + (0.0 if neurons.start is None else neurons.start * (1.0 if neurons.decay is None else neurons.decay))
    exact = ((neurons.thresholds - shift[:, None]) / np.abs(unit)[:, None]).clip(-FAR, FAR)
    whole = np.where(np.abs(exact - np.rint(exact)) <= TIE * np.maximum(np.abs(exact), 1), np.rint(exact), np.ceil(exact))
    return Population(neurons.name, (reads,), _rows(whole), sent.heights, neurons.axis)


def with_membrane(neurons: Neurons, reads: str, unit: Float[ndarray, " _"], levels: Int[ndarray, "1 k1"]) -> Population:
    """A population of equal steps (`neurons.step`) with a membrane in `unit`s of the current."""
    quantum = np.maximum(np.rint(neurons.step / unit), 1).astype(np.int64)  # pyright: ignore[reportOptionalOperand]
    start, leak = (np.rint(part / unit).astype(np.int64) for part in (_of(neurons.start, 0.0), _of(neurons.leak, 0.0)))
    decay, shift = np.rint(_of(neurons.decay, 1.0) * (1 << DECAY_BITS)).astype(np.int64), DECAY_BITS
    if (decay == 1 << DECAY_BITS).all():
        decay, shift = np.ones(1, np.int64), 0
    steps = compact(quantum)[:, None] * levels
    membrane = Membrane(compact(start), steps, compact(decay), shift, compact(leak), neurons.reset)
    return Population(neurons.name, (reads,), steps[:, 1:], levels, neurons.axis, membrane)


def parameters(made: Population, membrane: Membrane, unit: Float[ndarray, " _"]) -> dict[str, Float[ndarray, " _"]]:
    """Step, v[0], decay and leak that a population with a membrane has on the program's scale."""
    told = {"step": made.quantum * unit, "v0": membrane.initial * unit, "leak": membrane.leak * unit}
    return told | {"decay": membrane.decay / (1 << membrane.decay_shift)}


def off_grid(values: Float[ndarray, "*any"]) -> Float[ndarray, "*any"]:
    """How far from whole numbers these are."""
    return values - np.rint(values)


def _of(values: Float[ndarray, " _"] | None, otherwise: float) -> Float[ndarray, " _"]:
    return np.full(1, otherwise) if values is None else values


def _equal_steps(rows: Float[ndarray, "_ k1"]) -> Float[ndarray, " _"] | None:
    """The step of heights that are equally far apart and whole numbers of it, for each channel; None where they are not."""
    each = np.diff(rows, axis=1)[:, 0]
    if not (each > 0).all():
        return None
    whole = rows / each[:, None]
    return each if (np.abs(whole - np.rint(whole)) <= 1e-4).all() and (np.abs(np.diff(whole, axis=1) - 1) <= 1e-4).all() else None


def _same(values: Float[ndarray, " _"]) -> bool:
    return bool((np.abs(values - values[0]) <= 1e-12 * values[0]).all())


def _rows(values: Float[ndarray, "_ k"]) -> Int[ndarray, "_ k"]:
    whole = values.astype(np.int64)
    return whole[:1] if bool((whole == whole[0]).all()) else whole
