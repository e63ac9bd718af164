"""
A vector of environments that changes while it runs: physics, sensors and actuators.

    f(t) = 0 before `onset`, 1 after `onset + ramp`, a straight line between                                     (1)
    value(t) = unshifted + f(t)·(shifted − unshifted)                                                           (2)
    action a(t) → a(max(t − delay, 0)) → order, sign → gain → environment → swap → drop → + noise·scale·ξ        (3)

t counts the control steps of the whole vector since its last full reset (each environment makes one of them a step); in (3) it counts
those of the episode. Switches (3: delay, order, sign, swap, drop) are on where f = 1. Where nothing is shifted nothing is touched.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from jaxtyping import Float

from spikeloom.agent.worlds.batch import Batch, Stepped
from spikeloom.agent.worlds.shifts import Interface, Plan
from spikeloom.agent.worlds.table import PHYSICS, family
from spikeloom.errors import NumericError

NOISE_STREAM = 7
"""Sets the generator of sensor noise apart from those of the environments, which the same seeds begin."""


@final
class Shifted(VectorWrapper[Any, Any, Any, Any, Any]):
    """`env` shifted by `plan` from control step `onset` on, over `ramp` steps."""

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        interface: Interface,
        plan: Plan,
        scales: Float[np.ndarray, " d"],
        *,
        seed: int = 0,
        onset: int = 0,
        ramp: int = 0,
    ) -> None:
        super().__init__(env)
        self.interface, self.plan, self.scales = interface, plan, scales
        self.onset, self.ramp, self.seed = onset, ramp, seed
        self.batch = env.unwrapped if isinstance(env.unwrapped, Batch) else None
        self.physical = () if self.batch is None else tuple(PHYSICS[family(interface.env_id)])
        self.nominal = {name: np.full(self.num_envs, q.nominal) for name, q in interface.quantities.items()}
        self.steps, self.progress = 0, -1.0
        self.values = dict(self.nominal)
        self.random = np.random.default_rng(seed)
        self.past: deque[np.ndarray] = deque(maxlen=int(plan.delay.max()) + 1)
        self.ages = np.zeros(self.num_envs, dtype=np.int64)
        self.done = np.zeros(self.num_envs, dtype=np.bool_)
        self.rows = np.arange(self.num_envs)
        self.begun = False
        self._follow()

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """A full reset starts the clock of (1) anew; one by mask does not. Without a seed the first uses the world's."""
        full = options is None or "reset_mask" not in options
        mask = np.ones(self.num_envs, dtype=np.bool_) if full else np.asarray((options or {})["reset_mask"])
        seed = self.seed if seed is None and not self.begun else seed
        self.begun = True
        if seed is not None:
            said = [seed] if isinstance(seed, int) else [each for each in seed if each is not None]
            self.random = np.random.default_rng([NOISE_STREAM, *said])
        if full:
            self.steps = 0
            self.past.clear()
            self._follow()
        observations, infos = self.env.reset(seed=seed, options=options)  # pyright: ignore[reportArgumentType]
        self.ages[mask], self.done = 0, self.done & ~mask
        return self._sensed(observations), infos

    def step(self, actions: Any) -> Stepped:
        """One control step under the shifts of this moment. Raises NumericError for actions outside the space."""
        asked = within(self.single_action_space, self.num_envs, actions)
        self._follow()
        self.steps += 1
        if self.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP:
            self.ages[self.done] = -1  # this step starts their next episode; its action is not one
        observations, rewards, ended, cut, infos = self.env.step(self._given(asked))
        self.done = ended | cut
        self.ages += 1
        if self.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP:
            self.ages[self.done] = 0
        if "final_obs" in infos:
            infos = {**infos, "final_obs": self._finals(infos["final_obs"])}
        return self._sensed(observations), rewards, ended, cut, infos

    def shift_now(self) -> dict[str, np.ndarray]:
        """The shifts in force by name, a value for each environment: numbers, or for drop, swap and order their text ("" where off)."""
        named = sorted({name for shift in self.plan.written for name in shift})
        return {name: self._now(name) for name in named}

    @property
    def switched(self) -> bool:
        """Whether the switches are on."""
        return self.progress >= 1.0

    def _now(self, name: str) -> np.ndarray:
        if name in self.values:
            return self.values[name].copy()
        blank: float | str = "" if name in {"drop", "swap", "order"} else (0.0 if name == "delay" else 1.0)
        return np.array([shift.get(name, blank) if self.switched else blank for shift in self.plan.written])

    def _follow(self) -> None:
        """(1) and (2) for the step to come."""
        since = self.steps - self.onset
        progress = float(since >= 0) if self.ramp == 0 else min(max((since + 1) / self.ramp, 0.0), 1.0)
        if progress == self.progress:
            return
        self.progress = progress
        for name, target in self.plan.values.items():
            self.values[name] = target if progress == 1.0 else self.nominal[name] + progress * (target - self.nominal[name])
        if self.batch is not None:
            self.batch.retune({name: self.values[name] for name in self.physical})

    def _given(self, actions: np.ndarray) -> np.ndarray:
        """What the environment is given for the actions asked for: the left half of (3)."""
        if self.plan.delay.any():
            actions = self._late(actions)
        if self.interface.continuous:
            return self._driven(actions)
        space: Any = self.single_action_space
        return self.plan.order[self.rows, actions - space.start] + space.start if self.switched else actions

    def _late(self, actions: np.ndarray) -> np.ndarray:
        self.past.append(actions.copy())
        if not self.switched:
            return actions
        back = np.minimum(self.plan.delay, np.maximum(self.ages, 0))
        held = np.stack(self.past)
        return held[np.maximum(len(held) - 1 - back, 0), self.rows]

    def _driven(self, actions: np.ndarray) -> np.ndarray:
        """Signs and gain of continuous actions. A gain that is no constant of the physics stays within the space."""
        given = actions * self.plan.signs.astype(actions.dtype) if self.switched else actions
        gain = self.values["gain"]
        if "gain" in self.physical or (gain == 1.0).all():
            return given
        space: Any = self.single_action_space
        driven = np.clip(given, space.low, space.high) * gain.reshape(-1, *([1] * (given.ndim - 1)))
        return np.clip(driven, space.low, space.high).astype(actions.dtype)

    def _sensed(self, observations: np.ndarray) -> np.ndarray:
        """What is read of the observations: the right half of (3)."""
        read = observations.astype(np.float32, copy=False)
        if self.switched:
            read = np.take_along_axis(read, self.plan.columns, axis=1) * self.plan.kept
        noise = self.values["noise"]
        if noise.any():
            drawn = self.random.standard_normal(read.shape) * (noise[:, None] * self.scales)
            read = read + (drawn * self.plan.kept if self.switched else drawn)
        return read.astype(np.float32, copy=False)

    def _finals(self, finals: np.ndarray) -> np.ndarray:
        """The last observations of ended episodes, read likewise."""
        ended = np.array([value is not None for value in finals])
        full = np.zeros((self.num_envs, self.interface.sensors), dtype=np.float32)
        full[ended] = np.stack(list(finals[ended]))
        read, out = self._sensed(full), np.full(self.num_envs, None, dtype=object)
        for index in np.flatnonzero(ended):
            out[index] = read[index]
        return out


def within(space: Any, count: int, actions: Any) -> np.ndarray:
    """The actions, where they are one of the space for each environment; continuous ones may lie beyond its bounds. Else NumericError."""
    asked, shape, discrete = np.asarray(actions), (count, *space.shape), isinstance(space, spaces.Discrete)
    if asked.shape != shape or (discrete and not np.issubdtype(asked.dtype, np.integer)):
        kind = "integers" if discrete else "floats"
        raise NumericError("actions do not fit the environments", found=f"{asked.dtype} {asked.shape}", allowed=f"{kind} {shape}")
    legal = asked.min() >= space.start and asked.max() < space.start + space.n if discrete else np.isfinite(asked).all()
    if not legal:
        raise NumericError("actions outside the environment's", found=np.array2string(asked, threshold=8), allowed=space)
    return asked


def interface_of(env_id: str, env: VectorEnv[Any, Any, Any], *, physical: bool) -> Interface:
    """The sensors and actuators of a vector of environments with flat observations."""
    action = env.single_action_space
    continuous = not isinstance(action, spaces.Discrete)
    size = int(np.prod(action.shape or (1,))) if continuous else int(action.n)
    return Interface(env_id, int(np.prod(env.single_observation_space.shape or ())), size, continuous, physical)
