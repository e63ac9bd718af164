"""Budgets and patterns: the least worth for its price leaves, as much as was asked for, and what may not be asked for is said."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.compress.budget import cheapest, check_share, schedule
from spikeloom.compress.masks import best_of, fits, pattern_of
from spikeloom.errors import ConfigError, NumericError


@given(st.floats(0.01, 0.99), st.integers(1, 12))
def test_rounds_take_less_and_less_and_reach_the_share(share: float, rounds: int) -> None:
    told = schedule(share, rounds)
    steps = [b - a for a, b in zip([0.0, *told], told, strict=False)]
    assert told[-1] == share
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(steps))


def test_one_threshold_for_all_layers() -> None:
    worths = [torch.tensor([[1.0, 5.0], [2.0, 9.0]]), torch.tensor([3.0, 4.0])]
    masks = cheapest(worths, [torch.ones_like(each) for each in worths], 0.5)
    assert [mask.tolist() for mask in masks] == [[[False, True], [False, True]], [False, True]]


def test_what_costs_more_leaves_sooner_and_the_budget_is_kept() -> None:
    worths, prices = [torch.tensor([1.0, 1.0, 1.0, 1.0])], [torch.tensor([1.0, 4.0, 2.0, 3.0])]
    (mask,) = cheapest(worths, prices, 0.7)
    assert mask.tolist() == [True, False, True, False]


@given(st.integers(0, 1000), st.floats(0.05, 0.95))
@settings(deadline=None)
def test_never_more_than_the_share_and_hardly_less(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    worth, price = torch.rand(50, generator=generator), torch.rand(50, generator=generator) + 0.1
    (mask,) = cheapest([worth], [price], share)
    spent = float(price[~mask].sum() / price.sum())
    assert share - 1.1 / float(price.sum()) <= spent <= share + 1e-6


def test_where_no_spike_meets_a_weight_there_is_nothing_to_prune() -> None:
    with pytest.raises(NumericError, match="no spike reaches"):
        cheapest([torch.ones(3)], [torch.zeros(3)], 0.5)


@pytest.mark.parametrize("share", [-0.1, 0.0, 1.0, 1.5, float("nan")])
def test_shares_out_of_range(share: float) -> None:
    with pytest.raises(ConfigError, match=r"compression\.sparsity is out of range"):
        check_share(share, "compression.sparsity")


def test_none_may_be_asked_for_where_it_means_something() -> None:
    check_share(0.0, "compression.rate", zero=True)


@pytest.mark.parametrize("text", ["", "2", "4:2", "0:4", "2:2", "dense", "2:4:8", "-2:4"])
def test_patterns_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"compression\.pattern is unknown"):
        pattern_of(text)


def test_patterns() -> None:
    assert pattern_of("unstructured") is None
    assert pattern_of("2:4") == (2, 4)


@given(st.integers(0, 1000), st.integers(1, 3))
@settings(deadline=None)
def test_the_most_worthy_of_every_four_inputs_stay_tap_by_tap(seed: int, n: int) -> None:
    worth = torch.rand(3, 8, 2, 2, generator=torch.Generator().manual_seed(seed))
    mask = best_of(worth, n, 4)
    assert fits(mask, n, 4)
    assert not fits(mask | True, n, 4)
    for part, which in zip(worth.split(4, 1), mask.split(4, 1), strict=True):
        assert bool((which.sum(1) == n).all())
        assert bool((part.masked_fill(~which, 2.0).amin(1) >= part.masked_fill(which, -1.0).amax(1)).all())
