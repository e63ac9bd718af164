"""
MountainCar and MountainCarContinuous: gymnasium 1.4's equations for a whole vector, each environment with constants of its own.

    v ← (v + engine·a − g cos 3x)·(1 − friction), within ±0.07;    x ← x + v, within [−1.2, 0.6]                 (1)

engine is gain/mass times 0.001 (a −1, 0, 1) or 0.0015 (a within ±1). At the left wall the car stops. In gymnasium's order of
operations. Its continuous car keeps float32 states (all but an episode's first): this one rounds where that one does.

Source: Moore 1990 (Cambridge, UCAM-CL-TR-209); gymnasium, envs/classic_control/mountain_car.py and continuous_mountain_car.py.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

LEFT, RIGHT = -1.2, 0.6
SPEED_MOST = 0.07


def start(rng: np.random.Generator) -> Float[np.ndarray, " 2"]:
    """A state [x, v] at rest in the valley."""
    return np.array([rng.uniform(low=-0.6, high=-0.4), 0.0])


def constants(shift: Mapping[str, Float[np.ndarray, " E"]], force: float = 0.001) -> dict[str, Float[np.ndarray, " E"]]:
    """The constants of (1) under a shift (table.PHYSICS)."""
    engine = force * (shift["gain"] / shift["mass"])
    return {"force": engine, "power": engine, "gravity": 0.0025 * shift["gravity"], "keep": 1.0 - shift["friction"]}


def continuous_constants(shift: Mapping[str, Float[np.ndarray, " E"]]) -> dict[str, Float[np.ndarray, " E"]]:
    """The same for the continuous car."""
    return constants(shift, 0.0015)


def step(
    state: Float[np.ndarray, "2 E"], actions: Int[np.ndarray, " E"], c: Mapping[str, Float[np.ndarray, " E"]]
) -> tuple[Float[np.ndarray, "2 E"], Float[np.ndarray, " E"], Bool[np.ndarray, " E"]]:
    """The next states, rewards (−1 a step) and which episodes reached 0.5."""
    after = moved(state, (actions - 1) * c["force"] + np.cos(3 * state[0]) * -c["gravity"], c["keep"])
    return after, np.full(len(actions), -1.0), (after[0] >= 0.5) & (after[1] >= 0)


def moved(state: Float[np.ndarray, "2 E"], change: Float[np.ndarray, " E"], keep: Float[np.ndarray, " E"]) -> Float[np.ndarray, "2 E"]:
    """(1) after the engine and the hill have changed the velocity by `change`."""
    speed = np.clip((state[1] + change) * keep, -SPEED_MOST, SPEED_MOST)
    place = np.clip(state[0] + speed, LEFT, RIGHT)
    return np.stack((place, np.where((place == LEFT) & (speed < 0), 0.0, speed)))


def continuous_step(
    state: Float[np.ndarray, "2 E"], actions: Float[np.ndarray, "E 1"], c: Mapping[str, Float[np.ndarray, " E"]]
) -> tuple[Float[np.ndarray, "2 E"], Float[np.ndarray, " E"], Bool[np.ndarray, " E"]]:
    """The next states, rewards (100 at 0.45, less 0.1 a² a step) and which episodes ended. States are float32 numbers."""
    asked = actions[:, 0].astype(np.float32)
    hill = c["gravity"] * np.cos(_tripled(state[0]))
    inside = (asked * c["power"].astype(np.float32) - hill.astype(np.float32)).astype(np.float64)
    change = np.where(np.abs(asked) < 1, inside, np.clip(asked, -1, 1) * c["power"] - hill)
    single = moved(state.astype(np.float32), change.astype(np.float32), c["keep"].astype(np.float32))
    after = np.where(_first(state), moved(state, change, c["keep"]), single)
    ended = (after[0] >= np.where(_first(state), 0.45, np.float32(0.45))) & (after[1] >= 0)
    reward = np.where(ended, 100.0, 0.0) - np.float_power(asked, 2) * 0.1
    return after.astype(np.float32).astype(np.float64), reward, ended


def _first(state: Float[np.ndarray, "2 E"]) -> Bool[np.ndarray, " E"]:
    """Which states are an episode's first: those that are no float32 numbers."""
    return state[0] != state[0].astype(np.float32)


def _tripled(place: Float[np.ndarray, " E"]) -> Float[np.ndarray, " E"]:
    """3x, rounded to float32 where x is a float32 number."""
    return np.where(place == place.astype(np.float32), (3 * place.astype(np.float32)).astype(np.float64), 3 * place)


def observe(state: Float[np.ndarray, "2 E"]) -> Float[np.ndarray, "E 2"]:
    """The state itself."""
    return state.T
