"""Guards: what they take away, what is done instead, what they log, and what happens where nothing would be left."""

import numpy as np
import pytest

from spikeloom.agent.rules import guards_from
from spikeloom.errors import ConfigError, DataError, NumericError

HEAD = "environment: LunarLander-v3\nguards:\n"
COAST, LEFT, MAIN, RIGHT = range(4)


def states(*rows: dict[str, float]) -> np.ndarray:
    """States of the lander, 0 where nothing is said."""
    names = ("x", "y", "vx", "vy", "angle", "omega", "left_leg", "right_leg")
    return np.array([[row.get(name, 0.0) for name in names] for row in rows])


def outputs(*orders: tuple[int, ...]) -> np.ndarray:
    """Outputs for which the actions are wanted in these orders."""
    return np.array([[-order.index(action) for action in range(4)] for order in orders], dtype=np.float32)


def test_a_vetoed_action_is_replaced_by_the_next_best_and_logged() -> None:
    guard = guards_from(HEAD + '  - {name: high, when: "y > 1.4 and vy > 0", never: main engine}')
    act = guard.wrap(lambda seen: outputs((MAIN, RIGHT, LEFT, COAST), (MAIN, LEFT, RIGHT, COAST), (LEFT, MAIN, RIGHT, COAST)))
    seen = states({"y": 1.5, "vy": 0.1}, {"y": 1.5, "vy": -0.1}, {"y": 1.5, "vy": 0.1})
    assert act(seen).tolist() == [RIGHT, MAIN, LEFT]
    assert act(seen).dtype == np.int64
    assert (act.log.steps, act.log.states, act.log.counts, act.log.conflicts) == (2, 6, {"high": 2}, {"high": 0})
    veto = act.log.vetoes[1]
    assert (veto.step, veto.environment, veto.rule, veto.wanted, veto.taken) == (1, 0, "high", MAIN, RIGHT)
    assert veto.observation == tuple(seen[0])
    assert act.log.text() == "high: 2 vetoes (33.33% of states), gave way in 0"


def test_what_is_done_instead_can_be_named() -> None:
    guard = guards_from(
        HEAD + "  - {when: vy < -1, never: [coast, left engine], instead: main engine}\n  - {when: x > 1, never: main engine}"
    )
    seen = states({"vy": -2}, {"vy": -2, "x": 2}, {"vy": -2}, {})
    order = (LEFT, COAST, RIGHT, MAIN)
    found = guard.actions(seen, outputs(order, order, (RIGHT, LEFT, COAST, MAIN), order))
    assert found.tolist() == [MAIN, RIGHT, RIGHT, LEFT]  # instead; instead is taken too; not vetoed; nothing holds


def test_of_two_guards_that_take_an_action_the_first_is_named_and_says_what_is_done_instead() -> None:
    text = "  - {name: a, when: x > 0, never: coast, instead: main engine}\n  - {name: b, when: y > 0, never: coast, instead: right engine}"
    act = guards_from(HEAD + text).wrap(lambda seen: outputs(*[(COAST, LEFT, MAIN, RIGHT)] * 2))
    assert act(states({"x": 1, "y": 1}, {"y": 1})).tolist() == [MAIN, RIGHT]
    assert act.log.counts == {"a": 1, "b": 1}


def test_where_nothing_would_be_left_the_later_guard_gives_way_and_is_counted() -> None:
    text = "  - {name: a, when: x > 0, never: [coast, left engine]}\n  - {name: b, when: y > 0, never: [main engine, right engine]}"
    act = guards_from(HEAD + text).wrap(lambda seen: outputs(*[(MAIN, COAST, LEFT, RIGHT)] * 3))
    assert act(states({"x": 1, "y": 1}, {"y": 1}, {"x": 1})).tolist() == [MAIN, COAST, MAIN]
    assert act.log.conflicts == {"a": 0, "b": 1}
    assert act.log.counts == {"a": 0, "b": 1}


def test_a_choice_that_is_not_the_largest_output_stands_where_it_is_allowed() -> None:
    guard = guards_from(HEAD + "  - {when: y > 0, never: coast}")
    order = (MAIN, LEFT, RIGHT, COAST)
    found = guard.actions(states({"y": 1}, {"y": 1}, {}), outputs(order, order, order), np.array([RIGHT, COAST, COAST]))
    assert found.tolist() == [RIGHT, MAIN, COAST]


def test_guards_over_predicates_look_ahead() -> None:
    text = "environment: CartPole-v1\npredicates:\n  later: x + x_dot\nguards:\n  - {when: later > 2, never: push right}"
    guard = guards_from(text)
    found = guard.actions(np.array([[1.5, 1.0, 0, 0], [1.5, 0.0, 0, 0]]), np.array([[0.0, 1.0]] * 2))
    assert found.tolist() == [0, 1]


def test_numbers_are_kept_within_bounds() -> None:
    text = """
environment: Pendulum-v1
guards:
  - {name: fast, when: abs(omega) > 6, bound: {torque: [-1, 1]}}
  - {name: up, when: omega > 6, bound: {torque: [-2, -0.5]}}
  - {name: against, when: omega > 7, bound: {torque: [0.5, 2]}}
"""
    act = guards_from(text).wrap(lambda seen: np.array([[1.8], [1.8], [1.8], [1.8], [-0.7]]))
    found = act(np.array([[1, 0, 0.0], [1, 0, -6.5], [1, 0, 6.5], [1, 0, 7.5], [1, 0, 6.5]]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], [1.8, 1.0, -0.5, -0.5, -0.7], atol=1e-6)
    assert act.log.counts == {"fast": 3, "up": 0, "against": 0}
    assert act.log.conflicts == {"fast": 0, "up": 0, "against": 1}
    assert act.log.vetoes[0].taken == (1.0,)


def test_the_log_keeps_the_last_vetoes_and_counts_all() -> None:
    guard = guards_from(HEAD + "  - {name: never, when: y >= 0, never: main engine}")
    act = guard.wrap(lambda seen: outputs((MAIN, LEFT, RIGHT, COAST)), keep=3)
    for _ in range(5):
        act(states({}))
    assert [veto.step for veto in act.log.vetoes] == [2, 3, 4]
    assert act.log.counts == {"never": 5}


def test_the_order_of_environments_does_not_matter() -> None:
    text = "  - {when: vy < 0, never: [coast, right engine], instead: main engine}\n  - {when: x > 0, never: main engine}"
    guard, rng = guards_from(HEAD + text), np.random.default_rng(0)
    seen, wanted = rng.normal(size=(200, 8)), rng.normal(size=(200, 4))
    whole = guard.actions(seen, wanted)
    assert whole.tolist() == [int(guard.actions(seen[i : i + 1], wanted[i : i + 1])[0]) for i in range(200)]
    banned = (seen[:, 3] < 0) & np.isin(whole, (COAST, RIGHT)) | (seen[:, 0] > 0) & (whole == MAIN)
    assert not banned.any()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  - {when: y > 1, never: fly}", r"line 3: there is no such action\n  found: fly\n  allowed: coast, left engine"),
        ("  - {when: z > 1, never: coast}", r"line 3: there is nothing of this name\n  found: z"),
        ("  - {when: y, never: coast}", "line 3: a condition is wanted"),
        ("  - {when: y > 1}", "line 3: a key is missing"),
        ("  - {never: coast}", "line 3: a key is missing"),
        ("  - {when: y > 1, never: [coast, left engine, main engine, right engine]}", "line 3: a guard cannot take all actions"),
        ("  - {when: y > 1, never: coast, instead: coast}", "line 3: what is done instead is what is never done"),
        ("  - {when: y > 1, bound: {coast: [0, 1]}}", "line 3: there is no such key"),
        ("  - {name: a, when: y > 1, never: coast}\n  - {name: a, when: y > 2, never: coast}", "line 4: two guards have one name"),
    ],
)
def test_a_wrong_guard_is_one_error_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        guards_from(HEAD + text)


@pytest.mark.parametrize("bound", ["{torque: [1, -1]}", "{torque: 1}", "{torque: [0]}", "{force: [0, 1]}", "{torque: [a, b]}"])
def test_wrong_bounds_are_one_error(bound: str) -> None:
    with pytest.raises(ConfigError, match="line 3"):
        guards_from(f"environment: Pendulum-v1\nguards:\n  - {{when: omega > 1, bound: {bound}}}")


def test_shapes_and_numbers_are_checked() -> None:
    guard = guards_from(HEAD + "  - {when: y > 1, never: coast}")
    with pytest.raises(DataError, match="outputs of another shape"):
        guard.actions(states({}), np.zeros((1, 3)))
    with pytest.raises(NumericError, match="an output of the policy"):
        guard.actions(states({}), np.array([[0.0, np.nan, 0.0, 0.0]]))
    with pytest.raises(NumericError, match="y of sample 0"):
        guard.actions(states({"y": float("nan")}), np.zeros((1, 4)))
