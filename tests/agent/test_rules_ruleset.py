"""Rule sets: the first that holds, their file and its errors, their text; and rules learnt from a policy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikeloom.agent.rules import (
    SILENT,
    Names,
    Recipe,
    RuleSet,
    Search,
    Visits,
    agreement,
    imitate,
    load_rules,
    names_of,
    predicates_of,
    proposed,
    rules_from,
    visits,
)
from spikeloom.agent.rules.imitate import losses
from spikeloom.agent.rules.propose import terms_of, text_of
from spikeloom.errors import ConfigError, DataError, NumericError

TEXT = """
environment: CartPole-v1
predicates:
  lean: theta + 0.3 * theta_dot
  outward: x * x_dot > 0
  both: outward and lean > 0
rules:
  - when: lean > 0.1 and not outward
    then: push right
  - when: both
    then: 0
    weight: 2.5
otherwise: push right
"""
POLE = "environment: CartPole-v1\nrules:\n"
SEEN = np.array([[1.0, -1.0, 0.2, 0.0], [1.0, 1.0, 0.2, 0.0], [-1.0, -1.0, -0.2, 0.0], [0.0, 0.0, 0.0, 0.4]])


def test_the_first_that_holds_says_what_to_do() -> None:
    rules = rules_from(TEXT)
    assert rules.fired(SEEN).tolist() == [0, 1, SILENT, 0]
    assert rules(SEEN).tolist() == [1, 0, 1, 1]
    assert rules(SEEN).dtype == np.int64
    assert [rule.weight for rule in rules.rules] == [1.0, 2.5]


def test_earlier_rules_come_first() -> None:
    rules = rules_from("environment: CartPole-v1\nrules: [{when: x > 0, then: 1}, {when: x > -1, then: 0}]\notherwise: 1")
    assert rules(np.array([[0.5, 0, 0, 0], [-0.5, 0, 0, 0], [-2.0, 0, 0, 0]])).tolist() == [1, 0, 1]


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_what_is_saved_is_loaded_again(tmp_path: Path, suffix: str) -> None:
    rules = rules_from(TEXT)
    assert load_rules(rules.save(tmp_path / f"rules.{suffix}")) == rules


def test_numbers_as_actions() -> None:
    rules = rules_from("environment: Pendulum-v1\nrules:\n  - when: omega > 0\n    then: -1.5\notherwise: 2")
    found = rules(np.array([[1.0, 0.0, 0.5], [1.0, 0.0, -0.5]]))
    assert found.dtype == np.float32
    assert found.tolist() == [[-1.5], [2.0]]
    assert "then torque -1.5" in rules.text()
    with pytest.raises(ConfigError, match=r"line 3: a number for each action is wanted"):
        rules_from("environment: Pendulum-v1\nrules:\n  - {when: omega > 0, then: [1, 2]}")


def test_rules_that_say_nothing_of_a_state_say_so() -> None:
    rules = rules_from("environment: CartPole-v1\nrules: [{when: x > 0, then: 1}]")
    assert rules(SEEN[:2]).tolist() == [1, 1]
    with pytest.raises(DataError, match=r"no rule says what to do\n  found: .*'x': -1.0"):
        rules(SEEN)


def test_observations_that_are_no_numbers_or_of_another_shape_are_errors() -> None:
    bad = SEEN.copy()
    bad[2, 3] = np.nan
    with pytest.raises(NumericError, match="theta_dot of sample 2"):
        rules_from(TEXT)(bad)
    with pytest.raises(DataError, match=r"allowed: \[n, 4\]"):
        rules_from(TEXT)(SEEN[:, :3])


def test_the_text_reads() -> None:
    assert rules_from(TEXT).text(SEEN).splitlines() == [
        "if lean > 0.1 and not outward then push right    [50.0%]",
        "if both then push left    [25.0%]",
        "otherwise push right    [25.0%]",
        "where lean = theta + 0.3 * theta_dot",
        "where outward = x * x_dot > 0",
        "where both = outward and lean > 0",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [", r"line 1, column 9: this is no YAML"),
        ("", "is empty"),
        ("environment: CartPole-v1\nrule: []", r"line 2: there is no such key\n  found: rule\n.*\n  what to do: did you mean rules"),
        ("environment: CartPole-v1", r"line 1: a key is missing\n  found: environment\n  allowed: needed: rules"),
        ("environment: CartPole-v1\nrules: []", "line 2: there are no rules"),
        ("environment: Nowhere-v1\nrules: [{when: x > 0, then: 1}]", "found: Nowhere-v1"),
        (POLE + "  - when: x > 0\n    then: jump", r"line 4: there is no such action\n  found: jump\n  allowed: push left, push right"),
        (POLE + "  - when: z > 0\n    then: 1", r"line 3: there is nothing of this name\n  found: z\n  allowed: x, x_dot"),
        ("environment: CartPole-v1\nrules:\n  - when: x\n    then: 1", "line 3: a condition is wanted"),
        ("environment: CartPole-v1\nrules:\n  - when: x > 0\n    when: x < 0\n    then: 1", "line 4: a key stands twice"),
        ("environment: CartPole-v1\nrules:\n  - {when: x > 0, then: 1, weight: -1}", "line 3: a number is wanted"),
        ("environment: CartPole-v1\nrules:\n  when: x > 0", "line 3: a list is wanted"),
        ("environment: CartPole-v1\npredicates:\n  x: theta\nrules: []", r"line 3: this name is taken\n  found: x"),
        ("environment: CartPole-v1\npredicates:\n  a-b: theta\nrules: []", "line 3: a predicate cannot have this name"),
        ("environment: CartPole-v1\npredicates:\n  a: b\n  b: x\nrules: []", r"line 3: there is nothing of this name\n  found: b"),
        ("!!python/object:os.system {}", "a mapping is wanted|cannot be read|there is no such key|is missing"),
        ("[1, 2]", "line 1: a mapping is wanted"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_error_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rules_from(text)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_rules(tmp_path / "none.yaml")


# --- learnt -----------------------------------------------------------------------------------------------------------------

NAMES = Names(("a", "b"), ("left", "right"))


def linear(x: np.ndarray) -> np.ndarray:
    return (x[:, 0] + 0.5 * x[:, 1] > 0.1).astype(np.int64)


def wandering(where: Callable[[np.ndarray], np.ndarray], seed: int) -> Visits:
    """Twenty episodes of a point that the action pushes left or right."""
    rng = np.random.default_rng(seed)
    x, seen = rng.normal(size=(20, 2)), list[np.ndarray]()
    for _ in range(60):
        seen.append(x)
        push = np.where(where(x) == 1, -0.1, 0.1)
        x = x + np.stack([push + rng.normal(size=20) * 0.3, rng.normal(size=20) * 0.3], 1)
    return Visits(np.concatenate(seen), np.tile(np.arange(20), 60), np.zeros(20))


def test_rules_learn_what_a_policy_does_and_are_judged_on_other_episodes() -> None:
    plain = imitate(linear, wandering, predicates_of({}, NAMES), Recipe(leaves=6, rounds=2))
    seen = imitate(linear, wandering, predicates_of({"sum": "a + 0.5 * b"}, NAMES), Recipe(leaves=6, rounds=2))
    new = wandering(linear, 99).observations
    assert plain.leaves <= 6
    assert len(plain.agreement) == 3
    assert agreement(seen.rules(new), linear(new)) > 0.99 > agreement(plain.rules(new), linear(new)) > 0.7
    assert seen.rules.text().startswith("if sum ")


def test_each_round_meets_the_states_of_the_rules_themselves() -> None:
    asked = list[object]()

    def meet(act: object, seed: int) -> Visits:
        asked.append((act, seed))
        return wandering(act, seed)  # pyright: ignore[reportArgumentType]

    imitate(linear, meet, predicates_of({}, NAMES), Recipe(rounds=2), seed=7)
    assert asked[0] == (linear, 7)
    assert [seed for _, seed in asked] == [7, 8, 9]  # pyright: ignore[reportGeneralTypeIssues]
    assert len(asked) == 3
    assert all(isinstance(act, RuleSet) for act, _ in asked[1:])  # pyright: ignore[reportGeneralTypeIssues]


def test_the_same_seed_gives_the_same_rules() -> None:
    first, again = (imitate(linear, wandering, predicates_of({}, NAMES), Recipe(leaves=8, rounds=1), seed=3) for _ in range(2))
    assert first.rules == again.rules


def test_values_put_the_leaves_where_a_wrong_action_costs_most() -> None:
    def steps(x: np.ndarray) -> np.ndarray:
        return ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(np.int64)

    def values(x: np.ndarray) -> np.ndarray:
        cost = np.where(x[:, 0] > 0, 10.0, 0.1)
        return np.stack([np.where(steps(x) == 0, cost, 0.0), np.where(steps(x) == 1, cost, 0.0)], 1)

    new = wandering(steps, 99).observations
    found = imitate(steps, wandering, predicates_of({}, NAMES), Recipe(leaves=3, rounds=0), values=values)
    right = found.rules(new) == steps(new)
    assert right[new[:, 0] > 0].mean() > 0.97
    np.testing.assert_allclose(losses(np.array([[0.0, 3.0], [5.0, 4.0]])), [3.0, 1.0])


def test_continuous_actions_are_rules_with_numbers() -> None:
    names = Names(("a", "b"), ("force",), continuous=True)

    def act(x: np.ndarray) -> np.ndarray:
        return np.where(x[:, :1] > 0, -1.0, np.where(x[:, 1:] > 0.5, 0.5, 1.0)).astype(np.float32)

    def meet(where: Callable[[np.ndarray], np.ndarray], seed: int) -> Visits:
        return wandering(lambda x: (where(x)[:, 0] > 0).astype(np.int64), seed)

    found = imitate(act, meet, predicates_of({}, names), Recipe(leaves=6, rounds=1))
    new = wandering(linear, 99).observations
    assert agreement(found.rules(new), act(new)) > 0.95
    assert found.rules(new).shape == (len(new), 1)


@pytest.mark.parametrize("wrong", [{"leaves": 1}, {"rounds": -1}, {"held_out": 0.0}, {"own": 1.0}, {"tolerance": -0.1}])
def test_a_recipe_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="allowed: leaves"):
        Recipe(**wrong)  # pyright: ignore[reportArgumentType]


def test_one_episode_is_too_few() -> None:
    lone = Visits(np.zeros((5, 2)), np.zeros(5, np.int64), np.zeros(1))
    with pytest.raises(DataError, match="episodes that they were not learnt from"):
        imitate(linear, lambda act, seed: lone, predicates_of({}, NAMES))


def test_proposed_predicates_separate_what_single_observations_do_not() -> None:
    x = np.random.default_rng(0).normal(size=(6000, 3))
    sums = x @ np.array([[1.0, -0.6, 0.0], [0.2, 1.0, 1.0]]).T
    y = ((sums[:, 0] > 0) * 1 + (sums[:, 1] > 0.5) * 1).astype(np.int64)
    names = Names(("a", "b", "c"), ("left", "stay", "right"))
    found = proposed(x, y, names, Search(count=2, terms=3, leaves=6, rounds=5, steps=250))
    assert 1 <= len(found.predicates) <= 2
    for features, least, most in ((found, 0.97, 1.0), (predicates_of({}, names), 0.0, 0.9)):
        rules = imitate(lambda o: _labels(o), lambda act, seed: cut(x), features, Recipe(leaves=6, rounds=0))
        assert least <= agreement(rules.rules(x), y) <= most
    assert proposed(x, y, names, Search(count=2, terms=3, leaves=6, rounds=1, steps=5)) == proposed(
        x, y, names, Search(count=2, terms=3, leaves=6, rounds=1, steps=5)
    )


def _labels(x: np.ndarray) -> np.ndarray:
    sums = x @ np.array([[1.0, -0.6, 0.0], [0.2, 1.0, 1.0]]).T
    return ((sums[:, 0] > 0) * 1 + (sums[:, 1] > 0.5) * 1).astype(np.int64)


def cut(x: np.ndarray) -> Visits:
    """Samples as if they came in episodes of 100."""
    return Visits(x, np.arange(len(x)) // 100, np.zeros(len(x) // 100))


def test_a_proposal_is_written_as_a_person_would() -> None:
    terms = terms_of(("a", "b"), products=True)
    assert terms == [(0,), (1,), (0, 0), (0, 1), (1, 1)]
    assert (
        text_of(np.array([2.0, -0.5, 0.0, 1.2345, 1e-9]), np.array([2.0, -0.5, 0.0, 1.2345, 1e-9]), terms, ("a", "b"))
        == "a + 0.62 * a * b - 0.25 * b"
    )
    with pytest.raises(DataError, match="separate actions"):
        proposed(np.zeros((5, 2)), np.zeros(5, np.int64), NAMES)


# --- in an environment ------------------------------------------------------------------------------------------------------


def test_visits_are_whole_episodes_and_their_returns() -> None:
    gymnasium = pytest.importorskip("gymnasium", reason="needs spikeloom[agents]")
    env = gymnasium.make_vec("CartPole-v1", num_envs=3, vectorization_mode="sync")
    rules = rules_from("environment: CartPole-v1\nrules: [{when: theta + 0.3 * theta_dot > 0, then: 1}]\notherwise: 0")
    found = visits(rules, env, 7, seed=5)
    assert len(found.returns) == 7
    assert np.bincount(found.episodes).tolist() == found.returns.astype(int).tolist()  # a reward of 1 a step
    assert found.returns.min() > 50
    single = gymnasium.make("CartPole-v1")
    seen, _ = single.reset(seed=5)
    np.testing.assert_allclose(found.observations[found.episodes == 0][0], seen)


def test_names_of_the_table_fit_a_file_without_names() -> None:
    rules = rules_from("rules: [{when: x0 > 0, then: action 1}]\notherwise: 0", names_of("Other-v0", 2, 2))
    assert rules(np.array([[1.0, 0.0]])).tolist() == [1]
