"""
A policy that the project makes itself, in seconds and from nothing: an MLP that is taught CartPole by a linear controller.

    push right where  0.05·x + 0.1·ẋ + θ + 0.25·θ̇ > 0                                     (1)

The MLP learns (1) by imitation on what is met when a share of the actions is drawn at random. It is there so that `spikeloom adapt` can be
tried without a trained policy; it proves nothing about trained ones.
"""

import numpy as np
import torch
from numpy import ndarray
from torch import nn

from spikeloom.agent.worlds import world
from spikeloom.datasets.episodes import gathered, wandering

ENVIRONMENT = "CartPole-v1"
GAINS = (0.05, 0.1, 1.0, 0.25)


def controller(observations: ndarray, fresh: ndarray) -> ndarray:
    """(1) as actions [E]."""
    return (observations @ np.array(GAINS) > 0).astype(np.int64)


def taught_cartpole(seed: int = 0, width: int = 64, steps: int = 600) -> nn.Sequential:
    """The MLP [4, width, width, 2], in eval mode; the same for the same seed."""
    env = world(ENVIRONMENT, 32)
    seen = torch.from_numpy(gathered(env, wandering(controller, env, 0.3, seed), 128, seed, limit=16384))
    margin = seen @ torch.tensor(GAINS)
    wanted = torch.stack([-margin, margin], 1).mul(8).tanh()
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
    with torch.no_grad():
        for layer in (layer for layer in model if isinstance(layer, nn.Linear)):
            bound = layer.in_features**-0.5
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        rows = torch.randint(len(seen), (256,), generator=generator)
        optimiser.zero_grad()
        nn.functional.mse_loss(model(seen[rows]), wanted[rows]).backward()
        optimiser.step()
    return model.eval().requires_grad_(requires_grad=False)
