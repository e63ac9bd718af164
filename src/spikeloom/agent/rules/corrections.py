"""
What a person's rules teach: the states in which they want something else than the network does, and what.

    states      where a rule holds and the network does otherwise
    actions     what the rule says there
    weights     the rule's weight, divided so that the states of every rule together weigh the same for the same weight               (1)
    anchors     states where the network does what it should, with its own action and the weight `keep`, so that the rest stays

A learner takes them as error signals, target − π, one for each state (`Agent.teach`), again and again: the network's actions are those
before it learns, so that anchors do not wander with it. (1) keeps a rule that holds rarely from being drowned.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int64, Num
from numpy.typing import NDArray

from spikeloom.agent.rules.difference import differs
from spikeloom.agent.rules.guard import Veto
from spikeloom.agent.rules.ruleset import SILENT, RuleSet
from spikeloom.errors import ConfigError, DataError


@final
@dataclass(frozen=True)
class Corrections:
    """Observations [m, d], the actions wanted there, the weight of each, and the rule it comes from (`SILENT`: an anchor)."""

    observations: Num[np.ndarray, "m d"]
    actions: Num[np.ndarray, "m *k"]
    weights: Float[np.ndarray, " m"]
    rules: Int64[np.ndarray, " m"]

    def __len__(self) -> int:
        """How many states."""
        return len(self.actions)

    @property
    def wrong(self) -> int:
        """How many of them are corrections, not anchors."""
        return int((self.rules != SILENT).sum())


def corrections(
    rules: RuleSet,
    observations: Num[np.ndarray, "n d"],
    network_actions: Num[np.ndarray, "m *k"],
    *,
    keep: float = 0.0,
    tolerance: float = 0.05,
) -> Corrections:
    """Where the rules disagree with the network, and what they want; see the module's text.

    `rules` need not cover everything: of a state in which none holds they say nothing (`otherwise`, where given, holds there). Continuous
    actions disagree where any number is further away than `tolerance`. Raises DataError where actions are not one for each observation.
    """
    if len(network_actions) != len(observations):
        raise DataError("not one action for each observation", found=len(network_actions), allowed=len(observations))
    if keep < 0 or tolerance < 0:
        raise ConfigError("corrections cannot be made so", found=f"keep {keep}, tolerance {tolerance}", allowed="0 or more")
    fired = rules.fired(observations)
    says = (fired != SILENT) | (rules.otherwise is not None)
    wanted = np.array(network_actions)
    wanted[says] = rules(observations[says]) if says.any() else wanted[says]
    wrong = differs(wanted, network_actions, tolerance)
    numbers = np.where(fired == SILENT, len(rules.rules), fired)
    weights = np.where(wrong, _balanced(rules, numbers, wrong), keep)
    kept = wrong if keep == 0 else np.ones(len(wrong), dtype=bool)
    return Corrections(observations[kept], wanted[kept], weights[kept], np.where(wrong, numbers, SILENT)[kept])


def _balanced(rules: RuleSet, numbers: NDArray[np.int64], wrong: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(1), for every state."""
    own = np.array([*(rule.weight for rule in rules.rules), 1.0])
    counts = np.bincount(numbers[wrong], minlength=len(own))
    speaking = max(int((counts > 0).sum()), 1)
    return own[numbers] * counts.sum() / (speaking * np.maximum(counts[numbers], 1))


def corrections_of(vetoes: Iterable[Veto], weight: float = 1.0) -> Corrections:
    """What a guard took as a lesson: the states of its vetoes, and what was done instead. Raises DataError where there are none."""
    given = list(vetoes)
    if not given:
        raise DataError("no vetoes to learn from", todo="act under guards first")
    dtype: Any = np.int64 if isinstance(given[0].taken, int) else np.float32
    rules = {name: number for number, name in enumerate(dict.fromkeys(each.rule for each in given))}
    return Corrections(
        np.array([each.observation for each in given], dtype=np.float32),
        np.array([each.taken for each in given], dtype=dtype),
        np.full(len(given), weight),
        np.array([rules[each.rule] for each in given], dtype=np.int64),
    )
