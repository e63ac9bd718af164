"""Optimal cuts: against brute force where it is possible, against plain dynamic programming where it is not."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.neuron.segment import WORK, segment

Numbers = NDArray[np.float64]


def cut(y: Numbers, w: Numbers, stretches: int, work: int = WORK) -> NDArray[np.intp]:
    """The cuts of one sequence, empty stretches left out; of the whole of it."""
    alone = segment(y[None], w[None], np.array([len(y)]), stretches, work=work).places[:, 0]
    assert alone[0] == 0
    assert alone[-1] == len(y)
    return np.unique(alone)


def error_of(y: Numbers, w: Numbers, cuts: NDArray[np.intp]) -> float:
    parts = [slice(a, b) for a, b in pairwise(cuts)]
    return sum(float(w[p] @ (y[p] - np.average(y[p], weights=w[p])) ** 2) for p in parts if len(y[p]))


def least_error(y: Numbers, w: Numbers, stretches: int) -> float:
    """Dynamic programming over all cuts, on the errors themselves."""
    weight, value, square = (np.concatenate([[0.0], np.cumsum(part)]) for part in (w, w * y, w * y * y))
    span = weight[None] - weight[:, None]
    mean = (value[None] - value[:, None]) / np.where(span > 0, span, 1)
    error = np.where(span > 0, square[None] - square[:, None] - mean * (value[None] - value[:, None]), np.inf)
    np.fill_diagonal(error, 0)
    best = error[0]
    for _ in range(stretches - 1):
        best = (best[:, None] + error).min(0)
    return float(best[-1])


def test_small_problems_are_solved_exactly() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        y, w = random.normal(size=9), random.random(9) + 0.01
        every = [error_of(y, w, np.array([0, *inner, 9])) for inner in combinations(range(1, 9), 3)]
        assert error_of(y, w, cut(y, w, 4)) == pytest.approx(min(every), abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "stretches"),
    [("normal", 16), ("normal", 64), ("two modes", 64), ("rough", 16), ("rough", 64), ("wave", 16), ("wave", 64), ("rough bowl", 16)],
)
def test_large_problems_come_within_two_per_cent(kind: str, stretches: int) -> None:
    h = np.linspace(-6, 6, 600)
    w = {
        "normal": np.exp(-h * h / 2),
        "two modes": np.exp(-((h - 2) ** 2) / 0.1) + 0.05 * np.exp(-((h + 3) ** 2) / 0.02),
        "rough": np.random.default_rng(1).gamma(0.3, size=600) + 1e-9,
        "rough bowl": np.random.default_rng(1).gamma(0.3, size=600) + 1e-9,
        "wave": np.ones(600),
    }[kind]
    y = {"wave": np.sin(2 * h), "rough bowl": h * h}.get(kind, h)
    cuts = cut(y, w, stretches)
    assert len(cuts) <= stretches + 1
    assert error_of(y, w, cuts) <= 1.02 * least_error(y, w, stretches)


def test_fewer_points_than_stretches_get_one_each() -> None:
    assert cut(np.array([3.0, 1.0]), np.ones(2), 5).tolist() == [0, 1, 2]


def test_constant_sequences_are_cut_without_loss() -> None:
    cuts = cut(np.full(5000, 2.0), np.ones(5000), 3)
    assert cuts[0] == 0
    assert cuts[-1] == 5000


def test_a_stretch_of_one_entry_is_never_parted() -> None:
    """A layer that hardly ever fires: zeros, and fewer values than stretches."""
    y = np.concatenate([np.zeros(708), [15.4, 48.6, 92.4, 125.6]])
    cuts = cut(y, np.random.default_rng(0).integers(1, 6, 712) / 1024, 32)
    assert (np.diff(cuts) > 0).all()
    assert all(np.ptp(y[start:end]) == 0 for start, end in pairwise(cuts))
