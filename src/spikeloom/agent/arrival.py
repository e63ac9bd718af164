"""
What comes back to an agent from its environments.
"""

from typing import NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from spikeloom.errors import ConfigError, DataError


@final
class Arrival(NamedTuple):
    """What comes back from E environments: observations to act on, and of the actions before (None at first) the rewards, which episodes
    ended and which of them were terminated, what was observed at their end, and which rows were played at all."""

    observations: Float[ndarray, "e *d"]
    fresh: Bool[ndarray, " e"]
    rewards: Float[ndarray, " e"] | None = None
    ended: Bool[ndarray, " e"] | None = None
    terminated: Bool[ndarray, " e"] | None = None
    last: Float[ndarray, "e *d"] | None = None
    playing: Bool[ndarray, " e"] | None = None


@final
class Answer(NamedTuple):
    """An arrival that answers actions: nothing of it is missing."""

    rewards: Float[ndarray, " e"]
    ended: Bool[ndarray, " e"]
    terminated: Bool[ndarray, " e"]
    last: Float[ndarray, "e *d"]
    playing: Bool[ndarray, " e"]


def answer_of(arrival: Arrival, limit: float) -> Answer:
    """The answer in an arrival. ConfigError where something is missing, DataError for rewards that are no numbers or beyond ± limit."""
    parts = (arrival.rewards, arrival.ended, arrival.terminated, arrival.playing)
    rewards, ended, terminated, playing = parts
    if rewards is None or ended is None or terminated is None or playing is None:
        raise ConfigError("rewards for actions that were not taken", todo="begin with an arrival that has none")
    _check(rewards, playing, limit)
    last = arrival.observations if arrival.last is None else arrival.last
    return Answer(rewards, ended & playing, terminated, last, playing)


def _check(rewards: ndarray, playing: Bool[ndarray, " e"], limit: float) -> None:
    counted = np.asarray(rewards)[playing]
    if counted.size and not (np.isfinite(counted).all() and np.abs(counted).max() <= limit):
        bad = counted[~np.isfinite(counted)] if not np.isfinite(counted).all() else counted[np.abs(counted).argmax()]
        todo = "mend or scale the rewards; nothing was learnt from them"
        raise DataError("a reward has exploded", found=np.ravel(bad)[0], allowed=f"numbers within ±{limit:g}", todo=todo)
