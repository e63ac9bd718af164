"""The front: nothing on it is dominated, budgets pick what they say, ranks are NSGA-II's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.errors import ConfigError
from spikeloom.evolve import Point, merged, pick
from spikeloom.evolve.front import dominates, sorted_ranks


def point(divergence: float, energy: float, timesteps: int = 1) -> Point:
    return Point((divergence, energy), divergence, 1.0 - divergence, energy, timesteps)


FRONT = merged([point(0.3, 1.0), point(0.1, 3.0), point(0.2, 2.0), point(0.25, 4.0), point(0.05, 9.0, 4)])


def test_dominated_points_are_gone_and_the_rest_is_sorted() -> None:
    assert [(each.divergence, each.energy_pj) for each in FRONT] == [(0.3, 1.0), (0.2, 2.0), (0.1, 3.0), (0.05, 9.0)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_everything_is_on_the_front_or_beaten_by_it(pairs: list[tuple[int, int]]) -> None:
    points = [point(float(a), float(b)) for a, b in pairs]
    front = merged(points)
    for each in points:
        on = any(each.costs == other.costs for other in front)
        assert on != any(dominates(other, each) for other in front)
    assert merged(reversed(front)) == front


@pytest.mark.parametrize(
    ("budget", "divergence"),
    [("accuracy=15", 0.2), ("accuracy=10", 0.1), ("accuracy=0", 0.05), ("energy=2.5", 0.2), ("latency=1", 0.1), ("latency=4", 0.05)],
)
def test_a_budget_picks(budget: str, divergence: float) -> None:
    assert pick(FRONT, budget).divergence == divergence


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        ("accuracy=-1", "0 or more"),
        ("energy=0.5", "energy from 1 to 9"),
        ("latency=0", "latency from 1 to 4"),
        ("speed=3", "accuracy=NUMBER"),
        ("energy", "accuracy=NUMBER"),
        ("energy=much", "accuracy=NUMBER"),
        ("energy=nan", "accuracy=NUMBER"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(budget: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        pick(FRONT, budget)


def test_an_empty_front_says_so() -> None:
    with pytest.raises(ConfigError, match="an empty front"):
        pick((), "energy=1")


def test_ranks_count_fronts_and_prefer_the_lonely() -> None:
    costs = np.array([[0.0, 4.0], [1.0, 3.0], [1.1, 2.9], [4.0, 0.0], [2.0, 4.0], [5.0, 5.0]])
    ranks = sorted_ranks(costs)
    assert [rank for rank, _ in ranks] == [0, 0, 0, 0, 1, 2]
    assert ranks[0][1] == ranks[3][1] == -np.inf
    assert ranks[2][1] < ranks[1][1]


def test_a_point_is_the_same_after_json() -> None:
    assert Point.of_json(FRONT[0].to_json()) == FRONT[0]
