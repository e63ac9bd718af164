"""
A small tree made better at the number of leaves it has: CART chooses a split without knowing what comes below it, this knows.

    alternated   each split, from the leaves up, chooses its feature and threshold again, all else as it is:
                 argmax over (f, t) of Σ loss(high side's answer) − loss(low side's answer), of the samples with x_f ≤ t       (1)
    regrown      leaves grow branches again, and of all prunings of that the best is taken: one of them is the tree itself
    refined      both in turn, until they stand still; then, as often as is wished, with a branch grown anew
    retuned      (1) on the feature that a split has, where that is worth it: the same tree for other samples

None raises the loss on the samples. A new threshold is one of at most 255 quantiles of its feature. Source: (1) Carreira-Perpiñán &
Tavallali 2018, Alternating optimization of decision trees, with application to learning sparse oblique trees (TAO), here on one feature a
split.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from jaxtyping import Num, UInt8
from numpy.typing import NDArray

from spikeloom.agent.rules.tree import Leaf, Numbers, Split, Tree, answers, best_answer, grown, loss_of, pruned

QUANTILES = 256
SWEEPS = 6
"""Of all splits, from the leaves up, at most."""
TURNS = 6
"""Of alternating and regrowing, at most."""
STILL = 1e-4
"""A gain that ends it, as a share of what one leaf loses."""

FEW = 4000
"""Samples that grow a branch anew: another few, another branch."""

Kept = NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Samples:
    """What a tree is fitted to, with the places where each feature may be split: `x[:, f] <= cuts[f][c]` where `codes[:, f] <= c`."""

    x: Numbers
    y: Num[np.ndarray, "n *k"]
    weights: Numbers
    codes: UInt8[np.ndarray, "n f"]
    cuts: tuple[Numbers, ...]

    def losses(self, tree: Tree, kept: Kept) -> Numbers:
        """What a tree loses on each of these samples."""
        found, wanted = answers(tree, self.x[kept]), self.y[kept]
        return self.weights[kept] * ((found != wanted) if wanted.ndim == 1 else ((found - wanted) ** 2).sum(1))

    def parted(self, split: Split, kept: Kept) -> tuple[Kept, Kept]:
        """Those that go low and those that go high."""
        high = self.x[kept, split.feature] > split.threshold
        return kept[~high], kept[high]

    def loss(self, tree: Tree) -> float:
        """Of all samples together."""
        return float(self.losses(tree, self.all).sum())

    @property
    def all(self) -> Kept:
        """Their numbers."""
        return np.arange(len(self.x))


def samples_of(x: Numbers, y: NDArray[Any], weights: Numbers) -> Samples:
    """Samples with their cuts: a feature's quantiles, each value once."""
    levels = np.linspace(0, 1, QUANTILES + 1)[1:-1]
    cuts = tuple(np.unique(np.quantile(column, levels)) for column in x.T)
    codes = np.stack([np.searchsorted(places, column, side="left") for places, column in zip(cuts, x.T, strict=True)], 1)
    return Samples(x, y, weights, codes.astype(np.uint8), cuts)


def alternated(tree: Tree, samples: Samples) -> Tree:
    """(1) until nothing is gained. Every leaf answers as its samples do; a side without samples stays as it was."""

    loss = samples.loss(tree)
    for _ in range(SWEEPS):
        tree, before = _swept(tree, samples, samples.all), loss
        loss = samples.loss(tree)
        if loss >= before - STILL * _most(samples):
            break
    return tree


def retuned(tree: Tree, x: Numbers, y: NDArray[Any], weights: Numbers, gain: float = 0.002) -> Tree:
    """The same tree for other samples: every leaf answers as its samples do, and a threshold moves only where what its two sides answer
    then loses less by `gain` of the total weight (of continuous actions: of the total squares). Sides without samples stay as they were."""
    samples = samples_of(x, y, weights)
    least = gain * (float(weights.sum()) if y.ndim == 1 else _most(samples))

    for _ in range(SWEEPS):
        tree, before = _swept(tree, samples, samples.all, least), tree
        if tree == before:
            break
    return tree


def _swept(node: Tree, samples: Samples, kept: Kept, least: float | None = None) -> Tree:
    """(1) once for all splits, from the leaves up; with `least` each on its own feature, where that gains more."""
    if not len(kept):
        return node
    if isinstance(node, Leaf):
        return Leaf(best_answer(samples.y[kept], samples.weights[kept]))
    low, high = samples.parted(node, kept)
    node = replace(node, low=_swept(node.low, samples, low, least), high=_swept(node.high, samples, high, least))
    return _rechosen(node, samples, kept) if least is None else _rechosen(node, samples, kept, (node.feature,), least)


def _rechosen(split: Split, samples: Samples, kept: Kept, features: Sequence[int] | None = None, least: float = 0.0) -> Split:
    """With the best feature (of some) and threshold for what its two sides answer, where that gains more than `least`; of equals the one
    it has."""
    gains = samples.losses(split.high, kept) - samples.losses(split.low, kept)
    matter = gains != 0.0
    kept, gains = kept[matter], gains[matter]
    least = max(least, 1e-9 * float(np.abs(gains).sum()))
    best, found = float(gains[samples.x[kept, split.feature] <= split.threshold].sum()) + least, split
    for feature in range(len(samples.cuts)) if features is None else features:
        cuts = samples.cuts[feature]
        sums = np.bincount(samples.codes[kept, feature], gains, minlength=len(cuts))[: len(cuts)].cumsum()
        place = int(sums.argmax())
        if sums[place] > best:
            best, found = float(sums[place]), replace(split, feature=feature, threshold=float(cuts[place]))
    return found


def regrown(tree: Tree, samples: Samples, most: int, large: int) -> Tree:
    """Of at most `most` leaves: the best pruning of what the tree becomes when its leaves grow on, to about `large` leaves in all, each in
    proportion to its loss."""
    total = max(samples.loss(tree), 1e-12)

    def visit(node: Tree, kept: Kept) -> Tree:
        if isinstance(node, Split):
            low, high = samples.parted(node, kept)
            return replace(node, low=visit(node.low, low), high=visit(node.high, high))
        share = loss_of(node.answer, samples.y[kept], samples.weights[kept]) / total if len(kept) else 0.0
        size = round(share * large)
        return node if size < 2 else grown(samples.x[kept], samples.y[kept], samples.weights[kept], size)

    return pruned(visit(tree, samples.all), samples.x, samples.y, samples.weights, most)


def refined(tree: Tree, x: Numbers, y: NDArray[Any], weights: Numbers, most: int, large: int, kicks: int = 0) -> Tree:
    """A tree of at most `most` leaves that loses no more on the samples than `pruned(tree, …, most)`; on its way it has about `large`.

    Then `kicks` times a branch of it, drawn, is grown anew, which is kept where it is better.
    """
    samples, generator = samples_of(x, y, weights), np.random.default_rng(0)
    best, least = _settled(pruned(tree, x, y, weights, most), samples, most, large)
    for _ in range(kicks):
        tried = alternated(pruned(_kicked(best, samples, large, generator), x, y, weights, most), samples)
        if samples.loss(tried) < least:
            best, least = _settled(tried, samples, most, large)
    return best


def _settled(tree: Tree, samples: Samples, most: int, large: int) -> tuple[Tree, float]:
    """Alternated and regrown until it stands still, and what it then loses."""
    loss = samples.loss(tree)
    for _ in range(TURNS):
        tree, before = regrown(alternated(tree, samples), samples, most, large), loss
        loss = samples.loss(tree)
        if loss >= before - STILL * _most(samples):
            break
    return tree, loss


def _kicked(tree: Tree, samples: Samples, large: int, generator: np.random.Generator) -> Tree:
    """With one split and all below it replaced by a branch that few samples grew, over half of the features."""
    places = _inner(tree, samples.all, samples)
    if not places:
        return tree
    chosen, kept = places[int(generator.integers(len(places)))]
    few, features = generator.permutation(kept)[:FEW], samples.x.shape[1]
    x = samples.x[few]
    x[:, generator.permutation(features)[(features + 1) // 2 :]] = 0.0
    branch = grown(x, samples.y[few], samples.weights[few], large * len(kept) // len(samples.x))
    return _replaced(tree, chosen, branch)


def _inner(tree: Tree, kept: Kept, samples: Samples) -> list[tuple[Split, Kept]]:
    """Every split that samples reach, and those samples."""
    if isinstance(tree, Leaf) or len(kept) < 2:
        return []
    low, high = samples.parted(tree, kept)
    return [(tree, kept), *_inner(tree.low, low, samples), *_inner(tree.high, high, samples)]


def _replaced(tree: Tree, old: Split, new: Tree) -> Tree:
    if tree is old or isinstance(tree, Leaf):
        return new if tree is old else tree
    return replace(tree, low=_replaced(tree.low, old, new), high=_replaced(tree.high, old, new))


def _most(samples: Samples) -> float:
    """What one leaf loses."""
    return loss_of(best_answer(samples.y, samples.weights), samples.y, samples.weights)
