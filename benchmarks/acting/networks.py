"""The policies of ../shared/data/rl_policies, what they do as ANNs, and what they become."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from harness.rows import SHARED
from spikeloom import Settings, convert
from spikeloom.agent import Act, Action, Policy, Round, Signal, acted, environments, in_closed_loop, policy_of, with_residue
from spikeloom.capture import resolve
from spikeloom.datasets.spaces import spaces_of
from spikeloom.simulate import SpikingModel, executable, primary

NAMES = {
    "dqn_cartpole": "DQN CartPole",
    "ppo_cartpole": "PPO CartPole, tanh",
    "dqn_acrobot": "DQN Acrobot",
    "dqn_mountaincar": "DQN MountainCar",
    "ppo_lunarlander": "PPO LunarLander, tanh",
    "sac_pendulum": "SAC Pendulum",
}
LEVELS = {1: 31, 2: 15, 4: 15}
"""N at each T: 31 levels in one step, or 15 in each of several."""
FITTED = 20
"""Episodes, with seeds from 0, that networks are calibrated on; they are judged on others, with seeds from 1000."""


@final
@dataclass(frozen=True)
class Zoo:
    """One policy of the zoo."""

    name: str

    @cached_property
    def source(self) -> Any:
        """The policy as a source."""
        return resolve(f"policy:{SHARED / 'rl_policies' / self.name}")

    @property
    def model(self) -> nn.Module:
        """Its ANN."""
        return self.source.model

    @property
    def spaces(self) -> tuple[Signal, Action]:
        """Its spaces."""
        return spaces_of(self.source.settings)

    def environments(self, count: int) -> Any:
        """Environments it was made for, side by side."""
        return environments(self.source.settings["policy"]["environment"], count)

    def ann(self) -> Act:
        """What acts as the ANN does."""
        return acting(self.model, self.spaces[1])

    def converted(self, timesteps: int, calibration: Tensor) -> Policy:
        """The policy on spikes, with the facts of its source."""
        settings = Settings(timesteps=timesteps, levels=LEVELS[timesteps], calibration_samples=len(calibration))
        return policy_of(convert(self.source.address, calibration, settings))

    def fitted(self, timesteps: int) -> tuple[Policy, tuple[Round, ...], dict[str, float]]:
        """The policy after calibration in the closed loop, with the better residue; what each round and residue gave."""
        env = self.environments(FITTED)
        policy, rounds = in_closed_loop(lambda data: self.converted(timesteps, data), self.ann(), env, episodes=FITTED)
        policy, residues = with_residue(policy, env, "auto", FITTED)
        return policy, rounds, dict(residues)


def acting(run: Any, action: Action) -> Act:
    """What acts as a network of tensors does."""

    def act(observations: ndarray, fresh: ndarray) -> ndarray:
        with torch.inference_mode():
            return acted(primary(run(torch.from_numpy(observations.astype(np.float32)))), action)

    return act


def control(model: SpikingModel, action: Action) -> Act:
    """What acts as the control does: plain quantisation with as many levels."""
    if model.control is None:
        raise SystemExit("the network was saved without its control")
    return acting(executable(model.control, 1), action)
