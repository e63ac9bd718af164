"""
Pendulum: gymnasium 1.4's equations for a whole vector, each environment with constants of its own.

    θ̇ ← θ̇ + (3g/(2l) sin θ + 3/(m l²)·(gain·u − friction·θ̇))·Δt, within ±8;    θ ← θ + θ̇ Δt;    Δt = 0.05 s     (1)
    reward = −(θ² + 0.1 θ̇² + 0.001 u²),  θ within ±π, before the step                                           (2)

u is the torque asked for, within ±2 N·m: a weak motor is not paid for being weak. In gymnasium's order of operations; only its
float32 u² may round otherwise, by 1e-10 of a reward.

Source: gymnasium, envs/classic_control/pendulum.py.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

SPEED_MOST = 8.0
TORQUE_MOST = 2.0
STEP_S = 0.05


def start(rng: np.random.Generator) -> Float[np.ndarray, " 2"]:
    """A state [θ, θ̇] anywhere."""
    high = np.array([np.pi, 1.0])
    return rng.uniform(low=-high, high=high)


def constants(shift: Mapping[str, Float[np.ndarray, " E"]]) -> dict[str, Float[np.ndarray, " E"]]:
    """The constants of (1) under a shift (table.PHYSICS)."""
    return {
        "g": 10.0 * shift["gravity"],
        "m": 1.0 * shift["mass"],
        "l": 1.0 * shift["length"],
        "gain": shift["gain"],
        "friction": shift["friction"],
    }


def step(
    state: Float[np.ndarray, "2 E"], actions: Float[np.ndarray, "E 1"], c: Mapping[str, Float[np.ndarray, " E"]]
) -> tuple[Float[np.ndarray, "2 E"], Float[np.ndarray, " E"], Bool[np.ndarray, " E"]]:
    """The next states and rewards; no episode ends but by its limit."""
    theta, speed = state
    asked = np.clip(actions[:, 0].astype(np.float32), -TORQUE_MOST, TORQUE_MOST)  # float32, and so are its products
    angle = (theta + np.pi) % (2 * np.pi) - np.pi
    cost = np.float_power(angle, 2) + 0.1 * np.float_power(speed, 2) + 0.001 * asked**2  # (2)
    per_torque = 3.0 / (c["m"] * c["l"] ** 2)
    driven = (per_torque * c["gain"]).astype(np.float32) * asked - per_torque * c["friction"] * speed
    faster = speed + (3 * c["g"] / (2 * c["l"]) * np.sin(theta) + driven) * STEP_S  # (1)
    faster = np.clip(faster, -SPEED_MOST, SPEED_MOST)
    return np.stack((theta + faster * STEP_S, faster)), -cost, np.zeros(len(theta), dtype=np.bool_)


def observe(state: Float[np.ndarray, "2 E"]) -> Float[np.ndarray, "E 3"]:
    """[cos θ, sin θ, θ̇]."""
    return np.stack((np.cos(state[0]), np.sin(state[0]), state[1]), axis=1)
