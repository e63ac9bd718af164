"""
Shifts as people write them, checked against the tables and laid out for a vector of environments.

`length=2.0`, `swap=1:3`, `drop=2`, `delay=2`, `noise=0.1`, `sign=-1`: names and numbers of `table`; a name that an environment does
not have, or a value without meaning, is one error that lists what is allowed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from spikeloom.agent.worlds.table import GAIN, MIRRORS, NOISE, PHYSICS, SWITCHES, Quantity, family
from spikeloom.errors import ConfigError

Shift = Mapping[str, float | int | str]
"""The shifts of one environment, by name."""

Shifts = Shift | Sequence[Shift] | Sequence[str]
"""One for all environments, one for each, or one for all in words."""


@final
@dataclass(frozen=True)
class Interface:
    """What sensors and actuators an environment has: counts of sensors, and of discrete actions or of a continuous one's parts."""

    env_id: str
    sensors: int
    actions: int
    continuous: bool
    physical: bool = True
    """Whether its physics can be shifted: they are not gymnasium's own."""

    @property
    def quantities(self) -> Mapping[str, Quantity]:
        """The shifts that have values in between."""
        known = dict(PHYSICS.get(family(self.env_id), {})) if self.physical else dict[str, Quantity]()
        if self.continuous:
            known.setdefault("gain", GAIN)
        return known | {"noise": NOISE}

    @property
    def switches(self) -> Mapping[str, str]:
        """The shifts that have none."""
        absent = {"order"} if self.continuous else set[str]()
        absent |= set() if self.env_id.startswith("MiniGrid") else {"turn"}
        return {name: what for name, what in SWITCHES.items() if name not in absent}

    @property
    def allowed(self) -> str:
        """Every shift of this environment, one a line, for an error or a help text."""
        numbers = (f"{name}: {q.what} ({q.unit}, unshifted {q.nominal:g})" for name, q in self.quantities.items())
        return "\n    ".join((f"for {self.env_id}", *numbers, *(f"{name}: {what}" for name, what in self.switches.items())))


@final
@dataclass(frozen=True)
class Plan:
    """The shifts of E environments laid out: values of quantities, and what is done to sensors and actions once switches are on."""

    values: Mapping[str, Float[np.ndarray, " E"]]
    columns: Int[np.ndarray, "E d"]
    kept: Bool[np.ndarray, "E d"]
    order: Int[np.ndarray, "E n"]
    signs: Float[np.ndarray, "E k"]
    delay: Int[np.ndarray, " E"]
    written: tuple[Shift, ...]


def parsed(texts: Iterable[str]) -> dict[str, float | int | str]:
    """Shifts from words such as `length=2.0`. Raises ConfigError for a word of another form and for a name said twice."""
    found: dict[str, float | int | str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value) or name in found:
            raise ConfigError("a shift is name=value, each name once", found=text, allowed="for example length=2.0 or swap=1:3")
        found[name] = value
    return found


def plan_of(interface: Interface, shifts: Shifts, count: int) -> Plan:
    """The plan of `count` environments. Raises ConfigError for what has no meaning."""
    each = _each(shifts, count)
    if len(each) != count:
        raise ConfigError("shifts are one mapping, or one mapping for each environment", found=f"{len(each)} for {count} environments")
    written = tuple({name: _value(interface, name, value) for name, value in shift.items()} for shift in each)
    quantities = interface.quantities
    return Plan(
        values={n: np.array([float(shift.get(n, q.nominal)) for shift in written]) for n, q in quantities.items()},
        columns=np.stack([_columns(interface, shift) for shift in written]),
        kept=np.stack([_kept(interface, shift) for shift in written]),
        order=np.stack([_order(interface, shift) for shift in written]),
        signs=np.stack([_signs(interface, shift) for shift in written]),
        delay=np.array([int(shift.get("delay", 0)) for shift in written]),
        written=written,
    )


def places(value: float | int | str) -> tuple[int, ...]:
    """Whole numbers written i:j:…; none for anything else."""
    try:
        numbers = [float(part) for part in str(value).split(":")]
    except ValueError:
        return ()
    return tuple(int(number) for number in numbers) if all(number.is_integer() for number in numbers) else ()


def _each(shifts: Shifts, count: int) -> list[Shift]:
    """A shift for each environment."""
    if isinstance(shifts, Mapping):
        return [shifts] * count
    words = [shifts] if isinstance(shifts, str) else [item for item in shifts if isinstance(item, str)]
    mappings = [item for item in shifts if isinstance(item, Mapping)]
    if mappings and words:
        raise ConfigError("shifts are words or mappings", found=f"{len(words)} words among {len(mappings)} mappings", allowed="one kind")
    return mappings if mappings else [parsed(words)] * count


def _value(interface: Interface, name: str, value: float | int | str) -> float | str:
    """The value in its final form. Raises ConfigError for an unknown name or a value that means nothing."""
    if name in interface.quantities:
        return _quantity(interface, name, value)
    if name not in interface.switches:
        raise ConfigError(f"{interface.env_id} has no shift {name!r}", found=f"{name}={value}", allowed=interface.allowed)
    numbers = places(value)
    if not _fits(interface, name, numbers):
        raise ConfigError(
            f"the shift {name} of {interface.env_id} has no such value", found=f"{name}={value}", allowed=_range(interface, name)
        )
    return ":".join(map(str, numbers)) if name in {"drop", "swap", "order"} else float(numbers[0])


def _quantity(interface: Interface, name: str, value: float | int | str) -> float:
    quantity = interface.quantities[name]
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < quantity.least or (quantity.positive and number == quantity.least):
        bound = "above" if quantity.positive else "from"
        allowed = f"a number {bound} {quantity.least:g} ({quantity.what}; {quantity.unit}, unshifted {quantity.nominal:g})"
        raise ConfigError(f"the shift {name} of {interface.env_id} has no such value", found=f"{name}={value}", allowed=allowed)
    return number


def _fits(interface: Interface, name: str, numbers: tuple[int, ...]) -> bool:
    sensors = all(0 <= i < interface.sensors for i in numbers) and len(set(numbers)) == len(numbers)
    match name:
        case "drop":
            return sensors and len(numbers) > 0
        case "swap":
            return sensors and len(numbers) == 2
        case "delay":
            return len(numbers) == 1 and 0 <= numbers[0] <= 1000
        case "order":
            return sorted(numbers) == list(range(interface.actions))
        case _:
            return numbers in {(1,), (-1,)}


def _range(interface: Interface, name: str) -> str:
    ranges = {
        "drop": f"i or i:j:… of sensors 0 to {interface.sensors - 1}",
        "swap": f"i:j, two of sensors 0 to {interface.sensors - 1}",
        "delay": "whole steps, 0 to 1000",
        "order": f"each of actions 0 to {interface.actions - 1} once, as in {':'.join(map(str, reversed(range(interface.actions))))}",
    }
    return ranges.get(name, "1 or -1")


def _columns(interface: Interface, shift: Shift) -> Int[np.ndarray, " d"]:
    columns = np.arange(interface.sensors)
    if "swap" in shift:
        pair = list(places(shift["swap"]))
        columns[pair] = columns[pair[::-1]]
    return columns


def _kept(interface: Interface, shift: Shift) -> Bool[np.ndarray, " d"]:
    kept = np.ones(interface.sensors, dtype=np.bool_)
    if "drop" in shift:
        kept[list(places(shift["drop"]))] = False
    return kept


def _order(interface: Interface, shift: Shift) -> Int[np.ndarray, " n"]:
    """What each discrete action does: `order`, then `turn`, then the mirror; the identity where actions are continuous."""
    order = np.arange(interface.actions)
    if interface.continuous:
        return order
    if "order" in shift:
        order = np.array(places(shift["order"]))
    if shift.get("turn", 1.0) == -1.0:
        order = np.array([1, 0, *range(2, interface.actions)])[order]
    if shift.get("sign", 1.0) == -1.0:
        order = np.array(MIRRORS.get(family(interface.env_id), range(interface.actions - 1, -1, -1)))[order]
    return order


def _signs(interface: Interface, shift: Shift) -> Float[np.ndarray, " k"]:
    if not interface.continuous or shift.get("sign", 1.0) != -1.0:
        return np.ones(interface.actions)
    return np.array(MIRRORS.get(family(interface.env_id), (-1,) * interface.actions), dtype=np.float64)
