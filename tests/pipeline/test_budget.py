"""Budgets: what they say, which network they pick, and that an impossible one says what was best."""

import pytest

from spikeloom.errors import ConfigError
from spikeloom.pipeline.budget import Budget, budget_of, lost, pick


def row(levels: int, timesteps: int, accuracy: float, energy_pj: float) -> dict[str, float]:
    return {"levels": levels, "timesteps": timesteps, "accuracy": accuracy, "ann": 0.9, "energy_pj": energy_pj}


GRID = [row(3, 1, 0.80, 1e6), row(7, 1, 0.88, 2e6), row(7, 2, 0.893, 5e6), row(15, 1, 0.896, 3e6), row(15, 4, 0.905, 9e6)]


@pytest.mark.parametrize(
    ("text", "levels", "timesteps"),
    [
        ("accuracy=0.5", 15, 1),  # 0.4 points lost for 3e6; the better one costs three times as much
        ("accuracy=1", 15, 1),  # (7, 2) keeps it too, and costs more
        ("accuracy=2", 7, 1),  # exactly 2 points lost counts as kept
        ("accuracy=0", 15, 4),
        ("energy=2500000", 7, 1),
        ("energy=1e9", 15, 4),
        ("latency=2", 15, 1),
        ("latency=4", 15, 4),
        ("latency=4,energy=6e6", 15, 1),
        ("accuracy=3 , latency=1", 7, 1),
    ],
)
def test_a_budget_picks(text: str, levels: int, timesteps: int) -> None:
    found = pick(GRID, budget_of(text), text)
    assert (found["levels"], found["timesteps"]) == (levels, timesteps)


def test_of_equal_ones_the_one_of_fewer_steps_is_taken() -> None:
    rows = [row(7, 4, 0.9, 1e6), row(7, 2, 0.9, 1e6), row(3, 2, 0.9, 1e6)]
    assert pick(rows, budget_of("accuracy=0"), "")["timesteps"] == 2
    assert pick(rows, budget_of("latency=9"), "")["levels"] == 3


@pytest.mark.parametrize("text", ["energy=10", "accuracy=0.1,latency=1", "accuracy=0,energy=1e6"])
def test_what_none_keeps_says_what_was_best(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pick(GRID, budget_of(text), text)
    for part in (text, "none of 5", "at best -0.50 points under the ANN (N=15, T=4", "at least 1e+06 pJ (N=3, T=1", "--sweep-levels"):
        assert part in str(caught.value), part


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "unknown budget"),
        ("accuracy", "unknown budget"),
        ("speed=3", "unknown budget"),
        ("energy=nan", "unknown budget"),
        ("energy=inf", "unknown budget"),
        ("energy=0", "energy is out of range"),
        ("latency=0", "latency is out of range"),
        ("accuracy=-1", "accuracy is out of range"),
        ("latency=1,latency=2", "two different things of latency"),
        ("latency=1,", "unknown budget"),
    ],
)
def test_what_is_no_budget_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        budget_of(text)


def test_a_budget_says_what_it_says() -> None:
    assert budget_of("accuracy=0.5,energy=1e6,latency=2") == Budget(0.5, 1e6, 2.0)
    assert budget_of("latency=2, latency=2") == Budget(latency=2.0)


def test_each_task_loses_in_its_own_measure() -> None:
    assert lost({"perplexity": {"ann": 4.0, "snn": 4.1}, "agreement": 0.2}) == (pytest.approx(2.5), "% above the ANN's perplexity")
    assert lost({"cosine": {"snn": 0.98}})[0] == pytest.approx(2.0)
    assert lost({"agreement": 0.75})[0] == pytest.approx(25.0)
    assert lost({"perplexity": {"ann": 4.0, "snn": None}, "agreement": 0.9})[0] == float("inf")
    with pytest.raises(ConfigError):
        pick([{**GRID[0], "accuracy": None}], Budget(latency=4.0), "latency=4")
