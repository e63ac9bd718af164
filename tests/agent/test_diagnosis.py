"""Diagnosis: a changed body is found by what its actions bring, and other physics are taken for none."""

from functools import cache
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch

from spikeloom.agent.body import Body, whole
from spikeloom.agent.diagnosis import Diagnosis, Seen, acting, under_way
from spikeloom.agent.forward import Flight, ForwardModel, ahead, drive_of, fitted, grounded
from spikeloom.agent.living import transitions
from spikeloom.agent.worlds import world
from spikeloom.datasets.environment import spaces_within
from spikeloom.datasets.episodes import at_random, played
from spikeloom.datasets.spaces import Action, Discrete, Signal
from spikeloom.errors import DataError


@cache
def known(env_id: str) -> tuple[ForwardModel, Signal, Action]:
    """The forward model of a world in which actions are drawn at random, and its spaces."""
    env = world(env_id, 64)
    signal, action = spaces_within(env, env_id)
    parts = list(islice(transitions(env, at_random(env, 3), 3), 100))
    before, taken, after = (np.concatenate(each) for each in zip(*parts, strict=True))
    count = action.count if isinstance(action, Discrete) else action.size
    drive = drive_of(taken, count, discrete=isinstance(action, Discrete))
    return fitted(torch.from_numpy(before), drive, torch.from_numpy(after), neurons=128), signal, action


def met(env_id: str, shift: Any, steps: int = 32, environments: int = 32) -> list[Seen]:
    """What is seen while acting at random in a changed world."""
    env, found = world(env_id, environments, shift), list[Seen]()
    moments = list(islice(played(env, at_random(env, 5), 10_000, 5), steps + 1))
    for now, later in pairwise(moments):
        rows = now.playing & ~now.ended
        parts = (now.observations, now.actions, later.observations, rows, now.fresh)
        found.append(Seen(*(torch.from_numpy(np.array(part)) for part in parts)))
    return found


CHANGED = [
    ("CartPole-v1", {"sign": -1}, {"effects": (1, 0)}),
    ("CartPole-v1", {"swap": "2:3"}, {"sensors": (0, 1, 3, 2)}),
    ("CartPole-v1", {"delay": 2}, {"delay": 2}),
    ("Acrobot-v1", {"sign": -1}, {"effects": (2, 1, 0)}),
    ("Acrobot-v1", {"swap": "1:3"}, {"sensors": (0, 3, 2, 1, 4, 5)}),
    ("Acrobot-v1", {"delay": 4}, {"delay": 4}),
    ("Pendulum-v1", {"sign": -1}, {"signs": (-1,)}),
    ("Pendulum-v1", {"delay": 1}, {"delay": 1}),
]


@pytest.mark.parametrize(("env_id", "shift", "fields"), CHANGED)
def test_the_body_that_explains_what_is_seen_is_found(env_id: str, shift: dict[str, Any], fields: dict[str, Any]) -> None:
    model, signal, action = known(env_id)
    before = whole(signal, action)
    assert Diagnosis().believed(model, met(env_id, shift), before, signal, action) == before.replaced(**fields)


@pytest.mark.parametrize(
    ("env_id", "shift"),
    [
        ("CartPole-v1", {}),
        ("CartPole-v1", {"length": 3.0}),
        ("CartPole-v1", {"gain": 0.3}),
        ("Acrobot-v1", {"inertia": 0.2}),
        ("Acrobot-v1", {"gravity": 4.0}),
    ],
)
def test_other_physics_are_no_other_body(env_id: str, shift: dict[str, Any]) -> None:
    model, signal, action = known(env_id)
    before = whole(signal, action)
    assert Diagnosis().believed(model, met(env_id, shift), before, signal, action) == before


def test_two_changes_are_found_one_after_the_other_and_their_end_too() -> None:
    model, signal, action = known("CartPole-v1")
    seen, body = met("CartPole-v1", {"swap": "2:3", "sign": -1}), whole(signal, action)
    for _ in range(2):
        body = Diagnosis().believed(model, seen, body, signal, action)
    assert body == whole(signal, action).replaced(sensors=(0, 1, 3, 2), effects=(1, 0))
    assert Diagnosis().believed(model, met("CartPole-v1", {}), body, signal, action) == whole(signal, action)


def test_one_environment_is_enough_if_it_is_watched_for_long() -> None:
    model, signal, action = known("Acrobot-v1")
    before = whole(signal, action)
    seen = met("Acrobot-v1", {"swap": "1:3"}, 200, 1)
    assert Diagnosis().believed(model, seen, before, signal, action) == before.replaced(sensors=(0, 3, 2, 1, 4, 5))


def test_many_sensors_are_not_asked_about() -> None:
    action, signal = Discrete(5), Signal((40,), (0.0,) * 40, (1.0,) * 40)
    asked = list(Diagnosis().bodies(whole(signal, action), signal, action))
    assert all(body.sensors == tuple(range(40)) for body in asked)
    assert {body.effects for body in asked} >= {(4, 3, 2, 1, 0), (1, 0, 2, 3, 4)}
    assert {body.delay for body in asked} == set(range(9))


def seen_of(actions: list[int], fresh: list[bool]) -> list[Seen]:
    """One environment in which nothing but actions matters."""
    zero, yes = torch.zeros(1, 1), torch.ones(1, dtype=torch.bool)
    return [Seen(zero, torch.tensor([a]), zero, yes, torch.tensor([f])) for a, f in zip(actions, fresh, strict=True)]


def test_late_actions_act_when_the_worlds_do() -> None:
    """Two steps late; the first action of an episode acts until then (`worlds.table`)."""
    body, action = Body((0,), (0, 1, 2), (), 2), Discrete(3)
    seen = seen_of([1, 2, 0, 1, 2, 0], [True, False, False, False, True, False])
    assert acting(seen, body, action).argmax(2).flatten().tolist() == [1, 1, 1, 2, 2, 2]
    flight = under_way(seen, body, action, grounded(1, 2, 3))
    assert flight.sent.argmax(2).flatten().tolist() == [2, 0]
    assert flight.age.tolist() == [2]


def test_what_is_under_way_is_played_forward() -> None:
    model, _, action = known("CartPole-v1")
    env = world("CartPole-v1", 8)
    moments = list(islice(played(env, at_random(env, 9), 1000, 9), 6))
    assert isinstance(action, Discrete)
    sent = torch.stack([drive_of(each.actions, 2, discrete=True) for each in moments[1:3]])
    x, goal = (torch.from_numpy(moments[place].observations) for place in (1, 3))
    found = ahead(model, x, Flight(sent, np.full(8, 5)))
    error, moved = (found - goal).abs().mean(), (x - goal).abs().mean()
    assert error < 0.1 * moved
    assert torch.equal(ahead(model, x, Flight(sent, np.zeros(8, np.int64))), x)


def test_too_little_says_nothing() -> None:
    with pytest.raises(DataError, match="too little"):
        fitted(torch.zeros(10, 2), torch.ones(10, 1), torch.zeros(10, 2))
