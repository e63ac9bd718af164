"""Expressions: what they are worth, what cannot stand in one, and that nothing of them is ever executed."""

import numpy as np
import pytest

from spikeloom.agent.rules.expression import parsed, truth
from spikeloom.agent.rules.names import Names, names_of
from spikeloom.errors import ConfigError, NumericError

KNOWN = {"x": "number", "y": "number", "low": "truth"}
X, Y = np.array([-1.5, 0.0, 2.0]), np.array([1.0, 3.0, -4.0])
VALUES = {"x": X, "y": Y, "low": np.array([True, False, True])}


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("x + 2 * y - 1", X + 2 * Y - 1),
        ("-x / 4 + y**2", -X / 4 + Y**2),
        ("abs(x) + min(x, y) * max(x, y)", abs(X) + np.minimum(X, Y) * np.maximum(X, Y)),
        ("sqrt(max(x, 0)) + sin(y) - cos(y)", np.sqrt(np.maximum(X, 0)) + np.sin(Y) - np.cos(Y)),
        ("sign(x) + atan2(y, x)", np.sign(X) + np.arctan2(Y, X)),
        ("x > 0.5", X > 0.5),
        ("-2 < x <= 0 or not (x != y and low)", ((X > -2) & (X <= 0)) | ~((X != Y) & VALUES["low"])),
        ("x * y >= 0 and x == x", X * Y >= 0),
        ("3", np.full(3, 3.0)),
        ("1 < 2", np.full(3, True)),
    ],
)  # fmt: skip
def test_is_worth_what_numpy_says(text: str, due: np.ndarray) -> None:
    found = parsed(text, KNOWN, "here")(VALUES)
    assert found.shape == (3,)
    assert (found.dtype == bool) == (due.dtype == bool)
    np.testing.assert_allclose(found, due)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "x.__class__",
        "(lambda: 1)()",
        "[x][0]",
        "x if low else y",
        "'x'",
        "x ** y",
        "x ** -1",
        "x ** 99",
        "x // 2",
        "x @ y",
        "x << 2",
        "~x",
        "True",
        "None",
        "abs(x, y)",
        "abs(x=x)",
        "print(x)",
        "x in (1, 2)",
        "x is y",
        "(y := x)",
        "1e999",
        "x >",
        "",
        "x; y",
        "f'{x}'",
        "x" + " + x" * 1000,
        "(" * 90 + "x" + ")" * 90 + "+" + "-" * 70 + "x",
        "x\x00",
        None,
        ["x"],
    ],
)
def test_refuses_whatever_is_no_arithmetic_or_comparison(text: object) -> None:
    with pytest.raises(ConfigError, match=r"file\.yaml, line 3"):
        parsed(text, KNOWN, "file.yaml, line 3")


@pytest.mark.parametrize("text", ["low + 1", "low > 0", "not x", "x and y", "(x > 0) * 2", "abs(low)", "x > 0 > low"])
def test_keeps_numbers_and_truths_apart(text: str) -> None:
    with pytest.raises(ConfigError, match="must stand here"):
        parsed(text, KNOWN, "here")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"there is nothing of this name\n  found: z\n  allowed: x, y, low"):
        parsed("x + z > 0", KNOWN, "here")


def test_a_condition_is_no_number() -> None:
    assert truth("low", KNOWN, "here").kind == "truth"
    with pytest.raises(ConfigError, match="a condition is wanted"):
        truth("x + 1", KNOWN, "here")


@pytest.mark.parametrize("text", ["x / x > 1", "sqrt(x) > 0"])
def test_what_gives_no_number_is_an_error_not_a_condition_that_fails(text: str) -> None:
    with pytest.raises(NumericError, match="gives no number"):
        parsed(text, KNOWN, "here")(VALUES)
    assert parsed("1 / x > 5", KNOWN, "here")(VALUES).tolist() == [False, True, False]  # infinite is more than 5


def test_environments_have_names_and_others_numbers() -> None:
    assert names_of("CartPole-v1").observations == ("x", "x_dot", "theta", "theta_dot")
    assert names_of("CartPole-v1", 4, 2).actions == ("push left", "push right")
    assert names_of("CartPole-v1", 3, 2) == Names(("x0", "x1", "x2"), ("push left", "push right"))
    assert names_of("LunarLander-v3").actions[2] == "main engine"
    assert names_of("LunarLander-v3", continuous=True).continuous
    assert names_of("Pendulum-v1").actions == ("torque",)
    assert names_of("Other-v0", 2, 3).actions == ("action 0", "action 1", "action 2")
    assert names_of("Other-v0", 2, 1, continuous=True) == Names(("x0", "x1"), ("u0",), continuous=True)
    with pytest.raises(ConfigError, match="CartPole, Acrobot"):
        names_of("Other-v0")


@pytest.mark.parametrize("env", ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1", "MountainCarContinuous-v0"])
def test_the_table_has_as_many_names_as_the_environments_have_observations_and_actions(env: str) -> None:
    gymnasium = pytest.importorskip("gymnasium", reason="needs spikeloom[agents]")
    made, names = gymnasium.make(env), names_of(env)
    assert made.observation_space.shape == (len(names.observations),)
    count = made.action_space.shape[0] if names.continuous else made.action_space.n
    assert count == len(names.actions)


def test_an_action_is_named_or_numbered() -> None:
    names = names_of("CartPole-v1")
    assert (names.action("push right", "here"), names.action(0, "here")) == (1, 0)
    for wrong in ("push up", 2, -1, True, None):
        with pytest.raises(ConfigError, match="allowed: push left, push right"):
            names.action(wrong, "here")


@pytest.mark.parametrize("names", [(), ("x", "x"), ("x y",), ("2x",)])
def test_observations_need_names_of_their_own(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="name"):
        Names(names, ("a",))
