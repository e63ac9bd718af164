"""
A vector of environments that this project steps itself: what is the same for all of them.

Seeds, episode limits and the three autoreset modes are those of gymnasium 1.4's SyncVectorEnv: environment i starts from the
generator of seed + i; an episode's limit truncates even the step that ends it; infos of SAME_STEP hold final_obs and final_info.
Its subclasses are `Equations` (numpy on all environments at once) and `Landers` (Box2D, one after the other).

gymnasium is imported at the top of this file: whoever imports it has asked `agent.library` first.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float

from spikeloom.errors import ConfigError

Stepped = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


class Batch(VectorEnv[Any, Any, Any]):
    """E environments with constants of their own; what is abstract here is what a subclass says."""

    single_observation_space: Any
    single_action_space: Any

    def __init__(self, spec: Any, spaces_of_one: tuple[Any, Any], count: int, autoreset: AutoresetMode) -> None:
        self.spec, self.num_envs, self.autoreset_mode = spec, count, autoreset
        self.limit = spec.max_episode_steps
        self.single_observation_space, self.single_action_space = spaces_of_one
        self.observation_space = batch_space(self.single_observation_space, count)
        self.action_space = batch_space(self.single_action_space, count)
        self.metadata = {"autoreset_mode": autoreset, "render_modes": ["rgb_array"], "render_fps": 50}
        self.render_mode = "rgb_array"
        self.observations = np.zeros((count, *self.single_observation_space.shape), dtype=np.float32)
        self.done = np.zeros(count, dtype=np.bool_)
        self.lengths = np.zeros(count, dtype=np.int64)
        self.generators = [seeding.np_random(None)[0] for _ in range(count)]

    @abstractmethod
    def retune(self, values: Mapping[str, Float[np.ndarray, " E"]]) -> None:
        """From the next step on the physics are shifted by `values` (table.PHYSICS), one for each environment."""

    @abstractmethod
    def _begin(self, index: int) -> None:
        """Starts an episode of environment `index` from its generator and writes its first observation."""

    @abstractmethod
    def _advance(self, actions: np.ndarray, live: Bool[np.ndarray, " E"]) -> tuple[np.ndarray, np.ndarray]:
        """Steps at least the `live` environments, writes their observations, and gives rewards and which ended."""

    @abstractmethod
    def place(self, index: int, numbers: Float[np.ndarray, " k"]) -> None:
        """Puts environment `index` into a state (fuzz.RANGES says which numbers) and writes its observation; nothing is rewarded."""

    @abstractmethod
    def push(self, index: int, numbers: Float[np.ndarray, " k"]) -> None:
        """Adds to the state of environment `index`; the next step sees it."""

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode everywhere, or where options["reset_mask"] says; new generators where there is a seed."""
        mask, seeds = self._which(options), [seed] * self.num_envs if seed is None else seed
        seeds = [seeds + i for i in range(self.num_envs)] if isinstance(seeds, int) else list(seeds)
        if len(seeds) != self.num_envs:
            raise ConfigError("one seed, or one for each environment", found=f"{len(seeds)} for {self.num_envs} environments")
        for index in np.flatnonzero(mask):
            if seeds[index] is not None:
                self.generators[index] = seeding.np_random(seeds[index])[0]
        self._start(mask)
        return self.observations.copy(), {}

    def step(self, actions: Any) -> Stepped:
        """One control step everywhere, by actions of the space (`Shifted` has checked them)."""
        if self.autoreset_mode is AutoresetMode.DISABLED and self.done.any():
            todo = 'reset(options={"reset_mask": ended}) before the next step, or another autoreset mode'
            raise ConfigError("episodes that ended go on only after a reset", found=np.flatnonzero(self.done).tolist(), todo=todo)
        fresh = self.done if self.autoreset_mode is AutoresetMode.NEXT_STEP else np.zeros(self.num_envs, dtype=np.bool_)
        rewards, ended = self._advance(actions, ~fresh)
        self.lengths += 1
        cut = self.lengths >= self.limit if self.limit else np.zeros(self.num_envs, dtype=np.bool_)
        if fresh.any():
            self._start(fresh)
            rewards, ended, cut = np.where(fresh, 0.0, rewards), ended & ~fresh, cut & ~fresh
        self.done = ended | cut
        infos = self._renewed() if self.autoreset_mode is AutoresetMode.SAME_STEP and self.done.any() else {}
        return self.observations.copy(), rewards, ended, cut, infos

    def _renewed(self) -> dict[str, Any]:
        """SAME_STEP: keeps the last observations and starts anew."""
        done, last = self.done, np.full(self.num_envs, None, dtype=object)
        for index in np.flatnonzero(done):
            last[index] = self.observations[index].copy()
        self._start(done)
        self.done = done  # the episodes that ended are what `done` says, also after their successors began
        return {"final_obs": last, "_final_obs": done.copy(), "final_info": {}, "_final_info": done.copy()}

    def _start(self, mask: Bool[np.ndarray, " E"]) -> None:
        for index in np.flatnonzero(mask):
            self._begin(int(index))
        self.lengths[mask] = 0
        self.done = self.done & ~mask

    def _which(self, options: dict[str, Any] | None) -> Bool[np.ndarray, " E"]:
        """The environments that a reset means."""
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, dtype=np.bool_)))
        if set(options or {}) - {"reset_mask"} or mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise ConfigError("a reset takes reset_mask and nothing else", found=options, allowed=f"reset_mask: bool [{self.num_envs}]")
        return mask
