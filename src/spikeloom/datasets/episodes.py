"""
Episodes: a vector environment driven by whatever acts, moment by moment.

Each environment plays a fixed share of the episodes, so that short ones are not counted more often than long ones. With as many
environments as episodes, episode i begins with reset(seed = first + i); an environment's further episodes go on from its generator.

All autoreset modes of Gymnasium 1.x are honoured: environments that reset at the next step (their moment of resetting is no step of an
episode), in the same step, or when they are told to.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from spikeloom.errors import ConfigError, DataError

Act = Callable[[ndarray, ndarray], ndarray]
"""(observations [E, ...], fresh [E]: which of them begin an episode) → actions [E] or [E, k]."""


class Moment(NamedTuple):
    """One step of all environments: what was observed, what was done there, and what came of it. Rows that are not `playing` have
    played their share, or are being reset; what stands there means nothing."""

    observations: Float[ndarray, "e ..."]
    fresh: Bool[ndarray, " e"]
    actions: ndarray
    rewards: Float[ndarray, " e"]
    ended: Bool[ndarray, " e"]
    playing: Bool[ndarray, " e"]


def shares(episodes: int, environments: int) -> ndarray:
    """How many episodes each environment plays, int64 [E]: as evenly as can be, the first ones more. ConfigError for fewer episodes than
    environments."""
    if episodes < environments:
        raise ConfigError("every environment plays at least one episode", found=f"{episodes} episodes", allowed=f"{environments} or more")
    return np.array([episodes // environments + (place < episodes % environments) for place in range(environments)])


def played(env: Any, act: Act, episodes: int, seed: int) -> Iterator[Moment]:
    """Every moment of so many episodes. DataError where observations or rewards are no numbers or change their shape."""
    left, mode = shares(episodes, env.num_envs), autoreset_of(env)
    observations, _ = env.reset(seed=[seed + place for place in range(env.num_envs)])
    fresh, waiting = np.ones(env.num_envs, bool), np.zeros(env.num_envs, bool)
    shape = np.shape(observations)
    while left.any():
        checked(observations, shape)
        actions = act(observations, fresh)
        seen = np.array(observations)
        observations, rewards, terminated, truncated, _ = env.step(actions)
        ended = np.asarray(terminated | truncated) & ~waiting
        playing = (left > 0) & ~waiting
        if not np.isfinite(rewards[playing]).all():
            raise DataError("a reward is no number", found=rewards.tolist(), todo="mend the environment, or what wraps it")
        yield Moment(seen, fresh, actions, np.asarray(rewards, np.float64), ended & playing, playing)
        left = left - (ended & playing)
        fresh, waiting = waiting, ended
        if mode != "NextStep":
            fresh, waiting = ended, np.zeros(env.num_envs, bool)
        if mode == "Disabled" and ended.any():
            observations, _ = env.reset(options={"reset_mask": ended})


def gathered(env: Any, act: Act, episodes: int, seed: int, limit: int | None = None) -> Float[ndarray, "n ..."]:
    """What is observed in so many episodes, or the first `limit` of it, in the order of time."""
    parts, count = list[ndarray](), 0
    for moment in played(env, act, episodes, seed):
        parts.append(moment.observations[moment.playing])
        count += len(parts[-1])
        if limit is not None and count >= limit:
            break
    return np.concatenate(parts)[:limit].astype(np.float32)


def wandering(act: Act, env: Any, share: float, seed: int) -> Act:
    """What acts, with a share of its actions drawn at random from the environment's: so that more is seen than one road."""
    generator, space = np.random.default_rng(seed), env.action_space
    space.seed(seed)

    def chosen(observations: ndarray, fresh: ndarray) -> ndarray:
        actions, others = act(observations, fresh), space.sample()
        stray = generator.random(len(actions)) < share
        return np.where(stray.reshape(-1, *[1] * (actions.ndim - 1)), others, actions)

    return chosen


def at_random(env: Any, seed: int) -> Act:
    """Actions drawn from the environment's, every one as likely."""
    env.action_space.seed(seed)
    return lambda observations, fresh: env.action_space.sample()


def checked(observations: ndarray, shape: tuple[int, ...]) -> None:
    """Nothing where observations are numbers in this shape; else DataError."""
    if np.shape(observations) != shape:
        raise DataError("the environment gives another shape than before", found=np.shape(observations), allowed=shape)
    finite = np.isfinite(np.asarray(observations, np.float64).reshape(shape[0], -1)).all(1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        found = f"environment {row}: {np.asarray(observations)[row].tolist()}"
        raise DataError("observations hold what is no number", found=found, todo="mend the environment, or what wraps it")


def autoreset_of(env: Any) -> str:
    """NextStep, SameStep or Disabled; of an environment that does not say, NextStep, as Gymnasium takes it."""
    mode = env.metadata.get("autoreset_mode", "NextStep")
    return str(getattr(mode, "value", mode))
