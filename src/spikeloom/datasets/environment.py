"""
Environments by name: Gymnasium's (arXiv 2407.17032), several of a kind side by side.
"""

from typing import Any

import numpy as np

from spikeloom.datasets.optional import require
from spikeloom.datasets.spaces import Action, Continuous, Discrete, Signal, Spaces
from spikeloom.errors import DataError

NEEDED = "acting in an environment"


def gymnasium() -> Any:
    """The module `gymnasium`. ResourceError where it is not installed."""
    return require("gymnasium", "agents", NEEDED)


def minigrid() -> Any:
    """The module `minigrid`, whose import registers its environments. ResourceError where it is not installed."""
    return require("minigrid", "agents", NEEDED)


def environments(name: str, count: int = 1, **options: Any) -> Any:
    """`count` environments of that id in one process, as a `gymnasium.vector.VectorEnv`. DataError: no such environment."""
    library = gymnasium()
    if name.startswith("MiniGrid-"):
        minigrid()
    try:
        return library.make_vec(name, num_envs=count, vectorization_mode="sync", **options)
    except library.error.Error as error:
        known = sorted(name for name, spec in library.registry.items() if spec.namespace is None)
        raise DataError(f"there is no environment {name!r}", found=str(error), allowed=", ".join(known[:12]) + ", …") from error


def spaces_within(env: Any, name: str) -> Spaces:
    """The spaces of the environments in a vector environment. DataError for such as no policy here reads or gives."""
    return signal_of(env.single_observation_space, name), action_of(env.single_action_space, name)


def signal_of(space: Any, name: str) -> Signal:
    """Observations that are an array of numbers. DataError for others."""
    boxes = gymnasium().spaces.Box
    if not isinstance(space, boxes):
        todo = "wrap the environment so that it gives one array (gymnasium.wrappers.FlattenObservation)"
        raise DataError(f"the observations of {name} are no array of numbers", found=space, allowed="a Box", todo=todo)
    low, high = (tuple(map(float, bound.reshape(-1))) for bound in (space.low, space.high))
    return Signal(tuple(space.shape), low, high)


def action_of(space: Any, name: str) -> Action:
    """One of several actions, or a row of numbers. DataError for others."""
    spaces = gymnasium().spaces
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n), int(space.start))
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        low, high = (tuple(np.asarray(bound, np.float64).tolist()) for bound in (space.low, space.high))
        return Continuous(int(space.shape[0]), low, high)
    raise DataError(f"{name} takes actions that no policy here gives", found=space, allowed="Discrete, or a Box of one axis")
