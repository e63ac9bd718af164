"""
Cutting weighted sequences into stretches, each replaced by its mean, with the least squared error; many sequences at once.

    minimise Σ_k Σ_{b_k ≤ j < b_{k+1}} w_j (y_j - ȳ_k)²   over  0 = b_0 ≤ b_1 ≤ … ≤ b_M = n               (1)

which is to maximise Σ_k S_k²/W_k with W_k = Σ w, S_k = Σ w·y of the stretch (both from prefix sums). For y in ascending order this
is the optimal scalar quantiser (Lloyd 1982, Max 1960); for a function along its input it is the optimal staircase. A stretch may be
pinned: a given number p replaces it instead of its mean, and it counts p·(2S - p·W).                                (2)

Candidates for cuts are spread by the high-resolution density w^(1/3)·|Δy|^(2/3) (Panter & Dite 1951), none taking more than one cut.
Few cuts are chosen from their candidates exactly (dynamic programming, Bruce 1965), which solves small problems; many are spread over
theirs by the same density, measured between candidates. Then all cuts move jointly, in rounds: dynamic programming over seven places
per cut, those of its neighbours among them, so that a stretch can be lost at one end of a row and won at the other.

Sequences lie in rows padded with weight 0; cuts lie in columns [M+1, rows], so that each step of the recursion runs over all rows.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]

WORK = 1 << 16  # pairs of candidates times stretches that a row's exact choice may cost
CANDIDATES = 4  # for every cut, where the choice is not exact
FILLING = 8  # rounds of `filled`
GRAIN = 64  # how far a cut may move is said in 64ths of the gap to its neighbour
ROUNDS = ((64, 32, 11), (64, 32, 6), (64, 32, 11), (64, 32, 2), (22, 11, 0))
FEW = 16  # stretches, which have further to go: twice the rounds
MANY = 256  # stretches, which the density alone cuts nearly as well as they can be: the last round only
FREE = 3  # rounds before the stretch to pin is chosen
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
    """Cuts into at most M = `stretches` stretches, some of which may be empty; with `pin`, the `nearest` of them is pinned.

    A row holds `counts` entries, each with more than 1e-12 of the row's weight, then padding of weight 0. Without a pin the cuts are
    optimal where n ≤ √work - 1 and (n - M + 1)²·M ≤ `work`, n the longest row, and within a few per cent of the least error elsewhere.
    """
    w = w / w.sum(1, keepdims=True)
    centre = (w * y).sum(1, keepdims=True)
    sums = sums_of(y - centre, w)  # smaller numbers, smaller rounding
    places, pinned, pins = first_cuts(y, w, counts, sums, stretches, work), np.full_like(counts, -1), np.zeros(len(y))
    rounds = 2 * ROUNDS if stretches <= FEW else ROUNDS if stretches <= MANY else ROUNDS[-1:]
    if pin is not None:
        pins = pin - centre[:, 0]
        places = moved(sums, places, pinned, pins, rounds[: min(FREE, len(rounds) - 1)])
        pinned = np.where(counts <= stretches, -1, nearest(y - centre, sums, places, pins))  # none where every entry has its own value
    return Cuts(moved(sums, places, pinned, pins, rounds), pinned)


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
    every = np.minimum(np.arange(min(number, int(counts.max())) + 1)[:, None], counts)
    if number >= counts.max():
        return every
    both = w[:, 1:] * w[:, :-1] / (w[:, 1:] + w[:, :-1] + TINY)  # what it costs to join two entries, over Δy²
    inner = 1 + spread(np.cbrt(both * np.diff(y, axis=1) ** 2), number - 1).T
    spaced = np.concatenate([np.zeros_like(counts)[None], np.minimum(inner, counts), counts[None]])
    return np.where(counts <= number, every, spaced)


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
    share = density / np.maximum(density.sum(1, keepdims=True), TINY)
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
    choice = best_path((gains[k : k + spare, k + 1 : k + 1 + spare] for k in range(stretches)), start, spare - 1)
    return np.take_along_axis(options, choice + np.arange(stretches + 1)[:, None], axis=0)


def best_path(gains: Iterable[Float[Numbers, "from to rows"]], start: Float[Numbers, "from rows"], end: int) -> Places:
    """The choices [steps + 1, rows] of the largest sum of gains, one a step, from any start to the given end."""
    reached, taken = [start], list[Numbers]()
    for gain in gains:
        taken.append(gain)
        reached.append((reached[-1][:, None] + gain).max(0))
    rows = np.arange(start.shape[1])
    path = [np.full_like(rows, end)]
    for best, gain in zip(reached[-2::-1], reversed(taken), strict=True):
        path.append((best + gain[:, path[-1], rows]).argmax(0))
    return np.stack(path[::-1])


def moved(
    sums: Sums,
    cuts: Int[Places, "cuts rows"],
    pinned: Int[Places, " rows"],
    pins: Float[Numbers, " rows"],
    rounds: Sequence[Sequence[int]],
) -> Int[Places, "cuts rows"]:
    """All inner cuts moved jointly, round after round: each to the best of a few places, where it was and some on either side."""
    for steps in rounds:
        options = around(cuts, steps)
        choice = best_path(gains_of(sums, options, pinned, pins), np.zeros(options.shape[1:]), 0)
        cuts = np.take_along_axis(options, choice[:, None], axis=1)[:, 0]
    return cuts


def gains_of(
    sums: Sums, options: Int[Places, "cuts options rows"], pinned: Int[Places, " rows"], pins: Float[Numbers, " rows"]
) -> Iterator[Float[Numbers, "options options rows"]]:
    """What each stretch scores between every two of the places of its cuts; a pinned one by (2)."""
    weights, values = sums.at(options)
    for k in range(len(options) - 1):
        weight, value = weights[k + 1] - weights[k][:, None], values[k + 1] - values[k][:, None]
        gain = score(weight, value)
        if len(here := np.flatnonzero(pinned == k)):
            w, v, p = weight[:, :, here], value[:, :, here], pins[here]
            gain[:, :, here] = np.where(w > 0, p * (2 * v - p * w), -np.inf)
        yield gain


def around(cuts: Int[Places, "cuts rows"], steps: Sequence[int]) -> Int[Places, "cuts options rows"]:
    """Where each inner cut may move: nowhere, or by one of the steps (in 64ths of the gap there) either way; the ends stay."""
    gaps, far = np.diff(cuts, axis=0), len(steps)
    options = np.repeat(cuts[:, None], 2 * far + 1, axis=1)
    for place, step in enumerate(steps):
        reach = np.maximum(gaps * step // GRAIN, far - place)
        options[1:-1, place] -= reach[:-1]
        options[1:-1, 1 + far + place] += reach[1:]
    return np.clip(options, 0, cuts[-1])


def nearest(y: Float[Numbers, "rows n"], sums: Sums, cuts: Int[Places, "cuts rows"], pins: Float[Numbers, " rows"]) -> Int[Places, " rows"]:
    """The stretch of each row that costs least to pin; none (-1) where neither its mean nor the entries at its ends are nearer to the
    pin than to the means beside it: where the pin lies a stretch or more outside of what y is."""
    weight, value = (np.diff(part, axis=0) for part in sums.at(cuts))
    found = np.where(weight > 0, score(weight, value - pins * weight), np.inf).argmin(0)
    means = np.pad(np.where(weight > 0, value / np.maximum(weight, TINY), np.inf), ((1, 1), (0, 0)), constant_values=np.inf)
    rows = np.arange(len(found))
    own = np.stack([means[found + 1, rows], y[rows, cuts[found, rows]], y[rows, cuts[found + 1, rows] - 1]])
    beside = np.minimum(abs(own - means[found, rows]), abs(own - means[found + 2, rows]))
    return np.where((abs(own - pins) <= beside).any(0), found, -1)
