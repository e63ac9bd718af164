"""What a network does before and after, in rules of one set of predicates."""

from pathlib import Path

import numpy as np
import pytest
from tests.agent.balancing import balancing
from tests.agent.learners import policy

from spikeloom.agent import Policy
from spikeloom.agent.agent import Agent
from spikeloom.agent.explaining import Explanation, explained, why_not
from spikeloom.agent.living import usual_of
from spikeloom.agent.rules import instructions_from, load_rules
from spikeloom.agent.teaching import instructed
from spikeloom.agent.worlds import world
from spikeloom.datasets.spaces import Signal

ENV = "CartPole-v1"


def turned() -> Policy:
    """The balancing network taught to do the opposite."""
    of, env = balancing(), world(ENV, 8)
    made = Agent(of, usual_of(of, env, 8))
    text = "predicates: {lean: theta + 0.25 * theta_dot}\nrules: [{when: lean > 0, then: push left}, {when: lean <= 0, then: push right}]"
    rules = instructions_from(text, (of.observation, of.action), ENV).rules
    assert rules is not None
    return made.network(instructed(made, made.init(1), rules, made.usual.observations.numpy(), 90)[1].weights)


@pytest.fixture(scope="module")
def told() -> Explanation:
    return explained(balancing(), turned(), ENV, {"sign": -1.0})


def test_rules_do_what_each_network_does_in_the_changed_world(told: Explanation) -> None:
    assert told.before.fidelity > 0.93
    assert told.after.fidelity > 0.8
    assert told.before.own < 15 < 60 < told.after.own
    assert told.before.returned < 15 < 40 < told.after.returned
    assert told.before.rules.features == told.after.rules.features
    assert told.difference.share > 0.5
    seen = np.random.default_rng(0).uniform(-1, 1, (500, 4)) * [0.5, 0.5, 0.1, 0.7]
    falls_right = seen[:, 2] + 0.25 * seen[:, 3] > 0
    assert (told.before.rules(seen) == falls_right).mean() > 0.75
    assert (told.after.rules(seen) == falls_right).mean() < 0.4


def test_the_files_can_be_read_and_loaded(told: Explanation, tmp_path: Path) -> None:
    told.save(tmp_path)
    assert load_rules(tmp_path / "rules.yaml") == told.after.rules
    assert load_rules(tmp_path / "rules_before.yaml") == told.before.rules
    text = (tmp_path / "rules.txt").read_text()
    assert text.startswith(f"Before: {told.before.fidelity:.1%} as the network")
    for part in (told.before.text, told.after.text, told.difference.text()):
        assert part in text
    assert instructions_from((tmp_path / "rules.yaml").read_text(), (balancing().observation, balancing().action), ENV).rules is not None


@pytest.mark.slow
def test_a_network_that_did_not_change_has_rules_that_did_not() -> None:
    same = explained(balancing(), balancing(), ENV, {})
    assert same.difference.share < 0.02
    assert abs(same.before.fidelity - same.after.fidelity) < 0.03


def test_within_a_guard_networks_and_rules_act_within_it() -> None:
    """Who never may push right has fallen after some steps, in the usual world too."""
    guard = instructions_from("guards: [{when: x > -9, never: push right}]", (balancing().observation, balancing().action), ENV).guard
    told = explained(balancing(), balancing(), ENV, {}, guard=guard)
    assert told.before.own == told.before.returned
    assert told.before.own < 12


def test_what_cannot_be_told_says_why() -> None:
    assert why_not((policy().observation, policy().action)) is None
    numbers = policy(1, continuous=True)
    assert "actions are numbers" in str(why_not((numbers.observation, numbers.action)))
    assert "(7, 7, 3)" in str(why_not((Signal((7, 7, 3), (0.0,) * 147, (1.0,) * 147), policy().action)))
