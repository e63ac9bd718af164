"""
Rules from a policy by imitation: a tree learns what the policy does, and the policy is asked again on the states that the tree meets.

    D ← states of the policy;  repeat: fit a tree on D; D ← D ∪ (states of the tree, labelled by the policy)          (DAgger)
    weight of a state = max_a Q − min_a Q                                                                             (VIPER, eq. 2)
    of all rounds' trees the one that agrees most with the policy on held-out episodes, its own and the policy's

Sources: Ross et al. 2011 (DAgger); Bastani, Pu & Solar-Lezama 2018, Verifiable reinforcement learning via policy extraction (VIPER),
arXiv:1805.08328. A policy without values has weights of 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from spikeloom.agent.rules import tree as trees
from spikeloom.agent.rules.features import Features
from spikeloom.agent.rules.refine import refined, retuned
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
    episodes judge; `tolerance` of the states may be answered otherwise to make thresholds and conditions shorter. `kicks`: branches of a
    round's tree that are grown anew, one after another, each of which is kept where it is better; of 60,000 states each takes a second."""

    leaves: int = 24
    rounds: int = 3
    own: float = 0.3
    held_out: float = 0.25
    tolerance: float = 0.001
    kicks: int = 0

    def __post_init__(self) -> None:
        if self.leaves < 2 or self.rounds < 0 or not 0 < self.held_out < 1 or not 0 <= self.own < 1 or min(self.tolerance, self.kicks) < 0:
            allowed = "leaves ≥ 2, rounds ≥ 0, 0 < held_out < 1, 0 ≤ own < 1, tolerance ≥ 0, kicks ≥ 0"
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
    recipe, generator = recipe or Recipe(), np.random.default_rng(seed)

    def asked(given: Visits) -> tuple[Lesson, Lesson]:
        return _parted(_lesson(act, values, given.observations), given.episodes, recipe.held_out, generator)

    train, test = asked(meet(act, seed))
    own, held, made = train.at(np.arange(0)), list[Lesson](), list[Imitation]()
    for number in range(recipe.rounds + 1):
        lesson = _sampled(train, own, recipe.own, generator)
        tree, rules = _learnt(lesson, features, recipe, start, environment)
        made.append(Imitation(rules, tree, lesson.states, ()))
        if number < recipe.rounds:
            more, kept = asked(meet(rules, seed + number + 1))
            own, held = own + more, [*held, kept]
    judged = [_judged(each.rules, test, held) for each in made]
    return replace(made[int(np.argmax(judged))], agreement=tuple(judged))


@final
@dataclass(frozen=True, eq=False)
class Lesson:
    """States, what the policy does there, and what a wrong action costs (1 where nobody says)."""

    states: Numbers
    answers: NDArray[Any]
    costs: Numbers

    def at(self, places: NDArray[Any]) -> "Lesson":
        """Some of them."""
        return Lesson(self.states[places], self.answers[places], self.costs[places])

    def __add__(self, other: "Lesson") -> "Lesson":
        """Both."""
        pairs = ((self.states, other.states), (self.answers, other.answers), (self.costs, other.costs))
        return Lesson(*(np.concatenate(pair) for pair in pairs))


def _lesson(act: Decide, values: Callable[[NDArray[Any]], NDArray[Any]] | None, states: Numbers) -> Lesson:
    seen = states.astype(np.float32)
    found = np.asarray(act(seen))
    discrete = found.dtype.kind in "iu"
    answers = found.astype(np.int64) if discrete else found.reshape(len(found), -1).astype(np.float64)
    return Lesson(states, answers, losses(values(seen)) if values is not None else np.ones(len(states)))


def _judged(rules: RuleSet, test: Lesson, held: list[Lesson]) -> float:
    """Agreement on the policy's held-out states and on those of all trees together, half and half."""
    own = sum(held[1:], held[0]) if held else test
    return 0.5 * sum(agreement(rules(each.states), each.answers) for each in (test, own))


def _parted(lesson: Lesson, numbers: NDArray[Any], share: float, generator: np.random.Generator) -> tuple[Lesson, Lesson]:
    """The states of some episodes, and those of a share that is held out: never of one episode on both sides."""
    episodes = generator.permutation(np.unique(numbers))
    if len(episodes) < 2:
        found = f"{len(episodes)} episode"
        raise DataError("rules are judged on episodes that they were not learnt from", found=found, allowed="2 or more")
    held = np.isin(numbers, episodes[: max(1, int(share * len(episodes)))])
    return lesson.at(~held), lesson.at(held)


def _sampled(train: Lesson, own: Lesson, share: float, generator: np.random.Generator) -> Lesson:
    """The policy's states, and the trees' up to a share of all; at most `MOST_SAMPLES`."""
    asked, met = len(train.states), len(own.states)
    few = min(met, int(share * min(MOST_SAMPLES, asked / (1 - share))))
    many = min(asked, MOST_SAMPLES - few)
    return train.at(generator.permutation(asked)[:many]) + own.at(generator.permutation(met)[:few])


def _learnt(lesson: Lesson, features: Features, recipe: Recipe, start: Tree | None, environment: str | None) -> tuple[Tree, RuleSet]:
    x, y = features.matrix(lesson.states), lesson.answers
    weights = lesson.costs / max(float(lesson.costs.mean()), 1e-12)
    tree = fitted(x, y, weights, recipe, start)
    return tree, as_rules(tree, features, x, y, weights, tolerance=recipe.tolerance, environment=environment)


def fitted(x: Numbers, y: NDArray[Any], weights: Numbers, recipe: Recipe, start: Tree | None = None) -> Tree:
    """A tree of at most `recipe.leaves`: grown large, pruned and refined, or `start` with its thresholds moved; then rounded."""
    if start is not None:
        made = trees.merged(retuned(start, x, y, weights))
    else:
        made = refined(trees.grown(x, y, weights, CART_LEAVES), x, y, weights, recipe.leaves, CART_LEAVES, recipe.kicks)
    return trees.rounded(made, x, y, weights, recipe.tolerance)


def losses(values: NDArray[Any]) -> Numbers:
    """What the worst action loses [n], from values [n, actions]: VIPER's weights."""
    return values.max(1).astype(np.float64) - values.min(1)
