"""
Which noise training meets: the range opens as the network survives what is open, and what it has still to learn comes more often.

The range is cut into BINS; r_i is the running share of right answers in bin i, K the number of classes.

    part ← min(1, part + 1/STEPS)   where  r_last - 1/K ≥ SURVIVED · (r_1 - 1/K): the strongest open bin is survived               (1)
    part ≥ s / (RAMP · S)           at step s of S: what cannot be survived is trained for too                                     (2)
    P(bin i) = (1 - FOCUS)/n + FOCUS · e_i/Σe,   e_i = (1 - r_i)·max(0, r_i - 1/K)   over the n open bins                          (3)

e_i is large where answers are neither sure nor hopeless. (1)-(3) are ours, in the manner of self-paced curricula (Bengio et al. 2009,
Curriculum Learning) and of sampling by learning progress (Graves et al. 2017, arXiv:1704.03003).
"""

import math
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

BINS, BEGIN, STEPS, SURVIVED, RAMP, FOCUS, MEMORY = 9, 0.25, 40, 0.7, 0.3, 0.75, 0.95


@final
@dataclass(frozen=True)
class Opening:
    """The open part of the range, and what the running shares r are."""

    part: float = BEGIN
    right: tuple[float, ...] = (0.0,) * BINS
    classes: int = 0

    @property
    def bins(self) -> int:
        """How many bins are open, the last perhaps in part."""
        return min(BINS, math.ceil(self.part * BINS - 1e-9))

    def places(self, count: int, generator: torch.Generator) -> Float[Tensor, " b"]:
        """Where in the range, 0 to 1, so many samples have their noise; (3)."""
        chosen = torch.multinomial(self.chances(), count, replacement=True, generator=generator)
        ends = torch.clamp((chosen + 1) / BINS, max=self.part)
        return chosen / BINS + (ends - chosen / BINS) * torch.rand(count, generator=generator)

    def chances(self) -> Float[Tensor, " n"]:
        """(3), and before anything is known, all alike."""
        worth = torch.tensor([(1 - r) * max(0.0, r - 1 / max(self.classes, 1)) for r in self.right[: self.bins]])
        share = worth / worth.sum() if float(worth.sum()) > 0 else torch.full((self.bins,), 1 / self.bins)
        return (1 - FOCUS) / self.bins + FOCUS * share

    def after(self, places: Float[Tensor, " b"], right: Bool[Tensor, " b"], classes: int, done: float) -> "Opening":
        """After a step in which samples with noise at these places were answered so, with the share `done` of training behind it."""
        met = torch.clamp((places * BINS).long(), max=BINS - 1)
        counts = torch.bincount(met, minlength=BINS)
        hits = torch.bincount(met, weights=right.double(), minlength=BINS)
        shares = tuple(
            r if n == 0 else MEMORY * r + (1 - MEMORY) * h / n for r, h, n in zip(self.right, hits.tolist(), counts.tolist(), strict=True)
        )
        chance = 1 / classes
        survived = shares[0] > 2 * chance and shares[self.bins - 1] - chance >= SURVIVED * (shares[0] - chance)  # (1)
        grown = self.part + (1 / STEPS if survived else 0.0)
        return replace(self, part=min(1.0, max(grown, done / RAMP)), right=shares, classes=classes)  # (2)
