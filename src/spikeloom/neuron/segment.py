"""
Cutting a weighted sequence into stretches, each replaced by its mean, with the least squared error.

    minimise Σ_k Σ_{b_k ≤ j < b_{k+1}} w_j (y_j - ȳ_k)²   over  0 = b_0 ≤ b_1 ≤ … ≤ b_M = n               (1)

which is to maximise Σ_k S_k²/W_k with W_k = Σ w, S_k = Σ w·y of the stretch (both from prefix sums). For y in ascending order this
is the optimal scalar quantiser (Lloyd 1982, Max 1960); for a function along its input it is the optimal staircase.

Small problems are solved exactly (dynamic programming, Bruce 1965). Larger ones start from two places: the exact solution on a coarse
grid of positions, and the high-resolution density w^(1/3)·|Δy|^(2/3) (Panter & Dite 1951) mended by pairwise re-cutting and by moving
stretches from where they help little to where they help much. From both, all cuts move jointly (dynamic programming over a few
candidates per cut, among them the places of its neighbours) until nothing is won; the better one is kept.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]

EXACT_WORK = 1e7  # pairs of positions times stretches that dynamic programming may cost
SWEEPS = 6
ROUNDS = 4
GAIN = 1e-3  # of the error: the least a round must win to be followed by another


class Sums(NamedTuple):
    """Prefix sums of the weights and of weight times value, each with a leading 0."""

    weight: Numbers
    value: Numbers


def sums_of(y: Numbers, w: Numbers) -> Sums:
    """The prefix sums of a sequence."""
    return Sums(np.concatenate([[0.0], np.cumsum(w)]), np.concatenate([[0.0], np.cumsum(w * y)]))


def score(sums: Sums, start: Places, end: Places) -> Numbers:
    """S²/W of the stretches [start, end); 0 where one is empty."""
    weight = sums.weight[end] - sums.weight[start]
    value = sums.value[end] - sums.value[start]
    return np.divide(value * value, weight, out=np.zeros_like(weight), where=weight > 0)


def total(sums: Sums, cuts: Places) -> float:
    """What (1) maximises, for the cuts b_0 … b_M."""
    return float(score(sums, cuts[:-1], cuts[1:]).sum())


def segment(y: Numbers, w: Numbers, stretches: int) -> Places:
    """The cuts b_0 … b_M of a sequence into at most M = `stretches` stretches (empty ones are dropped); weights must be positive."""
    y = y - np.average(y, weights=w)  # smaller numbers, smaller rounding
    sums, n = sums_of(y, w), len(y)
    if n <= stretches:
        return np.arange(n + 1)
    size = min(int((EXACT_WORK / stretches) ** 0.5), 64 * stretches)
    if n <= size:
        return np.unique(exact_cuts(sums, np.arange(n + 1), stretches))
    starts = [mended_cuts(sums, companded_cuts(y, w, stretches))]
    if size >= 4 * stretches:
        starts.append(exact_cuts(sums, companded_cuts(y, w, size), stretches))
    energy = float((w * y * y).sum())
    ends = [joint_cuts(sums, cuts, energy) for cuts in starts]
    return np.unique(max(ends, key=lambda cuts: total(sums, cuts)))


def exact_cuts(sums: Sums, places: Places, stretches: int) -> Places:
    """The best cuts among `places` (ascending, from 0 to n): dynamic programming."""
    gain = score(sums, places[None, :], places[:, None])  # [to, from]
    gain[np.triu_indices(len(places), 1)] = -np.inf
    best, rows = gain[:, 0], np.arange(len(places))
    came_from = np.zeros((stretches, len(places)), dtype=np.intp)
    for k in range(1, stretches):
        reached = gain + best
        came_from[k] = reached.argmax(1)
        best = reached[rows, came_from[k]]
    path = [len(places) - 1]
    for k in range(stretches - 1, 0, -1):
        path.append(int(came_from[k, path[-1]]))
    return places[[0, *reversed(path)]]


def companded_cuts(y: Numbers, w: Numbers, stretches: int) -> Places:
    """Cuts of equal share in w^(1/3)·|Δy|^(2/3), a little of it in w^(1/3) alone; every stretch holds at least one entry."""
    root = np.cbrt(w)
    density = root * np.cbrt(np.gradient(y) ** 2)
    density = density / max(density.sum(), np.finfo(float).tiny) + 0.02 * root / root.sum()
    share = np.cumsum(density) / density.sum()
    cuts = np.concatenate([[0], np.searchsorted(share, np.arange(1, stretches) / stretches) + 1, [len(y)]])
    rank = np.arange(stretches + 1)
    return np.minimum(np.maximum.accumulate(cuts - rank) + rank, len(y) - rank[::-1])


def mended_cuts(sums: Sums, cuts: Places) -> Places:
    """Local search: every second cut at its best between its neighbours, then stretches moved to where they help most; repeated."""
    for _ in range(SWEEPS):
        cuts = cuts.copy()
        for parity in (1, 2):
            inner = np.arange(parity, len(cuts) - 1, 2)
            if len(inner):
                cuts[inner] = best_splits(sums, cuts[inner - 1], cuts[inner + 1])[0]
        moved = moved_stretches(sums, cuts)
        if (moved == cuts).all():
            break
        cuts = moved
    return cuts


def best_splits(sums: Sums, starts: Places, ends: Places) -> tuple[Places, Numbers]:
    """For disjoint ascending stretches, none empty: the inner place where each is best cut in two, and the two halves' score."""
    lengths = ends - starts
    offsets = np.cumsum(lengths) - lengths
    stretch = np.repeat(np.arange(len(starts)), lengths)
    places = np.arange(lengths.sum()) - offsets[stretch] + starts[stretch]
    gain = score(sums, starts[stretch], places) + score(sums, places, ends[stretch])
    gain[offsets[lengths > 1]] = -np.inf  # a cut at the start cuts nothing
    best = np.maximum.reduceat(gain, offsets)
    hits = np.flatnonzero(gain == best[stretch])
    return places[hits[np.searchsorted(stretch[hits], np.arange(len(starts)))]], best


def moved_stretches(sums: Sums, cuts: Places) -> Places:
    """Cuts that separate little are taken out, and stretches that gain more from a cut get one, at most a quarter of them at a time."""
    each = score(sums, cuts[:-1], cuts[1:])
    loss = each[:-1] + each[1:] - score(sums, cuts[:-2], cuts[2:])  # of the inner cut k + 1, between stretches k and k + 1
    splits, halves = best_splits(sums, cuts[:-1], cuts[1:])
    gain = np.where(np.diff(cuts) > 1, halves - each, -np.inf)  # one entry cannot be parted
    dropped: list[int] = []
    added: list[int] = []
    busy = np.zeros(len(each), dtype=bool)
    poor, rich = iter(np.argsort(loss)), iter(np.argsort(-gain))
    for k in poor:
        if busy[k] or busy[k + 1]:
            continue
        target = next((t for t in rich if not busy[t] and t not in (k, k + 1)), None)
        if target is None or gain[target] <= loss[k] or 4 * len(dropped) >= len(each):
            break
        dropped.append(int(k) + 1)
        added.append(int(splits[target]))
        busy[[k, k + 1, target]] = True
    return np.sort(np.concatenate([np.delete(cuts, dropped), np.array(added, dtype=np.intp)]))


def joint_cuts(sums: Sums, cuts: Places, energy: float) -> Places:
    """All inner cuts moved together, first far then near, until a round wins less than `GAIN` of the error (`energy` less the score)."""
    if len(cuts) < 3:
        return cuts
    stride = max(1, int(cuts[-1]) // (5 * len(cuts)))
    last = total(sums, cuts)
    while True:
        for _ in range(ROUNDS):
            cuts = joint_round(sums, cuts, stride)
            now = total(sums, cuts)
            won, last = now - last, now
            if won <= GAIN * (energy - now):
                break
        if stride == 1:
            return cuts
        stride //= 2


def joint_round(sums: Sums, cuts: Places, stride: int) -> Places:
    """The best cuts, each within two strides of itself or of one of its two neighbours on each side: dynamic programming."""
    inner, n = len(cuts) - 2, cuts[-1]
    neighbours = np.clip(np.arange(1, inner + 1)[:, None] + np.arange(-2, 3), 0, inner + 1)
    options = np.clip(cuts[neighbours][:, :, None] + stride * np.arange(-2, 3), 0, n).reshape(inner, -1)
    options.sort(axis=1)
    gain = score(sums, options[:-1, :, None], options[1:, None, :])  # [cut, from, to]
    gain[options[1:, None, :] < options[:-1, :, None]] = -np.inf
    best, rows = score(sums, np.zeros_like(options[0]), options[0]), np.arange(options.shape[1])
    came_from = np.zeros(options.shape, dtype=np.intp)
    for k in range(1, inner):
        reached = best[:, None] + gain[k - 1]
        came_from[k] = reached.argmax(0)
        best = reached[came_from[k], rows]
    choice = int((best + score(sums, options[-1], np.full_like(options[-1], n))).argmax())
    moved = cuts.copy()
    for k in range(inner - 1, -1, -1):
        moved[k + 1] = options[k, choice]
        choice = int(came_from[k, choice])
    return moved
