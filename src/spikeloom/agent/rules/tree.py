"""
A small decision tree, as a value: what CART grows, the best few leaves of it, and what makes it shorter.

    grown      CART (scikit-learn), large
    pruned     of all its prunings with at most L leaves the one with the least loss                       (1)
               E(n, 1) = loss of n as a leaf,  E(n, l) = min over i of E(low, i) + E(high, l − i)
    merged     two neighbouring leaves of one answer are one; a side that no sample reaches goes away
    rounded    thresholds of few digits, as long as the answers stay within a tolerance

An answer is an action's number, or a tuple of numbers (continuous actions). Sources: Breiman et al. 1984 (CART); (1) Bohanec & Bratko 1994,
Trading accuracy for simplicity in decision trees (OPT).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from jaxtyping import Float, Num
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Answer = int | tuple[float, ...]


@final
@dataclass(frozen=True)
class Leaf:
    """An answer, whatever else is so."""

    answer: Answer


@final
@dataclass(frozen=True)
class Split:
    """A value of at most `threshold` goes low, one above it high."""

    feature: int
    threshold: float
    low: "Tree"
    high: "Tree"


Tree = Leaf | Split


def leaves(tree: Tree) -> int:
    """How many there are."""
    return 1 if isinstance(tree, Leaf) else leaves(tree.low) + leaves(tree.high)


def answers(tree: Tree, x: Float[np.ndarray, "n f"]) -> Num[np.ndarray, "n *k"]:
    """Actions int64 [n], or float64 [n, k]."""
    if isinstance(tree, Leaf):
        return np.full(len(x), tree.answer, dtype=np.int64) if isinstance(tree.answer, int) else np.tile(tree.answer, (len(x), 1))
    high = x[:, tree.feature] > tree.threshold
    low_found, high_found = answers(tree.low, x[~high]), answers(tree.high, x[high])
    found = np.empty((len(x), *low_found.shape[1:]), dtype=low_found.dtype)
    found[~high], found[high] = low_found, high_found
    return found


def grown(
    x: Float[np.ndarray, "n f"], y: Num[np.ndarray, "n *k"], weights: Float[np.ndarray, " n"], most: int, smallest: int = 3
) -> Split | Leaf:
    """CART on samples and weights: a classifier where `y` is whole numbers [n], else a regression [n, k]; at most `most` leaves."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    discrete = y.ndim == 1
    kind = DecisionTreeClassifier if discrete else DecisionTreeRegressor
    smallest = max(1, min(smallest, len(x) // 2))
    fitted: Any = kind(max_leaf_nodes=max(2, most), min_samples_leaf=smallest, random_state=0).fit(x, y, sample_weight=weights)
    found = fitted.tree_

    def node(i: int) -> Tree:
        if found.children_left[i] < 0:
            value = np.asarray(found.value[i]).reshape(-1)
            return Leaf(int(fitted.classes_[value.argmax()]) if discrete else tuple(float(v) for v in value))
        low, high = (node(int(side[i])) for side in (found.children_left, found.children_right))
        return Split(int(found.feature[i]), float(found.threshold[i]), low, high)

    return node(0)


def loss_of(answer: Answer, y: NDArray[Any], weights: Numbers) -> float:
    """Weight of the samples that are answered otherwise, or weighted squares of the distances."""
    if isinstance(answer, int):
        return float(weights[y != answer].sum())
    return float((weights * ((y - np.asarray(answer)) ** 2).sum(1)).sum())


def best_answer(y: NDArray[Any], weights: Numbers) -> Answer:
    """The answer of least loss: the most heavily weighted action, or the weighted mean."""
    if y.ndim == 1:
        return int(np.bincount(y, weights).argmax())
    return tuple(float(v) for v in np.average(y, axis=0, weights=weights))


def pruned(tree: Tree, x: Numbers, y: NDArray[Any], weights: Numbers, most: int) -> Tree:
    """(1) on these samples: of equals the one with fewer leaves. Leaves answer as these samples do; sides without any go away."""

    def table(node: Tree, kept: NDArray[np.int64]) -> list[tuple[float, Tree]]:
        """By number of leaves, from 1 on: the least loss, and the tree that has it."""
        answer = best_answer(y[kept], weights[kept])
        alone = [(loss_of(answer, y[kept], weights[kept]), Leaf(answer))]
        if isinstance(node, Leaf) or alone[0][0] <= 0.0:
            return list(alone)
        high = x[kept, node.feature] > node.threshold
        if high.all() or not high.any():
            return table(node.high if high.all() else node.low, kept)
        low_table, high_table = table(node.low, kept[~high]), table(node.high, kept[high])
        found: list[tuple[float, Tree]] = list(alone)
        for total in range(2, min(most, len(low_table) + len(high_table)) + 1):
            pairs = [(low_table[i - 1], high_table[total - i - 1]) for i in range(1, total) if _within(i, total, low_table, high_table)]
            low, high_ = min(pairs, key=lambda pair: pair[0][0] + pair[1][0])
            found.append((low[0] + high_[0], replace(node, low=low[1], high=high_[1])))
        return found

    rows = table(tree, np.arange(len(x)))
    least = min(row[0] for row in rows)
    return merged(next(made for loss, made in rows if loss <= least + 1e-12))


def _within(i: int, total: int, low: list[Any], high: list[Any]) -> bool:
    return i <= len(low) and total - i <= len(high)


def merged(tree: Tree) -> Tree:
    """Without splits whose two sides are leaves of one answer."""
    if isinstance(tree, Leaf):
        return tree
    low, high = merged(tree.low), merged(tree.high)
    return low if isinstance(low, Leaf) and low == high else replace(tree, low=low, high=high)


def splits(tree: Tree) -> set[tuple[int, float]]:
    """All (feature, threshold) of a tree."""
    return set() if isinstance(tree, Leaf) else {(tree.feature, tree.threshold)} | splits(tree.low) | splits(tree.high)


def moved(tree: Tree, places: Mapping[tuple[int, float], float]) -> Tree:
    """With other thresholds, by (feature, threshold)."""
    if isinstance(tree, Leaf):
        return tree
    threshold = places.get((tree.feature, tree.threshold), tree.threshold)
    return replace(tree, threshold=threshold, low=moved(tree.low, places), high=moved(tree.high, places))


def significant(value: float, digits: int) -> float:
    """To so many significant digits."""
    return float(f"{value:.{digits}g}")


def rounded(tree: Tree, x: Numbers, y: NDArray[Any], weights: Numbers, tolerance: float = 0.0005) -> Tree:
    """Each threshold 0 or with the fewest digits, one after another; all of them together raise the loss by no more than `tolerance` of the
    total weight (of continuous actions: of the total squares), of which each has its part. Answers that are numbers to three digits."""

    def loss(tree: Tree) -> float:
        found = answers(tree, x)
        return float(weights[found != y].sum()) if y.ndim == 1 else float((weights * ((found - y) ** 2).sum(1)).sum())

    total = float(weights.sum()) if y.ndim == 1 else float((weights * ((y - np.average(y, axis=0, weights=weights)) ** 2).sum(1)).sum())
    allowed, places = loss(tree), sorted(splits(tree))
    for key in places:
        allowed += tolerance * total / len(places)
        shorter = (moved(tree, {key: place}) for place in (0.0, *(significant(key[1], digits) for digits in range(1, 7))))
        tree = next((each for each in shorter if loss(each) <= allowed), tree)
    return merged(_short_answers(tree))


def _short_answers(tree: Tree) -> Tree:
    if isinstance(tree, Split):
        return replace(tree, low=_short_answers(tree.low), high=_short_answers(tree.high))
    return tree if isinstance(tree.answer, int) else Leaf(tuple(significant(v, 3) for v in tree.answer))
