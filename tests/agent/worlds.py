"""Small environments whose every number is known beforehand, and policies for them."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from spikeloom import Settings, convert
from spikeloom.simulate import SpikingModel


class Clock(gymnasium.Env):
    """Observes (its number, the step within the episode, the episode); an episode takes `length` steps and each gives `reward`."""

    def __init__(self, number: int, length: int, reward: float = 1.0, poison: float | None = None) -> None:
        self.number, self.length, self.reward, self.poison = number, length, reward, poison
        self.observation_space = gymnasium.spaces.Box(-1e6, 1e6, (3,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.time = self.episode = 0

    def _seen(self) -> np.ndarray:
        step = self.poison if self.poison is not None and self.time == 2 else self.time
        return np.array([self.number, step, self.episode], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.time, self.episode = 0, self.episode + 1
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.time += 1
        return self._seen(), self.reward, self.time >= self.length, False, {}


def clocks(lengths: Sequence[int], mode: str = "NextStep", **options: Any) -> SyncVectorEnv:
    """One clock for each length, side by side."""
    makers = [lambda number=number, length=length: Clock(number, length, **options) for number, length in enumerate(lengths)]
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode(mode))


@cache
def network(
    inputs: int, outputs: int, hidden: int = 12, *, activation: type[torch.nn.Module] = torch.nn.ReLU, **settings: Any
) -> SpikingModel:
    """A small random network on spikes, calibrated on random observations."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(inputs, hidden), activation(), torch.nn.Linear(hidden, outputs)).eval()
    return convert(model, torch.randn(128, inputs), Settings(**({"timesteps": 1, "levels": 31} | settings)))
