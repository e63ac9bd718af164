"""A policy that balances CartPole, made once for all tests that adapt one."""

from functools import cache

import torch

from spikeloom import Settings, convert
from spikeloom.agent import Policy, environments, policy_of
from spikeloom.agent.teacher import ENVIRONMENT, controller, taught_cartpole
from spikeloom.agent.worlds import world
from spikeloom.datasets.episodes import gathered, wandering


@cache
def balancing() -> Policy:
    """A small spiking network at T = 1 that was taught by the linear controller."""
    env = world(ENVIRONMENT, 8)
    seen = gathered(env, wandering(controller, env, 0.2, 1), 16, 1, limit=1024)
    snn = convert(taught_cartpole(width=16, steps=300), torch.from_numpy(seen), Settings(timesteps=1, levels=31))
    return policy_of(snn, environments(ENVIRONMENT, 2))
