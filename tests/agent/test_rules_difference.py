"""What changed between two sets of rules, and what a person's rules teach a learner."""

import json

import numpy as np
import pytest

from spikeloom.agent.rules import (
    SILENT,
    Recipe,
    Visits,
    corrections,
    corrections_of,
    difference,
    guards_from,
    imitate,
    names_of,
    predicates_of,
    rules_from,
)
from spikeloom.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
STATES = RNG.uniform(-1, 1, (2000, 4))
HEAD = "environment: CartPole-v1\npredicates: {lean: theta + 0.3 * theta_dot}\nrules:\n"


def text(*rules: str, otherwise: str | None = "push left", head: str = HEAD) -> str:
    end = "" if otherwise is None else f"\notherwise: {otherwise}"
    return head + "\n".join(f"  - {{when: '{when}', then: {then}}}" for when, _, then in (rule.partition(" → ") for rule in rules)) + end


def test_rules_are_the_same_moved_gone_or_new() -> None:
    before = rules_from(text("lean > 0.5 → push right", "x > 0.8 and x_dot <= -0.2 → push right", "theta_dot > 0.9 → push left"))
    after = rules_from(text("lean > 0.5 → push right", "x > 0.6 and x_dot <= -0.2 → push right", "not (x > 0) → push right"))
    found = difference(before, after, STATES)
    assert [rule.when.text for rule in found.same] == ["lean > 0.5"]
    assert [each.changes for each in found.moved] == [(("x", ">", 0.8, 0.6),)]
    assert [rule.when.text for rule in found.gone] == ["theta_dot > 0.9"]
    assert [rule.when.text for rule in found.new] == ["not (x > 0)"]
    assert found.share == pytest.approx((before(STATES) != after(STATES)).mean())
    assert found.pairs[0] == ("push left", "push right", pytest.approx(found.share))
    lines = found.text().splitlines()
    assert lines[:4] == [
        "= 1 rules stayed",
        "~ push right: x > 0.8 → 0.6    (if x > 0.6 and x_dot <= -0.2)",
        "- if theta_dot > 0.9 then push left",
        "+ if not (x > 0) then push right",
    ]
    assert "they act differently in" in lines[4]


def test_the_structure_is_plain_data() -> None:
    before, after = rules_from(text("x > 0.8 → push right")), rules_from(text("x > 0.6 → push right", otherwise="push right"))
    found = json.loads(json.dumps(difference(before, after, STATES).as_data()))
    assert found["moved"][0]["changes"] == [{"what": "x", "how": ">", "before": 0.8, "after": 0.6}]
    assert found["otherwise"] == ["push left", "push right"]
    assert sum(pair["share"] for pair in found["pairs"]) == pytest.approx(found["share"])


def test_nothing_changed_says_so() -> None:
    rules = rules_from(text("0.1 < lean <= 0.5 → push right"))
    found = difference(rules, rules, STATES)
    assert (found.moved, found.gone, found.new, found.share, found.pairs) == ((), (), (), 0.0, ())


def test_an_interval_and_its_mirror_are_two_bounds() -> None:
    before, after = rules_from(text("0.1 < lean <= 0.5 → push right")), rules_from(text("lean > 0.2 and 0.7 >= lean → push right"))
    assert difference(before, after, STATES).moved[0].changes == (("lean", ">", 0.1, 0.2), ("lean", "<=", 0.5, 0.7))


def test_other_actions_other_forms_and_negative_numbers() -> None:
    before = rules_from(text("x > 0.5 → push right", "x_dot <= -0.5 → push right"))
    after = rules_from(text("x > 0.5 → push left", "x_dot <= -0.4 → push right"))
    found = difference(before, after, STATES)
    assert (len(found.gone), len(found.new)) == (1, 1)
    assert found.moved[0].changes == (("x_dot", "<=", -0.5, -0.4),)


def test_of_several_partners_the_one_with_more_states_in_common_is_taken() -> None:
    before = rules_from(text("x > 0.5 → push right", otherwise="push left"))
    after = rules_from(text("x > 0.95 → push right", "x > 0.4 → push right", otherwise="push left"))
    found = difference(before, after, STATES)
    assert found.moved[0].changes == (("x", ">", 0.5, 0.4),)
    assert [rule.when.text for rule in found.new] == ["x > 0.95"]


def test_predicates_that_changed_are_named() -> None:
    before = rules_from(text("lean > 0.5 → push right"))
    after = rules_from(text("lean > 0.5 → push right", head=HEAD.replace("0.3", "0.4")))
    found = difference(before, after, STATES)
    assert found.predicates == (("lean", "theta + 0.3 * theta_dot", "theta + 0.4 * theta_dot"),)
    assert found.share > 0


def test_rules_that_say_nothing_differ_from_those_that_do() -> None:
    before, after = rules_from(text("x > 0 → push right", otherwise=None)), rules_from(text("x > 0 → push right"))
    found = difference(before, after, STATES)
    assert found.pairs == (("nothing", "push left", pytest.approx((STATES[:, 0] <= 0).mean())),)
    with pytest.raises(ConfigError, match="no difference"):
        difference(before, rules_from("environment: MountainCar-v0\nrules: []\notherwise: 0"), STATES)


def test_a_policy_that_changed_a_little_is_seen_as_thresholds_that_moved() -> None:
    def policy(limit: float):
        return lambda x: ((x[:, 0] > limit) | (x[:, 2] > 0.5)).astype(np.int64)

    def meet(act: object, seed: int) -> Visits:
        x = np.random.default_rng(seed).uniform(-1, 1, (4000, 4))
        return Visits(x, np.arange(4000) // 100, np.zeros(40))

    features = predicates_of({}, names_of("CartPole-v1"))
    before = imitate(policy(0.2), meet, features, Recipe(leaves=6, rounds=0))
    after = imitate(policy(-0.1), meet, features, Recipe(leaves=6, rounds=0), start=before.tree)
    found = difference(before.rules, after.rules, STATES)
    assert not found.gone
    assert not found.new
    changes = {change[:2]: change[3] for each in found.moved for change in each.changes}
    assert {what for what, _ in changes} == {"x"}
    assert all(abs(value + 0.1) < 0.06 for value in changes.values())
    assert found.share == pytest.approx(0.15 * 0.75, abs=0.02)


# --- corrections ------------------------------------------------------------------------------------------------------------


def test_corrections_are_the_states_where_a_rule_and_the_network_disagree() -> None:
    rules = rules_from(text("x > 0.5 → push right", "x < -0.5 → push left", otherwise=None))
    network = np.zeros(len(STATES), np.int64)
    found = corrections(rules, STATES, network)
    wrong = STATES[:, 0] > 0.5
    np.testing.assert_array_equal(found.observations, STATES[wrong])
    assert set(found.actions.tolist()) == {1}
    assert set(found.rules.tolist()) == {0}
    assert found.wrong == len(found) == wrong.sum()
    np.testing.assert_allclose(found.weights, 1.0)


def test_rare_rules_weigh_as_much_as_frequent_ones_and_a_rule_has_its_own_weight() -> None:
    rules = rules_from(HEAD + "  - {when: x > 0.9, then: 1, weight: 2}\n  - {when: x_dot > 0, then: 1}")
    found = corrections(rules, STATES, np.zeros(len(STATES), np.int64))
    sums = [found.weights[found.rules == number].sum() for number in (0, 1)]
    assert sums[0] == pytest.approx(2 * sums[1])
    assert sums[1] == pytest.approx(len(found) / 2)


def test_anchors_keep_what_is_right() -> None:
    rules = rules_from(text("x > 0.5 → push right", otherwise=None))
    found = corrections(rules, STATES, np.zeros(len(STATES), np.int64), keep=0.25)
    assert len(found) == len(STATES)
    anchors = found.rules == SILENT
    assert set(found.weights[anchors].tolist()) == {0.25}
    assert set(found.actions[anchors].tolist()) == {0}
    assert (found.observations[anchors][:, 0] <= 0.5).all()


def test_no_disagreement_is_no_correction() -> None:
    rules = rules_from(text("x > 0.5 → push right", otherwise=None))
    assert len(corrections(rules, STATES, rules_from(text("x > 0.5 → push right"))(STATES))) == 0
    with pytest.raises(DataError, match="one action for each"):
        corrections(rules, STATES, np.zeros(3, np.int64))


def test_numbers_disagree_beyond_a_tolerance() -> None:
    rules = rules_from("environment: Pendulum-v1\nrules: [{when: omega > 0, then: 1.0}]")
    seen = np.array([[1, 0, 1.0], [1, 0, 1.0], [1, 0, -1.0]])
    found = corrections(rules, seen, np.array([[0.98], [0.5], [0.0]], np.float32))
    assert found.actions.tolist() == [[1.0]]
    assert len(found) == 1


def test_vetoes_are_a_lesson_too() -> None:
    act = guards_from("environment: CartPole-v1\nguards: [{name: edge, when: x > 0.5, never: push right}]").wrap(
        lambda seen: np.array([[0.0, 1.0]] * len(seen))
    )
    act(STATES[:100])
    found = corrections_of(act.log.vetoes, 0.5)
    assert len(found) == (STATES[:100, 0] > 0.5).sum()
    assert set(found.actions.tolist()) == {0}
    assert set(found.weights.tolist()) == {0.5}
    with pytest.raises(DataError, match="no vetoes"):
        corrections_of([])


class Softmax:
    """A stand-in for the agent: a readout of fixed hinges that learns by (target − π) times what it saw."""

    def __init__(self) -> None:
        self.w = np.zeros((2, 17))

    def seen(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.ones((len(x), 1)), x, *(np.maximum(x - limit, 0) for limit in (-0.6, 0.0, 0.6))], 1)

    def policy(self, x: np.ndarray) -> np.ndarray:
        z = np.exp(self.seen(x) @ self.w.T)
        return z / z.sum(1, keepdims=True)

    def teach(self, observations: np.ndarray, actions: np.ndarray, weights: np.ndarray) -> None:
        error = (np.eye(2)[actions] - self.policy(observations)) * weights[:, None]
        self.w += 3.0 * error.T @ self.seen(observations) / len(observations)


def test_the_loop_closes_a_rule_that_a_person_adds_is_learnt_and_the_rest_stays() -> None:
    learner, old = Softmax(), (STATES[:, 2] > 0).astype(np.int64)
    for _ in range(200):
        learner.teach(STATES, old, np.ones(len(STATES)))
    rules = rules_from(text("x > 0.6 → push right", otherwise=None))
    ruled = STATES[:, 0] > 0.6

    def acts() -> np.ndarray:
        return learner.policy(STATES).argmax(1)

    assert (acts()[ruled] == 1).mean() < 0.6
    lesson = corrections(rules, STATES, acts(), keep=0.5)
    for _ in range(400):
        learner.teach(lesson.observations, lesson.actions, lesson.weights)
    assert (acts()[ruled] == 1).mean() > 0.9
    assert (acts()[~ruled] == old[~ruled]).mean() > 0.93
    bare = Softmax()
    bare.w = learner.w * 0  # without anchors a rule spreads over everything
    alone = corrections(rules, STATES, bare.policy(STATES).argmax(1))
    for _ in range(400):
        bare.teach(alone.observations, alone.actions, alone.weights)
    assert (bare.policy(STATES).argmax(1)[~ruled] == 1).mean() > 0.9
