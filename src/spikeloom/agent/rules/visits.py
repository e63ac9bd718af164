"""
States that a policy meets: whole episodes in a vector environment of Gymnasium 1.x, with what came of them.

The environment may begin a finished episode anew in the step that ended it or in the next one (`AutoresetMode`); the action given in a
resetting step counts for nothing, and its observation is nobody's state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

Act = Callable[[NDArray[Any]], NDArray[Any]]
"""Observations [n, d] → actions [n] or [n, k]."""


@final
@dataclass(frozen=True)
class Visits:
    """States in the order met, the number of the episode each belongs to, and each episode's return."""

    observations: Float[np.ndarray, "n d"]
    episodes: Int64[np.ndarray, " n"]
    returns: Float[np.ndarray, " episodes"]

    def __add__(self, other: "Visits") -> "Visits":
        """Both, the other's episodes numbered after these."""
        return Visits(
            np.concatenate([self.observations, other.observations]),
            np.concatenate([self.episodes, other.episodes + len(self.returns)]),
            np.concatenate([self.returns, other.returns]),
        )


def visits(act: Act, environments: Any, episodes: int, seed: int) -> Visits:
    """At least `episodes` whole episodes of a `gymnasium.vector.VectorEnv` from `seed` on, each environment the same number of them (so that
    short episodes are not met more often than long ones)."""
    count = environments.num_envs
    each = -(-episodes // count)
    next_step = "next" in str(environments.metadata.get("autoreset_mode", "next_step")).lower()
    observations, _ = environments.reset(seed=seed)
    done, resetting, totals = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool), np.zeros((each, count))
    seen, owners = list[NDArray[Any]](), list[NDArray[np.int64]]()
    while (done < each).any():
        live = (done < each) & ~resetting
        seen.append(np.array(observations[live], dtype=np.float64))
        owners.append((done * count + np.arange(count))[live])
        observations, rewards, ended, cut, _ = environments.step(act(observations))
        totals[done[live], np.flatnonzero(live)] += rewards[live]
        over = live & (ended | cut)
        done += over
        resetting = over if next_step else resetting
    return Visits(np.concatenate(seen), np.concatenate(owners), totals.reshape(-1))
