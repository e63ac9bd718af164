"""A person's rules as lessons: the network does what they say, and elsewhere what it did."""

import math

import numpy as np
import pytest
import torch
from tests.agent.balancing import balancing
from tests.agent.learners import Bandit, agent, policy

from spikeloom.agent.agent import Agent
from spikeloom.agent.living import lived, settled, usual_of
from spikeloom.agent.rules import Names, RuleSet, instructions_from, rules_from
from spikeloom.agent.state import AgentState
from spikeloom.agent.teaching import done_by, instructed, obeyed, outputs_of, reminded
from spikeloom.agent.worlds import world
from spikeloom.datasets.spaces import Continuous, Discrete, acted

NAMES = Names(("a", "b", "c"), ("no", "yes"))
YES = rules_from("rules: [{when: b > 1, then: 'yes'}]", NAMES)
SEEN = np.random.default_rng(3).normal(size=(1500, 3)).astype(np.float32)
OTHER = np.random.default_rng(4).normal(size=(1500, 3)).astype(np.float32)


def share(made: Agent, state: AgentState, rules: RuleSet, seen: np.ndarray = OTHER) -> float:
    return obeyed(rules, seen, done_by(made, state.weights, seen), made.policy.action)[1]


def test_it_does_what_a_rule_says_and_elsewhere_what_it_did() -> None:
    made = agent()
    state = made.init(4)
    before = done_by(made, state.weights, OTHER)
    after, taught = instructed(made, state, YES, SEEN)
    assert share(made, state, YES) < 0.5
    assert share(made, after, YES) > 0.9
    rest = YES.fired(OTHER) < 0
    assert (done_by(made, after.weights, OTHER) == before)[rest].mean() > 0.9
    assert taught.weights is after.weights
    assert taught.speaks == pytest.approx((SEEN[:, 1] > 1).mean())
    assert (taught.before, taught.after) == (share(made, state, YES, SEEN), share(made, after, YES, SEEN))
    assert taught.kept == pytest.approx(
        (done_by(made, after.weights, SEEN) == done_by(made, state.weights, SEEN))[YES.fired(SEEN) < 0].mean()
    )
    assert all(size.steps == 0 for size in after.sizes), "life would begin with the lesson's step sizes"


def test_a_balancing_network_learns_to_stay_near_the_middle_and_still_balances() -> None:
    made_of = balancing()
    env = world("CartPole-v1", 16)
    made = Agent(made_of, usual_of(made_of, env, 16))
    text = "rules: [{when: x > 0.3 and theta > -0.05, then: push right}, {when: x < -0.3 and theta < 0.05, then: push left}]"
    rules = instructions_from(text, (made_of.observation, made_of.action), "CartPole-v1").rules
    assert rules is not None
    _, taught = instructed(made, made.init(1), rules, made.usual.observations.numpy())
    assert taught.before < 0.8
    assert taught.after > 0.92
    assert taught.kept > 0.85
    env.close()


def test_what_is_obeyed_already_changes_nothing_and_where_nothing_is_said_nothing_is_obeyed() -> None:
    made = agent()
    state = made.init(4)
    no = rules_from("rules: [{when: b > 0.5 and a < 0, then: 'no'}]", NAMES)
    seen = SEEN[(no.fired(SEEN) < 0) | (done_by(made, state.weights, SEEN) == 0)]
    assert 10 < (no.fired(seen) == 0).sum() < len(seen)
    after, taught = instructed(made, state, no, seen)
    assert all(map(torch.equal, after.weights, state.weights))
    assert (taught.before, taught.after, taught.kept) == (1.0, 1.0, 1.0)
    silent = rules_from("rules: [{when: b > 99, then: 'yes'}]", NAMES)
    assert math.isnan(obeyed(silent, SEEN, done_by(made, state.weights, SEEN), made.policy.action)[1])
    everywhere = instructed(made, state, rules_from("rules: []\notherwise: 'yes'", NAMES), SEEN)[1]
    assert everywhere.speaks == 1.0
    assert everywhere.after == 1.0
    assert math.isnan(everywhere.kept)


def test_it_is_reminded_while_it_learns() -> None:
    """A rule against what is rewarded: without reminders learning undoes it."""
    against = rules_from("rules: [{when: a > 0.5, then: 'no'}]", NAMES)

    def remind(made: Agent, state: AgentState, seen: np.ndarray) -> AgentState:
        return reminded(made, state, against, seen, 4)

    with_rules, without = agent(remind=remind), agent()
    left, free = (lived(made, made.init(16), Bandit(16), 400, seed=0) for made in (with_rules, without))
    assert share(without, free, against) < 0.3
    assert share(with_rules, left, against) > 0.6
    assert (done_by(with_rules, left.weights, OTHER) == (OTHER[:, 0] > 0))[OTHER[:, 0] < 0.5].mean() > 0.7


def test_numbers_are_taught_as_the_outputs_that_become_them() -> None:
    squashed = Continuous(1, (-1.0,), (1.0,), "tanh", 2.0)
    wanted = np.array([[-0.9], [0.0], [0.5]], np.float32)
    assert np.allclose(acted(torch.from_numpy(outputs_of(wanted, squashed)), squashed), wanted, atol=1e-5)
    assert np.abs(outputs_of(np.array([[1.0], [-1.0]], np.float32), squashed)).max() <= 2.0
    assert np.array_equal(outputs_of(wanted, Continuous(1, (-1.0,), (1.0,))), wanted)
    assert np.array_equal(outputs_of(np.array([1, 0]), Discrete(2)), [1, 0])
    made = agent(of=policy(1, continuous=True), exploration=0.5)
    rules = rules_from("rules: [{when: b > 0.5, then: 0.8}]", Names(("a", "b", "c"), ("u",), continuous=True))
    state, taught = instructed(made, made.init(1), rules, SEEN)
    done = done_by(made, state.weights, SEEN)
    assert taught.after > max(taught.before, 0.5)
    assert np.abs(done[SEEN[:, 1] > 0.5] - 0.8).mean() < 0.15


def test_a_life_begins_and_ends_at_worst_with_what_was_taught() -> None:
    made = agent("never")
    _, taught = instructed(made, made.init(1), YES, SEEN)
    twin = made.replaced(begun=taught.weights)
    assert twin.init(4).weights is taught.weights
    assert twin.init(4).trial.candidate is taught.weights
    assert [each is known for each, known in zip(twin.known, (made.tail.converted, taught.weights), strict=True)] == [True, True]
    assert len(made.known) == 1
    kept, scores = settled(twin, twin.init(4), Bandit(4), 8, 0)
    assert kept.weights is taught.weights
    assert len(scores) == 1, "what nobody wants any more is among what is settled"
