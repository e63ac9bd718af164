"""
The rule of Bienenstock, Cooper and Munro, and Oja's beside it: Hebb's product with two ways not to grow for ever.

    y = max(w·x, 0) or w·x                                                                            (1)
    Δw = η·y·(y − θ)·x            BCM: weakened below θ, strengthened above                           (2)
    θ ← b·θ + (1 − b)·y^p/y₀^(p−1)     the threshold slides after the output, b = exp(−Δt/τ_θ)        (3)
    Δw = η·y·(x − y·w)            Oja: the first principal component, |w| = 1                         (4)

θ must be faster than the weights and slower than the inputs change. p = 2 in Intrator & Cooper, p > 1 in general. The outputs y are the
caller's: rates, membranes, or levels of spikes. (2) and (4) are means or sums over the batch, (3) takes the batch's mean.

Sources: Bienenstock, Cooper, Munro 1982, J. Neuroscience 2, 32; Intrator & Cooper 1992, Neural Networks 5, 3; Oja 1982, J. Mathematical
Biology 15, 267.
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.plasticity.batch import OverBatch, outer
from spikeloom.plasticity.refusing import refuse_unless_finite, refuse_unless_positive, refuse_unless_within
from spikeloom.plasticity.trace import decay_of


@final
@dataclass(frozen=True)
class BCM:
    """The parameters of (2) and (3): η per step, τ_θ, y₀ in units of the output, p."""

    rate: float
    tau_theta_ms: float
    reference: float = 1.0  # y₀
    power: float = 2.0
    dt_ms: float = 1.0
    over_batch: OverBatch = "mean"

    def __post_init__(self) -> None:
        refuse_unless_positive("BCM", tau_theta_ms=self.tau_theta_ms, reference=self.reference, dt_ms=self.dt_ms)
        refuse_unless_finite("BCM", rate=self.rate)
        refuse_unless_within("BCM", 1.0, 10.0, power=self.power)

    def init(self, outputs: int, theta: float = 0.0, like: Tensor | None = None) -> Float[Tensor, " o"]:
        """θ of each output at the start."""
        return torch.full((outputs,), theta) if like is None else like.new_full((outputs,), theta)

    def drive(self, post: Float[Tensor, "*any"], theta: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """φ = y·(y − θ): what the input is multiplied with."""
        return post * (post - theta)

    def step(
        self, theta: Float[Tensor, " o"], pre: Float[Tensor, "b i"], post: Float[Tensor, "b o"]
    ) -> tuple[Float[Tensor, "o i"], Float[Tensor, " o"]]:
        """The change of the weights [out, in] by the threshold as it was (2), and the threshold after this step (3)."""
        change = self.rate * outer(self.drive(post, theta.expand_as(post)), pre, self.over_batch)
        kept = decay_of(self.tau_theta_ms, self.dt_ms)
        power = post.abs() ** self.power / self.reference ** (self.power - 1)
        return change, kept * theta + (1 - kept) * power.mean(0)


def oja(
    weights: Float[Tensor, "o i"],
    pre: Float[Tensor, "b i"],
    post: Float[Tensor, "b o"],
    rate: float,
    over_batch: OverBatch = "mean",
) -> Float[Tensor, "o i"]:
    """(4), each output by itself."""
    shrinking = post.square().sum(0) if over_batch == "sum" else post.square().mean(0)
    return rate * (outer(post, pre, over_batch) - shrinking[:, None] * weights)
