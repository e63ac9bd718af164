"""A person's guards and rules in one file, and what is said of a file that cannot be followed."""

import math
from pathlib import Path

import numpy as np
import pytest

from spikeloom.agent.rules import instructions_from, load_instructions
from spikeloom.datasets.spaces import Continuous, Discrete, Signal, Spaces
from spikeloom.errors import ConfigError

ENV = "CartPole-v1"
BOTH = """
environment: CartPole-v0
predicates:
  lean: theta + 0.25 * theta_dot
guards:
  - {when: x > 2.2, never: push right}
rules:
  - {when: lean > 0, then: push left, weight: 2}
"""


def spaces(*shape: int, actions: int = 2) -> Spaces:
    size = math.prod(shape)
    return Signal(shape, (-math.inf,) * size, (math.inf,) * size), Discrete(actions)


def test_one_file_holds_guards_and_rules_over_the_same_predicates(tmp_path: Path) -> None:
    path = tmp_path / "person.yaml"
    path.write_text(BOTH)
    found = load_instructions(path, spaces(4), ENV)
    assert found.guard is not None
    assert found.rules is not None
    assert found.guard.features.predicates.keys() == found.rules.features.predicates.keys() == {"lean"}
    seen = np.array([[3.0, 0, 0, 0], [0, 0, 0.1, 0]])
    assert found.guard.actions(seen, np.array([[0.0, 1.0], [0.0, 1.0]])).tolist() == [0, 1]
    assert found.rules.fired(seen).tolist() == [-1, 0]
    assert found.rules.rules[0].weight == 2.0


def test_one_of_both_is_enough_and_learnt_rules_can_be_given_back() -> None:
    only = instructions_from("guards: [{when: x > 1, never: push left}]", spaces(4), ENV)
    assert only.rules is None
    learnt = instructions_from("rules: [{when: x > 1, then: push left}]\notherwise: push right", spaces(4), ENV)
    assert learnt.guard is None
    assert learnt.rules is not None
    again = instructions_from(learnt.rules.yaml(), spaces(4), ENV)
    assert again.rules == learnt.rules


def test_an_environment_without_names_has_numbered_ones_and_a_file_may_name_them() -> None:
    found = instructions_from("guards: [{when: x2 > 1, never: action 2}]", spaces(3, actions=3), "Mine-v0")
    assert found.guard is not None
    own = "observations: [a, b, c]\nrules: [{when: c > 1, then: action 2}]"
    assert instructions_from(own, spaces(3, actions=3), "Mine-v0").rules is not None


def test_the_text_tells_what_asks_for_something_else() -> None:
    base = instructions_from(BOTH, spaces(4), ENV)
    assert instructions_from(BOTH.replace("2.2", "2.20 "), spaces(4), ENV).text != base.text
    assert instructions_from("# a remark\n" + BOTH, spaces(4), ENV).text == base.text
    for old, new in (("weight: 2", "weight: 3"), ("0.25", "0.3"), ("push left,", "push right,"), ("never: push right", "never: push left")):
        assert instructions_from(BOTH.replace(old, new), spaces(4), ENV).text != base.text, old


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("guards: [{when: speed > 1, never: push left}]", "line 1: there is nothing of this name.*speed.*x, x_dot"),
        ("rules:\n  - {when: x > 1, then: jump}", "line 2: there is no such action.*jump.*push left, push right"),
        ("guards: [{when: x > 1, never: fly}]", "there is no such action.*fly"),
        ("rules:\n  - when: x > 1\n   then: push left", "line 3, column .*this is no YAML"),
        ("rules: [{when: x >, then: push left}]", "this is no expression"),
        ("predicates: {a: x > 1}", "it says nothing"),
        ("guard: []", "there is no such key.*did you mean guards"),
        ("environment: Acrobot-v1\nrules: [{when: x > 1, then: push left}]", "line 1: the file is for another environment.*Acrobot-v1"),
        ("observations: [a, b]\nrules: [{when: a > 1, then: push left}]", "not the environment's observations.*4 of them"),
        ("actions: [a, b, c]\nrules: [{when: x > 1, then: a}]", "not the environment's actions.*2 of them"),
        ("observations: [a, b, c, d]\nactions: [u, v]\ncontinuous: true\nguards: [{when: a > 1, bound: {u: [0, 1]}}]", "another kind"),
        ("rules: []", "there are no rules"),
        ("", "empty"),
    ],
)
def test_what_cannot_be_followed_is_one_clear_error(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        instructions_from(text, spaces(4), ENV)
    import re

    assert re.search(said, str(refused.value), re.DOTALL), str(refused.value)


def test_observations_that_are_no_vector_cannot_be_ruled() -> None:
    with pytest.raises(ConfigError, match="cannot be ruled"):
        instructions_from("rules: [{when: x0 > 1, then: action 0}]", spaces(7, 7, 3), "MiniGrid-Empty-5x5-v0")


def test_numbers_are_bounded_where_actions_are_numbers() -> None:
    pendulum: Spaces = Signal((3,), (-1.0,) * 3, (1.0,) * 3), Continuous(1, (-2.0,), (2.0,))
    found = instructions_from("guards: [{when: omega > 1, bound: {torque: [-2, 0]}}]", pendulum, "Pendulum-v1")
    assert found.guard is not None
    assert found.guard.actions(np.array([[1.0, 0, 2], [1.0, 0, 0]]), np.array([[1.0], [1.0]])).tolist() == [[0.0], [1.0]]
