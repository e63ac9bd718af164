"""Bodies: what they do to observations and actions, and that a policy through one acts as it did before the world changed."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.balancing import balancing

from spikeloom.agent import Agent, open_policy, policy_of, returns
from spikeloom.agent.body import Body, body_of, flat, whole, worded
from spikeloom.agent.forward import load_forward
from spikeloom.agent.living import foreseen, usual_of
from spikeloom.agent.worlds import world
from spikeloom.datasets.spaces import Continuous, Discrete, Signal, facts_of, spaces_of
from spikeloom.errors import ConfigError, ProgramError

ENV = "CartPole-v1"
SIGNAL = Signal((4,), (-math.inf,) * 4, (math.inf,) * 4)


@given(st.permutations(range(5)), st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_the_effect_of_a_command_is_what_was_wanted(effects: list[int], wanted: list[int]) -> None:
    body = Body(tuple(range(4)), tuple(effects))
    assert (body.effected(body.commanded(np.array(wanted))) == wanted).all()


@given(st.permutations(range(3)), st.lists(st.sampled_from([-1, 1]), min_size=3, max_size=3))
def test_so_it_is_for_numbers(effects: list[int], signs: list[int]) -> None:
    body, wanted = Body(tuple(range(4)), tuple(effects), tuple(signs)), np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    assert (body.effected(body.commanded(wanted)) == wanted).all()
    assert body.commanded(wanted).dtype == np.float32


def test_sensors_are_read_in_their_new_places() -> None:
    body = whole(SIGNAL, Discrete(2)).replaced(sensors=(0, 3, 2, 1))
    assert body.perceived(np.array([[1.0, 2.0, 3.0, 4.0]])).tolist() == [[1.0, 4.0, 3.0, 2.0]]
    assert not body.plain
    assert whole(SIGNAL, Discrete(2)).plain


def test_what_is_different_is_said_in_words() -> None:
    before = whole(SIGNAL, Discrete(3))
    assert worded(before, before) == ""
    assert worded(before.replaced(sensors=(1, 0, 2, 3)), before) == "sensors are exchanged: 0 now comes from 1, 1 now comes from 0"
    assert worded(before.replaced(effects=(2, 1, 0)), before) == "actions do other things: 0 does what 2 did, 2 does what 0 did"
    assert worded(before.replaced(delay=3), before) == "actions come 3 control steps late"
    turned = whole(SIGNAL, Continuous(2, (-1.0,) * 2, (1.0,) * 2))
    assert worded(turned.replaced(signs=(1, -1)), turned) == "actuators are reversed: 1"


@pytest.mark.parametrize("action", [Discrete(3, 1), Continuous(2, (-1.0, -2.0), (1.0, math.inf), "tanh", 2.0)])
def test_spaces_as_json_and_back(action: Any) -> None:
    assert spaces_of({"policy": facts_of(SIGNAL, action)}) == (SIGNAL, action)


@pytest.mark.parametrize(
    "told",
    [
        {"sensors": [0, 0, 2, 3], "effects": [0, 1], "signs": [], "delay": 0},
        {"sensors": [0, 1, 2, 3], "effects": [0, 2], "signs": [], "delay": 0},
        {"sensors": [0, 1, 2, 3], "effects": [0, 1], "signs": [1, 1], "delay": 0},
        {"sensors": [0, 1, 2, 3], "effects": [0, 1], "signs": [], "delay": -1},
        {"sensors": "none"},
    ],
)
def test_what_is_no_body_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(ProgramError, match="body"):
        body_of(told, SIGNAL, Discrete(2))


def test_flat_rows_are_copies() -> None:
    x = np.zeros((2, 3, 4), np.float32)
    rows = flat(x)
    rows += 1
    assert rows.shape == (2, 12)
    assert x.sum() == 0


@pytest.mark.parametrize(("shift", "fields"), [({"sign": -1}, {"effects": (1, 0)}), ({"swap": "2:3"}, {"sensors": (0, 1, 3, 2)})])
def test_a_policy_in_its_new_body_acts_as_in_the_usual_world(shift: dict[str, Any], fields: dict[str, Any]) -> None:
    held = balancing()
    embodied = held.replaced(body=whole(held.observation, held.action).replaced(**fields))
    usual = returns(held.actor(), world(ENV, 16), 16)
    assert returns(held.actor(), world(ENV, 16, shift), 16).mean() < 0.9 * usual.mean()
    assert (returns(embodied.actor(), world(ENV, 16, shift), 16) == usual).all()


def test_a_body_whose_actions_come_late_is_kept_with_its_forward_model(tmp_path: Path) -> None:
    held, late = balancing(), {"delay": 5}
    agent = Agent(held, usual_of(held, world(ENV, 16), 16))
    agent = agent.replaced(forward=foreseen(agent, world(ENV, 16), 200))
    body = agent.body.replaced(delay=5)
    policy = agent.network(agent.tail.converted, body)
    found = returns(policy.actor(), world(ENV, 16, late), 16)
    assert found.mean() > 1.5 * returns(held.actor(), world(ENV, 16, late), 16).mean()
    policy.save(tmp_path)
    again = open_policy(tmp_path, world(ENV, 1))
    assert again.body == body
    assert (returns(again.actor(), world(ENV, 16, late), 16) == found).all()
    with pytest.raises(ConfigError, match="forward model"):
        policy_of(again.model)
    whole_file = (tmp_path / "forward.safetensors").read_bytes()
    (tmp_path / "forward.safetensors").write_bytes(whole_file[:1000])
    with pytest.raises(ProgramError, match="forward model"):
        load_forward(tmp_path)


def test_a_plain_body_says_nothing_in_the_settings() -> None:
    made = Agent(balancing(), usual_of(balancing(), world(ENV, 4), 4))
    assert "body" not in (made.network(made.tail.converted).model.program.settings.get("policy") or {})
