"""
Shifts as they are written, and what they do to sensors and actuators while a world runs.
"""

from typing import Any

import gymnasium
import numpy as np
import pytest

from spikeloom.agent.worlds import PHYSICS, SENSORS, SUITES, parsed, scales, world
from spikeloom.errors import ConfigError, NumericError

# --- what is written -----------------------------------------------------------------------------------------------------


def test_words_are_shifts() -> None:
    assert parsed(["length=2.0", "swap = 1:3"]) == {"length": "2.0", "swap": "1:3"}
    env = world("CartPole-v1", 2, ["length=2.0", "swap=1:3", "delay=2"])
    now = env.shift_now()
    assert now["length"].tolist() == [2.0, 2.0]
    assert now["swap"].tolist() == ["1:3", "1:3"]
    assert now["delay"].tolist() == [2.0, 2.0]


@pytest.mark.parametrize("words", [["length"], ["=2"], ["length="], ["gain=1", "gain=2"]])
def test_words_of_another_form_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"name=value"):
        parsed(words)


BAD = (
    ("CartPole-v1", {"lenght": 2.0}, "half-length of the pole"),
    ("CartPole-v1", {"wind": "much"}, "unshifted 0"),
    ("CartPole-v1", {"length": 0.0}, "above 0"),
    ("CartPole-v1", {"gain": -1}, "from 0"),
    ("CartPole-v1", {"gravity": float("nan")}, "from 0"),
    ("CartPole-v1", {"swap": "1:4"}, "sensors 0 to 3"),
    ("CartPole-v1", {"swap": "1"}, "i:j"),
    ("CartPole-v1", {"drop": 7}, "sensors 0 to 3"),
    ("CartPole-v1", {"delay": 1.5}, "whole steps"),
    ("CartPole-v1", {"sign": 0.5}, "1 or -1"),
    ("Acrobot-v1", {"order": "0:0:1"}, "2:1:0"),
    ("Acrobot-v1", {"turn": -1}, "inertia"),
    ("Pendulum-v1", {"order": "0"}, "torque"),
    ("Taxi-v4", {"gravity": 2.0}, "noise"),
)


@pytest.mark.parametrize(("env_id", "shift", "told"), BAD)
def test_what_means_nothing_is_refused_with_what_is_allowed(env_id: str, shift: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        world(env_id, 1, shift)


def test_bad_worlds_are_refused() -> None:
    for arguments, told in (
        ({"count": 0}, "one environment"),
        ({"onset": -1}, "step 0"),
        ({"ramp": 5, "shifts": {"swap": "0:1"}}, "no ramp"),
        ({"count": 2, "shifts": [{}]}, "1 for 2"),
        ({"vector": "fast"}, "auto, own, sync"),
        ({"vector": "sync", "shifts": {"length": 2.0}}, "noise"),
        ({"autoreset": "never"}, "NextStep"),
    ):
        with pytest.raises(ConfigError, match=told):
            world("CartPole-v1", **arguments)
    with pytest.raises(ConfigError, match="no such environment"):
        world("Nowhere-v1")
    with pytest.raises(ConfigError, match="own"):
        world("Taxi-v4", vector="own")


def test_bad_actions_and_resets_are_refused() -> None:
    env = world("CartPole-v1", 2, autoreset="Disabled")
    env.reset()
    for actions in (np.array([0, 2]), np.array([0.0, 1.0]), np.array([0])):
        with pytest.raises(NumericError, match="actions"):
            env.step(actions)
    continuous = world("Pendulum-v1", 1)
    continuous.reset()
    with pytest.raises(NumericError, match="outside"):
        continuous.step(np.array([[np.nan]], dtype=np.float32))
    with pytest.raises(ConfigError, match="reset_mask"):
        env.reset(options={"low": -1.0})
    ended = np.zeros(2, dtype=np.bool_)
    while not ended.any():
        _, _, ended, _, _ = env.step(np.array([1, 0]))
    with pytest.raises(ConfigError, match="after a reset"):
        env.step(np.array([1, 1]))
    env.reset(options={"reset_mask": ended})
    env.step(np.array([1, 1]))


# --- what they do --------------------------------------------------------------------------------------------------------


def walk(env: Any, steps: int = 40, seed: int = 0, actions: Any = None) -> np.ndarray:
    """Observations [steps + 1, E, d] under actions that depend on nothing."""
    rng, space = np.random.default_rng(9), env.single_action_space
    seen = [env.reset(seed=seed)[0]]
    for step in range(steps):
        free = rng.integers(0, space.n, env.num_envs) if actions is None else np.array([actions[step]] * env.num_envs)
        seen.append(env.step(free)[0])
    return np.array(seen)


def test_sensors_are_dropped_swapped_and_noisy() -> None:
    plain = walk(world("Acrobot-v1", 3))
    read = walk(world("Acrobot-v1", 3, {"drop": "0:2", "swap": "1:4"}))
    np.testing.assert_array_equal(read[..., [1, 4, 3, 5]], plain[..., [4, 1, 3, 5]])
    assert not read[..., [0, 2]].any()
    noisy = walk(world("Acrobot-v1", 64, {"noise": 0.5, "drop": 2}), 60)
    noise = (noisy - walk(world("Acrobot-v1", 64, {"drop": 2}), 60)).reshape(-1, 6)
    kept = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(noise[:, kept].std(axis=0), 0.5 * scales("Acrobot-v1")[kept], rtol=0.05)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.05)
    assert not noise[:, 2].any()


def test_last_observations_are_read_by_the_same_sensors() -> None:
    def finals(shift: dict[str, Any]) -> list[np.ndarray]:
        env = world("CartPole-v1", 4, shift, autoreset="SameStep")
        env.reset(seed=0)
        infos = [env.step(np.ones(4, dtype=np.int64))[4] for _ in range(30)]
        return [last for info in infos for last in info.get("final_obs", ()) if last is not None]

    plain, swapped = finals({}), finals({"swap": "0:2"})
    assert len(plain) == len(swapped) > 4
    np.testing.assert_array_equal(np.stack(plain)[:, [2, 1, 0, 3]], np.stack(swapped))


ORDERS = (
    ("CartPole-v1", {"sign": -1}, [1, 0]),
    ("Acrobot-v1", {"sign": -1}, [2, 1, 0]),
    ("Acrobot-v1", {"order": "1:2:0"}, [1, 2, 0]),
    ("LunarLander-v3", {"sign": -1}, [0, 3, 2, 1]),
    ("MiniGrid-Empty-5x5-v0", {"turn": -1}, [1, 0, 2, 3, 4, 5, 6]),
    ("MiniGrid-Empty-5x5-v0", {"sign": -1}, [6, 5, 4, 3, 2, 1, 0]),
)


@pytest.mark.parametrize(("env_id", "shift", "order"), ORDERS)
def test_actions_change_places(env_id: str, shift: dict[str, Any], order: list[int]) -> None:
    free = np.random.default_rng(1).integers(0, len(order), 30)
    shifted, plain = walk(world(env_id, 2, shift), 30, actions=free), walk(world(env_id, 2), 30, actions=[order[a] for a in free])
    np.testing.assert_array_equal(shifted, plain)
    assert (walk(world(env_id, 2), 30, actions=free) != plain).any()


def test_continuous_actions_are_negated_and_weakened() -> None:
    def turned(shift: dict[str, float], torque: float, vector: str = "auto") -> np.ndarray:
        env = world("Pendulum-v1", 2, shift, vector=vector)
        env.reset(seed=1)
        return np.array([env.step(np.full((2, 1), torque, dtype=np.float32))[0] for _ in range(20)])

    for vector in ("auto", "sync"):
        np.testing.assert_array_equal(turned({"sign": -1}, 1.5, vector), turned({}, -1.5, vector))
        np.testing.assert_allclose(turned({"gain": 0.5}, 1.0, vector), turned({}, 0.5, vector), atol=1e-5)
    np.testing.assert_allclose(turned({"gain": 2.0}, 2.0)[:1], turned({"gain": 4.0}, 1.0)[:1], atol=1e-5)  # beyond ±2 N·m


def test_an_action_takes_effect_later() -> None:
    rng = np.random.default_rng(3)
    free = rng.integers(0, 3, 40)
    held = [free[max(step - 3, 0)] for step in range(40)]
    np.testing.assert_array_equal(walk(world("Acrobot-v1", 2, {"delay": 3}), actions=free), walk(world("Acrobot-v1", 2), actions=held))


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_new_episode_forgets_the_actions_of_the_last(mode: str) -> None:
    # The pole falls to one side; in the new episode the first action is the other one.
    env, plain = (world("CartPole-v1", 1, shift, autoreset=mode) for shift in ({"delay": 4}, {}))
    actions, ended = 0, False
    env.reset(seed=0)
    while not ended:
        _, _, terminated, _, _ = env.step(np.array([actions]))
        ended = bool(terminated[0])
    if mode == "NextStep":
        env.step(np.array([0]))
    plain.reset(seed=0)
    plain.unwrapped.state[:] = env.unwrapped.state
    for _ in range(4):
        np.testing.assert_array_equal(env.step(np.array([1]))[0], plain.step(np.array([1]))[0])


def test_delays_and_switches_differ_between_environments() -> None:
    shifts = [{"delay": 2}, {}, {"sign": -1, "drop": 1}]
    env, plain = world("Acrobot-v1", 3, shifts), world("Acrobot-v1", 3)
    env.reset(seed=0)
    plain.reset(seed=0)
    free = np.random.default_rng(0).integers(0, 3, (30, 3))
    for step in range(30):
        seen = env.step(free[step])[0]
        wanted = plain.step(np.array([free[max(step - 2, 0), 0], free[step, 1], 2 - free[step, 2]]))[0].copy()
        wanted[2, 1] = 0.0
        np.testing.assert_array_equal(seen, wanted)
    assert env.shift_now()["drop"].tolist() == ["", "", "1"]


# --- when ----------------------------------------------------------------------------------------------------------------


def test_a_sudden_shift_changes_nothing_before_and_everything_after() -> None:
    shift = {"length": 3.0, "sign": -1, "noise": 0.2, "delay": 1}
    plain, later, now = (walk(world("CartPole-v1", 4, shifts, onset=onset), 30) for shifts, onset in (({}, 0), (shift, 12), (shift, 0)))
    np.testing.assert_array_equal(plain[:13], later[:13])  # the start and twelve steps
    assert (plain[13] != later[13]).any()
    assert (now[1] != later[1]).any()


def test_a_gradual_shift_grows_in_a_straight_line() -> None:
    env = world("CartPole-v1", 2, [{"length": 3.0}, {"length": 0.5, "wind": 2.0}], onset=4, ramp=8)
    env.reset()
    lengths, winds, poles = [], [], []
    for _ in range(16):
        env.step(np.zeros(2, dtype=np.int64))
        lengths.append(env.shift_now()["length"].tolist())
        winds.append(env.shift_now()["wind"][1])
        poles.append(env.unwrapped.constants["length"][0])
    shares = [min(max((step - 4 + 1) / 8, 0.0), 1.0) for step in range(16)]
    np.testing.assert_allclose(lengths, [[1 + 2 * f, 1 - 0.5 * f] for f in shares])
    np.testing.assert_allclose(winds, [2 * f for f in shares])
    np.testing.assert_allclose(poles, [0.5 * (1 + 2 * f) for f in shares])
    env.reset()  # the clock starts anew
    assert env.shift_now()["length"].tolist() == [1.0, 1.0]


def test_a_lander_grows_heavier_and_windier_in_flight() -> None:
    env, plain = (world("LunarLander-v3", 1, shift, onset=10) for shift in ({"mass": 2.0, "wind": 20.0, "gravity": 0.5}, {}))
    changed, unchanged = (walk(each, 40, actions=[2] * 40)[:, 0] for each in (env, plain))
    np.testing.assert_array_equal(changed[:11], unchanged[:11])
    assert np.abs(changed[20] - unchanged[20]).max() > 1e-3
    assert env.unwrapped.landers[0].lander.mass == pytest.approx(2 * plain.unwrapped.landers[0].lander.mass)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "LunarLander-v3", "MiniGrid-Empty-5x5-v0"])
def test_the_same_seeds_give_the_same_world(env_id: str) -> None:
    env = world(env_id, 3, {"noise": 0.3}, seed=5)
    first = [env.reset()[0], *(env.step(np.array([1, 0, 1]))[0] for _ in range(25))]
    again = world(env_id, 3, {"noise": 0.3}, seed=5)
    second = [again.reset(seed=[5, 6, 7])[0], *(again.step(np.array([1, 0, 1]))[0] for _ in range(25))]
    third = [env.reset(seed=5)[0], *(env.step(np.array([1, 0, 1]))[0] for _ in range(25))]
    np.testing.assert_array_equal(first, third)
    np.testing.assert_array_equal(np.array(first)[0].shape, np.array(second)[0].shape)
    other = world(env_id, 3, {"noise": 0.3}, seed=6)
    assert (other.reset()[0] != first[0]).any()


def test_other_environments_are_shifted_as_their_sensors_allow() -> None:
    grid = walk(world("MiniGrid-Empty-5x5-v0", 2), 12)
    assert grid.shape == (13, 2, 147)
    assert grid.dtype == np.float32
    swapped = walk(world("MiniGrid-Empty-5x5-v0", 2, {"swap": "57:60", "drop": 63}), 12)
    np.testing.assert_array_equal(swapped[..., 57], grid[..., 60])
    assert not swapped[..., 63].any()
    taxi = world("Taxi-v4", 1, {"noise": 0.1})  # an observation that is one of 500
    assert taxi.reset()[0].shape == (1, 500)
    assert isinstance(taxi, gymnasium.vector.VectorEnv)


def test_every_quantity_of_the_tables_changes_its_world() -> None:
    pushed = {"wind": 5.0, "friction": 0.2, "noise": 0.2}
    for name, quantities in PHYSICS.items():
        env_id = {"CartPole": "CartPole-v1", "Acrobot": "Acrobot-v1", "Pendulum": "Pendulum-v1", "MountainCar": "MountainCar-v0"}.get(name)
        for quantity in quantities if env_id else ():
            seen = []
            for value in (quantities[quantity].nominal, pushed.get(quantity, 0.5)):
                env = world(str(env_id), 1, {quantity: value})
                env.reset(seed=0)
                env.action_space.seed(0)
                seen.append([env.step(env.action_space.sample())[0] for _ in range(15)])
            assert not np.array_equal(*seen), (name, quantity)
        if env_id:
            assert len(SENSORS[name]) == world(env_id).single_observation_space.shape[0]


# --- the benchmark -------------------------------------------------------------------------------------------------------


def test_the_benchmarks_shifts_are_fifteen_of_different_kinds_that_cost_a_fifth() -> None:
    for env_id, suite in SUITES.items():
        assert len(suite.cases) == 5
        assert {case.kind for case in suite.cases} == {"dynamics", "actuator", "sensor", "delay"}
        for case in suite.cases:
            world(env_id, 1, case.shift)
            assert suite.normalised(case.frozen) <= 0.8
            assert case.reached - case.frozen > 0.1 * (suite.ann - suite.random)
