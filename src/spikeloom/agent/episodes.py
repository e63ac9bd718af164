"""
Returns of whatever acts, in a vector environment; and what a network met there, to calibrate it on.

    return             R = Σ_t r_t of one episode, undiscounted                                   (1)
    normalised return  (R - R_random) / (R_ANN - R_random)                                        (2)

Each environment plays a fixed share of the episodes (`datasets.episodes`). With as many environments as episodes and seed 1000, they are
those of reset(seed=1000), reset(seed=1001), …
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.policy import RESIDUES, Policy
from spikeloom.datasets.episodes import Act, Moment, gathered, played, wandering
from spikeloom.errors import ConfigError
from spikeloom.ir import calls, population

OWN_SEED, JUDGED_SEED = 0, 1000
"""Where the seeds begin of the episodes that something is fitted on, and of those it is judged on."""


def returns(
    act: Act, env: Any, episodes: int, seed: int = JUDGED_SEED, watch: Callable[[Moment], None] | None = None
) -> Float[ndarray, " episodes"]:
    """(1) of so many episodes: those of the first environment in their order, then those of the second, and so on. `watch` is told of
    every moment."""
    found = [list[float]() for _ in range(env.num_envs)]
    running = np.zeros(env.num_envs)
    for moment in played(env, act, episodes, seed):
        if watch is not None:
            watch(moment)
        running += np.where(moment.playing, moment.rewards, 0.0)
        for place in np.flatnonzero(moment.ended):
            found[place].append(float(running[place]))
        running[moment.ended] = 0.0
    return np.array([value for each in found for value in each])


def normalised(found: float, at_random: float, ann: float) -> float:
    """(2). ConfigError where the ANN is no better than chance: then it says nothing."""
    if not ann > at_random:
        raise ConfigError("a return can be normalised only by a policy that is better than chance", found=f"{ann} against {at_random}")
    return (found - at_random) / (ann - at_random)


def observations(
    act: Act, env: Any, episodes: int, *, seed: int = OWN_SEED, stray: float = 0.0, limit: int | None = 4096
) -> Float[Tensor, "n ..."]:
    """What is observed in so many episodes, in an order drawn from the seed, at most `limit` of it: calibration data for `convert`. A
    share `stray` of the actions is drawn at random, so that states beside the usual road are among it."""
    kept = gathered(env, wandering(act, env, stray, seed) if stray else act, episodes, seed)
    order = np.random.default_rng(seed).permutation(len(kept))[:limit]
    return torch.from_numpy(kept[order])


def with_residue(policy: Policy, env: Any, residue: str, episodes: int = 20, seed: int = OWN_SEED) -> tuple[Policy, Mapping[str, float]]:
    """The policy with that residue between decisions, or, for "auto", with the one that has the better mean return over so many episodes
    (`reset` where both have the same, or nothing is carried), and those means. ConfigError for another word."""
    if residue in RESIDUES:
        return policy.replaced(residue=residue), {}
    if residue != "auto":
        raise ConfigError("unknown residue", found=residue, allowed=", ".join((*RESIDUES, "auto")))
    if not any(node.target is population for node in calls(policy.model.program.graph)):
        return policy.replaced(residue="reset"), {}
    means = {name: float(returns(each.actor(), env, episodes, seed).mean()) for name, each in _each(policy)}
    best = "carry" if means["carry"] > means["reset"] else "reset"
    return policy.replaced(residue=best), means


def _each(policy: Policy) -> Iterator[tuple[str, Policy]]:
    return ((name, policy.replaced(residue=name)) for name in RESIDUES)
