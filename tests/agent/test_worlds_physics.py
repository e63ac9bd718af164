"""
Worlds against gymnasium: unshifted they are its environments bit for bit, shifted they are its environments with other constants.
"""

import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.box2d import lunar_lander
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from spikeloom.agent.worlds import PHYSICS, acrobot, world

OWN = (
    ("CartPole-v1", 600),
    ("Acrobot-v1", 700),
    ("MountainCar-v0", 450),
    ("MountainCarContinuous-v0", 1050),
    ("Pendulum-v1", 450),
    ("LunarLander-v3", 350),
    ("LunarLanderContinuous-v3", 350),
)


def theirs(env_id: str, count: int, mode: str, change: Callable[[Any], object] = lambda env: None) -> SyncVectorEnv:
    def made() -> Any:
        env = gymnasium.make(env_id)
        change(env.unwrapped)
        return env

    return SyncVectorEnv([made] * count, autoreset_mode=AutoresetMode(mode))


def compare(ours: Any, others: SyncVectorEnv, steps: int, *, seed: int = 3) -> int:
    """Steps both by the same random actions and compares everything; gives how many episodes ended."""
    np.testing.assert_array_equal(ours.reset(seed=seed)[0], others.reset(seed=seed)[0])
    others.action_space.seed(seed)
    ended = 0
    for _ in range(steps):
        actions = others.action_space.sample()
        actions = actions if np.issubdtype(actions.dtype, np.integer) else actions * np.float32(1.25)  # beyond the bounds, too
        seen, wanted = ours.step(actions), others.step(actions)
        np.testing.assert_allclose(seen[0], wanted[0], rtol=0, atol=0)
        np.testing.assert_allclose(seen[1], wanted[1], rtol=0, atol=1e-9)
        np.testing.assert_array_equal(seen[2], wanted[2])
        np.testing.assert_array_equal(seen[3], wanted[3])
        assert set(seen[4]) == set(wanted[4])
        for mine, other in zip(seen[4].get("final_obs", ()), wanted[4].get("final_obs", ()), strict=True):
            np.testing.assert_array_equal(mine, other)
        ended += int((wanted[2] | wanted[3]).sum())
    return ended


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize(("env_id", "steps"), OWN)
def test_an_unshifted_world_is_gymnasiums_bit_for_bit(env_id: str, steps: int, mode: str) -> None:
    # Thousands of steps in all, several ends of episodes, by termination and by limit.
    unshifted = {name: quantity.nominal for name, quantity in PHYSICS[env_id.rpartition("-")[0]].items()}
    ours = world(env_id, 3, {**unshifted, "sign": 1, "delay": 0, "noise": 0}, autoreset=mode)
    assert compare(ours, theirs(env_id, 3, mode), steps) >= 3


def test_episodes_end_by_their_limit_too() -> None:
    ours, others = world("MountainCar-v0", 2), theirs("MountainCar-v0", 2, "NextStep")
    ours.reset(seed=0)
    others.reset(seed=0)
    cuts = [(ours.step(np.ones(2, dtype=np.int64))[3], others.step(np.ones(2, dtype=np.int64))[3]) for _ in range(405)]
    assert [bool(mine.all()) for mine, _ in cuts] == [bool(other.all()) for _, other in cuts]
    assert sum(bool(mine.all()) for mine, _ in cuts) == 2


@pytest.mark.parametrize("env_id", ["MountainCar-v0", "MountainCarContinuous-v0"])
def test_a_car_that_is_driven_arrives_as_gymnasiums_does(env_id: str) -> None:
    # Random actions never get there: this driver always pushes the way the car is going.
    ours, others = world(env_id, 3), theirs(env_id, 3, "NextStep")
    seen, _ = ours.reset(seed=1)
    others.reset(seed=1)
    arrived = 0
    for _ in range(330):
        right = seen[:, 1] >= 0
        actions = np.where(right, 2, 0) if env_id == "MountainCar-v0" else np.where(right, 0.9, -0.9).astype(np.float32)[:, None]
        seen, reward, ended, cut, _ = ours.step(actions)
        wanted = others.step(actions)
        for mine, other in zip((seen, reward, ended, cut), wanted[:4], strict=True):
            np.testing.assert_array_equal(mine, other)
        arrived += int(ended.sum())
    assert arrived >= 6


def heavier_cart(env: Any) -> None:
    env.gravity, env.masscart, env.masspole, env.length, env.force_mag = 9.8 * 1.5, 3.0, 0.1 * 2, 0.5 * 1.7, 10.0 * 0.6
    env.total_mass, env.polemass_length = env.masscart + env.masspole, env.masspole * env.length


def longer_acrobot(env: Any) -> None:
    env.LINK_LENGTH_1, env.LINK_LENGTH_2, env.LINK_COM_POS_1, env.LINK_COM_POS_2 = 1.3, 1.3 * 0.8, 0.65, 0.65 * 0.8
    env.LINK_MASS_1, env.LINK_MASS_2, env.LINK_MOI = 1.2, 1.2 * 0.7, 0.6
    env.AVAIL_TORQUE = [-1.5, 0.0, 1.5]


def stiffer_pendulum(env: Any) -> None:
    env.g, env.m, env.l = 10.0 * 1.3, 0.7, 1.4


def weaker_car(env: Any) -> None:
    env.force, env.gravity = 0.001 * (0.8 / 1.25), 0.0025 * 1.1


SHIFTED = (
    ("CartPole-v1", {"gravity": 1.5, "cart": 3.0, "mass": 2.0, "length": 1.7, "gain": 0.6}, heavier_cart),
    ("Acrobot-v1", {"length": 1.3, "length2": 0.8, "mass": 1.2, "mass2": 0.7, "inertia": 0.6, "gain": 1.5}, longer_acrobot),
    ("Pendulum-v1", {"gravity": 1.3, "mass": 0.7, "length": 1.4}, stiffer_pendulum),
    ("MountainCar-v0", {"gain": 0.8, "mass": 1.25, "gravity": 1.1}, weaker_car),
    ("MountainCarContinuous-v0", {"gain": 0.8}, lambda env: setattr(env, "power", 0.0015 * 0.8)),
)


@pytest.mark.parametrize(("env_id", "shift", "change"), SHIFTED)
def test_a_shifted_world_is_gymnasiums_with_other_constants(env_id: str, shift: dict[str, float], change: Callable[[Any], None]) -> None:
    # One step from each of many states: an acrobot's rounding grows along its orbit.
    ours, others = world(env_id, 1, shift), gymnasium.make(env_id)
    change(others.unwrapped)
    others.action_space.seed(0)
    batch, (wanted, _) = ours.unwrapped, others.reset(seed=5)
    ours.reset(seed=5)
    for _ in range(500):
        batch.state[:, 0] = others.unwrapped.state  # pyright: ignore
        action = others.action_space.sample()
        seen, reward, ended, _, _ = ours.step(np.array([action]))
        wanted, other_reward, other_ended, cut, _ = others.step(action)
        np.testing.assert_allclose(seen[0], wanted, rtol=0, atol=1e-6)  # float32
        np.testing.assert_allclose(batch.state[:, 0], others.unwrapped.state, rtol=0, atol=1e-9)  # pyright: ignore
        assert abs(reward[0] - other_reward) < 1e-9
        assert bool(ended[0]) == other_ended
        if other_ended or cut:
            others.reset()
            ours.step(np.array([action]))


def test_each_environment_of_a_vector_has_its_own_physics() -> None:
    shifts = [{"length": 2.0}, {}, {"gain": 0.5}]
    together = world("CartPole-v1", 3, shifts)
    together.reset(seed=10)
    alone = [world("CartPole-v1", 1, shift) for shift in shifts]
    for place, env in enumerate(alone):
        env.reset(seed=10 + place)
    for step in range(60):
        actions = np.array([step % 2, (step + 1) % 2, step % 2])
        seen = together.step(actions)[0]
        single = np.concatenate([env.step(actions[place : place + 1])[0] for place, env in enumerate(alone)])
        np.testing.assert_array_equal(seen, single)


def test_friction_and_wind_do_what_they_say() -> None:
    def after(shift: dict[str, float], steps: int = 5) -> Any:
        env = world("CartPole-v1", 1, shift)
        env.reset(seed=0)
        env.unwrapped.place(0, np.array([0.0, 1.0, 0.0, 0.0]))
        for step in range(steps):
            env.step(np.array([step % 2]))
        return env.unwrapped.state[1, 0]

    assert after({"wind": 4.0}) > after({}) > after({"friction": 4.0})
    speeds = {}
    for friction in (0.0, 0.5):
        shift = {name: np.array([quantity.nominal]) for name, quantity in PHYSICS["Acrobot"].items()}
        constants = acrobot.constants(shift | {"gravity": np.zeros(1), "friction": np.array([friction])})
        state = np.array([[0.0], [0.0], [1.0], [0.5]])
        for _ in range(300):
            state, _, _ = acrobot.step(state, np.array([1]), constants)
        speeds[friction] = float(np.abs(state[2:]).max())
    assert speeds[0.5] < 1e-2  # what no torque drives comes to rest
    assert speeds[0.0] > 0.5  # and without friction it does not


# --- LunarLander ---------------------------------------------------------------------------------------------------------


def flown(env: Any, actions: Any, seed: int = 4) -> np.ndarray:
    seen = [env.reset(seed=seed)[0]]
    seen += [env.step(action)[0] for action in actions]
    return np.array(seen)


def ours_flown(shift: dict[str, float], actions: Any, env_id: str = "LunarLander-v3") -> np.ndarray:
    return flown(world(env_id, 1, shift), [np.array([action]) for action in actions])[:, 0]


def test_a_landers_engines_and_gravity_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = [2, 2, 1, 2, 3, 0, 2, 3] * 6
    nominal = ours_flown({}, actions)
    shifted = ours_flown({"main": 0.5, "side": 1.5, "gain": 0.8, "gravity": 0.7}, actions)
    np.testing.assert_array_equal(ours_flown({}, actions), nominal)  # the shift left nothing behind in the module
    monkeypatch.setattr(lunar_lander, "MAIN_ENGINE_POWER", 13.0 * (0.8 * 0.5))
    monkeypatch.setattr(lunar_lander, "SIDE_ENGINE_POWER", 0.6 * (0.8 * 1.5))
    np.testing.assert_allclose(shifted, flown(gymnasium.make("LunarLander-v3", gravity=-7.0), actions), rtol=0, atol=1e-6)
    assert np.abs(shifted - nominal).max() > 0.1


def test_wind_is_gymnasiums_wind() -> None:
    ours = world("LunarLander-v3", 1, {"wind": 15.0})
    theirs_blown = gymnasium.make("LunarLander-v3", enable_wind=True, wind_power=15.0, turbulence_power=1.5).unwrapped
    ours.reset(seed=2)
    theirs_blown.reset(seed=2)
    lander = ours.unwrapped.landers[0]
    for env in (lander, theirs_blown):
        env.place = lander.place if env is lander else None
        for body, offset in zip((env.lander, *env.legs), (0.0, 0.7, -0.7), strict=True):
            body.position, body.angle, body.linearVelocity, body.angularVelocity = (10.0 + offset, 12.0), 0.0, (0.0, 0.0), 0.0
    lander.current, theirs_blown.wind_idx, theirs_blown.torque_idx = [120.0, -40.0], 120, -40
    for _ in range(60):
        seen, wanted = ours.step(np.array([0]))[0][0], theirs_blown.step(0)[0]
        np.testing.assert_allclose(seen, wanted, rtol=0, atol=1e-4)
    assert abs(seen[2]) > 0.02


def test_mass_weighs_on_thrust_and_not_on_falling() -> None:
    falling = [ours_flown({"mass": mass}, [0] * 20) for mass in (1.0, 2.0)]
    gained = [np.diff(path[5:, 3]) for path in falling]
    np.testing.assert_allclose(gained[0], gained[1], atol=1e-3)
    lifts = [ours_flown({"mass": mass}, [2] * 10)[-1, 3] - path[10, 3] for mass, path in zip((1.0, 2.0), falling, strict=True)]
    assert 1.6 < lifts[0] / lifts[1] < 2.4


def test_a_lander_that_is_placed_stays_whole_and_is_not_rewarded_for_it() -> None:
    env = world("LunarLander-v3", 1)
    env.reset(seed=0)
    env.unwrapped.place(0, np.array([5.0, 12.0, 0.5, 1.0, -1.0, 0.2]))
    lander = env.unwrapped.landers[0]
    before = [(leg.position - lander.lander.position).length for leg in lander.legs]
    _, reward, *_ = env.step(np.array([0]))
    after = [(leg.position - lander.lander.position).length for leg in lander.legs]
    np.testing.assert_allclose(before, after, atol=0.05)
    assert reward[0] == 0.0
    assert math.isclose(lander.lander.angle, 0.5, abs_tol=0.05)


def test_pictures_show_the_shifted_state() -> None:
    env = world("Acrobot-v1", 2, [{}, {"length": 0.5}])
    env.reset(seed=0)
    for place in range(2):
        env.unwrapped.place(place, np.array([0.5, 0.5, 0.0, 0.0]))
    whole, short = env.render()
    assert whole.shape == short.shape == (500, 500, 3)
    assert (whole != short).any()
    env.close()
