"""
Homeostasis: neurons that fire too little or too much come back, by their weights or by their thresholds.

    r̄ ← a·r̄ + (1 − a)·r                      a = exp(−Δt/τ), r what was sent in this step, batch mean             (1)
    Δw = η·(1 − r̄/r*)·w                       synaptic scaling: all of a neuron's weights by the same factor       (2)
    Δθ = η·(r̄ − r*)                           intrinsic: the threshold rises where the neuron fires too much       (3)

r and r* are spikes (or levels) per step, η is per step. (2) keeps the ratios between a neuron's weights, and what is 0 stays 0.

Sources: Turrigiano 2008, Cell 135, 422; van Rossum, Bi, Turrigiano 2000, J. Neuroscience 20, 8812 (2); Desai, Rutherford, Turrigiano
1999, Nature Neuroscience 2, 515, and Diehl & Cook 2015, Frontiers in Computational Neuroscience 9, 99 (3).
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.plasticity.refusing import refuse_unless_finite, refuse_unless_positive
from spikeloom.plasticity.trace import decay_of


@final
@dataclass(frozen=True)
class Homeostasis:
    """The parameters of (1)–(3): r* per step, η per step, τ of the rate that is watched."""

    target: float
    rate: float
    tau_ms: float
    dt_ms: float = 1.0

    def __post_init__(self) -> None:
        refuse_unless_positive("homeostasis", target=self.target, tau_ms=self.tau_ms, dt_ms=self.dt_ms)
        refuse_unless_finite("homeostasis", rate=self.rate)

    def init(self, outputs: int, like: Tensor | None = None) -> Float[Tensor, " o"]:
        """r̄ at the target, so that nothing moves before anything is known."""
        return torch.full((outputs,), self.target) if like is None else like.new_full((outputs,), self.target)

    def watch(self, mean: Float[Tensor, " o"], post: Float[Tensor, "b o"]) -> Float[Tensor, " o"]:
        """(1)"""
        kept = decay_of(self.tau_ms, self.dt_ms)
        return kept * mean + (1 - kept) * post.mean(0)

    def scale(
        self, mean: Float[Tensor, " o"], post: Float[Tensor, "b o"], weights: Float[Tensor, "o i"]
    ) -> tuple[Float[Tensor, "o i"], Float[Tensor, " o"]]:
        """The change of the weights (2), and r̄ after this step."""
        mean = self.watch(mean, post)
        return self.rate * (1 - mean / self.target)[:, None] * weights, mean

    def shift(self, mean: Float[Tensor, " o"], post: Float[Tensor, "b o"]) -> tuple[Float[Tensor, " o"], Float[Tensor, " o"]]:
        """The change of the thresholds (3), and r̄ after this step."""
        mean = self.watch(mean, post)
        return self.rate * (mean - self.target), mean
