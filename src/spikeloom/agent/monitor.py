"""
The drift monitor: notices that episodes have become worse than they were, or that the world surprises.

    z = (μ − R)/σ                  how much worse an episode's return is than those of the usual world                (1)
    s ← max(0, s + z − κ)          Page's sum; a drift where s > h                                                    (2)

μ and σ are of returns in the usual world. z is at most `most`, so that one bad episode is no drift. κ is the change that does not matter,
half of the one that does; h is how sure one wants to be.

Source: Page 1954, Biometrika 41, 100 (CUSUM).
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from spikeloom.errors import ConfigError


@final
class MonitorState(NamedTuple):
    """μ and σ of the usual world, s, and the episodes seen since it began."""

    mean: float
    spread: float
    worse: float = 0.0
    episodes: int = 0
    drifted: bool = False


@final
@dataclass(frozen=True)
class Monitor:
    """κ, h, and the most that one episode counts, in σ."""

    slack: float = 1.0
    threshold: float = 12.0
    most: float = 4.0

    def init(self, usual: Float[ndarray, " n"]) -> MonitorState:
        """What is usual, from returns of the usual world. ConfigError for fewer than two, or such that are no numbers."""
        if len(usual) < 2 or not np.isfinite(usual).all():
            raise ConfigError("a monitor needs usual returns", found=f"{len(usual)} returns", allowed="two or more, all of them numbers")
        mean = float(usual.mean())
        return MonitorState(mean, max(float(usual.std(ddof=1)), 0.05 * abs(mean), 1e-9))

    def watch(self, state: MonitorState, returns: Float[ndarray, " n"]) -> MonitorState:
        """(2) for episodes that ended, in their order. Once it has drifted it stays so, until `calm`."""
        worse, drifted = state.worse, state.drifted
        for z in (state.mean - returns) / state.spread:
            worse = max(0.0, worse + min(float(z), self.most) - self.slack)
            drifted = drifted or worse > self.threshold
        return state._replace(worse=worse, episodes=state.episodes + len(returns), drifted=drifted)

    def calm(self, state: MonitorState) -> MonitorState:
        """Nothing noticed yet, with the same idea of what is usual."""
        return MonitorState(state.mean, state.spread)
