"""
Environments whose physics are equations: one numpy step for the whole vector.

A vector of 64 makes some ten times as many steps a second as gymnasium's SyncVectorEnv does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from jaxtyping import Bool, Float

from spikeloom.agent.worlds import acrobot, cartpole, mountain_car, pendulum
from spikeloom.agent.worlds.batch import Batch
from spikeloom.agent.worlds.table import PHYSICS, family


@final
@dataclass(frozen=True)
class Physics:
    """The pure functions of one family: first state, constants under a shift, step, observation."""

    start: Callable[[np.random.Generator], np.ndarray]
    constants: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
    step: Callable[[np.ndarray, np.ndarray, Mapping[str, np.ndarray]], tuple[np.ndarray, np.ndarray, np.ndarray]]
    observe: Callable[[np.ndarray], np.ndarray]


EQUATIONS: Mapping[str, Physics] = {
    "CartPole": Physics(cartpole.start, cartpole.constants, cartpole.step, cartpole.observe),
    "Acrobot": Physics(acrobot.start, acrobot.constants, acrobot.step, acrobot.observe),
    "Pendulum": Physics(pendulum.start, pendulum.constants, pendulum.step, pendulum.observe),
    "MountainCar": Physics(mountain_car.start, mountain_car.constants, mountain_car.step, mountain_car.observe),
    "MountainCarContinuous": Physics(
        mountain_car.start, mountain_car.continuous_constants, mountain_car.continuous_step, mountain_car.observe
    ),
}
"""Which families are stepped by equations."""


@final
class Equations(Batch):
    """E environments of one family, their states side by side in `state` [k, E]."""

    def __init__(self, env_id: str, count: int, autoreset: AutoresetMode) -> None:
        self.physics = EQUATIONS[family(env_id)]
        self.screen: Any = gymnasium.make(env_id, render_mode="rgb_array").unwrapped
        super().__init__(gymnasium.spec(env_id), (self.screen.observation_space, self.screen.action_space), count, autoreset)
        self.state = np.stack([self.physics.start(np.random.default_rng(0))] * count, axis=1)
        self.constants: dict[str, np.ndarray] = {}
        self.retune({name: np.full(count, quantity.nominal) for name, quantity in PHYSICS[family(env_id)].items()})

    def retune(self, values: Mapping[str, Float[np.ndarray, " E"]]) -> None:
        """From the next step on the physics are shifted by `values`."""
        self.constants = self.physics.constants(values)

    def place(self, index: int, numbers: Float[np.ndarray, " k"]) -> None:
        """Puts environment `index` into the state `numbers`."""
        self.state[:, index] = numbers
        self.observations[index] = self.physics.observe(self.state[:, index : index + 1])[0]

    def push(self, index: int, numbers: Float[np.ndarray, " k"]) -> None:
        """Adds `numbers` to the state of environment `index`."""
        self.state[:, index] += numbers

    def _begin(self, index: int) -> None:
        self.place(index, self.physics.start(self.generators[index]))

    def _advance(self, actions: np.ndarray, live: Bool[np.ndarray, " E"]) -> tuple[np.ndarray, np.ndarray]:
        self.state, rewards, ended = self.physics.step(self.state, actions, self.constants)
        self.observations = self.physics.observe(self.state).astype(np.float32)
        return rewards, ended

    def render(self) -> tuple[Any, ...]:
        """A picture [h, w, 3] of each environment, drawn by gymnasium's own with this one's state and lengths."""
        return tuple(self._drawn(index) for index in range(self.num_envs))

    def _drawn(self, index: int) -> Any:
        for name, values in self.constants.items():
            if hasattr(self.screen, name):
                setattr(self.screen, name, float(values[index]))
        self.screen.state, self.screen.last_u = self.state[:, index].copy(), None
        return self.screen.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the window behind the pictures."""
        self.screen.close()
