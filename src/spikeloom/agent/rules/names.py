"""
Names of what a policy sees and does: what rules are written in.

    CartPole-v1       x, x_dot, theta, theta_dot                                    push left, push right
    Acrobot-v1        cos1, sin1, cos2, sin2, omega1, omega2                        pull -1, no torque, pull +1
    MountainCar-v0    position, velocity                                            push left, coast, push right
    Pendulum-v1       cos, sin, omega                                               torque (a number)
    LunarLander       x, y, vx, vy, angle, omega, left_leg, right_leg               coast, left engine, main engine, right engine

Any other environment has x0, x1, ... and action 0, action 1, ... (or u0, u1, ... where actions are numbers). Source: the environments'
pages at gymnasium.farama.org (1.x).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from spikeloom.errors import ConfigError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@final
@dataclass(frozen=True)
class Names:
    """Of observations, identifiers; of actions any text. Where `continuous`, an action is a number for each of `actions`."""

    observations: tuple[str, ...]
    actions: tuple[str, ...]
    continuous: bool = False

    def __post_init__(self) -> None:
        for what, names in (("observation", self.observations), ("action", self.actions)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice or not names:
                raise ConfigError(f"the {what}s cannot have these names", found=twice or "none", allowed="one name each, none twice")
        wrong = [name for name in self.observations if not _NAME.fullmatch(name)]
        if wrong:
            raise ConfigError("an observation cannot have this name", found=wrong[0], allowed="letters, digits and _, such as x_dot")

    def action(self, text: object, where: str) -> int:
        """The number of a discrete action by its name, or by its number. Raises ConfigError for any other."""
        if isinstance(text, int) and not isinstance(text, bool) and 0 <= text < len(self.actions):
            return text
        if not isinstance(text, str) or text not in self.actions:
            raise ConfigError(f"{where}: there is no such action", found=text, allowed=", ".join(self.actions))
        return self.actions.index(text)


_LANDER = ("x", "y", "vx", "vy", "angle", "omega", "left_leg", "right_leg")
_KNOWN: dict[str, Names] = {
    "CartPole": Names(("x", "x_dot", "theta", "theta_dot"), ("push left", "push right")),
    "Acrobot": Names(("cos1", "sin1", "cos2", "sin2", "omega1", "omega2"), ("pull -1", "no torque", "pull +1")),
    "MountainCar": Names(("position", "velocity"), ("push left", "coast", "push right")),
    "Pendulum": Names(("cos", "sin", "omega"), ("torque",), continuous=True),
    "LunarLander": Names(_LANDER, ("coast", "left engine", "main engine", "right engine")),
    "LunarLanderContinuous": Names(_LANDER, ("main", "lateral"), continuous=True),
    "MountainCarContinuous": Names(("position", "velocity"), ("force",), continuous=True),
}


def names_of(environment: str, observations: int | None = None, actions: int | None = None, *, continuous: bool | None = None) -> Names:
    """The names for an environment's id ("CartPole-v1"); where sizes are given and the table has others, or does not know the
    environment: x0, x1, ... and action 0, ... (u0, ...).

    Raises ConfigError for an unknown environment whose sizes are not given.
    """
    stem = environment.rpartition("/")[2].rpartition("-v")[0] or environment
    stem = f"{stem}Continuous" if continuous and f"{stem}Continuous" in _KNOWN else stem
    known = _KNOWN.get(stem)
    if known is not None and continuous is not None and known.continuous != continuous:
        known = None
    if known is None and (observations is None or actions is None):
        todo = "name observations and actions in the file"
        raise ConfigError("the environment's observations have no names", found=environment, allowed=", ".join(_KNOWN), todo=todo)
    seen = known.observations if known is not None and observations in (None, len(known.observations)) else _numbered("x", observations)
    if known is not None and actions in (None, len(known.actions)):
        return Names(seen, known.actions, known.continuous)
    return Names(seen, _numbered("u" if continuous else "action ", actions), bool(continuous))


def _numbered(stem: str, count: int | None) -> tuple[str, ...]:
    return tuple(f"{stem}{place}" for place in range(count or 0))


def check_identifier(name: str, taken: Sequence[str], where: str) -> None:
    """Raises ConfigError where a name of a predicate is no identifier, or is one of those taken."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: a predicate cannot have this name", found=name, allowed="letters, digits and _, such as falling")
    if name in taken:
        raise ConfigError(f"{where}: this name is taken", found=name, allowed="a name of its own")
