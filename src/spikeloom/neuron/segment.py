"""
Cutting weighted sequences into stretches, each replaced by its mean, with the least squared error; many sequences at once.

    minimise Σ_k Σ_{b_k ≤ j < b_{k+1}} w_j (y_j - ȳ_k)²   over  0 = b_0 ≤ b_1 ≤ … ≤ b_M = n               (1)

which is to maximise Σ_k S_k²/W_k with W_k = Σ w, S_k = Σ w·y of the stretch (both from prefix sums). For y in ascending order this
is the optimal scalar quantiser (Lloyd 1982, Max 1960); for a function along its input it is the optimal staircase. A stretch may be
pinned: a given number p replaces it instead of its mean, and it counts p·(2S - p·W).                                (2)

Candidates for cuts are spread by the high-resolution density w^(1/3)·|Δy|^(2/3) (Panter & Dite 1951), none taking more than one cut.
Few cuts are chosen from their candidates exactly (dynamic programming, Bruce 1965), which solves small problems; many are spread over
theirs by the same density, measured between candidates. Then all cuts move jointly, in rounds: dynamic programming over five places
per cut, at first those of its neighbours and halfway there (so that a stretch can move from anywhere to anywhere), then nearer ones.

Sequences lie in rows padded with weight 0; cuts lie in columns [M+1, rows], so that each step of the recursion runs over all rows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]

WORK = 1 << 16  # pairs of candidates times stretches that a row's exact choice may cost
CANDIDATES = 4  # for every cut, where the choice is not exact
EVEN = 0.05  # share of the density that falls on all places alike
FILLING = 8  # rounds of `filled`
GRAIN = 64  # how far a cut may move is said in 64ths of the gap to its neighbour
ROUNDS = ((64, 32), (22, 11), (64, 32), (22, 11), (64, 32), (6, 3), (64, 32), (1, 0))
TINY = 1e-20


class Sums(NamedTuple):
    """Prefix sums of the weights and of weight times value, each with a leading 0."""

    weight: Float[Numbers, "rows n1"]
    value: Float[Numbers, "rows n1"]

    def at(self, places: Int[Places, "*any rows"]) -> tuple[Float[Numbers, "*any rows"], Float[Numbers, "*any rows"]]:
        """Both sums at places of each row."""
        flat = places + self.weight.shape[1] * np.arange(self.weight.shape[0])
        return self.weight.take(flat), self.value.take(flat)


class Cuts(NamedTuple):
    """The cuts b_0 … b_M of every row, and which stretch is pinned (-1: none)."""

    places: Int[Places, "cuts rows"]
    pinned: Int[Places, " rows"]


def sums_of(y: Float[Numbers, "rows n"], w: Float[Numbers, "rows n"]) -> Sums:
    """The prefix sums of sequences."""
    return Sums(*(np.pad(np.cumsum(part, axis=1), ((0, 0), (1, 0))) for part in (w, w * y)))


def score(weight: Numbers, value: Numbers) -> Numbers:
    """S²/W of stretches: 0 of empty ones, minus infinity where one ends before it starts."""
    gain = value * value
    gain /= weight + TINY
    np.copyto(gain, -np.inf, where=weight < 0)
    return gain


def total(sums: Sums, cuts: Int[Places, "cuts rows"]) -> Float[Numbers, " rows"]:
    """What (1) maximises."""
    weight, value = (np.diff(part, axis=0) for part in sums.at(cuts))
    return score(weight, value).sum(0)


def segment(
    y: Float[Numbers, "rows n"],
    w: Float[Numbers, "rows n"],
    counts: Int[Places, " rows"],
    stretches: int,
    *,
    pin: float | None = None,
    work: int = WORK,
) -> Cuts:
    """Cuts into at most M = `stretches` stretches, some of which may be empty; with `pin`, the one that comes nearest is pinned.

    A row holds `counts` entries, each with more than 1e-12 of the row's weight, then padding of weight 0. Without a pin the cuts are
    optimal where n ≤ √work - 1 and (n - M + 1)²·M ≤ `work`, n the longest row, and within a few per cent of the least error elsewhere.
    """
    w = w / w.sum(1, keepdims=True)
    centre = (w * y).sum(1, keepdims=True)
    sums = sums_of(y - centre, w)  # smaller numbers, smaller rounding
    places = moved(sums, first_cuts(y, w, counts, sums, stretches, work), ROUNDS)
    if pin is None:
        return Cuts(places, np.full_like(counts, -1))
    pins = pin - centre[:, 0]
    pinned = nearest(sums, places, pins)
    return Cuts(moved(sums, places, ROUNDS, pinned, pins), pinned)


def first_cuts(
    y: Float[Numbers, "rows n"],
    w: Float[Numbers, "rows n"],
    counts: Int[Places, " rows"],
    sums: Sums,
    stretches: int,
    work: int,
) -> Int[Places, "cuts rows"]:
    """Cuts chosen from candidates: exactly where that costs at most `work`, by the density between them elsewhere."""
    each_its_own = np.minimum(np.arange(stretches + 1)[:, None], counts)
    most, longest = most_candidates(stretches, work), int(counts.max())
    if longest <= stretches:
        return each_its_own
    exact = most >= min(CANDIDATES * stretches, longest)
    options = candidates(y, w, counts, most if exact else CANDIDATES * stretches)
    cuts = exact_cuts(sums, options, stretches) if exact else spread_cuts(sums, options, stretches)
    return np.where(counts <= stretches, each_its_own, cuts)


def most_candidates(stretches: int, work: int) -> int:
    """Into how many stretches the candidates may part a row where the choice among them is to be exact."""
    return min(stretches - 1 + int((work / stretches) ** 0.5), int(work**0.5) - 1)


def candidates(
    y: Float[Numbers, "rows n"], w: Float[Numbers, "rows n"], counts: Int[Places, " rows"], number: int
) -> Int[Places, "options rows"]:
    """Places from 0 to the end of each row: so many stretches of equal share in the density, or every place if there are no more."""
    if number >= counts.max():
        return np.minimum(np.arange(counts.max() + 1)[:, None], counts)
    both = w[:, 1:] * w[:, :-1] / (w[:, 1:] + w[:, :-1] + TINY)  # what it costs to join two entries, over Δy²
    inner = 1 + spread(np.cbrt(both * np.diff(y, axis=1) ** 2), number - 1).T
    return np.concatenate([np.zeros_like(counts)[None], np.minimum(inner, counts), counts[None]])


def spread_cuts(sums: Sums, options: Int[Places, "options rows"], stretches: int) -> Int[Places, "cuts rows"]:
    """Cuts of equal share in the density between candidates, the cube root of what it costs to do without one."""
    weight, value = (np.diff(part, axis=0) for part in sums.at(options))
    apart = score(weight, value)
    together = score(weight[1:] + weight[:-1], value[1:] + value[:-1])
    loss = np.maximum(apart[1:] + apart[:-1] - together, 0.0)
    inner = 1 + spread(np.cbrt(loss).T, stretches - 1).T
    return np.take_along_axis(options, np.concatenate([np.zeros_like(inner[:1]), inner, np.full_like(inner[:1], len(options) - 1)]), axis=0)


def spread(density: Float[Numbers, "rows n"], number: int) -> Int[Places, "rows number"]:
    """So many places per row, ascending, as dense as `density` has it, none taken twice as long as there are enough of them."""
    rows, n = density.shape
    reached = np.cumsum(filled(density, number), axis=1)
    reached *= number / np.maximum(reached[:, -1:], TINY)
    apart = 2.0 * (number + 1) * np.arange(rows)[:, None]  # keeps the rows in order, one after another
    found = np.searchsorted((reached + apart).ravel(), (np.arange(number) + 0.5 + apart).ravel())
    return np.minimum(found.reshape(rows, number) - n * np.arange(rows)[:, None], n - 1)


def filled(density: Float[Numbers, "rows n"], number: int) -> Float[Numbers, "rows n"]:
    """Shares of a number of cuts in proportion to a density, but at most one each (water filling)."""
    some = density > 0
    share = (1 - EVEN) * density / np.maximum(density.sum(1, keepdims=True), TINY)
    share += EVEN * some / np.maximum(some.sum(1, keepdims=True), 1)
    factor = np.full((len(share), 1), float(number))
    for _ in range(FILLING):
        full = share * factor >= 1
        left = np.where(full, 0.0, share).sum(1, keepdims=True)
        factor = np.where(left > 0, (number - full.sum(1, keepdims=True)).clip(0) / np.maximum(left, TINY), factor)
    return np.minimum(share * factor, 1.0)


def exact_cuts(sums: Sums, options: Int[Places, "options rows"], stretches: int) -> Int[Places, "cuts rows"]:
    """The best cuts among `options`, more than stretches, which ascend from 0 to the end of each row: b_k is one of the k-th and later."""
    weight, value = sums.at(options)
    gains = score(weight[None] - weight[:, None], value[None] - value[:, None])  # [from, to, rows]
    spare = len(options) - stretches
    start = np.full((spare, options.shape[1]), -np.inf)
    start[0] = 0.0
    steps = [gains[k : k + spare, k + 1 : k + 1 + spare] for k in range(stretches)]
    choice = best_path(steps, start, np.full(options.shape[1], spare - 1))
    return np.take_along_axis(options, choice + np.arange(stretches + 1)[:, None], axis=0)


def best_path(gains: Sequence[Float[Numbers, "from to rows"]], start: Float[Numbers, "from rows"], end: Int[Places, " rows"]) -> Places:
    """The choices [steps + 1, rows] of the largest sum of gains, one a step, from any start to the given end."""
    reached = [start]
    for gain in gains[:-1]:
        reached.append((reached[-1][:, None] + gain).max(0))
    path, rows = [end], np.arange(len(end))
    for best, gain in zip(reversed(reached), reversed(gains), strict=True):
        path.append((best + gain[:, path[-1], rows]).argmax(0))
    return np.stack(path[::-1])


def moved(
    sums: Sums,
    cuts: Int[Places, "cuts rows"],
    rounds: Sequence[tuple[int, int]],
    pinned: Int[Places, " rows"] | None = None,
    pins: Float[Numbers, " rows"] | None = None,
) -> Int[Places, "cuts rows"]:
    """All inner cuts moved jointly, round after round: each to the best of five places, itself and two on either side."""
    for steps in rounds:
        options = around(cuts, steps)
        weight, value = (part[1:, None] - part[:-1, :, None] for part in sums.at(options))  # [stretch, from, to, rows]
        gains = score(weight, value)
        if pinned is not None and pins is not None:
            rows = np.arange(len(pinned))
            w, s, p = weight[pinned, :, :, rows], value[pinned, :, :, rows], pins[:, None, None]
            gains[pinned, :, :, rows] = np.where(w >= 0, p * (2 * s - p * w), -np.inf)  # (2)
        choice = best_path(list(gains), np.zeros(options.shape[1:]), np.zeros_like(cuts[0]))
        cuts = np.take_along_axis(options, choice[:, None], axis=1)[:, 0]
    return cuts


def around(cuts: Int[Places, "cuts rows"], steps: tuple[int, int]) -> Int[Places, "cuts 5 rows"]:
    """Where each inner cut may move: by two steps either way, in 64ths of the gap there, at least one entry; the ends stay."""
    gaps = np.diff(cuts, axis=0)
    options = np.repeat(cuts[:, None], 5, axis=1)
    for place, step in enumerate(steps):
        reach = np.maximum(gaps * step // GRAIN, 2 - place)
        options[1:-1, 1 + place] -= reach[:-1]
        options[1:-1, 3 + place] += reach[1:]
    return np.clip(options, 0, cuts[-1])


def nearest(sums: Sums, cuts: Int[Places, "cuts rows"], pins: Float[Numbers, " rows"]) -> Int[Places, " rows"]:
    """The stretch of each row that costs least to pin, none of the empty ones."""
    weight, value = (np.diff(part, axis=0) for part in sums.at(cuts))
    return np.where(np.diff(cuts, axis=0) > 0, score(weight, value - pins * weight), np.inf).argmin(0)
