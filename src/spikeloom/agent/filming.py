"""
A short film of what acts in a world: the pictures of one episode.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from spikeloom.agent.episodes import JUDGED_SEED
from spikeloom.agent.worlds import world
from spikeloom.datasets.episodes import Act, played


def filmed(
    act: Act, env_id: str, shifts: Mapping[str, float | str], *, seed: int = JUDGED_SEED, frames: int = 90, every: int = 2
) -> tuple[list[ndarray], float]:
    """Pictures [h, w, 3] of every `every`-th control step of one episode, at most so many, and the return of the whole episode."""
    env: Any = world(env_id, 1, shifts, pictures=True)
    pictures, total = list[ndarray](), 0.0

    def seen(observations: ndarray, fresh: ndarray) -> ndarray:
        nonlocal steps
        if steps % every == 0 and len(pictures) < frames:
            pictures.append(np.asarray(env.render()[0], np.uint8))
        steps += 1
        return act(observations, fresh)

    steps = 0
    for moment in played(env, seen, 1, seed):
        total += float(moment.rewards[0])
    env.close()
    return pictures, total
