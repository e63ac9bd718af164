"""Optimal cuts: against brute force where it is possible, against plain dynamic programming where it is not."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.neuron.segment import WORK, segment

Numbers = NDArray[np.float64]
LITTLE = 1 << 10  # work: hardly anything is solved exactly


def cut(y: Numbers, w: Numbers, stretches: int, work: int = WORK) -> NDArray[np.intp]:
    """The cuts of one sequence."""
    return segment(y[None], w[None], np.array([len(y)]), stretches, work=work).places[:, 0]


def stacked(rows: list[Numbers]) -> Numbers:
    """Rows padded with zeros."""
    return np.stack([np.pad(row, (0, max(map(len, rows)) - len(row))) for row in rows])


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


def shapes() -> dict[str, tuple[Numbers, Numbers]]:
    """Sequences of 600 entries and their weights."""
    h, rough = np.linspace(-6, 6, 600), np.random.default_rng(1).gamma(0.3, size=600) + 1e-9
    two_modes = np.exp(-((h - 2) ** 2) / 0.1) + 0.05 * np.exp(-((h + 3) ** 2) / 0.02)
    return {
        "normal": (h, np.exp(-h * h / 2)),
        "two modes": (h, two_modes),
        "rough": (h, rough),
        "wave": (np.sin(2 * h), np.ones(600)),
        "rough bowl": (h * h, rough),
    }


def heavy(y: Numbers, w: Numbers) -> tuple[Numbers, Numbers]:
    """Without the entries that weigh nothing."""
    return y[w > 1e-12 * w.sum()], w[w > 1e-12 * w.sum()]


def test_small_problems_are_solved_exactly() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        y, w = random.normal(size=9), random.random(9) + 0.01
        every = [error_of(y, w, np.array([0, *inner, 9])) for inner in combinations(range(1, 9), 3)]
        assert error_of(y, w, cut(y, w, 4)) == pytest.approx(min(every), abs=1e-12)


@pytest.mark.parametrize("work", [LITTLE, WORK])
@pytest.mark.parametrize("stretches", [16, 64])
@pytest.mark.parametrize("kind", shapes())
def test_large_problems_come_within_three_per_cent(kind: str, stretches: int, work: int) -> None:
    y, w = heavy(*shapes()[kind])
    cuts = cut(y, w, stretches, work)
    assert len(cuts) == stretches + 1
    assert error_of(y, w, cuts) <= 1.03 * least_error(y, w, stretches)


@pytest.mark.parametrize("work", [LITTLE, WORK])
def test_rows_of_any_length_are_cut_together(work: int) -> None:
    every = [heavy(*shape) for shape in shapes().values()]
    rows = [(y[:n], w[:n]) for (y, w), n in zip(every, (600, 130, 5, 1, 40), strict=True)]
    counts = np.array([len(y) for y, _ in rows])
    cuts = segment(stacked([y for y, _ in rows]), stacked([w for _, w in rows]), counts, 16, work=work).places
    for (y, w), own in zip(rows, cuts.T, strict=True):
        assert (own[0], own[-1]) == (0, len(y))
        assert (np.diff(own) >= 0).all()
        assert error_of(y, w, own) <= 1.03 * least_error(y, w, min(16, len(y))) + 1e-12


@pytest.mark.parametrize("pin", [0.0, 0.3, -1.0])
def test_the_nearest_stretch_is_pinned_and_the_others_make_room(pin: float) -> None:
    random = np.random.default_rng(0)
    y, w = np.sort(random.normal(size=14)), random.random(14) + 0.01
    found = segment(y[None], w[None], np.array([14]), 4, pin=pin)

    def error(cuts: NDArray[np.intp], pinned: int) -> float:
        start, end = cuts[pinned : pinned + 2]
        own = y[start:end]
        return error_of(y, w, cuts) + float(w[start:end].sum() * (np.average(own, weights=w[start:end]) - pin) ** 2)

    every = [error(np.array([0, *inner, 14]), k) for inner in combinations(range(1, 14), 3) for k in range(4)]
    assert error(found.places[:, 0], int(found.pinned[0])) == pytest.approx(min(every), rel=0.05)


def test_a_pin_far_from_all_entries_is_left_out() -> None:
    y, w = np.stack([np.linspace(0, 1, 50), np.linspace(10, 11, 50)]), np.ones((2, 50))
    assert (segment(y, w, np.array([50, 50]), 8, pin=0.0).pinned >= 0).tolist() == [True, False]


def test_fewer_points_than_stretches_get_one_each() -> None:
    assert np.unique(cut(np.array([3.0, 1.0]), np.ones(2), 5)).tolist() == [0, 1, 2]


def test_constant_sequences_are_cut_without_loss() -> None:
    cuts = cut(np.full(5000, 2.0), np.ones(5000), 3)
    assert cuts[0] == 0
    assert cuts[-1] == 5000


def test_a_stretch_of_one_entry_is_never_parted() -> None:
    """A layer that hardly ever fires: zeros, and fewer values than stretches."""
    y = np.concatenate([np.zeros(708), [15.4, 48.6, 92.4, 125.6]])
    cuts = cut(y, np.random.default_rng(0).integers(1, 6, 712) / 1024, 32)
    assert all(np.ptp(y[start:end]) == 0 for start, end in pairwise(np.unique(cuts)))


def test_nothing_is_pinned_where_every_entry_has_a_stretch_of_its_own() -> None:
    y = np.array([[-0.5, 0.1, 0.4, 0.9]])
    found = segment(y, np.full_like(y, 0.25), np.array([4]), 8, pin=0.0)
    assert found.pinned.tolist() == [-1]
    assert np.unique(found.places[:, 0]).tolist() == [0, 1, 2, 3, 4]
