"""Trains of spikes, dense and drawn from a seed, and a rule run over them step by step."""

import torch
from torch import Tensor


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def train(steps: int, neurons: int, seed: int, rate: float = 0.2, levels: int = 1) -> Tensor:
    """[T, n], float64: spikes with chance `rate`, of 1 to `levels` levels."""
    g = generator(seed)
    spikes = torch.rand(steps, neurons, generator=g, dtype=torch.float64) < rate
    return spikes * torch.randint(1, levels + 1, spikes.shape, generator=g).double()


def at(steps: int, *times: int) -> Tensor:
    """[T, 1], float64: one neuron that spikes at these steps."""
    made = torch.zeros(steps, 1, dtype=torch.float64)
    made[list(times)] = 1
    return made
