"""
Acrobot: gymnasium 1.4's equations (the book's) for a whole vector, each environment with constants of its own.

    d1 = m1 c1² + m2 (l1² + c2² + 2 l1 c2 cos θ2) + 2I,    d2 = m2 (c2² + l1 c2 cos θ2) + I                      (1)
    φ2 = m2 c2 g cos(θ1 + θ2 − π/2)                                                                             (2)
    φ1 = −m2 l1 c2 (θ̇2² + 2 θ̇2 θ̇1) sin θ2 + (m1 c1 + m2 l1) g cos(θ1 − π/2) + φ2 + friction·θ̇1                   (3)
    θ̈2 = (τ − friction·θ̇2 + d2/d1 φ1 − m2 l1 c2 θ̇1² sin θ2 − φ2)/(m2 c2² + I − d2²/d1),  θ̈1 = −(d2 θ̈2 + φ1)/d1   (4)

One Runge–Kutta step of order 4 and 0.2 s. In gymnasium's order of operations (its squares by `pow`), so that the unshifted world is
its world bit for bit. What counts as high enough stays gymnasium's angle, whatever the lengths.

Source: Sutton 1996 (NeurIPS 8); Sutton and Barto, Reinforcement Learning, 2018; gymnasium, envs/classic_control/acrobot.py.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import pi

SPEEDS_MOST = np.array([[4 * pi], [9 * pi]])
STEP_S = 0.2


def start(rng: np.random.Generator) -> Float[np.ndarray, " 4"]:
    """A state [θ1, θ2, θ̇1, θ̇2] hanging almost at rest; rounded to float32, as gymnasium's is."""
    return rng.uniform(low=-0.1, high=0.1, size=(4,)).astype(np.float32).astype(np.float64)


def constants(shift: Mapping[str, Float[np.ndarray, " E"]]) -> dict[str, Float[np.ndarray, " E"]]:
    """The constants of (1)–(4) under a shift (table.PHYSICS), and products of them."""
    mass1, mass2 = shift["mass"] * shift["mass1"], shift["mass"] * shift["mass2"]
    length1, length2 = shift["length"] * shift["length1"], shift["length"] * shift["length2"]
    centre1, centre2 = 0.5 * length1, 0.5 * length2
    return {
        "LINK_LENGTH_1": length1,
        "LINK_LENGTH_2": length2,
        "LINK_COM_POS_1": centre1,
        "LINK_COM_POS_2": centre2,
        "LINK_MASS_1": mass1,
        "LINK_MASS_2": mass2,
        "LINK_MOI": 1.0 * shift["inertia"],
        "gravity": 9.8 * shift["gravity"],
        "torque": 1.0 * shift["gain"],
        "friction": shift["friction"],
        "first": mass1 * centre1**2,
        "apart": length1**2 + centre2**2,
        "coupled": 2 * length1 * centre2,
        "pull": mass2 * length1 * centre2,
        "hang": mass1 * centre1 + mass2 * length1,
    }


def accelerations(
    state: Float[np.ndarray, "4 E"], torque: Float[np.ndarray, " E"], c: Mapping[str, Float[np.ndarray, " E"]]
) -> Float[np.ndarray, "4 E"]:
    """The state's derivative: (1)–(4)."""
    theta1, theta2, speed1, speed2 = state
    mass2, centre2, inertia, gravity, friction = (c[n] for n in ("LINK_MASS_2", "LINK_COM_POS_2", "LINK_MOI", "gravity", "friction"))
    cosine, sine = np.cos(theta2), np.sin(theta2)
    d1 = c["first"] + mass2 * (c["apart"] + c["coupled"] * cosine) + inertia + inertia  # (1)
    d2 = mass2 * (centre2**2 + c["LINK_LENGTH_1"] * centre2 * cosine) + inertia
    phi2 = mass2 * centre2 * gravity * np.cos(theta1 + theta2 - pi / 2.0)  # (2)
    phi1 = (
        -c["pull"] * np.float_power(speed2, 2) * sine
        - 2 * c["pull"] * speed2 * speed1 * sine
        + c["hang"] * gravity * np.cos(theta1 - pi / 2)
        + phi2
        + friction * speed1
    )  # (3)
    drive = torque - friction * speed2
    rest = mass2 * centre2**2 + inertia - np.float_power(d2, 2) / d1
    out = np.empty_like(state)
    out[:2] = state[2:]
    out[3] = (drive + d2 / d1 * phi1 - c["pull"] * np.float_power(speed1, 2) * sine - phi2) / rest  # (4)
    out[2] = -(d2 * out[3] + phi1) / d1
    return out


def step(
    state: Float[np.ndarray, "4 E"], actions: Int[np.ndarray, " E"], c: Mapping[str, Float[np.ndarray, " E"]]
) -> tuple[Float[np.ndarray, "4 E"], Float[np.ndarray, " E"], Bool[np.ndarray, " E"]]:
    """The next states, rewards (−1, 0 at the goal) and which episodes ended."""
    torque = c["torque"] * (actions - 1)
    half = STEP_S / 2.0
    k1 = accelerations(state, torque, c)
    k2 = accelerations(state + half * k1, torque, c)
    k3 = accelerations(state + half * k2, torque, c)
    k4 = accelerations(state + STEP_S * k3, torque, c)
    after = state + STEP_S / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
    after[:2] = wrapped(after[:2])
    after[2:] = np.clip(after[2:], -SPEEDS_MOST, SPEEDS_MOST)
    high = -np.cos(after[0]) - np.cos(after[1] + after[0]) > 1.0
    return after, np.where(high, 0.0, -1.0), high


def wrapped(angles: Float[np.ndarray, "2 E"]) -> Float[np.ndarray, "2 E"]:
    """Angles within ±π, by whole turns taken one at a time, as gymnasium takes them."""
    while (over := angles > pi).any():
        angles = np.where(over, angles - 2 * pi, angles)
    while (under := angles < -pi).any():
        angles = np.where(under, angles + 2 * pi, angles)
    return angles


def observe(state: Float[np.ndarray, "4 E"]) -> Float[np.ndarray, "E 6"]:
    """[cos θ1, sin θ1, cos θ2, sin θ2, θ̇1, θ̇2]."""
    cosines, sines = np.cos(state[:2]), np.sin(state[:2])
    return np.stack((cosines[0], sines[0], cosines[1], sines[1], state[2], state[3]), axis=1)
