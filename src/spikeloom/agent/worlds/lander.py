"""
LunarLander with constants of its own for each instance, and a vector of them.

The step is gymnasium 1.4's, in its order of operations and with its draws from the generator, so that the unshifted world is its
world bit for bit; but for the powers of the engines, which are the instance's instead of the module's, and the wind, whose course
comes from a generator of its own, so that a wind that rises later changes nothing before.

    impulse = −power·throttle·[ox, oy],  power: main 13·gain·main, side 0.6·gain·side                            (1)
    gravity −10·gravity,  densities and frictions of hull, legs and ground times mass and friction               (2)
    force of the wind: wind·tanh(sin 0.02k + sin 0.01πk),  torque likewise from wind/10, k one more each step     (3)

Source: Oleg Klimov; gymnasium, envs/box2d/lunar_lander.py (MIT).
"""

import math
from collections.abc import Mapping
from typing import Any, final

import gymnasium
import numpy as np
from gymnasium.envs.box2d import lunar_lander as original
from gymnasium.vector import AutoresetMode
from jaxtyping import Bool, Float

from spikeloom.agent.worlds.batch import Batch
from spikeloom.agent.worlds.table import PHYSICS

SCALE, FPS = original.SCALE, original.FPS
HALF_W, HALF_H = original.VIEWPORT_W / SCALE / 2, original.VIEWPORT_H / SCALE / 2
NOMINAL = {name: quantity.nominal for name, quantity in PHYSICS["LunarLander"].items()}


@final
class Lander(original.LunarLander):
    """One lander. `tuned` shifts it; what was built before keeps its contacts' friction until they are made anew."""

    lander: Any
    moon: Any

    def __init__(self, continuous: bool = False, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode, continuous=continuous)
        self.values = dict(NOMINAL)
        self.main_power, self.side_power = original.MAIN_ENGINE_POWER, original.SIDE_ENGINE_POWER
        self.built, self.current = True, [0.0, 0.0]

    def tuned(self, values: Mapping[str, float]) -> None:
        """From the next step on the lander is shifted by `values` (table.PHYSICS)."""
        self.values = dict(values)
        self.main_power = original.MAIN_ENGINE_POWER * (values["gain"] * values["main"])
        self.side_power = original.SIDE_ENGINE_POWER * (values["gain"] * values["side"])
        self.gravity = -10.0 * values["gravity"]
        self.world.gravity = (0, self.gravity)
        self.built = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """An episode's start, as gymnasium's; the wind's course begins anywhere."""
        self.built = all(self.values[name] == 1.0 for name in ("mass", "friction"))
        self._set_out()
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> Any:
        """gymnasium's step: wind, engines, world, observation and reward."""
        if not self.built:
            self._build()
        if self.values["wind"]:
            self._blow()
        angle = self.lander.angle
        tip = (math.sin(angle), math.cos(angle))
        first, second = self.np_random.uniform(-1.0, +1.0, 2).tolist()
        spread = (first / SCALE, second / SCALE)
        main, side, direction = self._throttle(action)
        if main:
            self._fire_main(tip, spread, main)
        if side:
            self._fire_side(tip, spread, side, direction)
        self.world.Step(1.0 / FPS, 6 * 30, 2 * 30)
        return self._outcome(main, side)

    def _throttle(self, action: Any) -> tuple[float, float, float]:
        """Throttles of main and side engines (0: off) and the side that fires."""
        if not self.continuous:
            return float(action == 2), float(action == 1 or action == 3), float(action - 2)
        asked = np.clip(action, -1, +1).astype(np.float64)
        main = (np.clip(asked[0], 0.0, 1.0) + 1.0) * 0.5 if asked[0] > 0.0 else 0.0
        side = float(np.clip(np.abs(asked[1]), 0.5, 1.0)) if np.abs(asked[1]) > 0.5 else 0.0
        return float(main), side, float(np.sign(asked[1]))

    def _fire_main(self, tip: tuple[float, float], spread: tuple[float, float], throttle: float) -> None:
        reach = original.MAIN_ENGINE_Y_LOCATION / SCALE + 2 * spread[0]
        ox = tip[0] * reach + -tip[1] * spread[1]
        oy = -tip[1] * reach - tip[0] * spread[1]
        place = self.lander.position
        self._push(ox, oy, self.main_power, throttle, (place[0] + ox, place[1] + oy), 3.5)

    def _fire_side(self, tip: tuple[float, float], spread: tuple[float, float], throttle: float, direction: float) -> None:
        reach = 3 * spread[1] + direction * original.SIDE_ENGINE_AWAY / SCALE
        ox = tip[0] * spread[0] + -tip[1] * reach
        oy = -tip[1] * spread[0] - tip[0] * reach
        place = self.lander.position
        foot = (place[0] + ox - tip[0] * 17 / SCALE, place[1] + oy + tip[1] * original.SIDE_ENGINE_HEIGHT / SCALE)
        self._push(ox, oy, self.side_power, throttle, foot, 0.7)

    def _push(self, ox: float, oy: float, power: float, throttle: float, at: tuple[float, float], particle: float) -> None:
        """(1), and the exhaust where somebody looks."""
        if self.render_mode is not None:
            exhaust = self._create_particle(particle, at[0], at[1], throttle)
            exhaust.ApplyLinearImpulse((ox * power * throttle, oy * power * throttle), at, True)
        self.lander.ApplyLinearImpulse((-ox * power * throttle, -oy * power * throttle), at, True)

    def place(self, numbers: Float[np.ndarray, " 6"]) -> None:
        """Moves the lander to x, y (m), turns it (rad) and sets velocities (m/s, rad/s), its legs with it; the next reward counts from
        there."""
        x, y, angle, vx, vy, spin = (float(number) for number in numbers)
        turn, centre = angle - self.lander.angle, self.lander.position.copy()
        for body in (self.lander, *self.legs):
            away = body.position - centre
            ax, ay = away.x * math.cos(turn) - away.y * math.sin(turn), away.x * math.sin(turn) + away.y * math.cos(turn)
            body.position, body.angle = (x + ax, y + ay), body.angle + turn
            body.linearVelocity, body.angularVelocity = (vx - spin * ay, vy + spin * ax), spin
        self.prev_shaping = None

    def push(self, numbers: Float[np.ndarray, " 6"]) -> None:
        """Adds velocities (the last three numbers) to the lander and, as to one rigid body, to its legs."""
        vx, vy, spin = (float(number) for number in numbers[3:])
        for body in (self.lander, *self.legs):
            away = body.position - self.lander.position
            body.linearVelocity = (body.linearVelocity.x + vx - spin * away.y, body.linearVelocity.y + vy + spin * away.x)
            body.angularVelocity += spin

    def sight(self) -> tuple[list[float], float]:
        """The eight observations, and the potential whose differences are rewarded."""
        place, speed = self.lander.position, self.lander.linearVelocity
        touching = [1.0 if leg.ground_contact else 0.0 for leg in self.legs]
        x, y = (place.x - HALF_W) / HALF_W, (place.y - (self.helipad_y + original.LEG_DOWN / SCALE)) / HALF_H
        vx, vy = speed.x * HALF_W / FPS, speed.y * HALF_H / FPS
        angle = self.lander.angle
        shaping = -100 * math.sqrt(x * x + y * y) - 100 * math.sqrt(vx * vx + vy * vy) - 100 * abs(angle)
        seen = [x, y, vx, vy, angle, 20.0 * self.lander.angularVelocity / FPS, *touching]
        return seen, shaping + 10 * touching[0] + 10 * touching[1]

    def _outcome(self, main: float, side: float) -> Any:
        """Observation, reward and end after the world's step."""
        seen, shaping = self.sight()
        reward = 0.0 if self.prev_shaping is None else shaping - self.prev_shaping
        self.prev_shaping = shaping
        reward = reward - main * 0.30 - side * 0.03
        lost, asleep = self.game_over or abs(seen[0]) >= 1.0, not self.lander.awake
        reward = 100.0 if asleep else (-100.0 if lost else reward)
        return np.array(seen, dtype=np.float32), reward, lost or asleep, False, {}

    def _build(self) -> None:
        """(2) on the bodies there are."""
        mass, friction = self.values["mass"], self.values["friction"]
        for body, density, grip in ((self.lander, 5.0, 0.1), *((leg, 1.0, 0.2) for leg in self.legs)):
            for fixture in body.fixtures:
                fixture.density, fixture.friction = density * mass, grip * friction
            body.ResetMassData()
        for fixture in self.moon.fixtures[1:]:
            fixture.friction = 0.1 * friction
        self.built = True

    def _set_out(self) -> None:
        """Where the wind's course begins: from a generator of the state of the episode's, which does not move."""
        words = self.np_random.bit_generator.state["state"]["state"]
        self.current = [float(v) for v in np.random.default_rng(words).integers(-9999, 9999, size=2)]

    def _blow(self) -> None:
        """(3), while no leg stands."""
        if self.legs[0].ground_contact or self.legs[1].ground_contact:
            return
        strengths = (self.values["wind"], self.values["wind"] / 10)
        force, torque = (
            math.tanh(math.sin(0.02 * k) + math.sin(math.pi * 0.01 * k)) * s for k, s in zip(self.current, strengths, strict=True)
        )
        self.current = [k + 1 for k in self.current]
        self.lander.ApplyForceToCenter((force, 0.0), True)
        self.lander.ApplyTorque(torque, True)


@final
class Landers(Batch):
    """E landers, stepped one after the other without what gymnasium's wrappers add to each."""

    def __init__(self, env_id: str, count: int, autoreset: AutoresetMode, pictures: bool = False) -> None:
        spec = gymnasium.spec(env_id)
        continuous = bool(spec.kwargs.get("continuous", False))
        self.landers = [Lander(continuous, "rgb_array" if pictures else None) for _ in range(count)]
        super().__init__(spec, (self.landers[0].observation_space, self.landers[0].action_space), count, autoreset)
        self.render_mode = "rgb_array" if pictures else None

    def retune(self, values: Mapping[str, Float[np.ndarray, " E"]]) -> None:
        """From the next step on the landers are shifted by `values`."""
        for index, lander in enumerate(self.landers):
            lander.tuned({name: float(values[name][index]) for name in NOMINAL})

    def place(self, index: int, numbers: Float[np.ndarray, " k"]) -> None:
        """Puts lander `index` at x, y, angle, with velocities x, y, and spin."""
        self.landers[index].place(numbers)
        self.observations[index] = self.landers[index].sight()[0]

    def push(self, index: int, numbers: Float[np.ndarray, " k"]) -> None:
        """Adds to the velocities and the spin of lander `index`."""
        self.landers[index].push(numbers)

    def _begin(self, index: int) -> None:
        lander = self.landers[index]
        lander.np_random = self.generators[index]
        self.observations[index] = lander.reset()[0]

    def _advance(self, actions: np.ndarray, live: Bool[np.ndarray, " E"]) -> tuple[np.ndarray, np.ndarray]:
        rewards, ended = np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=np.bool_)
        asked = actions if actions.ndim > 1 else actions.tolist()
        for index in np.flatnonzero(live).tolist():
            self.observations[index], rewards[index], ended[index], _, _ = self.landers[index].step(asked[index])
        return rewards, ended

    def render(self) -> tuple[Any, ...]:
        """A picture [h, w, 3] of each lander; the vector must have been made with pictures."""
        return tuple(lander.render() for lander in self.landers)

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the landers."""
        for lander in self.landers:
            lander.close()
