"""
Worlds by name: gymnasium's environments as vectors that change.
"""

from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from spikeloom.agent import library
from spikeloom.agent.worlds.shifts import Shift, Shifts, plan_of
from spikeloom.agent.worlds.table import PHYSICS, SWITCHES, family
from spikeloom.datasets.optional import require
from spikeloom.errors import ConfigError

SCALE_STEPS = 256
"""Control steps of 16 environments from which the scales of sensors are measured."""


def world(
    env_id: str,
    count: int = 1,
    shifts: Shifts = (),
    seed: int = 0,
    onset: int = 0,
    ramp: int = 0,
    vector: str = "auto",
    autoreset: str = "NextStep",
    pictures: bool = False,
) -> Any:
    """A gymnasium.vector.VectorEnv of `count` environments shifted by `shifts` (table) from control step `onset` on, over `ramp` steps.

    `shifts` is a mapping for all, a sequence of mappings with one for each, or words such as "length=2.0". Observations are float32
    [E, d], flat. `onset` and `ramp` count control steps since the last full reset; the first reset without a seed uses `seed`.
    `vector`: "own" steps by this project's physics, "sync" by gymnasium's SyncVectorEnv (no shifts of physics), "auto" by its own
    where there are some. `autoreset` is "NextStep", "SameStep" or "Disabled". `pictures`: `render()` gives pictures.
    `shift_now()` tells the values in force. Raises ConfigError for what is unknown; ResourceError without gymnasium.
    """
    base = _base(env_id, count, autoreset, vector, pictures)
    return _shifted(base, env_id, shifts, seed, onset, ramp)


def fuzzed(
    env_id: str,
    count: int = 1,
    seed: int = 0,
    *,
    chance: float = 0.02,
    noise: float = 0.05,
    shifts: Shift | None = None,
    autoreset: str = "NextStep",
) -> Any:
    """A world that throws its agent about (fuzz): starts anywhere, a push with probability `chance` before each control step, noise on
    the sensors, and any other shift; infos["truth"] holds the true observations. ConfigError for an environment without ranges."""
    base = _base(env_id, count, autoreset, "own", False)
    from spikeloom.agent.worlds.fuzz import Fuzzed

    if not 0 <= chance <= 1:
        raise ConfigError("the chance of a push is a probability", found=chance, allowed="0 to 1")
    return _shifted(Fuzzed(base, env_id, seed, chance), env_id, {**(shifts or {}), "noise": noise}, seed, 0, 0)


def _shifted(base: Any, env_id: str, shifts: Shifts, seed: int, onset: int, ramp: int) -> Any:
    """`base` under its shifts."""
    from spikeloom.agent.worlds.batch import Batch
    from spikeloom.agent.worlds.shifted import Shifted, interface_of

    if onset < 0 or ramp < 0:
        raise ConfigError("a world starts to change at step 0 or later", found=f"onset {onset}, ramp {ramp}", allowed="0 or more")
    interface = interface_of(env_id, base, physical=isinstance(base.unwrapped, Batch))
    plan = plan_of(interface, shifts, base.num_envs)
    switches = sorted({name for shift in plan.written for name in shift} & set(SWITCHES))
    if ramp and switches:
        raise ConfigError("a switch has no values in between: no ramp", found=", ".join(switches), todo="give ramp 0")
    scale = scales(env_id) if plan.values["noise"].any() else np.ones(interface.sensors)
    return Shifted(base, interface, plan, scale, seed=seed, onset=onset, ramp=ramp)


@cache
def scales(env_id: str) -> Float[np.ndarray, " d"]:
    """Each sensor's own scale: its standard deviation over 16 unshifted environments, 256 uniformly random actions each, seed 0;
    1 for a sensor that never moves there."""
    base = _base(env_id, 16, "NextStep", "auto", False)
    base.action_space.seed(0)
    seen = [base.reset(seed=0)[0], *(base.step(base.action_space.sample())[0] for _ in range(SCALE_STEPS))]
    base.close()
    spread = np.concatenate(seen).astype(np.float64).std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def _mode(gymnasium: Any, autoreset: str) -> Any:
    modes = {mode.value: mode for mode in gymnasium.vector.AutoresetMode}
    if autoreset not in modes:
        raise ConfigError("no such autoreset mode", found=autoreset, allowed=", ".join(modes))
    return modes[autoreset]


def _base(env_id: str, count: int, autoreset: str, vector: str, pictures: bool) -> Any:
    """The unshifted vector."""
    gymnasium = library.gymnasium()
    mode = _mode(gymnasium, autoreset)
    if count < 1:
        raise ConfigError("a world has one environment or more", found=count, allowed="1 or more")
    if vector not in {"auto", "own", "sync"}:
        raise ConfigError("no such way to step a vector", found=vector, allowed="auto, own, sync")
    if env_id.startswith("MiniGrid"):
        library.minigrid()
    try:
        gymnasium.spec(env_id)
    except gymnasium.error.Error as error:
        raise ConfigError("no such environment", found=str(error), todo="give an id that gymnasium or minigrid knows") from error
    from spikeloom.agent.worlds.equations import EQUATIONS, Equations

    if vector != "sync" and family(env_id) in EQUATIONS:
        return Equations(env_id, count, mode)
    if vector != "sync" and family(env_id).startswith("LunarLander"):
        require("Box2D", "agents", f"flying {env_id}")
        from spikeloom.agent.worlds.lander import Landers

        return Landers(env_id, count, mode, pictures)
    if vector == "own":
        raise ConfigError("no physics of this project's own", found=env_id, allowed=", ".join(PHYSICS), todo='vector="auto"')
    return _synchronous(gymnasium, env_id, count, mode, pictures)


def _synchronous(gymnasium: Any, env_id: str, count: int, mode: Any, pictures: bool) -> Any:
    def made() -> Any:
        env = gymnasium.make(env_id, render_mode="rgb_array" if pictures else None, disable_env_checker=True)
        if env_id.startswith("MiniGrid"):
            from minigrid.wrappers import ImgObsWrapper

            env = ImgObsWrapper(env)
        space: Any = env.observation_space
        flat = isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1
        return env if flat else gymnasium.wrappers.FlattenObservation(env)

    envs = gymnasium.vector.SyncVectorEnv([made] * count, autoreset_mode=mode)
    if not isinstance(envs.single_action_space, gymnasium.spaces.Discrete | gymnasium.spaces.Box):
        raise ConfigError("actions are discrete or continuous", found=envs.single_action_space, allowed="Discrete, Box")
    return envs
