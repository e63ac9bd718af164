"""
Diagnosis: what of its body has changed, found by an agent in a few control steps, by asking which body would explain what it observes.

    error(B) = mean |(ô' − ô)/σ − expected by the forward model|, each at most 3, of what was seen through the body B      (1)

Bodies are the one that is thought to be true, the one it was taught with, and what differs from either in one thing: two sensors
exchanged, actions that do other things, actuators reversed, actions that come late. A body is believed where its error is lower than
`share` of the present one's, and by more than noise (`certain` standard errors over environments). A world whose physics are other is
none of these: no body explains it, nothing is believed, and the weights have to learn.

Source: Bongard, Zykov & Lipson 2006, Science 314, 1118 (a machine that infers its own body from what its actions bring).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.body import Body, whole
from spikeloom.agent.forward import Flight, ForwardModel, drive_of, grounded
from spikeloom.datasets.spaces import Action, Discrete, Signal

CLIPPED = 3.0
GROUPS = 16


@final
class Seen(NamedTuple):
    """One control step of E environments as it was, before any body: observations, actions (as places, or numbers), what came of them,
    which rows were played and which began an episode."""

    observations: Float[Tensor, "e d"]
    taken: Tensor
    after: Float[Tensor, "e d"]
    playing: Bool[Tensor, " e"]
    fresh: Bool[Tensor, " e"]


@final
@dataclass(frozen=True)
class Diagnosis:
    """When an agent asks (after so many control steps of learning), and what convinces it."""

    steps: tuple[int, ...] = (16, 64, 256)
    remembered: int = 64
    share: float = 0.9
    certain: float = 4.0
    sensors: int = 32
    """With more sensors than this their exchanges are not asked about: they are too many."""
    latest: int = 8
    """The longest delay that is asked about."""

    def believed(self, model: ForwardModel, seen: Sequence[Seen], body: Body, signal: Signal, action: Action) -> Body:
        """The body to act with from now on: the present one, or one that explains much better what was seen."""
        asked = dict.fromkeys([body, *self.bodies(body, signal, action)])
        errors = dict(self._errors(model, seen, list(asked), action))
        best = min(errors, key=lambda each: float(errors[each].mean()))
        gained = errors[body] - errors[best]
        noise = float(gained.std(correction=1)) / len(gained) ** 0.5 if len(gained) > 1 else float("inf")
        clear = float(gained.mean()) > self.certain * noise
        return best if clear and float(errors[best].mean()) < self.share * float(errors[body].mean()) else body

    def bodies(self, body: Body, signal: Signal, action: Action) -> Iterator[Body]:
        """Bodies that differ in one thing, from the present one and from the one that was taught."""
        taught = whole(signal, action)
        for root in dict.fromkeys([taught, body]):
            yield root
            if len(root.sensors) <= self.sensors:
                yield from (root.replaced(sensors=_exchanged(root.sensors, *pair)) for pair in combinations(range(len(root.sensors)), 2))
            yield from (root.replaced(effects=effects) for effects in _orders(root.effects, discrete=isinstance(action, Discrete)))
            yield from (root.replaced(signs=_turned(root.signs, place)) for place in range(len(root.signs)))
            yield from (root.replaced(delay=delay) for delay in range(self.latest + 1))

    def _errors(
        self, model: ForwardModel, seen: Sequence[Seen], bodies: Sequence[Body], action: Action
    ) -> Iterator[tuple[Body, Float[Tensor, " g"]]]:
        """(1) of each body, in groups of moments. What acted before anything was remembered counts for none of them."""
        playing = torch.stack([each.playing for each in seen])
        playing = playing & torch.from_numpy(_known(seen, max(body.delay for body in bodies)))
        groups = _groups(playing)
        before, after = (torch.stack([each[place] for each in seen])[playing] for place in (0, 2))
        for sensors in dict.fromkeys(body.sensors for body in bodies):
            x, target = before[:, list(sensors)], (after - before)[:, list(sensors)] / model.change
            changes = model.changes(x)
            for body in (each for each in bodies if each.sensors == sensors):
                expected = model.added(changes, acting(seen, body, action)[playing])
                error = (target - expected).abs().clamp_max(CLIPPED).mean(1)
                yield body, torch.stack([error[groups == group].mean() for group in groups.unique()])


def acting(seen: Sequence[Seen], body: Body, action: Action) -> Float[Tensor, "t e m"]:
    """What acts at each step, as u, where the body is this one."""
    flight, found = None, list[Tensor]()
    for each in seen:
        drive = _drive(each, body, action)
        flight = grounded(len(drive), body.delay, drive.shape[1]) if flight is None else flight
        flight = flight.begun(each.fresh.numpy())
        found.append(flight.first(drive).sent[0] if body.delay else drive)
        flight = flight.after(drive)
    return torch.stack(found)


def under_way(seen: Sequence[Seen], body: Body, action: Action, flight: Flight) -> Flight:
    """What is under way after all that was seen, where nothing was before."""
    for each in seen:
        flight = flight.begun(each.fresh.numpy()).after(_drive(each, body, action))
    return flight


def _drive(each: Seen, body: Body, action: Action) -> Tensor:
    discrete = isinstance(action, Discrete)
    count = action.count if isinstance(action, Discrete) else action.size
    return drive_of(body.effected(each.taken.numpy()), count, discrete=discrete)


def _known(seen: Sequence[Seen], delay: int) -> Bool[ndarray, "t e"]:
    """Where all that acts was seen to be chosen: an episode began since, or so many steps are past."""
    fresh = torch.stack([each.fresh for each in seen]).numpy()
    begun = np.maximum.accumulate(fresh, axis=0)
    return begun | (np.arange(len(seen)) >= delay)[:, None]


def _groups(playing: Bool[Tensor, "t e"]) -> Tensor:
    """A group for every moment that counts: environments, or stretches of time where there are few."""
    steps, environments = playing.shape
    rows = torch.arange(environments) % GROUPS if environments >= GROUPS else torch.zeros(environments, dtype=torch.int64)
    times = torch.zeros(steps, dtype=torch.int64) if environments >= GROUPS else torch.arange(steps) * GROUPS // steps
    return (rows[None] + times[:, None])[playing]


def _exchanged(values: tuple[int, ...], one: int, other: int) -> tuple[int, ...]:
    found = list(values)
    found[one], found[other] = found[other], found[one]
    return tuple(found)


def _turned(signs: tuple[int, ...], place: int) -> tuple[int, ...]:
    return tuple(-sign if each == place else sign for each, sign in enumerate(signs))


def _orders(effects: tuple[int, ...], *, discrete: bool) -> Iterator[tuple[int, ...]]:
    """Other things that actions may do: of up to four discrete ones every order, else two exchanged, or all the other way round."""
    if discrete and len(effects) <= 4:
        yield from permutations(effects)
        return
    yield from (_exchanged(effects, *pair) for pair in combinations(range(len(effects)), 2))
    yield effects[::-1]
