"""
From a tree to rules that a person can read: each leaf is a box, boxes are joined, and conditions that change nothing go.

    boxes        one condition a feature: low < value <= high, all splits of a path met in it
    joined       two boxes of one answer that differ in one feature, where they touch, are one
    shortened    as a list (the first that holds): a condition goes where the samples are answered no worse without it

Source: Quinlan 1987, Simplifying decision trees (from trees to lists of rules).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from spikeloom.agent.rules.expression import truth
from spikeloom.agent.rules.features import Features
from spikeloom.agent.rules.ruleset import Rule, RuleSet
from spikeloom.agent.rules.tree import Answer, Leaf, Numbers, Tree, loss_of

Interval = tuple[float, float]
"""Above the first, at most the second."""


@final
@dataclass(frozen=True)
class Box:
    """Where every feature named lies in its interval, the answer."""

    limits: dict[int, Interval]
    answer: Answer

    def holds(self, x: Numbers) -> NDArray[np.bool_]:
        """For samples [n, f]."""
        found = np.ones(len(x), dtype=bool)
        for feature, (low, high) in self.limits.items():
            found &= (x[:, feature] > low) & (x[:, feature] <= high)
        return found


def boxes(tree: Tree) -> list[Box]:
    """One for each leaf: none meets another, and together they are everything."""

    def visit(node: Tree, limits: dict[int, Interval]) -> Iterable[Box]:
        if isinstance(node, Leaf):
            yield Box(limits, node.answer)
            return
        low, high = limits.get(node.feature, (-inf, inf))
        if node.threshold > low:
            yield from visit(node.low, {**limits, node.feature: (low, min(high, node.threshold))})
        if node.threshold < high:
            yield from visit(node.high, {**limits, node.feature: (max(low, node.threshold), high)})

    return list(visit(tree, {}))


def joined(given: Sequence[Box]) -> list[Box]:
    """Fewer boxes that say the same."""
    found = list(given)
    while True:
        pairs = ((a, b, _union(a, b)) for i, a in enumerate(found) for b in found[i + 1 :])
        pair = next((each for each in pairs if each[2] is not None), None)
        if pair is None or pair[2] is None:
            return found
        found = [pair[2], *(box for box in found if box is not pair[0] and box is not pair[1])]


def _union(a: Box, b: Box) -> Box | None:
    if a.answer != b.answer:
        return None
    apart = [feature for feature in {*a.limits, *b.limits} if a.limits.get(feature) != b.limits.get(feature)]
    if len(apart) != 1:
        return None
    first, second = sorted(box.limits.get(apart[0], (-inf, inf)) for box in (a, b))
    if first[1] < second[0]:
        return None
    low, high = first[0], max(first[1], second[1])
    rest = {feature: limit for feature, limit in a.limits.items() if feature != apart[0]}
    return Box(rest if (low, high) == (-inf, inf) else {**rest, apart[0]: (low, high)}, a.answer)


def listed(given: Sequence[Box], otherwise: Answer, x: Numbers) -> list[Box]:
    """Without the boxes of the answer that is given otherwise; those that hold for most samples first."""
    kept = [box for box in given if box.answer != otherwise]
    return sorted(kept, key=lambda box: -int(box.holds(x).sum()))


def shortened(given: Sequence[Box], otherwise: Answer, x: Numbers, y: NDArray[Any], weights: Numbers, tolerance: float = 0.0) -> list[Box]:
    """The list with each rule and each condition gone without which the loss is no more than `tolerance` of the total weight above what
    it was. Every rule that stays has a condition."""

    def loss(rules: Sequence[Box]) -> float:
        left, total = np.arange(len(x)), 0.0
        for box in rules:
            holds = box.holds(x[left])
            total += loss_of(box.answer, y[left[holds]], weights[left[holds]])
            left = left[~holds]
        return total + loss_of(otherwise, y[left], weights[left])

    most = loss(given) + tolerance * float(weights.sum())

    def needed(rules: list[Box]) -> list[Box]:
        for box in list(rules):
            fewer = [each for each in rules if each is not box]
            rules = fewer if loss(fewer) <= most else rules
        return rules

    found = needed(list(given))
    for number, feature, side in [(n, f, side) for n, box in enumerate(found) for f in box.limits for side in (0, 1)]:
        shorter = _without(found[number], feature, side)
        tried = [*found[:number], shorter, *found[number + 1 :]]
        if shorter.limits and shorter != found[number] and loss(tried) <= most:
            found = tried
    return needed(found)


def _without(box: Box, feature: int, side: int) -> Box:
    if feature not in box.limits:
        return box
    low, high = box.limits[feature]
    rest = (-inf, high) if side == 0 else (low, inf)
    limits = {f: limit for f, limit in box.limits.items() if f != feature}
    return replace(box, limits=limits if rest == (-inf, inf) else {**limits, feature: rest})


def written(box: Box, features: Features) -> str:
    """A box as the text of its condition."""
    kinds = list(features.kinds.items())
    parts = [_condition(kinds[feature][0], kinds[feature][1] == "truth", limit) for feature, limit in sorted(box.limits.items())]
    return " and ".join(parts)


def _condition(name: str, is_truth: bool, limit: Interval) -> str:
    low, high = limit
    if is_truth:
        return name if low > -inf else f"not {name}"
    if low > -inf and high < inf:
        return f"{low!r} < {name} <= {high!r}"
    return f"{name} > {low!r}" if low > -inf else f"{name} <= {high!r}"


def as_rules(
    tree: Tree,
    features: Features,
    x: Numbers,
    y: NDArray[Any],
    weights: Numbers,
    *,
    otherwise: Answer | None = None,
    tolerance: float = 0.0,
    environment: str | None = None,
) -> RuleSet:
    """The tree as a list of rules over the features, simplified on samples `x` [n, f] whose answers should be `y`.

    `otherwise` is by default the answer that most boxes have.
    """
    parts = joined(boxes(tree))
    given = [box.answer for box in parts]
    last = otherwise if otherwise is not None else max(dict.fromkeys(given), key=given.count)
    rest = listed(parts, last, x)
    if rest:
        rest = shortened(rest, last, x, y, weights, tolerance)
    rules = [Rule(truth(written(box, features), features.kinds, "a rule"), box.answer) for box in rest]
    return RuleSet(features, tuple(rules), last, environment)
