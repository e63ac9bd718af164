"""
Bounds of weights: how steps shrink where little room is left.

    u = (w − low)/(high − low)                                                       (1)
    Δw = (1 − u)^μ₊·P − u^μ₋·D         P what strengthens, D what weakens            (2)
    low ≤ w + Δw ≤ high                                                              (3)

    additive            μ₊ = μ₋ = 0     Song, Miller, Abbott 2000, Nature Neuroscience 3, 919: weights end at either bound
    multiplicative      μ₊ = μ₋ = 1     Rubin, Lee, Sompolinsky 2001, PRL 86, 364: one hump
    mixed               μ₊ = 0, μ₋ = 1  van Rossum, Bi, Turrigiano 2000, J. Neuroscience 20, 8812
    in between          μ₊ = μ₋ = μ     Gütig et al. 2003, J. Neuroscience 23, 3697
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.plasticity.refusing import refuse_unless_finite, refuse_unless_within


@final
@dataclass(frozen=True)
class Bounds:
    """The least and the largest weight, and the exponents of (2)."""

    low: float = 0.0
    high: float = 1.0
    mu_plus: float = 0.0
    mu_minus: float = 0.0

    def __post_init__(self) -> None:
        refuse_unless_finite("bounds of weights", low=self.low, high=self.high)
        refuse_unless_within("bounds of weights", 0.0, 1.0, mu_plus=self.mu_plus, mu_minus=self.mu_minus)
        if not self.low < self.high:
            raise ConfigError("bounds of weights must be apart", found=(self.low, self.high), allowed="low < high")

    @property
    def soft(self) -> bool:
        """Whether a step depends on its weight before it reaches a bound."""
        return self.mu_plus != 0 or self.mu_minus != 0

    def change(self, weights: Float[Tensor, "o i"], up: Float[Tensor, "o i"], down: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
        """(2), cut to (3). A weight outside is brought back to the bound it has passed."""
        if self.soft:
            u = ((weights - self.low) / (self.high - self.low)).clamp(0, 1)
            up, down = (1 - u) ** self.mu_plus * up, u**self.mu_minus * down
        return self.kept(weights, up - down)

    def kept(self, weights: Float[Tensor, "o i"], change: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
        """The change cut to (3)."""
        return (weights + change).clamp(self.low, self.high) - weights


def additive(low: float = 0.0, high: float = 1.0) -> Bounds:
    """Steps of the same size everywhere, cut at the bounds."""
    return Bounds(low, high)


def multiplicative(low: float = 0.0, high: float = 1.0) -> Bounds:
    """Steps in proportion to the room left."""
    return Bounds(low, high, 1.0, 1.0)


def interpolating(mu: float, low: float = 0.0, high: float = 1.0) -> Bounds:
    """Gütig's exponent: 0 is additive, 1 multiplicative."""
    return Bounds(low, high, mu, mu)


def bounded(bounds: Bounds | None, weights: Tensor | None, up: Float[Tensor, "o i"], down: Float[Tensor, "o i"]) -> Float[Tensor, "o i"]:
    """The change with bounds or without. Raises ConfigError for bounds without weights."""
    if bounds is None:
        return up - down
    return bounds.change(weights_for(weights), up, down)


def weights_for(weights: Tensor | None) -> Tensor:
    """The weights that a bounded rule needs. Raises ConfigError where there are none."""
    if weights is None:
        raise ConfigError("a rule with bounds needs the weights it changes", todo="give `weights`")
    return weights


def room(bounds: Bounds, weights: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """How large a step up and a step down of 1 become at each weight: the curves of (2)."""
    u = ((weights - bounds.low) / (bounds.high - bounds.low)).clamp(0, 1)
    return torch.as_tensor((1 - u) ** bounds.mu_plus), torch.as_tensor(u**bounds.mu_minus)
