"""
Rules from a policy by imitation: a tree learns what the policy does, and the policy is asked again on the states that the tree meets.

    D ← states of the policy;  repeat: fit a tree on D; D ← D ∪ (states of the tree, labelled by the policy)          (DAgger)
    weight of a state = max_a Q − min_a Q                                                                             (VIPER, eq. 2)
    of all rounds' trees the one that agrees most with the policy on held-out episodes, its own and the policy's

Sources: Ross et al. 2011 (DAgger); Bastani, Pu & Solar-Lezama 2018, Verifiable reinforcement learning via policy extraction (VIPER),
arXiv:1805.08328. A policy without values has weights of 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from spikeloom.agent.rules import tree as trees
from spikeloom.agent.rules.features import Features
from spikeloom.agent.rules.ruleset import RuleSet
from spikeloom.agent.rules.simplify import as_rules
from spikeloom.agent.rules.tree import Numbers, Tree
from spikeloom.agent.rules.visits import Decide, Visits
from spikeloom.errors import ConfigError, DataError

MOST_SAMPLES = 60_000
"""States that one tree is fitted to."""
CART_LEAVES = 300
"""Leaves of the tree that is pruned."""


Meet = Callable[[Decide, int], Visits]
"""Whole episodes of what decides, from a seed: `visits` on an environment, for example."""


@final
@dataclass(frozen=True)
class Imitation:
    """`rules` is `tree` simplified; both were fitted to `states`. `agreement` with the policy on held-out episodes, for each round."""

    rules: RuleSet
    tree: Tree
    states: Numbers
    agreement: tuple[float, ...]

    @property
    def leaves(self) -> int:
        """Of the tree."""
        return trees.leaves(self.tree)


@final
@dataclass(frozen=True)
class Recipe:
    """`leaves` at most; `rounds` in which the tree's own states are met, `own` of all states being theirs at most; `held_out` of the
    episodes judge; `tolerance` of the states may be answered otherwise to make thresholds and conditions shorter."""

    leaves: int = 24
    rounds: int = 3
    own: float = 0.3
    held_out: float = 0.25
    tolerance: float = 0.001

    def __post_init__(self) -> None:
        if self.leaves < 2 or self.rounds < 0 or not 0 < self.held_out < 1 or not 0 <= self.own < 1 or self.tolerance < 0:
            allowed = "leaves ≥ 2, rounds ≥ 0, 0 < held_out < 1, 0 ≤ own < 1, tolerance ≥ 0"
            raise ConfigError("rules cannot be learnt so", found=self, allowed=allowed)


def agreement(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The share of equal actions; of continuous ones 1 − Σ(a − b)²/Σ(b − mean b)² (R²)."""
    if a.ndim == 1:
        return float((a == b).mean())
    spread = float(((b - b.mean(0)) ** 2).sum())
    return 1.0 - float(((a - b) ** 2).sum()) / max(spread, 1e-12)


def imitate(
    act: Decide,
    meet: Meet,
    features: Features,
    recipe: Recipe | None = None,
    *,
    values: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
    start: Tree | None = None,
    seed: int = 0,
    environment: str | None = None,
) -> Imitation:
    """Rules over `features` that act as `act` does on the states that either meets.

    `values` [n, actions], where the policy has them, weigh states by what a wrong action costs. From `start`, the tree is not grown anew
    but its thresholds are moved where that is worth it (for what changed in a policy: `difference`). `meet` is called with seeds from
    `seed` on. Raises DataError where no two episodes were met.
    """
    recipe = recipe or Recipe()
    generator = np.random.default_rng(seed)
    train, test = _parted(meet(act, seed), recipe.held_out, generator)
    own, tested = np.empty((0, train.shape[1])), [test]
    rounds: list[tuple[float, Imitation]] = []
    for number in range(recipe.rounds + 1):
        states = _sampled(train, own, recipe.own, generator)
        tree, rules = _fitted(act, states, features, recipe, values, start, environment)
        rounds.append((0.0, Imitation(rules, tree, states, ())))
        if number == recipe.rounds:
            break
        met, held = _parted(meet(rules, seed + number + 1), recipe.held_out, generator)
        own, tested = np.concatenate([own, met]), [*tested, held]
    judged = [_judged(act, each, tested) for _, each in rounds]
    best = rounds[int(np.argmax(judged))][1]
    return Imitation(best.rules, best.tree, best.states, tuple(judged))


def _judged(act: Decide, given: Imitation, tested: list[Numbers]) -> float:
    """Agreement on the policy's held-out states and on the trees' together, half and half."""
    own = np.concatenate(tested[1:]) if len(tested) > 1 else tested[0]
    return 0.5 * sum(agreement(given.rules(states), _labels(act, states)) for states in (tested[0], own))


def _labels(act: Decide, states: Numbers) -> NDArray[Any]:
    found = np.asarray(act(states.astype(np.float32)))
    return found if found.ndim > 1 or found.dtype.kind in "iu" else found[:, None]


def _parted(given: Visits, share: float, generator: np.random.Generator) -> tuple[Numbers, Numbers]:
    """States of some episodes, and of the others: never of one episode on both sides."""
    episodes = generator.permutation(np.unique(given.episodes))
    if len(episodes) < 2:
        raise DataError(
            "rules are judged on episodes that they were not learnt from", found=f"{len(episodes)} episode", allowed="2 or more"
        )
    held = np.isin(given.episodes, episodes[: max(1, int(share * len(episodes)))])
    return given.observations[~held], given.observations[held]


def _sampled(train: Numbers, own: Numbers, share: float, generator: np.random.Generator) -> Numbers:
    """The policy's states, and the tree's up to a share of all; at most `MOST_SAMPLES`."""
    few = min(len(own), int(share * min(MOST_SAMPLES, len(train) / (1 - share))))
    many = min(len(train), MOST_SAMPLES - few)
    parts = [part[generator.permutation(len(part))[:count]] for part, count in ((train, many), (own, few))]
    return np.concatenate(parts)


def _fitted(
    act: Decide,
    states: Numbers,
    features: Features,
    recipe: Recipe,
    values: Callable[[NDArray[Any]], NDArray[Any]] | None,
    start: Tree | None,
    environment: str | None,
) -> tuple[Tree, RuleSet]:
    x, y = features.matrix(states), _labels(act, states)
    y = y.astype(np.int64) if y.ndim == 1 else y.astype(np.float64)
    weights = weights_of(values(states.astype(np.float32))) if values is not None else np.ones(len(x))
    tree = fitted(x, y, weights, recipe, start)
    return tree, as_rules(tree, features, x, y, weights, tolerance=recipe.tolerance, environment=environment)


def fitted(x: Numbers, y: NDArray[Any], weights: Numbers, recipe: Recipe, start: Tree | None = None) -> Tree:
    """A tree of at most `recipe.leaves`: grown large and pruned, or `start` with its thresholds moved; then rounded."""
    if start is not None:
        made = trees.merged(trees.retuned(start, x, y, weights))
    else:
        made = trees.pruned(trees.grown(x, y, weights, CART_LEAVES), x, y, weights, recipe.leaves)
    return trees.rounded(made, x, y, weights, recipe.tolerance)


def weights_of(values: NDArray[Any]) -> Numbers:
    """VIPER's weights [n] from values [n, actions]: what the worst action loses, 1 on average."""
    loss = values.max(1).astype(np.float64) - values.min(1)
    return loss / max(float(loss.mean()), 1e-12)
