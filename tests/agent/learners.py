"""Small agents for tests: a policy of two hidden layers, and a world that says at once whether an action was right."""

import math
from typing import Any

import numpy as np
import torch
from tests.agent.worlds import network

from spikeloom.agent import Continuous, Discrete, Policy, Signal
from spikeloom.agent.agent import Agent
from spikeloom.agent.arrival import Arrival
from spikeloom.agent.state import Usual

OBSERVED = 3


def policy(actions: int = 2, continuous: bool = False, **settings: Any) -> Policy:
    """A network 3-…-k between unbounded observations and k actions."""
    signal = Signal((OBSERVED,), (-math.inf,) * OBSERVED, (math.inf,) * OBSERVED)
    action = Continuous(actions, (-1.0,) * actions, (1.0,) * actions, "tanh", 2.0) if continuous else Discrete(actions)
    return Policy(network(OBSERVED, actions, **settings), signal, action)


def agent(plastic: Any = "always", *, of: Policy | None = None, **options: Any) -> Agent:
    """An agent whose usual world has standard normal observations and returns about 10."""
    seen = torch.randn(256, OBSERVED, generator=torch.Generator().manual_seed(1))
    usual = Usual(seen, np.random.default_rng(0).normal(10, 1, 32))
    return Agent(of or policy(), usual, plastic=plastic, **options)


class Bandit:
    """E environments whose episodes take `length` steps; an action is worth 1 where it says that x_0 is above 0 (`flip`: below)."""

    def __init__(self, count: int, seed: int = 0, length: int = 4, flip: bool = False) -> None:
        self.num_envs, self.length, self.flip = count, length, flip
        self.generator = np.random.default_rng(seed)
        self.metadata = {"autoreset_mode": "SameStep"}
        self.seen, self.age = np.zeros((count, OBSERVED), np.float32), 0

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        if seed is not None:
            self.generator = np.random.default_rng(seed)
        self.age = 0
        self.seen = self.generator.normal(size=(self.num_envs, OBSERVED)).astype(np.float32)
        return self.seen.copy(), {}

    def step(self, actions: np.ndarray) -> Any:
        said = actions if actions.ndim == 1 else actions[:, 0] > 0
        rewards = ((self.seen[:, 0] > 0) != self.flip).astype(int) == said
        self.age += 1
        self.seen = self.generator.normal(size=(self.num_envs, OBSERVED)).astype(np.float32)
        over = np.full(self.num_envs, self.age % self.length == 0)
        info = {"final_obs": self.seen.copy()} if over.any() else {}
        return self.seen.copy(), rewards.astype(np.float64), np.zeros(self.num_envs, bool), over, info


def arrival(count: int = 8, seed: int = 0, **known: Any) -> Arrival:
    """What comes back from environments: normal observations, nothing fresh unless told."""
    seen = np.random.default_rng(seed).normal(size=(count, OBSERVED)).astype(np.float32)
    told: dict[str, Any] = {"observations": seen, "fresh": np.zeros(count, bool)} | known
    return Arrival(**told)
