"""Trees: the best pruning, rounding, boxes, and that every simplification says the same."""

import itertools

import numpy as np
import pytest

from spikeloom.agent.rules import predicates_of
from spikeloom.agent.rules.names import Names
from spikeloom.agent.rules.refine import retuned
from spikeloom.agent.rules.simplify import Box, as_rules, boxes, joined, shortened
from spikeloom.agent.rules.tree import Leaf, Split, Tree, answers, grown, leaves, loss_of, merged, moved, pruned, rounded, splits

RNG = np.random.default_rng(0)
NAMES = Names(("a", "b", "c"), ("left", "right", "stay"))


def samples(n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = RNG.normal(size=(n, 3))
    y = np.where(x[:, 0] + 0.5 * x[:, 1] > 0, 1, np.where(x[:, 2] > 0.7, 2, 0))
    return x, y.astype(np.int64), RNG.uniform(0.5, 2.0, n)


def prunings(tree: Tree, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> list[tuple[int, float]]:
    """(leaves, loss) of every way to prune."""
    answer = int(np.bincount(y, w, minlength=3).argmax()) if len(y) else 0
    found = [(1, loss_of(answer, y, w))]
    if isinstance(tree, Split):
        high = x[:, tree.feature] > tree.threshold
        low_ways, high_ways = prunings(tree.low, x[~high], y[~high], w[~high]), prunings(tree.high, x[high], y[high], w[high])
        found += [(a + b, p + q) for (a, p), (b, q) in itertools.product(low_ways, high_ways)]
    return found


@pytest.mark.parametrize("most", [2, 3, 5, 7])
def test_no_pruning_of_so_many_leaves_is_better(most: int) -> None:
    x, y, w = samples(200)
    tree = grown(x, y, w, 9)
    found = pruned(tree, x, y, w, most)
    assert leaves(found) <= most
    best = min(loss for count, loss in prunings(tree, x, y, w) if count <= most)
    assert float(w[answers(found, x) != y].sum()) == pytest.approx(best)


def test_a_side_without_samples_goes_and_equal_leaves_are_one() -> None:
    x, y = np.array([[0.0], [1.0], [2.0]]), np.array([0, 0, 1])
    tree = Split(0, 5.0, Split(0, 1.5, Split(0, 0.5, Leaf(0), Leaf(0)), Leaf(1)), Leaf(1))
    assert pruned(tree, x, y, np.ones(3), 9) == Split(0, 1.5, Leaf(0), Leaf(1))
    assert merged(Split(0, 5.0, Split(0, 0.5, Leaf(1), Leaf(1)), Leaf(1))) == Leaf(1)


def test_weights_say_what_matters() -> None:
    x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1])
    tree = Split(0, 1.5, Split(0, 0.5, Leaf(0), Leaf(1)), Split(0, 2.5, Leaf(0), Leaf(1)))
    for weights in (np.array([9.0, 9.0, 1.0, 1.0]), np.array([1.0, 1.0, 9.0, 9.0])):
        found = pruned(tree, x, y, weights, 3)
        wrong = weights[answers(found, x) != y].sum()
        assert wrong == 1.0
        assert splits(found) == {(0, 1.5), (0, 0.5 if weights[0] == 9.0 else 2.5)}


def test_thresholds_are_short_where_that_costs_nothing_and_long_where_it_must() -> None:
    x = np.concatenate([np.linspace(-1, 0.3, 50), np.linspace(0.4, 1, 50)])[:, None]
    y = (x[:, 0] > 0.35).astype(np.int64)
    assert rounded(Split(0, 0.348791, Leaf(0), Leaf(1)), x, y, np.ones(100)) == Split(0, 0.3, Leaf(0), Leaf(1))
    fine = np.linspace(0.1234, 0.1236, 100)[:, None]
    y = (fine[:, 0] > 0.12351).astype(np.int64)
    found = rounded(Split(0, 0.123510001, Leaf(0), Leaf(1)), fine, y, np.ones(100), 0.005)
    assert (answers(found, fine) != y).mean() <= 0.005


def test_all_thresholds_together_cost_no_more_than_the_tolerance() -> None:
    x = np.random.default_rng(3).uniform(size=(4000, 1))
    exact = Split(0, 0.5234, Split(0, 0.2531, Leaf(0), Leaf(1)), Split(0, 0.7482, Leaf(0), Leaf(1)))
    y = answers(exact, x)
    found = rounded(exact, x, y, np.ones(4000), 0.005)
    assert splits(found) != splits(exact)
    assert (answers(found, x) != y).mean() <= 0.005


def test_numbers_as_actions_are_a_regression() -> None:
    x = RNG.uniform(-1, 1, (400, 2))
    y = np.stack([np.where(x[:, 0] > 0.2, 1.0, -1.0), np.where(x[:, 1] > 0, 0.5, 0.0)], 1)
    tree = rounded(pruned(grown(x, y, np.ones(400), 12), x, y, np.ones(400), 4), x, y, np.ones(400))
    assert leaves(tree) == 4
    assert np.abs(answers(tree, x) - y).mean() < 0.01
    assert answers(tree, x[:0]).shape == (0, 2)


def test_boxes_meet_nowhere_and_are_everything_and_joining_says_the_same() -> None:
    x, y, w = samples()
    tree = grown(x, y, w, 16)
    new = RNG.normal(size=(500, 3)) * 2
    for parts in (boxes(tree), joined(boxes(tree))):
        held = np.stack([box.holds(new) for box in parts])
        assert (held.sum(0) == 1).all()
        assert (np.array([box.answer for box in parts])[held.argmax(0)] == answers(tree, new)).all()
    assert len(joined(boxes(tree))) <= len(boxes(tree))


def test_two_boxes_of_one_answer_that_touch_are_one_and_others_are_not() -> None:
    inf = float("inf")
    a, b = Box({0: (-inf, 1.0), 1: (0.0, inf)}, 1), Box({0: (1.0, 3.0), 1: (0.0, inf)}, 1)
    assert joined([a, b]) == [Box({1: (0.0, inf), 0: (-inf, 3.0)}, 1)]
    assert len(joined([a, Box(b.limits, 2)])) == 2
    assert len(joined([a, Box({0: (2.0, 3.0), 1: (0.0, inf)}, 1)])) == 2
    assert len(joined([a, Box({0: (1.0, 3.0)}, 1)])) == 2


def test_a_list_is_shortened_only_where_its_samples_are_answered_no_worse() -> None:
    x, y, w = samples()
    tree = pruned(grown(x, y, w, 40), x, y, w, 12)
    features = predicates_of({}, NAMES)
    rules = as_rules(tree, features, x, y, w)
    whole = as_rules(tree, features, x[:0], y[:0], w[:0])
    wrong = float(w[answers(tree, x) != y].sum())
    assert float(w[rules(x) != y].sum()) <= wrong + 1e-9
    assert sum(rule.when.text.count(" and ") + 1 for rule in rules.rules) < 12 * 4
    assert len(rules.rules) < 12
    given = [Box({0: (0.0, 9.0), 2: (-50.0, 50.0)}, 1), Box({1: (90.0, 99.0)}, 2)]
    y = np.where(x[:, 0] > 0, 1, 0)
    assert shortened(given, 0, x, y, w) == [Box({0: (0.0, float("inf"))}, 1)]
    assert not whole.rules  # without samples nothing is needed


def test_every_condition_that_stays_is_needed() -> None:
    x, y, w = samples()
    tree = pruned(grown(x, y, w, 40), x, y, w, 8)
    exact = [box for box in joined(boxes(tree)) if box.answer != 0]
    short = shortened(exact, 0, x, y, w)
    for number, box in enumerate(short):
        for feature in box.limits:
            fewer = Box({f: limit for f, limit in box.limits.items() if f != feature}, box.answer)
            if not fewer.limits:
                continue
            tried = [*short[:number], fewer, *short[number + 1 :]]
            assert listed_loss(tried, x, y, w) > listed_loss(short, x, y, w)


def listed_loss(rules: list[Box], x: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    found = np.zeros(len(x), dtype=np.int64)
    for box in reversed(rules):
        found[box.holds(x)] = box.answer
    return float(w[found != y].sum())


def test_a_tree_retuned_for_a_small_change_moves_only_what_changed() -> None:
    x = RNG.uniform(-1, 1, (4000, 2))
    tree = Split(0, 0.0, Split(1, 0.5, Leaf(0), Leaf(1)), Leaf(2))

    def policy(a: float, b: float) -> np.ndarray:
        return np.where(x[:, 0] > a, 2, np.where(x[:, 1] > b, 1, 0)).astype(np.int64)

    weights = np.ones(len(x))
    assert retuned(tree, x, policy(0.0, 0.5), weights) == tree
    found = retuned(tree, x, policy(0.0, 0.2), weights)
    assert isinstance(found, Split)
    assert isinstance(found.low, Split)
    assert found.threshold == 0.0
    assert found.low.threshold == pytest.approx(0.2, abs=0.05)
    swapped = retuned(tree, x, 2 - policy(0.0, 0.5), weights)
    assert swapped == Split(0, 0.0, Split(1, 0.5, Leaf(2), Leaf(1)), Leaf(0))
    assert moved(tree, {(1, 0.5): 0.4}) == Split(0, 0.0, Split(1, 0.4, Leaf(0), Leaf(1)), Leaf(2))
