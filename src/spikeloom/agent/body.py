"""
The body of an agent: which sensor each of its observations comes from, what each of its actions does, and after how many control steps.

    perceived   ô_k = o_sensors[k]                                                                       (1)
    commanded   the action whose effect is the wanted one: effects[a] = â; of numbers a_effects[k] = signs[k]·â_k   (2)
    delay       what is chosen now acts `delay` control steps later                                      (3)

A body says how a network taught in one world is wired to another: sensors exchanged, actuators reversed, actions late. Behind it the
network acts and learns as it was taught.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Num
from numpy import ndarray

from spikeloom.datasets.spaces import Action, Discrete, Signal
from spikeloom.errors import ProgramError


@final
@dataclass(frozen=True)
class Body:
    """(1) to (3), of flattened observations and of actions as numbers from 0. `signs` is empty for discrete actions."""

    sensors: tuple[int, ...]
    effects: tuple[int, ...]
    signs: tuple[int, ...] = ()
    delay: int = 0

    @property
    def plain(self) -> bool:
        """Whether everything is as it was taught."""
        straight = self.sensors == tuple(range(len(self.sensors))) and self.effects == tuple(range(len(self.effects)))
        return straight and all(sign == 1 for sign in self.signs) and self.delay == 0

    def replaced(self, **fields: Any) -> "Body":
        """The body with other fields."""
        return dataclasses.replace(self, **fields)

    def perceived(self, observations: Num[ndarray, "e *d"]) -> Num[ndarray, "e *d"]:
        """(1)."""
        if self.sensors == tuple(range(len(self.sensors))):
            return observations
        flat = observations.reshape(len(observations), -1)
        return flat[:, list(self.sensors)].reshape(observations.shape)

    def observed(self, perceived: Num[ndarray, "e *d"]) -> Num[ndarray, "e *d"]:
        """`perceived` backwards."""
        return self.replaced(sensors=tuple(np.argsort(self.sensors).tolist())).perceived(perceived)

    def commanded(self, wanted: Num[ndarray, "e *k"]) -> Num[ndarray, "e *k"]:
        """(2): the actions to take so that the wanted ones come of it."""
        order = list(self.effects)
        if not self.signs:
            return np.argsort(order)[wanted]
        found = np.empty_like(wanted)
        found[:, order] = wanted * np.array(self.signs, wanted.dtype)
        return found

    def effected(self, taken: Num[ndarray, "e *k"]) -> Num[ndarray, "e *k"]:
        """What comes of actions: `commanded` backwards."""
        order = list(self.effects)
        return taken[:, order] * np.array(self.signs, taken.dtype) if self.signs else np.array(order)[taken]

    def to_json(self) -> dict[str, Any]:
        """As a program's settings hold it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()}


def whole(signal: Signal, action: Action) -> Body:
    """The body in which everything is as it was taught."""
    count = action.count if isinstance(action, Discrete) else action.size
    signs = () if isinstance(action, Discrete) else (1,) * count
    return Body(tuple(range(int(np.prod(signal.shape)))), tuple(range(count)), signs)


def body_of(told: Mapping[str, Any], signal: Signal, action: Action) -> Body:
    """The body in a program's settings. ProgramError for one that is no body between these spaces."""
    rest = whole(signal, action)
    try:
        sensors, effects, signs = (tuple(int(each) for each in told[name]) for name in ("sensors", "effects", "signs"))
        found = Body(sensors, effects, signs, int(told["delay"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ProgramError("a policy's body cannot be read", found=error, todo="adapt the policy anew") from error
    same = sorted(found.sensors) == list(rest.sensors) and sorted(found.effects) == list(rest.effects)
    if not same or len(found.signs) != len(rest.signs) or not set(found.signs) <= {-1, 1} or found.delay < 0:
        raise ProgramError("a policy's body does not fit its spaces", found=found, allowed="each sensor and each action once")
    return found


def flat(observations: Num[ndarray, "e *d"]) -> Float[ndarray, "e n"]:
    """Observations as rows of float32, copied."""
    return np.array(observations, np.float32).reshape(len(observations), -1)


def worded(body: Body, before: Body) -> str:
    """What is different in a body, in words."""
    found = list[str]()
    moved = [place for place, (now, then) in enumerate(zip(body.sensors, before.sensors, strict=True)) if now != then]
    if moved:
        pairs = ", ".join(f"{place} now comes from {body.sensors[place]}" for place in moved)
        found.append(f"sensors are exchanged: {pairs}")
    changed = [place for place, (now, then) in enumerate(zip(body.effects, before.effects, strict=True)) if now != then]
    if changed:
        found.append("actions do other things: " + ", ".join(f"{place} does what {body.effects[place]} did" for place in changed))
    turned = [place for place, (now, then) in enumerate(zip(body.signs, before.signs, strict=True)) if now != then]
    if turned:
        found.append(f"actuators are reversed: {', '.join(map(str, turned))}")
    if body.delay != before.delay:
        found.append(f"actions come {body.delay} control steps late" if body.delay else "actions are no longer late")
    return "; ".join(found)
