"""
CartPole: gymnasium 1.4's equations for a whole vector, each environment with constants of its own.

    F = ±gain·10 + wind − friction·ẋ                                                                            (1)
    u = (F + m l θ̇² sin θ)/M                                                                                    (2)
    θ̈ = (g sin θ − u cos θ)/(l (4/3 − m cos² θ/M)),    ẍ = u − m l θ̈ cos θ/M                                    (3)

m, l: the pole's mass and half-length; M: cart and pole. Euler steps of 0.02 s. In gymnasium's order of operations, so that the
unshifted world is its world bit for bit.

Source: Barto, Sutton and Anderson 1983, doi:10.1109/TSMC.1983.6313077; gymnasium, envs/classic_control/cartpole.py.
"""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

ANGLE_MOST = 12 * 2 * math.pi / 360
POSITION_MOST = 2.4
STEP_S = 0.02


def start(rng: np.random.Generator) -> Float[np.ndarray, " 4"]:
    """A state [x, ẋ, θ, θ̇] near rest."""
    return rng.uniform(low=-0.05, high=0.05, size=(4,))


def constants(shift: Mapping[str, Float[np.ndarray, " E"]]) -> dict[str, Float[np.ndarray, " E"]]:
    """The constants of (1)–(3) under a shift (table.PHYSICS)."""
    pole_kg, cart_kg, half_m = 0.1 * shift["mass"], 1.0 * shift["cart"], 0.5 * shift["length"]
    return {
        "gravity": 9.8 * shift["gravity"],
        "masscart": cart_kg,
        "masspole": pole_kg,
        "total_mass": pole_kg + cart_kg,
        "length": half_m,
        "polemass_length": pole_kg * half_m,
        "force_mag": 10.0 * shift["gain"],
        "friction": shift["friction"],
        "wind": shift["wind"],
    }


def step(
    state: Float[np.ndarray, "4 E"], actions: Int[np.ndarray, " E"], c: Mapping[str, Float[np.ndarray, " E"]]
) -> tuple[Float[np.ndarray, "4 E"], Float[np.ndarray, " E"], Bool[np.ndarray, " E"]]:
    """The next states, rewards and which episodes ended."""
    x, x_dot, theta, theta_dot = state
    force = np.where(actions == 1, c["force_mag"], -c["force_mag"]) + c["wind"] - c["friction"] * x_dot  # (1)
    cosine, sine = np.cos(theta), np.sin(theta)
    push = (force + c["polemass_length"] * np.square(theta_dot) * sine) / c["total_mass"]  # (2)
    lever = c["length"] * (4.0 / 3.0 - c["masspole"] * np.square(cosine) / c["total_mass"])
    theta_acc = (c["gravity"] * sine - cosine * push) / lever  # (3)
    x_acc = push - c["polemass_length"] * theta_acc * cosine / c["total_mass"]
    after = np.stack((x + STEP_S * x_dot, x_dot + STEP_S * x_acc, theta + STEP_S * theta_dot, theta_dot + STEP_S * theta_acc))
    fallen = (np.abs(after[0]) > POSITION_MOST) | (np.abs(after[2]) > ANGLE_MOST)
    return after, np.ones(len(x)), fallen


def observe(state: Float[np.ndarray, "4 E"]) -> Float[np.ndarray, "E 4"]:
    """The state itself."""
    return state.T
