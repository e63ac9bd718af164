"""
Steps of a size that suits each synapse, and weights of a given norm: both need only what is at the synapse or at its neuron.

    m ← β₁·m + (1 − β₁)·Δ                  the mean of what was asked for; β₁ = 0: the last                     (1)
    v ← β₂·v + (1 − β₂)·Δ²                 its second moment                                                    (2)
    Δw = η·m̂/(√v̂ + ε),  m̂ = m/(1 − β₁ⁿ), v̂ = v/(1 − β₂ⁿ)                                                       (3)
    w ← w·c/‖w_j‖                          a neuron's weights, all inputs of it                                 (4)

β₁ = 0 is RMSProp with its first steps corrected, β₁ > 0 is Adam, β₁ = β₂ = 0 the sign alone. Δ is what a rule asks for, so that what it
asks is gone up: no sign is turned.

Sources: Tieleman & Hinton 2012, lecture 6.5; Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; Oja 1982 and von der Malsburg 1973,
Kybernetik 14, 85 (weights whose sum is kept).
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.plasticity.refusing import refuse_unless_finite, refuse_unless_positive, refuse_unless_within


@final
class StepSizeState(NamedTuple):
    """m, v as the weights, and n, how many steps there were."""

    mean: Tensor
    square: Tensor
    steps: int


@final
@dataclass(frozen=True)
class StepSize:
    """The parameters of (1)–(3)."""

    rate: float
    beta_square: float = 0.999  # β₂
    beta_mean: float = 0.0  # β₁
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        refuse_unless_finite("a step size", rate=self.rate)
        refuse_unless_positive("a step size", epsilon=self.epsilon)
        refuse_unless_within("a step size", 0.0, 1 - 1e-9, beta_square=self.beta_square, beta_mean=self.beta_mean)

    def init(self, weights: Float[Tensor, "*any"]) -> StepSizeState:
        """Nothing was asked for so far."""
        return StepSizeState(torch.zeros_like(weights), torch.zeros_like(weights), 0)

    def step(self, state: StepSizeState, asked: Float[Tensor, "*any"]) -> tuple[Float[Tensor, "*any"], StepSizeState]:
        """The change for what a rule asks for (3), and the state."""
        steps = state.steps + 1
        mean = self.beta_mean * state.mean + (1 - self.beta_mean) * asked if self.beta_mean else asked
        square = torch.addcmul(self.beta_square * state.square, asked, asked, value=1 - self.beta_square)
        size = (square / (1 - self.beta_square**steps)).sqrt_().add_(self.epsilon)
        return (self.rate / (1 - self.beta_mean**steps)) * mean / size, StepSizeState(mean, square, steps)


def normalised(weights: Float[Tensor, "o i"], norm: float = 1.0, order: float = 2.0) -> Float[Tensor, "o i"]:
    """(4): each row's weights with this norm (1: the sum of magnitudes, 2: the length); a row of zeros stays."""
    refuse_unless_positive("weights of a norm", norm=norm, order=order)
    found = torch.linalg.vector_norm(weights, ord=order, dim=1, keepdim=True)
    return torch.where(found > 0, weights * (norm / found.clamp_min(torch.finfo(weights.dtype).tiny)), weights)
