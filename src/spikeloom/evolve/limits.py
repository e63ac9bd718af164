"""
What the hardware allows: grids of thresholds and leaks, a decay that is given, firing rates that must be kept.

    θ ∈ δ·{1 … 2^b − 1}                  thresholds of b bits; δ so that the highest threshold searched is the top of the grid   (1)
    ℓ ∈ δ·{−(2^(b−1) − 1) … 2^(b−1) − 1}  leaks, and the thresholds of tables, which have either sign                            (2)
    a = decay                            in every population
    min_rate ≤ rate ≤ max_rate           the share of neuron-steps with an event, of every population

A candidate is moved to the grid before it is evaluated; one whose rates leave the band is worse than all that keep it.

Sources: thresholds and leaks of few bits: Loihi 2 (Orchard et al. 2021, arXiv:2111.03746), Xylo (SynSense data sheets).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.errors import ConfigError

MOST_BITS = 24
"""More than float32 has."""


@final
@dataclass(frozen=True)
class Limits:
    """Hard bounds of a search; None: no such bound. Raises ConfigError for bounds that contradict each other."""

    threshold_bits: int | None = None
    leak_bits: int | None = None
    decay: float | None = None
    min_rate: float | None = None
    max_rate: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("threshold_bits", 1), ("leak_bits", 2)):
            bits = getattr(self, name)
            if bits is not None and not least <= bits <= MOST_BITS:
                raise ConfigError(f"{name} is out of range", found=bits, allowed=f"{least} … {MOST_BITS}, or nothing")
        if self.decay is not None and not 0.0 < self.decay <= 1.0:
            raise ConfigError("decay is out of range", found=self.decay, allowed="0 < decay <= 1, or nothing")
        for name in ("min_rate", "max_rate"):
            rate = getattr(self, name)
            if rate is not None and not 0.0 <= rate <= 1.0:
                raise ConfigError(f"{name} is out of range", found=rate, allowed="0 … 1: a share of neuron-steps, or nothing")
        if self.min_rate is not None and self.max_rate is not None and self.min_rate > self.max_rate:
            raise ConfigError(
                "the firing rates contradict each other",
                found=f"min_rate {self.min_rate} above max_rate {self.max_rate}",
                todo="give a min_rate below max_rate",
            )

    @property
    def bounds_rates(self) -> bool:
        """Whether firing rates are bounded at all."""
        return self.min_rate is not None or self.max_rate is not None

    def violation(self, rates: Iterable[float]) -> float:
        """By how much the rates of all populations together leave the band; 0 where they keep it."""
        low, high = self.min_rate or 0.0, 1.0 if self.max_rate is None else self.max_rate
        return math.fsum(max(low - rate, 0.0) + max(rate - high, 0.0) for rate in rates)


def on_lattice(x: Float[Tensor, "*any"], unit: Float[Tensor, ""], lowest: int, highest: int) -> Float[Tensor, "*any"]:
    """The nearest k·unit with lowest ≤ k ≤ highest; infinities stay. Gradients pass straight through. (1), (2)"""
    near = torch.where(x.isfinite(), (x / unit).round().clamp(lowest, highest) * unit, x).detach()
    return near + (x - x.detach()).nan_to_num(0.0)


def reaches(low: Float[Tensor, "*any"], high: Float[Tensor, "*any"], unit: Float[Tensor, ""], highest: int) -> bool:
    """Whether each range [low, high] holds a point k·unit with 1 ≤ k ≤ highest."""
    first = (low / unit - 1e-9).ceil().clamp_min(1)
    return bool(((first <= highest) & (first * unit <= high * (1 + 1e-9))).all())
