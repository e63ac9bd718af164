"""
What a network does in the changed world, before it adapted and after, in rules of one set of predicates; and what is different.

The search is small: some episodes, sums of at most three observations, a tree of at most 12 leaves, one round of asking again. The later
rules are learnt from the earlier tree where that is about as good, so that only what changed moves; else they are grown anew. Rules say
what the network wants; where a person's guards hold, network and rules act within them. Fidelity is the share of states of the network's
own other episodes in which its rules do what it does; their return and the network's are over the same starts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy import ndarray

from spikeloom.agent.episodes import JUDGED_SEED
from spikeloom.agent.policy import Policy
from spikeloom.agent.rules.difference import Difference, difference
from spikeloom.agent.rules.features import Features, predicates_of
from spikeloom.agent.rules.guard import Guard
from spikeloom.agent.rules.imitate import Imitation, Recipe, agreement, imitate
from spikeloom.agent.rules.instructions import names_within
from spikeloom.agent.rules.names import Names
from spikeloom.agent.rules.propose import Search, proposed
from spikeloom.agent.rules.ruleset import RuleSet
from spikeloom.agent.rules.visits import Decide, Visits, visits
from spikeloom.agent.worlds import world
from spikeloom.datasets.spaces import Discrete, Spaces
from spikeloom.ir import Progress, silent, write_bytes

EPISODES, SEED = 10, 70_000
"""Episodes of each kind, side by side, and where the seeds begin of those that are learnt from."""
RECIPE, SEARCH = Recipe(leaves=12, rounds=1), Search(count=3, terms=3, leaves=12, rounds=3, steps=120)
WORSE = 0.02
"""Agreement that rules may lose for being told as what they were with thresholds moved."""


@final
@dataclass(frozen=True)
class Ruled:
    """Rules of a network, their fidelity on its own unseen episodes, the mean return of the rules alone, and of the network."""

    rules: RuleSet
    fidelity: float
    returned: float
    own: float

    @property
    def text(self) -> str:
        """For a person."""
        return self.rules.text()

    def as_data(self) -> dict[str, Any]:
        """The numbers."""
        return {"fidelity": self.fidelity, "returned": self.returned, "network": self.own, "rules": len(self.rules.rules) + 1}


@final
@dataclass(frozen=True)
class Explanation:
    """Before and after, and the difference over what both meet."""

    before: Ruled
    after: Ruled
    difference: Difference

    @property
    def text(self) -> str:
        """All of it, for a file."""
        parts = (("Before", self.before.text), ("After", self.after.text), ("What is different", self.difference.text()))
        numbers = {"Before": _said(self.before), "After": _said(self.after)}
        return "\n".join(f"{name}{numbers.get(name, '')}\n\n{text}\n" for name, text in parts)

    def save(self, folder: Path) -> None:
        """rules.txt to read, rules.yaml (after) and rules_before.yaml to load, or to correct and give back."""
        texts = {"rules.txt": self.text, "rules.yaml": self.after.rules.yaml(), "rules_before.yaml": self.before.rules.yaml()}
        for name, text in texts.items():
            write_bytes(folder / name, text.encode())


def why_not(spaces: Spaces, delay: int = 0) -> str | None:
    """Why a policy between these spaces, whose actions come so late, is not told in rules; None where it is."""
    signal, action = spaces
    if delay:
        return "what is done hangs on actions that are still under way, too: rules are of what is observed."
    if len(signal.shape) != 1:
        return f"rules are for observations that are a row of numbers; here they have the shape {signal.shape}."
    return None if isinstance(action, Discrete) else "rules are for discrete actions; here actions are numbers."


def explained(
    before: Policy,
    after: Policy,
    env_id: str,
    shifts: Mapping[str, float | str],
    *,
    guard: Guard | None = None,
    progress: Progress = silent,
) -> Explanation:
    """The rules of two networks in the changed world. ConfigError where `why_not` says so."""
    names, env = names_within((before.observation, before.action), env_id), world(env_id, EPISODES, shifts)
    tells = [_outputs(policy) for policy in (before, after)]
    acts = [_deciding(outputs) for outputs in tells]
    start = before.action.start if isinstance(before.action, Discrete) else 0

    def meet(decide: Decide, seed: int) -> Visits:
        outputs = next((each for act, each in zip(acts, tells, strict=True) if act is decide), _one_of(decide, len(names.actions)))
        return visits(lambda seen: (decide(seen) if guard is None else guard.actions(seen, outputs(seen))) + start, env, EPISODES, seed)

    progress("rules", 0, 3)
    features = _features(names, [(act, meet(act, SEED - EPISODES).observations) for act in acts])

    def learnt(act: Decide, start: Imitation | None = None) -> Imitation:
        return imitate(act, meet, features, RECIPE, start=start and start.tree, seed=SEED, environment=env_id)

    progress("rules", 1, 3)
    first = learnt(acts[0])
    progress("rules", 2, 3)
    anew, moved = learnt(acts[1]), learnt(acts[1], first)
    second = moved if max(moved.agreement) >= max(anew.agreement) - WORSE else anew
    own = [meet(act, JUDGED_SEED) for act in acts]
    old, new = (_ruled(found.rules, act, each, meet) for found, act, each in zip((first, second), acts, own, strict=True))
    env.close()
    return Explanation(old, new, difference(first.rules, second.rules, np.concatenate([each.observations for each in own])))


def _ruled(rules: RuleSet, act: Decide, own: Visits, meet: Callable[[Decide, int], Visits]) -> Ruled:
    share = agreement(rules(own.observations), act(own.observations))
    return Ruled(rules, share, float(meet(rules, JUDGED_SEED).returns.mean()), float(own.returns.mean()))


def _features(names: Names, met: list[tuple[Decide, ndarray]]) -> Features:
    """Sums along which either network's actions separate."""
    found = list[str]()
    for act, seen in met:
        actions = act(seen)
        if len(np.unique(actions)) > 1:
            found += [each.text for each in proposed(seen, actions, names, SEARCH).predicates.values()]
    return predicates_of({f"p{number}": text for number, text in enumerate(dict.fromkeys(found), 1)}, names)


def _outputs(policy: Policy) -> Decide:
    """A network's outputs, each decision from rest."""
    rest = policy.replaced(residue="reset")
    body = policy.embodied
    return lambda seen: body.shown(rest.outputs(body.body.perceived(np.asarray(seen, np.float32)))[0]).numpy()


def _deciding(outputs: Decide) -> Decide:
    """The best actions, numbered from 0."""
    return lambda seen: outputs(seen).argmax(1)


def _one_of(decide: Decide, count: int) -> Decide:
    """Decisions as outputs: 1 for what is wanted; of the others none is better."""
    return lambda seen: np.eye(count)[decide(seen)]


def _said(ruled: Ruled) -> str:
    return f": {ruled.fidelity:.1%} as the network, return {ruled.returned:.4g} (network {ruled.own:.4g})"
