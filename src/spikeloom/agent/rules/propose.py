"""
Proposals of predicates: sums of a few observations (and where asked of their products) along which a small tree splits well.

    1. directions in which actions separate, by logistic regression in the largest nodes of a plain tree
    2. in rounds: a tree on observations and projections; its directions turned by gradients (`soften`); of each the smallest terms dropped
    3. coefficients divided by that of the largest term, and rounded to two digits: theta + 0.31 * theta_dot

A person reads them, renames them, keeps what makes sense, and writes them to a rules file. Sources: Murthy, Kasif & Salzberg 1994, A system
for induction of oblique decision trees; that directions are shared by all splits of a tree is ours.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy.typing import NDArray

from spikeloom.agent.rules import tree as trees
from spikeloom.agent.rules.features import Features, predicates_of
from spikeloom.agent.rules.names import Names
from spikeloom.agent.rules.soften import projected, turned
from spikeloom.agent.rules.tree import Numbers, Split, Tree, significant
from spikeloom.errors import ConfigError, DataError

MOST_SAMPLES = 50_000
NEGLIGIBLE = 0.02
"""Terms that move a predicate by less than this share of its largest one are left out."""


@final
@dataclass(frozen=True)
class Search:
    """At most `count` predicates of at most `terms` terms each; `products` of two observations may be terms. A tree of `leaves` judges,
    after each of `rounds` of `steps`."""

    count: int = 8
    terms: int = 4
    products: bool = False
    leaves: int = 24
    rounds: int = 10
    steps: int = 500

    def __post_init__(self) -> None:
        if min(self.count, self.terms, self.rounds, self.steps) < 1 or self.leaves < 2:
            raise ConfigError("predicates cannot be searched so", found=self, allowed="1 or more of each, leaves 2 or more")


def proposed(
    observations: NDArray[Any], actions: Int64[np.ndarray, " n"], names: Names, search: Search | None = None, *, seed: int = 0
) -> Features:
    """The names with predicates p1, p2, ... over them, for a policy that did `actions` at `observations` [n, d].

    Those that the last tree does not use, or that are an observation alone, are left out. Raises DataError where there is only one action,
    or where they are no whole numbers.
    """
    search = search or Search()
    if actions.ndim != 1 or actions.dtype.kind not in "iu" or len(np.unique(actions)) < 2:
        raise DataError("predicates separate actions", found=actions.dtype, allowed="whole numbers, two or more different ones")
    generator = np.random.default_rng(seed)
    plain = Features(names)
    chosen = generator.permutation(len(observations))[:MOST_SAMPLES]
    raw, y = plain.matrix(observations[chosen]), np.asarray(actions)[chosen].astype(np.int64)
    terms = terms_of(names.observations, search.products)
    basis = np.stack([column_of(term, raw) for term in terms], 1)
    scale = basis.std(0) + 1e-12
    found = _searched(basis / scale, y, raw.shape[1], search, generator)
    texts = [text_of(row / scale, row, terms, names.observations) for row in found]
    return _used(predicates_of({f"p{n}": text for n, text in enumerate(dict.fromkeys(texts), 1)}, names), raw, y, search)


def terms_of(names: Sequence[str], products: bool) -> list[tuple[int, ...]]:
    """What a sum is made of: each observation, and with `products` each pair."""
    singles: list[tuple[int, ...]] = [(place,) for place in range(len(names))]
    return singles + (list(itertools.combinations_with_replacement(range(len(names)), 2)) if products else [])


def column_of(term: tuple[int, ...], raw: Numbers) -> Float[np.ndarray, " n"]:
    """A term's values."""
    return raw[:, list(term)].prod(1)


def text_of(coefficients: Numbers, effects: Numbers, terms: Sequence[tuple[int, ...]], names: Sequence[str]) -> str:
    """A sum as a person would write it: the term of the largest effect first and without a factor, the others to two digits."""
    order = [int(n) for n in np.argsort(-np.abs(effects)) if abs(effects[n]) >= NEGLIGIBLE * np.abs(effects).max()]
    parts = list[str]()
    for n in order:
        value = significant(float(coefficients[n] / coefficients[order[0]]), 2)
        term = " * ".join(names[place] for place in terms[n])
        size = term if abs(value) == 1 else f"{abs(value):.6g} * {term}"
        parts.append(size if not parts else f"{'-' if value < 0 else '+'} {size}")
    return " ".join(parts)


def _searched(x: Numbers, y: NDArray[np.int64], plain: int, search: Search, generator: np.random.Generator) -> Numbers:
    """Directions [k, f] over standardised terms `x`, of at most `search.terms` terms each."""
    order = generator.permutation(len(x))
    held, train = order[: len(x) // 5], order[len(x) // 5 :]
    gradients = torch.Generator().manual_seed(int(generator.integers(1 << 31)))
    directions = _begun(x[train], y[train], plain, search, generator)
    mask, best = np.ones(directions.shape, dtype=bool), (-1.0, directions)
    for number in range(search.rounds + 1):
        values = projected(torch.from_numpy(x), torch.from_numpy(directions), plain).numpy()
        tree = _tree(values[train], y[train], search.leaves)
        right = float((trees.answers(tree, values[held]) == y[held]).mean())
        if int(mask.sum(1).max()) <= search.terms and right > best[0]:
            best = (right, directions)
        if number < search.rounds and isinstance(tree, Split):
            unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
            directions = turned(tree, unit, mask, plain, x[train], y[train], search.steps, gradients)
            mask = narrowed(directions, max(search.terms, _terms_after(number, x.shape[1], search)))
            directions = np.where(mask, directions, 0.0)
    return best[1]


def _terms_after(number: int, width: int, search: Search) -> int:
    """How many terms a direction keeps after a round: fewer and fewer in equal ratios, `search.terms` from half of the rounds on."""
    half = max(search.rounds / 2, 1.0)
    return round(width * (search.terms / width) ** min((number + 1) / half, 1.0)) if width > search.terms else width


def narrowed(directions: Numbers, most: int) -> Bool[np.ndarray, "k f"]:
    """Which terms are among the `most` largest of their direction."""
    size = np.abs(directions)
    rank = (-size).argsort(1).argsort(1)
    return (rank < most) & (size > 0)


def _tree(x: Numbers, y: NDArray[np.int64], leaves: int) -> Tree:
    weights = np.ones(len(x))
    return trees.pruned(trees.grown(x, y, weights, 8 * leaves, 4), x, y, weights, leaves)


def _begun(x: Numbers, y: NDArray[np.int64], plain: int, search: Search, generator: np.random.Generator) -> Numbers:
    """Directions in which the most frequent action separates from the others, in the largest nodes of a tree on observations alone."""
    from sklearn.linear_model import LogisticRegression

    found = list[Numbers]()
    waiting = [(_tree(x[:, :plain], y, search.leaves), np.arange(len(x)))]
    while waiting and len(found) < search.count:
        waiting.sort(key=lambda pair: len(pair[1]))
        node, kept = waiting.pop()
        mode = int(np.bincount(y[kept]).argmax())
        if (y[kept] == mode).all():
            continue
        some = kept[generator.permutation(len(kept))[:4000]]
        if 0 < (y[some] == mode).sum() < len(some):
            fitted: Any = LogisticRegression(max_iter=100).fit(x[some], y[some] == mode)
            found.append(fitted.coef_[0] / np.linalg.norm(fitted.coef_[0]))
        if isinstance(node, Split):
            high = x[kept, node.feature] > node.threshold
            waiting += [(node.low, kept[~high]), (node.high, kept[high])]
    rest = generator.normal(size=(search.count - len(found), x.shape[1]))
    made = np.concatenate([np.array(found).reshape(-1, x.shape[1]), rest])
    return made + 0.1 * generator.normal(size=made.shape) / np.sqrt(x.shape[1])


def _used(features: Features, raw: Numbers, y: NDArray[np.int64], search: Search) -> Features:
    x = features.matrix(raw)
    kept = {feature - raw.shape[1] for feature, _ in trees.splits(_tree(x, y, search.leaves))}
    texts = [
        each.text
        for place, each in enumerate(features.predicates.values())
        if place in kept and each.text not in features.names.observations
    ]
    return predicates_of({f"p{n}": text for n, text in enumerate(texts, 1)}, features.names)
