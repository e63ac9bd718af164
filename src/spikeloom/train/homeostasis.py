"""
Homeostasis: every neuron, or channel, brings what it sees of itself back to what it was at calibration, without labels and on its own.

From its current, whose mean and spread it knows by slow traces:

    μ ← μ + r·(⟨i⟩ - μ),   q ← q + r·(⟨i²⟩ - q),   r = n/min(N + n, horizon),   N ← min(N + n, horizon)                  (1)
    g = σ₀/σ,   b = μ₀ - g·μ,   σ² = q - μ²                                                                              (2)

so that g·i + b has the calibrated mean μ₀ and spread σ₀. From its spikes alone, where its own threshold is what is off:

    g ← g·(1 + r·(ρ₀ - ⟨o⟩)/(ρ₀ + ρ̄/20)),   ρ₀ its mean output at calibration, ρ̄ that of its whole population             (3)

n are the samples of a batch, N those seen so far, beginning at `prior` samples of calibration. Gains stay within `most` of 1.

Sources: intrinsic plasticity: Desai et al. 1999, doi:10.1038/9165; Triesch 2005, doi:10.1007/11550822_11. (2) is the local form of
test-time batch normalisation: Schneider et al. 2020, arXiv:2006.16971 (its prior too); Nado et al. 2020, arXiv:2006.10963.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.train.intrinsic import PER, Per

Observed = Literal["current", "spikes"]
OBSERVED: tuple[Observed, ...] = ("current", "spikes")
SILENT = 1e-8
"""A variance, as a share of its population's mean variance, below which a neuron is taken for one that never moved: its gain stays."""
FLOOR = 0.05
"""In (3)."""

Units = Float[Tensor, "1 *units"]
"""One number for each neuron or channel of a population, so that it broadcasts to a batch."""


@final
@dataclass(frozen=True)
class Homeostasis:
    """What neurons observe of themselves, "current" (2) or "spikes" (3); whether each "channel" or each "neuron" has knobs; `prior` and
    `horizon` of (1), in samples; `most`, the largest gain, whose inverse is the smallest; and how many samples of a context the readout
    waits for neurons to `settle`."""

    observes: Observed = "current"
    per: Per = "channel"
    prior: int = 64
    horizon: int = 512
    most: float = 10.0
    settle: int = 128

    def check(self) -> None:
        """Raises ConfigError for options out of range."""
        checks: tuple[tuple[str, bool, str], ...] = (
            ("observes", self.observes in OBSERVED, ", ".join(OBSERVED)),
            ("per", self.per in PER, ", ".join(PER)),
            ("prior", self.prior >= 1, "1 or more"),
            ("horizon", self.horizon >= self.prior, "at least the prior"),
            ("most", self.most > 1, "above 1"),
            ("settle", 0 <= self.settle <= self.horizon - self.prior, "0 or more, at most the horizon less the prior"),
        )
        for key, holds, allowed in checks:
            if not holds:
                raise ConfigError(f"homeostasis.{key} cannot be used", found=getattr(self, key), allowed=allowed)


class Trace(NamedTuple):
    """The mean and the mean square of what each unit of a population observed."""

    mean: Units
    square: Units


def seen(values: Float[Tensor, "b *rest"], over: tuple[int, ...]) -> Trace:
    """Mean and mean square of a batch, over samples and what else belongs to one unit."""
    return Trace(values.mean(over, keepdim=True), values.square().mean(over, keepdim=True))


def pace(samples: int, count: int, horizon: int) -> float:
    """r of (1), when `samples` were seen before these `count`."""
    return count / min(samples + count, max(horizon, count))


def traced(trace: Trace, batch: Trace, rate: float) -> Trace:
    """(1)."""
    return Trace(trace.mean + rate * (batch.mean - trace.mean), trace.square + rate * (batch.square - trace.square))


def matched(calm: Trace, now: Trace, most: float) -> tuple[Units, Units]:
    """(2): gain and shift. Units that never moved at calibration keep the gain 1."""
    meant, found = (each.square - each.mean.square() for each in (calm, now))
    still = meant <= SILENT * meant.mean()
    gain = (meant / found.clamp_min(1e-30)).clamp_min(0).sqrt().clamp(1 / most, most)
    gain = torch.where(still, torch.ones_like(gain), gain)
    return gain, calm.mean - gain * now.mean


def steered(gain: Units, calm: Trace, sent: Units, rate: float, most: float) -> Units:
    """(3): the gain after a batch whose mean output was `sent`."""
    error = (calm.mean - sent) / (calm.mean + FLOOR * calm.mean.abs().mean()).clamp_min(1e-30)
    return (gain * (1 + rate * error).clamp(0.5, 2.0)).clamp(1 / most, most)
