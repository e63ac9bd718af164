"""Refining: what every step of it must not lose, and what it finds that CART and pruning do not."""

import numpy as np
import pytest

from spikeloom.agent.rules.refine import alternated, refined, regrown, samples_of
from spikeloom.agent.rules.tree import Leaf, Split, Tree, answers, grown, leaves, pruned

CHESS = Split(0, 0.0, Split(1, 0.0, Leaf(0), Leaf(1)), Split(1, 0.0, Leaf(1), Leaf(0)))


def numbers(seed: int = 0, n: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, 4)), generator.uniform(0.5, 2.0, n)


def lost(tree: Tree, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    return float(w[answers(tree, x) != y].sum())


def test_a_split_is_chosen_for_what_lies_below_it() -> None:
    x, w = numbers()
    x[:, 2] += x[:, 0]
    y = answers(CHESS, x)
    wrong = Split(2, 0.3, CHESS.low, CHESS.high)
    found = alternated(wrong, samples_of(x, y, w))
    assert isinstance(found, Split)
    assert found.feature == 0
    assert lost(found, x, y, w) < 0.01 * w.sum() < lost(wrong, x, y, w)


def test_a_chessboard_that_pruning_does_not_find_is_found() -> None:
    x, w = numbers(4)
    y = answers(CHESS, x)
    greedy = pruned(grown(x, y, w, 30), x, y, w, 5)
    found = refined(grown(x, y, w, 30), x, y, w, 5, 30)
    assert leaves(found) <= 5
    assert lost(found, x, y, w) < 0.01 * w.sum() < 0.1 * w.sum() < lost(greedy, x, y, w)


@pytest.mark.parametrize("seed", range(4))
def test_no_step_loses_more_and_none_has_more_leaves(seed: int) -> None:
    x, w = numbers(seed)
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(np.int64) + (x[:, 3] > 1)
    samples = samples_of(x, y, w)
    tree = pruned(grown(x, y, w, 100), x, y, w, 7)
    for better in (alternated(tree, samples), regrown(tree, samples, 7, 100), refined(tree, x, y, w, 7, 100)):
        assert leaves(better) <= 7
        assert lost(better, x, y, w) <= lost(tree, x, y, w) + 1e-9


def test_a_branch_grown_anew_is_kept_only_where_it_is_better_and_twice_the_same() -> None:
    x, w = numbers(2)
    y = answers(CHESS, x)
    tree = grown(x, y, w, 30)
    still, kicked, again = (refined(tree, x, y, w, 5, 30, kicks) for kicks in (0, 20, 20))
    assert kicked == again
    assert leaves(kicked) <= 5
    assert lost(kicked, x, y, w) < 0.98 * lost(still, x, y, w)


def test_numbers_as_actions_are_refined_by_squares() -> None:
    x, w = numbers()
    y = np.stack([np.where(x[:, 0] > 0.2, 1.0, -1.0), np.where(x[:, 1] > 0, 0.5, 0.0)], 1)
    tree = Split(3, 0.0, Split(1, 0.0, Leaf((-1.0, 0.0)), Leaf((-1.0, 0.5))), Split(1, 0.0, Leaf((1.0, 0.0)), Leaf((1.0, 0.5))))
    samples = samples_of(x, y, w)
    assert samples.loss(refined(tree, x, y, w, 4, 50)) < 0.02 * samples.loss(tree)


def test_what_cannot_be_split_stays() -> None:
    x, y, w = np.zeros((5, 2)), np.array([0, 1, 1, 1, 0]), np.ones(5)
    assert refined(Leaf(0), x, y, w, 4, 10) == Leaf(1)
    assert refined(Split(0, 1.0, Leaf(0), Split(1, 3.0, Leaf(1), Leaf(0))), x, y, w, 4, 10) == Leaf(1)
