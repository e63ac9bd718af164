"""
Calibration in the closed loop: a converted policy is calibrated again on what it meets itself.

    D_0 = observations of the ANN's episodes,  π_k = convert(D_k),  D_(k+1) = D_k ∪ observations of π_k's episodes      (1)

The ANN is the reference on all of them. Where a small error leads the network to states that its ANN would not have met, those are among
the data of the next round. Of all rounds that policy is taken which has the best mean return on the seeds it was fitted on, of several
with the same the one that agrees with its ANN most often on what that observes.

Source: data aggregation, DAgger (Ross, Gordon & Bagnell 2011, arXiv 1011.0686), with conversion in the place of training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.episodes import OWN_SEED
from spikeloom.agent.policy import Policy
from spikeloom.datasets.episodes import Act, gathered, played
from spikeloom.datasets.spaces import same
from spikeloom.errors import ConfigError


@final
@dataclass(frozen=True)
class Round:
    """One round: samples it was calibrated on, the mean return on those seeds, and on its ANN's observations the share of decisions that
    both have in common (of continuous actions: within a twentieth of their range)."""

    samples: int
    mean_return: float
    agreement: float


def in_closed_loop(
    convert: Callable[[Float[Tensor, "n ..."]], Policy],
    ann: Act,
    env: Any,
    *,
    rounds: int = 3,
    episodes: int = 20,
    seed: int = OWN_SEED,
    limit: int = 4096,
) -> tuple[Policy, tuple[Round, ...]]:
    """The best policy of (1), and what each round found; `convert` makes a policy of calibration data, at most `limit` of it, in an order
    drawn from the seed. ConfigError for fewer than one round."""
    if rounds < 1:
        raise ConfigError("calibration in the closed loop takes a round or more", found=rounds)
    first, made = gathered(env, ann, episodes, seed), list[tuple[Round, Policy]]()
    seen = first
    for _ in range(rounds):
        order = np.random.default_rng(seed).permutation(len(seen))[:limit]
        policy = convert(torch.from_numpy(seen[order]))
        own, mean = watched(policy, env, episodes, seed)
        made.append((Round(len(order), mean, agreement(policy, ann, first)), policy))
        seen = np.concatenate([seen, own])
    best = max(made, key=lambda pair: (pair[0].mean_return, pair[0].agreement))
    return best[1], tuple(found for found, _ in made)


def watched(policy: Policy, env: Any, episodes: int, seed: int) -> tuple[Float[ndarray, "n ..."], float]:
    """What a policy observes in so many episodes, and its mean return in them."""
    parts, total = list[ndarray](), 0.0
    for moment in played(env, policy.actor(), episodes, seed):
        parts.append(moment.observations[moment.playing])
        total += float(moment.rewards[moment.playing].sum())
    return np.concatenate(parts).astype(np.float32), total / episodes


def agreement(policy: Policy, ann: Act, observations: Float[ndarray, "n ..."]) -> float:
    """The share of decisions, each from rest, in which the policy does what its ANN does."""
    rest = policy.replaced(residue="reset")
    return float(
        same(rest.actions(rest.outputs(observations)[0]), ann(observations, np.ones(len(observations), bool)), policy.action).mean()
    )
