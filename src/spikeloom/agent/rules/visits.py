"""
States that a policy meets: whole episodes in a vector environment, with what came of them (`datasets.episodes.played`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

from spikeloom.datasets.episodes import played

Decide = Callable[[NDArray[Any]], NDArray[Any]]
"""Observations [n, d] → actions [n] or [n, k]: a policy without a memory."""


@final
@dataclass(frozen=True)
class Visits:
    """States in the order met, the number of the episode each belongs to, and each episode's return."""

    observations: Float[np.ndarray, "n d"]
    episodes: Int64[np.ndarray, " n"]
    returns: Float[np.ndarray, " episodes"]


def visits(decide: Decide, environments: Any, episodes: int, seed: int) -> Visits:
    """So many whole episodes of a `gymnasium.vector.VectorEnv` from `seed` on. Errors as of `played`."""
    count = environments.num_envs
    number, following = np.arange(count), count
    totals = np.zeros(episodes + count)
    seen, owners = list[NDArray[Any]](), list[NDArray[np.int64]]()
    for moment in played(environments, lambda observations, fresh: decide(observations), episodes, seed):
        live = moment.playing
        seen.append(moment.observations[live].astype(np.float64))
        owners.append(number[live])
        np.add.at(totals, number[live], moment.rewards[live])
        for place in np.flatnonzero(moment.ended):
            number[place], following = following, following + 1
    whole = np.unique(np.concatenate(owners))
    renamed = np.searchsorted(whole, np.concatenate(owners))
    return Visits(np.concatenate(seen), renamed, totals[whole])
