"""
Function staircases whose heights are powers of two: what a neuron's output is multiplied with is then shifted, not multiplied.

    minimise E[(f(h) - s(h))²],  s(h) ∈ V,  V ⊂ {0} ∪ {±2^k},  |V| ≤ M                    (1)

For a given V every input takes the value nearest to f(h); the best V is found exactly, by dynamic programming over the powers in
order (Bruce 1965): between two neighbours of V the error is that of the points between them, each with the nearer one. A value may
serve several stretches of h. The least relative error of a power of two alone is large (values lie up to a third off), so that more
levels help only until every power in the range has one.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.neuron.builder import Histogram, Staircase, points_of

Numbers = NDArray[np.float64]
OCTAVES = 24
"""How many powers below the largest value are looked at."""


def fit_shift_staircase(
    f: Callable[[Tensor], Tensor], inputs: Float[Tensor, " n"] | Histogram, levels: int, *, signed: bool = False
) -> Staircase:
    """The staircase of (1) with M = N + 1 heights, or 2·N + 1 with a sign; at least one threshold; float64.

    Raises ConfigError and NumericError as `fit_staircase` does.
    """
    stretches = 2 * levels + 1 if signed else levels + 1
    points = points_of(f, inputs, stretches)
    order = np.argsort(points.y, kind="stable")
    chosen = best_values(points.y[order], points.mass[order], stretches)
    middles = (chosen[1:] + chosen[:-1]) / 2
    along = chosen[np.searchsorted(middles, points.y, side="right")]
    changes = np.flatnonzero(np.diff(along))
    if len(changes) == 0:  # one height serves all
        return torch.from_numpy(points.h[:1].copy()), torch.from_numpy(np.repeat(along[:1], 2))
    return torch.from_numpy(points.between[changes]), torch.from_numpy(along[np.append(changes, len(along) - 1)])


def are_shifts(values: Float[Tensor, " *any"]) -> bool:
    """Whether all heights are 0 or powers of two, some of them not 0."""
    loud = values[values != 0].abs()
    return loud.numel() > 0 and bool(torch.isfinite(loud).all()) and bool((torch.frexp(loud).mantissa == 0.5).all())


def best_values(y: Numbers, mass: Numbers, most: int) -> Numbers:
    """The best of 0 and the powers of two, at most so many, ascending, for ascending values y with mass."""
    options = _options(y)
    if len(options) <= most:
        return options
    cost = _between(y, mass, options)
    least = cost[0, 1:]  # [last value chosen], all below it served; a row of `cost` is offset by one: 0 stands for "none below"
    before: list[NDArray[np.intp]] = []
    for _ in range(most - 1):
        total = least[:, None] + cost[1:, 1:]
        before.append(total.argmin(0))
        least = total.min(0)
    place = int((least + cost[1:, 0]).argmin())
    chosen = [place]
    for row in reversed(before):
        chosen.append(int(row[chosen[-1]]))
    return options[np.unique(chosen)]


def _options(y: Numbers) -> Numbers:
    """0 and every power of two that a value may be near to."""
    top = float(np.abs(y).max())
    if top == 0:
        return np.zeros(1)
    powers = 2.0 ** (np.ceil(np.log2(top)) - np.arange(OCTAVES))
    negative = -powers if y.min() < 0 else powers[:0]
    return np.concatenate([negative, [0.0], powers[::-1] if y.max() > 0 else powers[:0]])


def _between(y: Numbers, mass: Numbers, options: Numbers) -> Numbers:
    """[n + 1, n + 1]: the error of the points between value i - 1 and value j - 1, each with the nearer of the two. Row 0: of all below
    value j - 1; column 0: of all above value i - 1; infinity where j < i; 0 on the diagonal."""
    sums = [np.append(0.0, np.cumsum(mass * y**k)) for k in range(3)]

    def error(start: NDArray[np.intp], end: NDArray[np.intp], value: Numbers) -> Numbers:
        weight, first, second = (part[end] - part[start] for part in sums)
        return second - 2 * value * first + value**2 * weight

    n, places = len(options), np.searchsorted(y, options)
    left, right = np.broadcast_arrays(options[:, None], options[None])
    middle = np.searchsorted(y, (left + right) / 2)
    start, end = np.broadcast_arrays(places[:, None], places[None])
    inner = error(start, middle, left) + error(middle, end, right)
    cost = np.full((n + 1, n + 1), np.inf)
    cost[1:, 1:] = np.where(left <= right, inner, np.inf)
    cost[0, 1:] = error(np.zeros_like(places), places, options)
    cost[1:, 0] = error(places, np.full_like(places, len(y)), options)
    return cost
