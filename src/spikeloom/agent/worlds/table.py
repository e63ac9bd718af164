"""
What a shift means, environment by environment.

One convention. A number that scales something the environment has (gravity, mass, length, the strength of an actuator) is a
multiplier of gymnasium's own value, unshifted at 1. A number for something it lacks (friction at a joint that has none, wind) is
absolute, in the unit that is said here, unshifted at 0. Sensors and actuators can be shifted in any environment:

    noise   standard deviation of normal noise on every sensor, in units of that sensor's own scale: its standard deviation
            under uniformly random actions in the unshifted environment (`scales`)
    drop    i or i:j:…, sensors that read 0
    swap    i:j, two sensors that read as each other
    delay   an action takes effect so many control steps after it was chosen; until then an episode's first action does
    sign    −1 mirrors the actuator: continuous actions are negated, of discrete ones the order is reversed, or what `MIRRORS` says
    order   i:j:…, action 0 does what i did, action 1 what j did
    gain    strength of the actuator: physical where the environment has one here, otherwise a factor on a continuous action

The equations meant are gymnasium 1.4's; the file of each environment repeats them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Quantity:
    """A number of an environment's physics: what it does, its unit, its unshifted value, and the least it may be."""

    what: str
    unit: str = "×"
    nominal: float = 1.0
    least: float = 0.0
    positive: bool = False
    """Whether it must be above its least value, not only at it."""


SWITCHES: Mapping[str, str] = {
    "drop": "i or i:j:…: sensors that read 0",
    "swap": "i:j: two sensors exchanged",
    "delay": "control steps from an action to its effect",
    "sign": "−1: the actuator mirrored",
    "order": "i:j:…: a permutation of the discrete actions",
    "turn": "−1: turning left and right exchanged (MiniGrid)",
}
"""Shifts without values in between: they come at once, never by a ramp."""

NOISE = Quantity("noise on every sensor", "scales of that sensor", 0.0)
GAIN = Quantity("strength of the actuator")

_GRAVITY = Quantity("gravity")
_CAR: Mapping[str, Quantity] = {
    "gravity": _GRAVITY,
    "gain": Quantity("force of the engine"),
    "mass": Quantity("mass of the car: divides what the engine gives", positive=True),
    "friction": Quantity("velocity lost in each step", "share of the velocity", 0.0),
}
_LANDER: Mapping[str, Quantity] = {
    "gravity": _GRAVITY,
    "mass": Quantity("mass of the lander and its legs", positive=True),
    "gain": Quantity("power of all engines"),
    "main": Quantity("power of the main engine"),
    "side": Quantity("power of the side engines"),
    "friction": Quantity("friction of ground, hull and legs, from the next contact on"),
    "wind": Quantity("largest wind, gymnasium's wind_power (15 there); turbulence a tenth of it, as there", "N", 0.0),
}
PHYSICS: Mapping[str, Mapping[str, Quantity]] = {
    "CartPole": {
        "gravity": _GRAVITY,
        "mass": Quantity("mass of the pole", positive=True),
        "cart": Quantity("mass of the cart", positive=True),
        "length": Quantity("half-length of the pole", positive=True),
        "gain": Quantity("force on the cart"),
        "friction": Quantity("viscous friction of the cart", "N·s/m", 0.0),
        "wind": Quantity("steady force on the cart, to the right", "N", 0.0, float("-inf")),
    },
    "Acrobot": {
        "gravity": _GRAVITY,
        "mass": Quantity("mass of both links", positive=True),
        "mass1": Quantity("mass of the first link", positive=True),
        "mass2": Quantity("mass of the second link", positive=True),
        "length": Quantity("length of both links, their centres of mass with them", positive=True),
        "length1": Quantity("length of the first link, its centre of mass with it", positive=True),
        "length2": Quantity("length of the second link, its centre of mass with it", positive=True),
        "inertia": Quantity("inertia of both links about their centres", positive=True),
        "gain": Quantity("torque"),
        "friction": Quantity("viscous friction of both joints", "N·m·s", 0.0),
    },
    "MountainCar": _CAR,
    "MountainCarContinuous": _CAR,
    "Pendulum": {
        "gravity": _GRAVITY,
        "mass": Quantity("mass of the pole", positive=True),
        "length": Quantity("length of the pole", positive=True),
        "gain": Quantity("torque"),
        "friction": Quantity("viscous friction of the joint", "N·m·s", 0.0),
    },
    "LunarLander": _LANDER,
    "LunarLanderContinuous": _LANDER,
}
MIRRORS: Mapping[str, tuple[int, ...]] = {
    "LunarLander": (0, 3, 2, 1),
    "LunarLanderContinuous": (1, -1),
}
"""What sign = −1 does where reversing everything would be no mirror: an order of discrete actions, signs of continuous ones.
A lander's left and right engines change places; its main engine stays."""

SENSORS: Mapping[str, tuple[str, ...]] = {
    "CartPole": ("position", "velocity", "angle", "angular velocity"),
    "Acrobot": ("cos θ1", "sin θ1", "cos θ2", "sin θ2", "angular velocity 1", "angular velocity 2"),
    "MountainCar": ("position", "velocity"),
    "MountainCarContinuous": ("position", "velocity"),
    "Pendulum": ("cos θ", "sin θ", "angular velocity"),
    "LunarLander": ("x", "y", "velocity x", "velocity y", "angle", "angular velocity", "left leg", "right leg"),
    "LunarLanderContinuous": ("x", "y", "velocity x", "velocity y", "angle", "angular velocity", "left leg", "right leg"),
}
"""What each observation is called, in its order."""


def family(env_id: str) -> str:
    """The name under which the tables know an environment: its id without namespace and version ("CartPole-v1" → "CartPole")."""
    name, _, version = env_id.rpartition("-v")
    return name if version.isdigit() else env_id
