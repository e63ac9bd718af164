"""
The builder of function staircases: the best M values, and where to change between them, for a scalar function f and a distribution of
its input.

    minimise E[(f(h) - s(h))²]   over staircases s of M values,   M = N + 1, or 2·N + 1 with a sign          (1)

`lloyd-max` places thresholds by density and fits heights as conditional means (Lloyd 1982, Max 1960; `segment.py` finds the optimum or
comes within a few per cent of it); the error falls as M⁻². `uniform` spaces the thresholds equally over the best of a hundred ranges,
heights fitted too. Inputs outside the distribution get the outermost values.

The distribution is a histogram (edges, weights), or samples. A histogram's bins are split until a stretch holds at least sixteen, its
mass spread evenly within a bin.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.errors import ConfigError, NumericError
from spikeloom.neuron.segment import Places, score, segment, sums_of

Numbers = NDArray[np.float64]
Method = Literal["lloyd-max", "uniform"]
METHODS: tuple[Method, ...] = ("lloyd-max", "uniform")
Staircase = tuple[Float[Tensor, " _"], Float[Tensor, " _"]]
"""Thresholds, ascending, and one value more: float64."""
Histogram = tuple[Float[Tensor, " _"], Float[Tensor, " _"]]
"""Bin edges, ascending, and the mass in each bin."""

PER_STRETCH = 16
MAX_POINTS = 1 << 16
TAILS = (0.0, 1e-5, 1e-4, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.2)  # mass left outside a uniform range, on either side


class Points(NamedTuple):
    """A distribution as n masses: where they lie, what the function is there, and the n - 1 places between one and the next."""

    h: Numbers
    y: Numbers
    mass: Numbers
    between: Numbers


def points_of(f: Callable[[Tensor], Tensor], inputs: Float[Tensor, " n"] | Histogram, stretches: int) -> Points:
    """The distribution of f's input as points with mass, enough of them for that many stretches."""
    h, mass, between = _from_samples(inputs) if isinstance(inputs, Tensor) else _from_histogram(*inputs, stretches)
    y = f(torch.from_numpy(h)).numpy()
    if not np.isfinite(y).all():
        where = h[~np.isfinite(y)][0]
        raise NumericError("the function is not finite where its input has mass", found=f"f({where:.6g}) = {y[~np.isfinite(y)][0]}")
    return Points(h, y, mass / mass.sum(), between)


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
    (`lloyd-max` only). With `pin` the value that comes nearest is exactly that number, 0 say, so that the neuron is silent there.
    """
    if levels < 1:
        raise ConfigError("a staircase needs at least one level", found=levels, allowed="levels >= 1")
    if method not in METHODS or (reuse and method != "lloyd-max"):
        raise ConfigError("unknown way to build a staircase", found=f"{method}, reuse={reuse}", allowed=", ".join(METHODS))
    stretches = 2 * levels + 1 if signed else levels + 1
    points = points_of(f, inputs, stretches)
    thresholds, values = _uniform(points, stretches, pin) if method == "uniform" else _lloyd_max(points, stretches, pin, reuse)
    if len(thresholds) == 0:  # f is constant here
        thresholds, values = points.h[:1], np.repeat(values, 2)
    return torch.from_numpy(thresholds), torch.from_numpy(values)


def stack_staircases(staircases: Sequence[Staircase]) -> tuple[Float[Tensor, " c k"], Float[Tensor, " c k1"]]:
    """One table per channel, padded to the longest by thresholds that are never reached (infinity)."""
    longest = max(len(thresholds) for thresholds, _ in staircases)
    rows = [_padded(thresholds, values, longest) for thresholds, values in staircases]
    return torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])


def _padded(thresholds: Tensor, values: Tensor, longest: int) -> Staircase:
    missing = longest - len(thresholds)
    return torch.cat([thresholds, thresholds.new_full((missing,), torch.inf)]), torch.cat([values, values[-1:].expand(missing)])


def _from_samples(samples: Tensor) -> tuple[Numbers, Numbers, Numbers]:
    """Points of equal mass at the samples, or at the means of equal groups of them where there are too many."""
    h = np.sort(samples.detach().double().cpu().numpy().ravel())
    if len(h) == 0 or not np.isfinite(h).all():
        raise NumericError("samples of a neuron's input must be finite, and there must be some", found=f"{len(h)} samples")
    group = -(-len(h) // MAX_POINTS)
    starts = np.arange(0, len(h), group)
    counts = np.diff(np.append(starts, len(h)))
    h = np.add.reduceat(h, starts) / counts
    return h, counts.astype(np.float64), (h[1:] + h[:-1]) / 2


def _from_histogram(edges: Tensor, weights: Tensor, stretches: int) -> tuple[Numbers, Numbers, Numbers]:
    """Points in the middle of bins, which are split where there are too few; empty bins give none."""
    edge, mass = (part.detach().double().cpu().numpy() for part in (edges, weights))
    if len(edge) != len(mass) + 1 or not (np.isfinite(edge).all() and (np.diff(edge) > 0).all()):
        raise NumericError("a histogram needs finite ascending edges, one more than bins", found=f"{len(edge)} edges, {len(mass)} bins")
    if not (np.isfinite(mass).all() and (mass >= 0).all() and mass.sum() > 0):
        raise NumericError("a histogram's masses must be finite, not negative, and not all zero", found=f"sum {mass.sum()}")
    parts = max(1, -(-PER_STRETCH * stretches // len(mass)))
    steps = np.arange(parts) / parts
    left = (edge[:-1, None] + np.diff(edge)[:, None] * steps).ravel()
    right = np.append(left[1:], edge[-1])
    mass = np.repeat(mass / parts, parts)
    left, right, mass = left[mass > 0], right[mass > 0], mass[mass > 0]
    return (left + right) / 2, mass, (right[:-1] + left[1:]) / 2


def _lloyd_max(points: Points, stretches: int, pin: float | None, reuse: bool) -> tuple[Numbers, Numbers]:
    """Thresholds and values of the least error; with `reuse` the stretches are cut along y, else along h."""
    order = np.argsort(points.y, kind="stable") if reuse else np.arange(len(points.y))
    y, mass = points.y[order], points.mass[order]
    cuts = segment(y, mass, stretches)
    if pin is None:
        values = _means(y, mass, cuts)
    else:
        cuts, values = _pinned(y, mass, cuts, pin)
    along_h = np.empty(len(y))
    along_h[order] = np.repeat(values, np.diff(cuts))
    changes = np.flatnonzero(np.diff(along_h))
    return points.between[changes], along_h[np.append(changes, len(y) - 1)]


def _means(y: Numbers, mass: Numbers, cuts: Places) -> Numbers:
    """The mean of each stretch, none of them empty."""
    return np.add.reduceat(mass * y, cuts[:-1]) / np.add.reduceat(mass, cuts[:-1])


def _pinned(y: Numbers, mass: Numbers, cuts: Places, pin: float) -> tuple[Places, Numbers]:
    """The stretch that costs least gets the value `pin`, then the cuts beside it move to where they are best."""
    values = _means(y, mass, cuts)
    pinned = int((np.add.reduceat(mass, cuts[:-1]) * (values - pin) ** 2).argmin())
    values[pinned] = pin
    cuts = cuts.copy()
    for cut in (pinned, pinned + 1):
        if 0 < cut < len(cuts) - 1:
            start, end = cuts[cut - 1], cuts[cut + 1]
            dearer = mass[start:end] * ((y[start:end] - values[cut - 1]) ** 2 - (y[start:end] - values[cut]) ** 2)
            cuts[cut] = start + int(np.argmin(np.concatenate([[0.0], np.cumsum(dearer)])))
    return cuts, values


def _uniform(points: Points, stretches: int, pin: float | None) -> tuple[Numbers, Numbers]:
    """Equally spaced thresholds over that range, of those that leave the `TAILS` outside, which has the least error."""
    sums, reached = sums_of(points.y, points.mass), np.cumsum(points.mass)
    lows = points.h[np.searchsorted(reached, TAILS)]
    highs = points.h[np.minimum(np.searchsorted(reached, 1 - np.array(TAILS)), len(points.h) - 1)]
    best, thresholds, cuts = -np.inf, points.between[:0], np.array([0, len(points.h)])
    for low, high in product(lows, highs):
        tried = np.linspace(low, high, stretches + 1)[1:-1]
        places = np.concatenate([[0], np.searchsorted(points.h, tried), [len(points.h)]])
        if low < high and (explained := float(score(sums, places[:-1], places[1:]).sum())) > best:
            best, thresholds, cuts = explained, tried, places
    return thresholds, _uniform_values(points, cuts, pin)


def _uniform_values(points: Points, cuts: Places, pin: float | None) -> Numbers:
    """The means of the stretches; an empty one gets what the last one before it has."""
    filled = np.flatnonzero(np.diff(cuts))
    means = _means(points.y, points.mass, cuts[np.append(filled, len(cuts) - 1)])
    values = means[np.maximum(np.searchsorted(filled, np.arange(len(cuts) - 1), side="right") - 1, 0)]
    if pin is not None:
        masses = np.diff(np.concatenate([[0.0], np.cumsum(points.mass)])[cuts])
        values[int((masses * (values - pin) ** 2).argmin())] = pin
    return values
