"""
Worlds that throw an agent about, for tests of safety: starts anywhere, pushes at any time, noise on the sensors.

Each episode starts in a state drawn uniformly between `low` and `high`; before each control step each environment is pushed with
probability `chance`, by numbers drawn uniformly within ±`push`. What is true, before any noise, is in `infos["truth"]` [E, d]: safety is
judged by states, not by what the agent saw.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from gymnasium.vector import AutoresetMode, VectorWrapper
from jaxtyping import Bool, Float

from spikeloom.agent.worlds.batch import Batch, Stepped
from spikeloom.agent.worlds.table import family

FUZZ_STREAM = 11
"""Sets the generator of starts and pushes apart from those of the environments, which the same seeds begin."""


@final
@dataclass(frozen=True)
class Range:
    """Where episodes start and how hard they are pushed, number by number of the state."""

    state: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    push: tuple[float, ...]


_LANDER = Range(
    ("x m", "y m", "angle rad", "velocity x m/s", "velocity y m/s", "spin rad/s"),
    low=(3.0, 8.5, -0.6, -6.0, -8.0, -1.5),
    high=(17.0, 13.3, 0.6, 6.0, 3.0, 1.5),
    push=(0.0, 0.0, 0.0, 2.0, 2.0, 0.5),
)
_CAR = Range(("x", "v per step"), low=(-1.2, -0.07), high=(0.4, 0.07), push=(0.0, 0.02))
RANGES: Mapping[str, Range] = {
    "CartPole": Range(
        ("x m", "ẋ m/s", "θ rad", "θ̇ rad/s"), low=(-2.0, -1.0, -0.15, -1.0), high=(2.0, 1.0, 0.15, 1.0), push=(0.0, 0.5, 0.0, 0.5)
    ),
    "Acrobot": Range(
        ("θ1 rad", "θ2 rad", "θ̇1 rad/s", "θ̇2 rad/s"),
        low=(-math.pi / 3, -math.pi, -math.pi, -2 * math.pi),
        high=(math.pi / 3, math.pi, math.pi, 2 * math.pi),
        push=(0.0, 0.0, 1.0, 2.0),
    ),
    "MountainCar": _CAR,
    "MountainCarContinuous": _CAR,
    "Pendulum": Range(("θ rad", "θ̇ rad/s"), low=(-math.pi, -8.0), high=(math.pi, 8.0), push=(0.0, 2.0)),
    "LunarLander": _LANDER,
    "LunarLanderContinuous": _LANDER,
}
"""By family. An acrobot's first link starts within 60° of hanging: most of its starts are below the goal. Landers start above the
highest ground there is."""


@final
class Fuzzed(VectorWrapper[Any, Any, Any, Any, Any]):
    """A batch whose episodes start anywhere and whose states are pushed."""

    def __init__(self, batch: Batch, env_id: str, seed: int, chance: float) -> None:
        super().__init__(batch)
        self.batch, self.range, self.chance = batch, RANGES[family(env_id)], chance
        self.random = np.random.default_rng([FUZZ_STREAM, seed])

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Episodes start anywhere, where `options` says or everywhere; a seed begins the draws anew."""
        if seed is not None:
            said = [seed] if isinstance(seed, int) else [each for each in seed if each is not None]
            self.random = np.random.default_rng([FUZZ_STREAM, *said])
        _, infos = self.batch.reset(seed=seed, options=options)
        everywhere = np.ones(self.num_envs, dtype=np.bool_)
        return self._scattered((options or {}).get("reset_mask", everywhere), infos)

    def step(self, actions: Any) -> Stepped:
        """Pushes some, steps all, and scatters the episodes that begin."""
        waiting = self.batch.done
        for index in np.flatnonzero(self.random.random(self.num_envs) < self.chance):
            self.batch.push(int(index), self.random.uniform(-1.0, 1.0, len(self.range.push)) * self.range.push)
        _, rewards, ended, cut, infos = self.batch.step(actions)
        mode = self.batch.autoreset_mode
        begun = {AutoresetMode.NEXT_STEP: waiting, AutoresetMode.SAME_STEP: ended | cut}.get(mode, np.zeros_like(ended))
        observations, infos = self._scattered(begun, infos)
        return observations, rewards, ended, cut, infos

    def _scattered(self, begun: Bool[np.ndarray, " E"], infos: dict[str, Any]) -> tuple[Float[np.ndarray, "E d"], dict[str, Any]]:
        for index in np.flatnonzero(begun):
            self.batch.place(int(index), self.random.uniform(self.range.low, self.range.high))
        seen = self.batch.observations.copy()
        return seen, {**infos, "truth": seen.copy()}
