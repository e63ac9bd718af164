"""
The builder of function staircases: the best M values, and where to change between them, for a scalar function f and a distribution of
its input, or for many distributions at once (`fit_staircases`).

    minimise E[(f(h) - s(h))²]   over staircases s of M values,   M = N + 1, or 2·N + 1 with a sign          (1)

`lloyd-max` places thresholds by density and fits heights as conditional means (Lloyd 1982, Max 1960; `segment.py` comes within a few
per cent of the optimum, and finds it where problems are small); the error falls as M⁻². `uniform` spaces the thresholds equally over
the best of a hundred ranges, heights fitted too. Inputs outside the distribution get the outermost values.

A distribution is a histogram (edges, weights), or samples. A histogram's bins are split until a stretch holds at least sixteen, its
mass spread evenly within a bin. Neighbours with the same f(h) count as one point.
"""

from collections.abc import Callable
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from spikeloom.errors import ConfigError, NumericError
from spikeloom.neuron.segment import WORK, Numbers, Places, most_candidates, segment, sums_of, total

Method = Literal["lloyd-max", "uniform"]
METHODS: tuple[Method, ...] = ("lloyd-max", "uniform")
Staircase = tuple[Float[Tensor, " _"], Float[Tensor, " _"]]
"""Thresholds, ascending, and one value more: float64."""
Histogram = tuple[Float[Tensor, " _"], Float[Tensor, " _"]]
"""Bin edges, ascending, and the mass in each bin."""

PER_STRETCH = 16
MAX_POINTS = 1 << 16
POINTS = 1 << 19  # that are looked at together
PAIRS = 1 << 22  # of candidates that are looked at together
NOTHING = 1e-12  # the share of the mass below which a point is left out of a fit
ONE_WORK = 1 << 22  # what one staircase alone may cost, where `segment.WORK` is for one of many
TAILS = (0.0, 1e-5, 1e-4, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.2)  # mass left outside a uniform range, on either side


class Cells(NamedTuple):
    """Distributions, one a row, as masses between two inputs each."""

    left: Float[Numbers, "rows n"]
    right: Float[Numbers, "rows n"]
    mass: Float[Numbers, "rows n"]


class Points(NamedTuple):
    """A distribution as n masses: where they lie, what the function is there, and the n - 1 places between one and the next."""

    h: Float[Numbers, " n"]
    y: Float[Numbers, " n"]
    mass: Float[Numbers, " n"]
    between: Float[Numbers, " n_1"]


class Runs(NamedTuple):
    """Distributions, one a row, as neighbours of the same y: what y is, their mass, and where each begins; padded with mass 0."""

    y: Float[Numbers, "rows n"]
    mass: Float[Numbers, "rows n"]
    begins: Float[Numbers, "rows n"]
    counts: Int[Places, " rows"]


def points_of(f: Callable[[Tensor], Tensor], inputs: Float[Tensor, " n"] | Histogram, stretches: int) -> Points:
    """The distribution of f's input as points with mass, enough of them for that many stretches."""
    left, right, mass = (part[0] for part in _cells_of(inputs, stretches))
    left, right, mass = left[mass > 0], right[mass > 0], mass[mass > 0]
    h = (left + right) / 2
    y = f(torch.from_numpy(h)).numpy()
    _refuse_infinite(h, y)
    return Points(h, y, mass / mass.sum(), (right[:-1] + left[1:]) / 2)


def staircase_error(f: Callable[[Tensor], Tensor], inputs: Float[Tensor, " n"] | Histogram, staircase: Staircase) -> float:
    """E[(f(h) - s(h))²] of a staircase under a distribution."""
    thresholds, values = (part.double().cpu().numpy() for part in staircase)
    points = points_of(f, inputs, len(values))
    cells = np.searchsorted(thresholds, points.h, side="right")
    return float(points.mass @ (points.y - values[cells]) ** 2)


def fit_staircase(
    f: Callable[[Tensor], Tensor],
    inputs: Float[Tensor, " n"] | Histogram,
    levels: int,
    *,
    signed: bool = False,
    method: Method = "lloyd-max",
    reuse: bool = False,
    pin: float | None = None,
) -> Staircase:
    """The staircase (thresholds [K], values [K+1]) of (1), of at most M distinct values; at least one threshold.

    With `reuse` a value may serve several stretches of h: more thresholds, no more values, a smaller error where f is not monotone
    (`lloyd-max` only). With `pin` the value that comes nearest is exactly that number, 0 say, so that the neuron is silent there;
    `lloyd-max` leaves it out where f stays further from it than from the values beside it.
    """
    _refuse_no_levels(levels)
    if method not in METHODS or (reuse and method != "lloyd-max"):
        raise ConfigError("unknown way to build a staircase", found=f"{method}, reuse={reuse}", allowed=", ".join(METHODS))
    stretches = 2 * levels + 1 if signed else levels + 1
    if method == "lloyd-max" and not reuse:
        cells = _cells_of(inputs, stretches)
        thresholds, values = (row[0] for row in _lloyd_max(lambda h, _: f(h), cells, slice(0, 1), stretches, pin, ONE_WORK))
        reached = max(1, int(np.isfinite(thresholds).sum()))
        return torch.from_numpy(thresholds[:reached]), torch.from_numpy(values[: reached + 1])
    points = points_of(f, inputs, stretches)
    thresholds, values = _reusing(points, stretches, pin) if reuse else _uniform(points, stretches, pin)
    if len(thresholds) == 0:  # f is constant here
        thresholds, values = points.h[:1], np.repeat(values, 2)
    return torch.from_numpy(thresholds), torch.from_numpy(values)


def fit_staircases(
    f: Callable[[Float[Tensor, "c n"], slice], Float[Tensor, "c n"]],
    edges: Float[Tensor, "c b1"],
    weights: Float[Tensor, "c b"],
    levels: int,
    *,
    pin: float | None = None,
) -> tuple[Float[Tensor, "c k"], Float[Tensor, "c k1"]]:
    """The staircases of (1) for C histograms of equally many bins: thresholds [C, N], ascending, infinite where fewer do, and values
    [C, N+1], in float64. `f(h, which)` is the function on inputs h [c, n] of the channels `which`; `pin` as in `fit_staircase`.

    Raises ConfigError and NumericError as `fit_staircase` does. Some hundred channels are fitted at a time, so memory stays bounded.
    """
    _refuse_no_levels(levels)
    edge, mass = (part.detach().double().cpu().numpy() for part in (edges, weights))
    _refuse_histograms(edge, mass)
    stretches = levels + 1
    step = max(1, min(POINTS // max(mass.shape[1], PER_STRETCH * stretches), PAIRS // most_candidates(stretches, WORK) ** 2))
    parts = [slice(start, start + step) for start in range(0, len(mass), step)]
    fits = [_lloyd_max(f, _split(edge[part], mass[part], stretches), part, stretches, pin, WORK) for part in parts]
    return torch.from_numpy(np.concatenate([fit[0] for fit in fits])), torch.from_numpy(np.concatenate([fit[1] for fit in fits]))


def _refuse_no_levels(levels: int) -> None:
    if levels < 1:
        raise ConfigError("a staircase needs at least one level", found=levels, allowed="levels >= 1")


def _refuse_infinite(h: Numbers, y: Numbers) -> None:
    if not np.isfinite(y).all():
        at = ~np.isfinite(y)
        raise NumericError("the function is not finite where its input has mass", found=f"f({h[at][0]:.6g}) = {y[at][0]}")


def _refuse_histograms(edge: Numbers, mass: Numbers) -> None:
    if edge.shape != (mass.shape[0], mass.shape[1] + 1) or not (np.isfinite(edge).all() and (np.diff(edge) > 0).all()):
        found = f"{edge.shape[1]} edges, {mass.shape[1]} bins"
        raise NumericError("a histogram needs finite ascending edges, one more than bins", found=found)
    if not (np.isfinite(mass).all() and (mass >= 0).all() and (mass.sum(1) > 0).all()):
        raise NumericError("a histogram's masses must be finite, not negative, and not all zero", found=f"sum {mass.sum(1).min()}")


def _cells_of(inputs: Float[Tensor, " n"] | Histogram, stretches: int) -> Cells:
    """One distribution as a row."""
    if isinstance(inputs, Tensor):
        return _from_samples(inputs)
    edge, mass = (part.detach().double().cpu().numpy()[None] for part in inputs)
    _refuse_histograms(edge, mass)
    return _split(edge, mass, stretches)


def _from_samples(samples: Tensor) -> Cells:
    """Points of equal mass at the samples, or at the means of equal groups of them where there are too many."""
    h = np.sort(samples.detach().double().cpu().numpy().ravel())
    if len(h) == 0 or not np.isfinite(h).all():
        raise NumericError("samples of a neuron's input must be finite, and there must be some", found=f"{len(h)} samples")
    group = -(-len(h) // MAX_POINTS)
    starts = np.arange(0, len(h), group)
    counts = np.diff(np.append(starts, len(h)))
    h = np.add.reduceat(h, starts)[None] / counts
    return Cells(h, h, counts.astype(np.float64)[None])


def _split(edge: Numbers, mass: Numbers, stretches: int) -> Cells:
    """The bins of histograms, parted where there are too few."""
    rows, bins = mass.shape
    parts = max(1, -(-PER_STRETCH * stretches // bins))
    steps = np.arange(parts) / parts
    left = (edge[:, :-1, None] + np.diff(edge, axis=1)[:, :, None] * steps).reshape(rows, -1)
    return Cells(left, np.concatenate([left[:, 1:], edge[:, -1:]], axis=1), np.repeat(mass / parts, parts, axis=1))


def _lloyd_max(
    f: Callable[[Tensor, slice], Tensor], cells: Cells, which: slice, stretches: int, pin: float | None, work: int
) -> tuple[Float[Numbers, "rows k"], Float[Numbers, "rows k1"]]:
    """Thresholds, at least one, and values of the least error, the stretches cut along h."""
    h = (cells.left + cells.right) / 2
    runs = _runs(cells, h, f(torch.from_numpy(h), which).numpy())
    cuts, values = _fitted(runs, stretches, pin, work)
    inner = cuts[:, 1:-1]
    thresholds = np.where(inner < runs.counts[:, None], np.take_along_axis(runs.begins, inner, axis=1), np.inf)
    thresholds[:, 0] = np.where(np.isfinite(thresholds[:, 0]), thresholds[:, 0], runs.begins[:, 0])  # f is constant here
    return thresholds, values


def _runs(cells: Cells, h: Float[Numbers, "rows n"], y: Float[Numbers, "rows n"]) -> Runs:
    """What neighbours of the same y make together, those with mass."""
    rows, n = y.shape
    points = np.flatnonzero(cells.mass > NOTHING * cells.mass.sum(1, keepdims=True))
    row, place, height, mass = points // n, h.take(points), y.take(points), cells.mass.take(points)
    _refuse_infinite(place, height)
    starts = np.flatnonzero(np.append(True, (np.diff(height) != 0) | (np.diff(row) > 0)))
    between = np.append(0.0, (cells.right.take(points[:-1]) + cells.left.take(points[1:])) / 2)[starts]
    first = np.append(True, np.diff(row[starts]) > 0)
    counts = np.bincount(row[starts], minlength=rows)
    begins = np.where(first, place[starts], between)
    return Runs(_packed(height[starts], counts), _packed(np.add.reduceat(mass, starts), counts), _packed(begins, counts), counts)


def _packed(numbers: Float[Numbers, " all"], counts: Int[Places, " rows"]) -> Float[Numbers, "rows n"]:
    """Rows one after another, each from the left, zeros after it, at least one."""
    held = np.arange(counts.max() + 1) < counts[:, None]
    packed = np.zeros(held.shape)
    packed[held] = numbers
    return packed


def _fitted(runs: Runs, stretches: int, pin: float | None, work: int) -> tuple[Int[Places, "rows m1"], Float[Numbers, "rows m"]]:
    """The best cuts between runs, one pinned, and what stands between them: means, and the pin. Empty stretches come last, and have
    the last value."""
    found = segment(runs.y, runs.mass, runs.counts, stretches, pin=pin, work=work)
    starts, end = found.places.T[:, :-1], runs.counts[:, None]
    filled = np.diff(found.places.T, axis=1) > 0
    order = np.argsort(~filled, axis=1, kind="stable")
    starts = np.where(filled, starts, end)
    silent = (np.arange(stretches) == found.pinned[:, None]) & filled
    starts, silent = np.take_along_axis(starts, order, axis=1), np.take_along_axis(silent, order, axis=1)
    flat = (starts + runs.y.shape[1] * np.arange(len(starts))[:, None]).ravel()
    mass, value = (np.add.reduceat(part.ravel(), flat).reshape(starts.shape) for part in (runs.mass, runs.mass * runs.y))
    values = np.where(silent, 0.0 if pin is None else pin, value / np.where(starts < end, mass, 1.0))
    last = np.minimum(np.arange(stretches), filled.sum(1, keepdims=True) - 1)
    return np.concatenate([starts, end], axis=1), np.take_along_axis(values, last, axis=1)


def _reusing(points: Points, stretches: int, pin: float | None) -> tuple[Numbers, Numbers]:
    """Thresholds and values of the least error, the stretches cut along y."""
    order = np.argsort(points.y, kind="stable")
    order = order[points.mass[order] > NOTHING]
    y, mass = (np.append(part[order], 0.0)[None] for part in (points.y, points.mass))
    cuts, values = _fitted(Runs(y, mass, y, np.array([len(order)])), stretches, pin, ONE_WORK)
    kept = np.sort(order)
    along_h = np.empty(len(points.y))
    along_h[order] = np.repeat(values[0], np.diff(cuts[0]))
    changes = np.flatnonzero(np.diff(along_h[kept]))
    return points.between[kept[changes]], along_h[kept[np.append(changes, len(kept) - 1)]]


def _uniform(points: Points, stretches: int, pin: float | None) -> tuple[Numbers, Numbers]:
    """Equally spaced thresholds over that range, of those that leave the `TAILS` outside, which has the least error."""
    sums, reached = sums_of(points.y[None], points.mass[None]), np.cumsum(points.mass)
    lows = points.h[np.searchsorted(reached, TAILS)]
    highs = points.h[np.minimum(np.searchsorted(reached, 1 - np.array(TAILS)), len(points.h) - 1)]
    best, thresholds, cuts = -np.inf, points.between[:0], np.array([0, len(points.h)])
    for low, high in product(lows, highs):
        tried = np.linspace(low, high, stretches + 1)[1:-1]
        places = np.concatenate([[0], np.searchsorted(points.h, tried), [len(points.h)]])
        if low < high and (explained := float(total(sums, places[:, None])[0])) > best:
            best, thresholds, cuts = explained, tried, places
    return thresholds, _uniform_values(points, cuts, pin)


def _uniform_values(points: Points, cuts: Places, pin: float | None) -> Numbers:
    """The means of the stretches; an empty one gets what the last one before it has."""
    filled = np.flatnonzero(np.diff(cuts))
    starts = cuts[filled]
    means = np.add.reduceat(points.mass * points.y, starts) / np.add.reduceat(points.mass, starts)
    values = means[np.maximum(np.searchsorted(filled, np.arange(len(cuts) - 1), side="right") - 1, 0)]
    if pin is not None:
        masses = np.diff(np.concatenate([[0.0], np.cumsum(points.mass)])[cuts])
        values[int((masses * (values - pin) ** 2).argmin())] = pin
    return values
